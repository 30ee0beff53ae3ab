/* SPDX-License-Identifier: MIT */
#include "gateway/completions.h"
#include "gateway/handlers.h"
#include "gateway/metrics.h"
#include "gateway/pool.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/outcome.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

enum {
    MAX_MOVES = 2,
    WAIT_MS = 10000,          /* for a worker to come */
    DEADLINE_GRACE_MS = 5000, /* the worker answers for the deadline; this is for one that does not */
    PIECES_PER_TURN = 2,      /* of BODY, over all requests: 512 KiB, copied in well under 1 ms */
    CREDIT_BYTES = 64 << 10,  /* least WINDOW returned; WINDOW_BYTES must be several times this */
    OVERLOADED_RETRY_S = 1,
    UNAVAILABLE_RETRY_S = 5
};

enum completion_state { WAITING, SENDING, SENT, RELAYING, FINISHING, OVER };

struct completion {
    struct completions *all;
    struct call *call; /* NULL when OVER */
    enum completion_state state;
    struct worker *worker; /* SENDING to RELAYING */
    uint64_t number;       /* its `request` on the link, a new one for each move */
    UT_hash_handle hh;     /* by number, while it has a worker */
    uint8_t moves;
    bool is_begun, is_stream; /* after HEAD */
    bool is_dirty;            /* on the list to be flushed when the turn ends */
    int64_t deadline_ms;
    size_t sent_bytes;       /* of the body, to the worker */
    int64_t content_bytes;   /* still to come, -1: unknown */
    size_t unreturned_bytes; /* DATA that was not returned by WINDOW yet */
    size_t owed_bytes;       /* of these: what the client's socket has taken */
    int64_t first_byte_ms;
    struct buffer pending, writing;
    struct span conversation_id, conversation_request_id, conversation_message_id,
        traceparent; /* into the head */
    h2o_timeout_entry_t timer;
    struct completion *prev, *next;           /* waiting, or the worker's */
    struct completion *send_prev, *send_next; /* SENDING */
    struct completion *dirty_prev, *dirty_next;
};

struct completions {
    struct gateway *gateway;
    struct pool *pool;
    struct turn_hook *hook;
    struct completion *by_number, *waiting, *sending, *dirty;
    bool is_flush_due;
    size_t count, waiting_count;
    uint64_t last_number;
    h2o_timeout_t wait_timeout, total_timeout;
};

static void dispatch(struct completion *c, const struct worker *except);
static void fail(struct completion *c, const struct call_problem *problem);

/* ---- state ---- */

static bool has_worker(enum completion_state state)
{
    return state == SENDING || state == SENT || state == RELAYING;
}

static void leave_state(struct completion *c)
{
    struct completions *all = c->all;
    if (c->state == WAITING) {
        DL_DELETE(all->waiting, c);
        all->waiting_count--;
    } else if (c->state == SENDING) {
        DL_DELETE2(all->sending, c, send_prev, send_next);
    }
}

static void on_timer(h2o_timeout_entry_t *entry);

static void start_timer(struct completion *c, h2o_timeout_t *timeout)
{
    h2o_timeout_unlink(&c->timer);
    c->timer.cb = on_timer;
    h2o_timeout_link(service_loop(c->all->gateway->service), timeout, &c->timer);
}

static void free_completion(void *memory)
{
    struct completion *c = memory;
    buffer_fini(&c->pending);
    buffer_fini(&c->writing);
    free(c);
}

static void forget_dirty(struct completion *c)
{
    if (c->is_dirty)
        DL_DELETE2(c->all->dirty, c, dirty_prev, dirty_next);
    c->is_dirty = false;
}

/* The one place that changes the state; the table is in the header. `worker` is for the states that have one.
 */
static void enter(struct completion *c, enum completion_state state, struct worker *worker)
{
    struct completions *all = c->all;
    leave_state(c);
    if (c->worker && worker != c->worker) {
        DL_DELETE(c->worker->assigned, c);
        c->worker->in_flight--;
        HASH_DEL(all->by_number, c);
    }
    if (worker && worker != c->worker) {
        c->number = ++all->last_number;
        HASH_ADD(hh, all->by_number, number, sizeof c->number, c);
        DL_APPEND(worker->assigned, c);
        worker->in_flight++;
        start_timer(c, &all->total_timeout);
    }
    assert(has_worker(state) == (worker != NULL));
    c->worker = worker;
    c->state = state;
    switch (state) {
    case WAITING:
        DL_APPEND(all->waiting, c);
        all->waiting_count++;
        start_timer(c, &all->wait_timeout);
        break;
    case SENDING:
        DL_APPEND2(all->sending, c, send_prev, send_next);
        break;
    case SENT:
    case RELAYING:
        break;
    case FINISHING:
        h2o_timeout_unlink(&c->timer);
        break;
    case OVER:
        h2o_timeout_unlink(&c->timer);
        forget_dirty(c);
        c->call = NULL;
        all->count--;
        service_defer(all->gateway->service, free_completion, c);
        break;
    }
}

/* Takes it from its worker, who is told. */
static void cancel(struct completion *c, enum cancel_reason reason)
{
    struct msg_cancel message = {(uint8_t)reason};
    if (c->worker)
        peer_send(c->worker->peer, MESSAGE_CANCEL, c->number, &message); /* a lost one needs no telling */
    enter(c, FINISHING, NULL);
}

/* ---- usage: what no worker will report ---- */

static void report(const struct completion *c, enum failure failure, enum outcome outcome)
{
    const struct call *call = c->call;
    int64_t duration_ms = clock_now_ms() - call->started_ms;
    struct msg_event event = {
        .request_id = span_str(call->id),
        .started_wall_ms = call->started_wall_ms,
        .duration_ms = (uint32_t)duration_ms,
        .first_event_ms = c->first_byte_ms ? (uint32_t)(c->first_byte_ms - call->started_ms) : 0,
        .key_id = span_str(call->caller.key_id),
        .status = c->is_begun ? 200 : failure_status(failure),
        .outcome = (uint8_t)outcome,
        .code = span_str(failure_code(failure)),
        .stream = c->is_stream,
        .moves = c->moves,
    };
    if (c->all->gateway->reporter)
        reporter_event(c->all->gateway->reporter, &event);
}

/* ---- towards the client ---- */

/* Everything that is here goes out in one write; only while one is under way does it gather. */
static void flush(struct completion *c)
{
    bool is_last = c->state == FINISHING;
    if (!c->is_begun || c->call->phase != CALL_IDLE || (c->pending.length == 0 && !is_last))
        return;
    assert(c->writing.length == 0);
    struct buffer spare = c->writing;
    c->writing = c->pending;
    c->pending = spare;
    call_write(c->call, buffer_span(&c->writing), is_last); /* the last one may end it: nothing after this */
}

static void flush_all(void *context)
{
    struct completions *all = context;
    all->is_flush_due = false;
    while (all->dirty) {
        struct completion *c = all->dirty;
        forget_dirty(c);
        flush(c);
    }
}

/* At the end of the turn, so that HEAD, DATA and END of one train are one write. */
static void flush_later(struct completion *c)
{
    struct completions *all = c->all;
    if (c->is_dirty)
        return;
    DL_APPEND2(all->dirty, c, dirty_prev, dirty_next);
    c->is_dirty = true;
    if (!all->is_flush_due)
        service_defer(all->gateway->service, flush_all, all);
    all->is_flush_due = true;
}

static void return_credit(struct completion *c)
{
    struct msg_window window = {(uint32_t)c->owed_bytes};
    if (!c->worker || c->owed_bytes < CREDIT_BYTES)
        return;
    if (peer_send(c->worker->peer, MESSAGE_WINDOW, c->number, &window) < 0)
        return; /* out of memory: with the next portion */
    c->unreturned_bytes -= c->owed_bytes;
    c->owed_bytes = 0;
}

static void on_written(void *owner)
{
    struct completion *c = owner;
    c->owed_bytes += c->writing.length;
    buffer_fini(&c->writing);
    return_credit(c);
    flush(c);
}

static void on_client_left(void *owner)
{
    struct completion *c = owner;
    metrics_add(c->all->gateway->metrics, METRIC_CLIENTS_LEFT, 1);
    if (c->state == WAITING)
        report(c, FAILURE_CANCELLED, OUTCOME_CANCELLED);
    if (c->state != FINISHING)
        cancel(c, CANCEL_CLIENT_LEFT);
    call_abort(c->call);
}

static void on_call_ended(void *owner)
{
    struct completion *c = owner;
    if (c->state == WAITING)
        report(c, FAILURE_CANCELLED, OUTCOME_CANCELLED);
    if (has_worker(c->state))
        cancel(c, CANCEL_CLIENT_LEFT); /* a write failed before the client's leaving was seen */
    enter(c, OVER, NULL);
}

static const struct call_events call_events = {on_written, on_client_left, on_call_ended};

static void append_error_event(struct completion *c, const struct call_problem *problem)
{
    int error = buffer_append_span(&c->pending, SPAN("data: "));
    if (error == 0)
        error = failure_append_json(&c->pending, problem->failure, problem->message, problem->type,
                                    problem->code, problem->param);
    if (error == 0)
        error = buffer_append_span(&c->pending, SPAN("\n\n"));
    if (error < 0)
        log_error(c->call->id, "error_event_failed", LOG_STR("problem", error_text(error)));
}

/* Tells the client, as far as its answer has come. Its worker is out of it already, or never was in it. */
static void fail(struct completion *c, const struct call_problem *problem)
{
    if (c->state != FINISHING)
        enter(c, FINISHING, NULL);
    if (c->call->phase == CALL_FINISHED)
        return;
    c->call->failure = problem->failure;
    if (!c->is_begun) {
        call_fail_with(c->call, problem);
    } else if (c->is_stream) {
        append_error_event(c, problem);
        flush_later(c);
    } else {
        call_abort(c->call);
    }
}

static void fail_plainly(struct completion *c, enum failure failure, uint32_t retry_after_s)
{
    struct call_problem problem = {.failure = failure, .retry_after_s = retry_after_s};
    fail(c, &problem);
}

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
        .traceparent = c->traceparent,
        .body_bytes = (uint32_t)call->body.length,
        .body = span_of(call->body.data, first_bytes),
    };
    int error = peer_send(worker->peer, MESSAGE_REQUEST, c->all->last_number + 1, &request);
    if (error < 0)
        return error;
    c->sent_bytes = first_bytes;
    enter(c, rest_of_body(c) > 0 ? SENDING : SENT, worker); /* takes the number just used */
    return 0;
}

/* Gives it to a worker, or lets it wait for one. */
static void dispatch(struct completion *c, const struct worker *except)
{
    int64_t left_ms = c->deadline_ms - clock_now_ms();
    struct worker *worker = pool_pick(c->all->pool, except);
    if (left_ms <= 0) {
        report(c, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
        fail_plainly(c, FAILURE_UPSTREAM_TIMEOUT, 0);
        return;
    }
    if (!worker)
        return; /* WAITING already */
    int error = send_request(c, worker, left_ms);
    if (error == 0 || error == ERR_PEER_GONE)
        return; /* gone: its down() comes, and another will be ready */
    log_error(c->call->id, "dispatch_failed", LOG_STR("problem", error_text(error)));
    report(c, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    fail_plainly(c, FAILURE_INTERNAL, 0);
}

/* A worker that says FAIL movable leaves the report to the one that ends it: that may be us. */
static void move_or_fail(struct completion *c, const struct worker *except,
                         const struct call_problem *problem)
{
    if (c->is_begun || c->moves >= MAX_MOVES) {
        report(c, problem->failure, OUTCOME_TRANSIENT);
        fail(c, problem);
        return;
    }
    c->moves++;
    metrics_add(c->all->gateway->metrics, METRIC_MOVES, 1);
    log_info(c->call->id, "request_moved", LOG_INT("moves", c->moves));
    enter(c, WAITING, NULL);
    dispatch(c, except);
}

static void send_piece(struct completion *c)
{
    size_t size = rest_of_body(c) < BODY_PIECE_BYTES ? rest_of_body(c) : BODY_PIECE_BYTES;
    struct msg_body body = {span_of(c->call->body.data + c->sent_bytes, size)};
    int error = peer_send(c->worker->peer, MESSAGE_BODY, c->number, &body);
    if (error == ERR_PEER_GONE) {
        enter(c, SENT, c->worker); /* its down() moves it */
    } else if (error < 0) {
        cancel(c, CANCEL_TIMEOUT);
        fail_plainly(c, FAILURE_INTERNAL, 0);
    } else {
        c->sent_bytes += size;
        if (rest_of_body(c) == 0)
            enter(c, SENT, c->worker);
    }
}

/* A few pieces a turn, the requests taking turns: a large body delays nobody's stream. */
static bool send_pieces(void *context)
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
                LOG_STR("problem", what));
    metrics_add(c->all->gateway->metrics, METRIC_BAD_FRAMES, 1);
    cancel(c, CANCEL_TIMEOUT);
    fail(c, &problem);
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
    c->first_byte_ms = clock_now_ms();
    call_begin(c->call, head->status, c->is_stream, c->content_bytes);
    c->call->body = span_of(NULL, 0);
    connection_release_input(c->call->connection);
    enter(c, RELAYING, c->worker);
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
        flush_later(c);
    }
}

static void on_end(struct completion *c)
{
    if (c->state != RELAYING) {
        violate(c, "END before HEAD");
    } else if (c->content_bytes > 0) {
        violate(c, "END before the announced size");
    } else {
        enter(c, FINISHING, NULL);
        flush_later(c);
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
    if (fail_message->movable == 1)
        move_or_fail(c, worker, &problem);
    else
        fail(c, &problem);
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
        on_end(c);
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
        dispatch(c, NULL);
        if (all->waiting == c)
            return; /* nobody takes it after all */
    }
}

static const struct pool_events pool_events = {on_worker_available, on_worker_lost, on_frame};

/* ---- time ---- */

static void on_timer(h2o_timeout_entry_t *entry)
{
    struct completion *c = H2O_STRUCT_FROM_MEMBER(struct completion, timer, entry);
    if (c->state == WAITING) {
        bool is_late = clock_now_ms() >= c->deadline_ms;
        enum failure failure = is_late ? FAILURE_UPSTREAM_TIMEOUT : FAILURE_UNAVAILABLE;
        report(c, failure, OUTCOME_TRANSIENT);
        fail_plainly(c, failure, is_late ? 0 : UNAVAILABLE_RETRY_S);
        return;
    }
    log_warning(c->call->id, "deadline_passed");
    cancel(c, CANCEL_TIMEOUT);
    fail_plainly(c, FAILURE_UPSTREAM_TIMEOUT, 0);
}

/* ---- beginning ---- */

/* A header that goes to the upstream: as it is, or a 400 that names it. */
static bool take_header(struct call *call, const struct head *head, struct span name, struct span *value)
{
    *value = head_find(head, name);
    if (value->length <= 256 && span_is_header_safe(*value) && span_is_utf8(*value))
        return true;
    struct call_problem problem = {
        .failure = FAILURE_INVALID_REQUEST,
        .message = SPAN("The header's value is too long or holds characters that are not allowed."),
        .param = name,
    };
    call_fail_with(call, &problem);
    return false;
}

static bool take_headers(struct completion *c, struct call *call, const struct head *head)
{
    struct span trace = head_find(head, SPAN("traceparent"));
    if (trace.length <= 256 && span_is_header_safe(trace) && span_is_utf8(trace))
        c->traceparent = trace; /* W3C: a bad one is ignored */
    return take_header(call, head, SPAN("X-Conversation-ID"), &c->conversation_id) &&
           take_header(call, head, SPAN("X-Conversation-Request-ID"), &c->conversation_request_id) &&
           take_header(call, head, SPAN("X-Conversation-Message-ID"), &c->conversation_message_id);
}

bool completions_are_full(const struct completions *all)
{
    return all->count >= (size_t)all->gateway->settings->max_streams;
}

void completions_start(struct completions *all, struct call *call, const struct head *head)
{
    if (completions_are_full(all)) {
        metrics_add(all->gateway->metrics, METRIC_OVERLOADED, 1);
        call_fail(call, FAILURE_OVERLOADED, OVERLOADED_RETRY_S);
        return;
    }
    struct completion *c = calloc(1, sizeof *c);
    if (!c) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    if (!take_headers(c, call, head)) {
        free(c);
        return;
    }
    c->all = all;
    c->call = call;
    c->deadline_ms = call->started_ms + all->gateway->settings->total_timeout_s * 1000;
    all->count++;
    call_watch(call, &call_events, c);
    c->state = OVER; /* on no list yet */
    enter(c, WAITING, NULL);
    dispatch(c, NULL);
}

void answer_completions(struct call *call, const struct head *head, struct span rest)
{
    (void)rest;
    completions_start(call->gateway->completions, call, head);
}

/* ---- the whole ---- */

struct completions *completions_new(struct gateway *gateway)
{
    struct completions *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    uint64_t total_ms = (uint64_t)gateway->settings->total_timeout_s * 1000;
    all->gateway = gateway;
    h2o_timeout_init(service_loop(gateway->service), &all->wait_timeout,
                     total_ms < WAIT_MS ? total_ms : WAIT_MS);
    h2o_timeout_init(service_loop(gateway->service), &all->total_timeout, total_ms + DEADLINE_GRACE_MS);
    all->hook =
        service_at_turn_end(gateway->service, send_pieces, all); /* before the link's: it sends the train */
    all->pool = all->hook ? pool_new(gateway->service, &pool_events, all) : NULL;
    if (!all->pool)
        completions_free(&all);
    return all;
}

void completions_abort_all(struct completions *all)
{
    struct completion *c, *next;
    if (!all)
        return;
    HASH_ITER (hh, all->by_number, c, next) {
        cancel(c, CANCEL_DRAIN);
        call_abort(c->call);
    }
    while (all->waiting) {
        c = all->waiting;
        cancel(c, CANCEL_DRAIN);
        call_abort(c->call);
    }
}

void completions_free(struct completions **all_pointer)
{
    struct completions *all = *all_pointer;
    *all_pointer = NULL;
    if (!all)
        return;
    pool_free(&all->pool);
    service_remove_hook(all->gateway->service, &all->hook);
    h2o_timeout_dispose(service_loop(all->gateway->service), &all->wait_timeout);
    h2o_timeout_dispose(service_loop(all->gateway->service), &all->total_timeout);
    uv_run(service_loop(all->gateway->service), UV_RUN_NOWAIT); /* their handles are in this struct */
    free(all);
}

struct completions_census completions_count(const struct completions *all)
{
    return (struct completions_census){
        .in_flight = all->count,
        .waiting = all->waiting_count,
        .workers = pool_worker_count(all->pool),
        .accepting = pool_accepting_count(all->pool),
    };
}
