/* SPDX-License-Identifier: MIT */
#include "gateway/completion_private.h"
#include "gateway/handlers.h"
#include "gateway/metrics.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    WAIT_MS = 10000,          /* for a worker to come */
    DEADLINE_GRACE_MS = 5000, /* the worker answers for the deadline; this is for one that does not */
    OVERLOADED_RETRY_S = 1,
    UNAVAILABLE_RETRY_S = 5
};

/* ---- state ---- */

bool completion_has_worker(enum completion_state state)
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

static void start_timer(struct completion *c, h2o_timeout_t *timeout)
{
    h2o_timeout_unlink(&c->timer);
    c->timer.cb = completion_on_timer;
    h2o_timeout_link(service_loop(c->all->gateway->service), timeout, &c->timer);
}

static void free_completion(void *memory)
{
    struct completion *c = memory;
    buffer_fini(&c->pending);
    buffer_fini(&c->writing);
    free(c);
}

void completion_enter(struct completion *c, enum completion_state state, struct worker *worker)
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
    assert(completion_has_worker(state) == (worker != NULL));
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
        completion_forget_dirty(c);
        c->call = NULL;
        all->count--;
        service_defer(all->gateway->service, free_completion, c);
        break;
    }
}

void completion_cancel(struct completion *c, enum cancel_reason reason)
{
    struct msg_cancel message = {(uint8_t)reason};
    if (c->worker)
        peer_send(c->worker->peer, MESSAGE_CANCEL, c->number, &message); /* a lost one needs no telling */
    completion_enter(c, FINISHING, NULL);
}

/* ---- usage: what no worker will report ---- */

void completion_report(const struct completion *c, enum failure failure, enum outcome outcome)
{
    struct call *call = c->call;
    call->service.is_judged = true;
    call->service.outcome = outcome;
    int64_t duration_ms = clock_now_ms() - call->started_ms;
    struct msg_event event = {
        .request_id = span_str(call->id),
        .started_wall_ms = call->started_wall_ms,
        .duration_ms = (uint32_t)duration_ms,
        .first_event_ms = c->is_begun ? (uint32_t)(call->began_ms - call->started_ms) : 0,
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

/* ---- time ---- */

void completion_on_timer(h2o_timeout_entry_t *entry)
{
    struct completion *c = H2O_STRUCT_FROM_MEMBER(struct completion, timer, entry);
    if (c->state == WAITING) {
        bool is_late = clock_now_ms() >= c->deadline_ms;
        enum failure failure = is_late ? FAILURE_UPSTREAM_TIMEOUT : FAILURE_UNAVAILABLE;
        completion_report(c, failure, OUTCOME_TRANSIENT);
        completion_fail_plainly(c, failure, is_late ? 0 : UNAVAILABLE_RETRY_S);
        return;
    }
    log_warning(c->call->id, "deadline_passed", LOG_OPT("trace", call_trace_id(c->call)));
    completion_cancel(c, CANCEL_TIMEOUT);
    completion_fail_plainly(c, FAILURE_UPSTREAM_TIMEOUT, 0);
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
    return take_header(call, head, SPAN("X-Conversation-ID"), &c->conversation_id) &&
           take_header(call, head, SPAN("X-Conversation-Request-ID"), &c->conversation_request_id) &&
           take_header(call, head, SPAN("X-Conversation-Message-ID"), &c->conversation_message_id) &&
           take_header(call, head, SPAN("X-Request-ID"), &c->client_request_id);
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
    call->service.is_completion = true;
    call_watch(call, &completion_call_events, c);
    c->state = OVER; /* on no list yet */
    completion_enter(c, WAITING, NULL);
    completion_dispatch(c, NULL);
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
    all->hook = service_at_turn_end(gateway->service, completions_send_pieces,
                                    all); /* before the link's: it sends the train */
    all->pool = all->hook ? pool_new(gateway->service, &completions_pool_events, all) : NULL;
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
        completion_cancel(c, CANCEL_DRAIN);
        call_abort(c->call);
    }
    while (all->waiting) {
        c = all->waiting;
        completion_cancel(c, CANCEL_DRAIN);
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

const struct link *completions_link(const struct completions *all)
{
    return pool_link(all->pool);
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
