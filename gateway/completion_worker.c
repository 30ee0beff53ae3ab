/* SPDX-License-Identifier: MIT */
/* completion_worker - a completion's way to a worker and back: REQUEST and BODY out, HEAD, DATA, END and FAIL
 * in; moves to another worker; what a worker may not do. */
#include "gateway/completion_private.h"
#include "gateway/metrics.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <utlist.h>

enum {
    MAX_MOVES = 2,
    PIECES_PER_TURN = 2 /* of BODY, over all requests: 512 KiB, copied in well under 1 ms */
};

/* ---- towards a worker ---- */

static size_t rest_of_body(const struct completion *c)
{
    return c->call->body.length - c->sent_bytes;
}

static int send_request(struct completion *c, struct worker *worker, int64_t left_ms)
{
    const struct call *call = c->call;
    size_t first_bytes = call->body.length < FIRST_BODY_BYTES ? call->body.length : FIRST_BODY_BYTES;
    struct msg_request request = {
        .request_id = span_str(call->id),
        .deadline_ms = (uint32_t)left_ms,
        .moves = c->moves,
        .key_id = span_str(call->caller.key_id),
        .conversation_id = c->conversation_id,
        .conversation_request_id = c->conversation_request_id,
        .conversation_message_id = c->conversation_message_id,
        .traceparent = span_str(call->traceparent),
        .tracestate = call->tracestate,
        .client_request_id = c->client_request_id,
        .body_bytes = (uint32_t)call->body.length,
        .body = span_of(call->body.data, first_bytes),
        .credential_id = span_str(call->credential_id),
    };
    int error = peer_send(worker->peer, MESSAGE_REQUEST, c->all->last_number + 1, &request);
    if (error < 0)
        return error;
    c->sent_bytes = first_bytes;
    completion_enter(c, rest_of_body(c) > 0 ? SENDING : SENT, worker); /* takes the number just used */
    return 0;
}

void completion_dispatch(struct completion *c, const struct worker *except)
{
    int64_t left_ms = c->deadline_ms - clock_now_ms();
    struct worker *worker = pool_pick(c->all->pool, except);
    if (left_ms <= 0) {
        completion_report(c, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
        completion_fail_plainly(c, FAILURE_UPSTREAM_TIMEOUT, 0);
        return;
    }
    if (!worker)
        return; /* WAITING already */
    int error = send_request(c, worker, left_ms);
    if (error == 0 || error == ERR_PEER_GONE)
        return; /* gone: its down() comes, and another will be ready */
    log_error(c->call->id, "dispatch_failed", LOG_STR("problem", error_text(error)),
              LOG_OPT("trace", call_trace_id(c->call)));
    completion_report(c, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    completion_fail_plainly(c, FAILURE_INTERNAL, 0);
}

/* A worker that says FAIL movable leaves the report to the one that ends it: that may be us. */
static void move_or_fail(struct completion *c, const struct worker *except,
                         const struct call_problem *problem)
{
    if (c->is_begun || c->moves >= MAX_MOVES) {
        completion_report(c, problem->failure, OUTCOME_TRANSIENT);
        completion_fail(c, problem);
        return;
    }
    c->moves++;
    c->call->service.moves = c->moves;
    metrics_add(c->all->gateway->metrics, METRIC_MOVES, 1);
    log_info(c->call->id, "request_moved", LOG_INT("moves", c->moves),
             LOG_OPT("trace", call_trace_id(c->call)));
    completion_enter(c, WAITING, NULL);
    completion_dispatch(c, except);
}

static void send_piece(struct completion *c)
{
    size_t size = rest_of_body(c) < BODY_PIECE_BYTES ? rest_of_body(c) : BODY_PIECE_BYTES;
    struct msg_body body = {span_of(c->call->body.data + c->sent_bytes, size)};
    int error = peer_send(c->worker->peer, MESSAGE_BODY, c->number, &body);
    if (error == ERR_PEER_GONE) {
        completion_enter(c, SENT, c->worker); /* its down() moves it */
    } else if (error < 0) {
        completion_cancel(c, CANCEL_TIMEOUT);
        completion_fail_plainly(c, FAILURE_INTERNAL, 0);
    } else {
        c->sent_bytes += size;
        if (rest_of_body(c) == 0)
            completion_enter(c, SENT, c->worker);
    }
}

/* A few pieces a turn, the requests taking turns: a large body delays nobody's stream. */
bool completions_send_pieces(void *context)
{
    struct completions *all = context;
    for (int i = 0; i < PIECES_PER_TURN && all->sending; i++) {
        struct completion *c = all->sending;
        send_piece(c);
        if (all->sending == c) {
            DL_DELETE2(all->sending, c, send_prev, send_next);
            DL_APPEND2(all->sending, c, send_prev, send_next);
        }
    }
    return all->sending != NULL;
}

/* ---- from a worker ---- */

static void violate(struct completion *c, const char *what)
{
    struct call_problem problem = {.failure = FAILURE_INTERNAL};
    log_warning(c->call->id, "worker_violation", LOG_STR("peer", peer_name(c->worker->peer)),
                LOG_STR("problem", what), LOG_OPT("trace", call_trace_id(c->call)));
    metrics_add(c->all->gateway->metrics, METRIC_BAD_FRAMES, 1);
    completion_cancel(c, CANCEL_TIMEOUT);
    completion_fail(c, &problem);
}

static void on_head(struct completion *c, const struct msg_head *head)
{
    if (c->state != SENT) {
        violate(c, c->is_begun ? "a second HEAD" : "HEAD before the body was sent");
        return;
    }
    if (head->status < 200 || head->status > 599) {
        violate(c, "HEAD with an impossible status");
        return;
    }
    c->is_begun = true;
    c->is_stream = head->stream == 1;
    c->content_bytes = c->is_stream ? -1 : head->content_bytes;
    call_note_service(c->call, head->model, head->credential_id);
    call_begin(c->call, head->status, c->is_stream, c->content_bytes);
    c->call->body = span_of(NULL, 0);
    connection_release_input(c->call->connection);
    completion_enter(c, RELAYING, c->worker);
}

static void note_usage(struct completion *c, unsigned outcome, uint64_t prompt_tokens,
                       uint64_t completion_tokens, uint8_t attempts)
{
    struct call_service *service = &c->call->service;
    service->is_judged = true;
    service->outcome = (enum outcome)outcome;
    service->prompt_tokens = prompt_tokens;
    service->completion_tokens = completion_tokens;
    service->attempts = attempts;
}

static void on_data(struct completion *c, const struct msg_data *data)
{
    size_t size = data->data.length;
    if (c->state != RELAYING) {
        violate(c, "DATA before HEAD");
    } else if (c->unreturned_bytes + size > WINDOW_BYTES) {
        violate(c, "DATA over the window");
    } else if (c->content_bytes >= 0 && size > (uint64_t)c->content_bytes) {
        violate(c, "DATA over the announced size");
    } else if (buffer_append_span(&c->pending, data->data) < 0) {
        violate(c, "out of memory");
    } else {
        c->unreturned_bytes += size;
        if (c->content_bytes >= 0)
            c->content_bytes -= (int64_t)size;
        completion_flush_later(c);
    }
}

static void on_end(struct completion *c, const struct msg_end *end)
{
    if (c->state != RELAYING) {
        violate(c, "END before HEAD");
    } else if (c->content_bytes > 0) {
        violate(c, "END before the announced size");
    } else {
        note_usage(c, end->outcome, end->prompt_tokens, end->completion_tokens, end->attempts);
        call_note_service(c->call, span_of(NULL, 0), end->credential_id);
        completion_enter(c, FINISHING, NULL);
        completion_flush_later(c);
    }
}

static void on_fail(struct completion *c, const struct msg_fail *fail_message)
{
    bool is_known = fail_message->failure > FAILURE_NONE && fail_message->failure < FAILURE_COUNT;
    struct call_problem problem = {
        .failure = is_known ? (enum failure)fail_message->failure : FAILURE_INTERNAL,
        .retry_after_s = fail_message->retry_after_s,
        .message = fail_message->message,
        .type = fail_message->type,
        .code = fail_message->code,
        .param = fail_message->param,
    };
    struct worker *worker = c->worker;
    call_note_service(c->call, fail_message->model, fail_message->credential_id);
    note_usage(c, fail_message->outcome, fail_message->prompt_tokens, fail_message->completion_tokens,
               fail_message->attempts);
    if (fail_message->movable == 1)
        move_or_fail(c, worker, &problem);
    else
        completion_fail(c, &problem);
}

static void on_frame(void *owner, struct worker *worker, const struct frame *frame, const void *message)
{
    struct completions *all = owner;
    struct completion *c;
    HASH_FIND(hh, all->by_number, &frame->request, sizeof frame->request, c);
    if (!c || c->worker != worker) { /* it was cancelled, or failed, and the worker did not know yet */
        metrics_add(all->gateway->metrics, METRIC_LATE_FRAMES, 1);
        return;
    }
    if (frame->type == MESSAGE_HEAD)
        on_head(c, message);
    else if (frame->type == MESSAGE_DATA)
        on_data(c, message);
    else if (frame->type == MESSAGE_END)
        on_end(c, message);
    else if (frame->type == MESSAGE_FAIL)
        on_fail(c, message);
    else
        metrics_add(all->gateway->metrics, METRIC_BAD_FRAMES, 1);
}

static void on_worker_lost(void *owner, struct worker *worker)
{
    struct completions *all = owner;
    struct call_problem problem = {.failure = FAILURE_WORKER_LOST};
    metrics_add(all->gateway->metrics, METRIC_WORKERS_LOST, 1);
    while (worker->assigned)
        move_or_fail(worker->assigned, NULL, &problem);
}

static void on_worker_available(void *owner)
{
    struct completions *all = owner;
    while (all->waiting) {
        struct completion *c = all->waiting;
        completion_dispatch(c, NULL);
        if (all->waiting == c)
            return; /* nobody takes it after all */
    }
    gateway_worker_available(all->gateway);
}

const struct pool_events completions_pool_events = {on_worker_available, on_worker_lost, on_frame};
