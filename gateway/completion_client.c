/* SPDX-License-Identifier: MIT */
/* completion_client - a completion's way to its client: writes, credit for what was written, leaving, errors.
 */
#include "gateway/completion_private.h"
#include "gateway/metrics.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <utlist.h>

enum { CREDIT_BYTES = 64 << 10 /* least WINDOW returned; WINDOW_BYTES must be several times this */ };

void completion_forget_dirty(struct completion *c)
{
    if (c->is_dirty)
        DL_DELETE2(c->all->dirty, c, dirty_prev, dirty_next);
    c->is_dirty = false;
}

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
        completion_forget_dirty(c);
        flush(c);
    }
}

void completion_flush_later(struct completion *c)
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
        completion_report(c, FAILURE_CANCELLED, OUTCOME_CANCELLED);
    if (c->state != FINISHING)
        completion_cancel(c, CANCEL_CLIENT_LEFT);
    call_abort(c->call);
}

static void on_call_ended(void *owner)
{
    struct completion *c = owner;
    if (c->state == WAITING)
        completion_report(c, FAILURE_CANCELLED, OUTCOME_CANCELLED);
    if (completion_has_worker(c->state))
        completion_cancel(c, CANCEL_CLIENT_LEFT); /* a write failed before the client's leaving was seen */
    completion_enter(c, OVER, NULL);
}

const struct call_events completion_call_events = {on_written, on_client_left, on_call_ended};

static void append_error_event(struct completion *c, const struct call_problem *problem)
{
    int error = buffer_append_span(&c->pending, SPAN("data: "));
    if (error == 0)
        error = failure_append_json(&c->pending, problem->failure, problem->message, problem->type,
                                    problem->code, problem->param);
    if (error == 0)
        error = buffer_append_span(&c->pending, SPAN("\n\n"));
    if (error < 0)
        log_error(c->call->id, "error_event_failed", LOG_STR("problem", error_text(error)),
                  LOG_OPT("trace", call_trace_id(c->call)));
}

void completion_fail(struct completion *c, const struct call_problem *problem)
{
    if (c->state != FINISHING)
        completion_enter(c, FINISHING, NULL);
    if (c->call->phase == CALL_FINISHED)
        return;
    c->call->failure = problem->failure;
    if (!c->is_begun) {
        call_fail_with(c->call, problem);
    } else if (c->is_stream) {
        append_error_event(c, problem);
        completion_flush_later(c);
    } else {
        call_abort(c->call);
    }
}

void completion_fail_plainly(struct completion *c, enum failure failure, uint32_t retry_after_s)
{
    struct call_problem problem = {.failure = failure, .retry_after_s = retry_after_s};
    completion_fail(c, &problem);
}
