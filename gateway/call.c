/* SPDX-License-Identifier: MIT */
#include "gateway/call.h"
#include "gateway/metrics.h"
#include "gateway/refusal.h"
#include "gateway/routes.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>

/* h2o clears the request's pool: the answer is out, or the connection is gone. */
static void call_dispose(void *memory)
{
    struct call *call = memory;
    const struct call_events *events = call->events;
    if (call->phase != CALL_FINISHED) { /* the connection broke under it */
        call->status = failure_status(FAILURE_CANCELLED);
        call->failure = FAILURE_CANCELLED;
    }
    call->phase = CALL_FINISHED;
    call->events = NULL;
    access_log_call(call);
    metrics_request(call->gateway->metrics, call->route, call->status, call->failure);
    connection_request_ended(call->connection);
    if (events)
        events->ended(call->owner);
}

static void on_left(void *context)
{
    struct call *call = context;
    if (call->events)
        call->events->left(call->owner);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct call *call = H2O_STRUCT_FROM_MEMBER(struct call, generator, generator);
    if (call->phase == CALL_FINISHED) { /* aborted while this write was under way */
        h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
        return;
    }
    call->phase = CALL_IDLE;
    connection_write_ended(call->connection);
    if (call->events)
        call->events->written(call->owner);
}

/* A traceparent that is not valid, or comes twice, is as good as none, and without one tracestate means
 * nothing. */
static void take_trace(struct call *call, const struct head *head)
{
    struct buffer state = {0};
    size_t parents = 0;
    int error = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct head_field *field = &head->fields[i];
        if (span_equals_ignoring_case(field->name, SPAN("traceparent")) && ++parents == 1)
            trace_parent_parse(field->value, call->traceparent);
        else if (error == 0 && span_equals_ignoring_case(field->name, SPAN("tracestate")))
            error = trace_state_add(&state, field->value);
    }
    if (parents > 1)
        call->traceparent[0] = '\0';
    if (call->traceparent[0] && error == 0 && state.length > 0) {
        h2o_iovec_t copy = h2o_strdup(&call->req->pool, state.data, state.length);
        call->tracestate = span_of(copy.base, copy.len);
    }
    buffer_fini(&state);
}

struct call *call_new(struct gateway *gateway, h2o_req_t *req, struct connection *connection,
                      const struct head *head)
{
    unsigned char random[10];
    struct call *call = h2o_mem_alloc_shared(&req->pool, sizeof *call, call_dispose);
    *call = (struct call){
        .gateway = gateway,
        .connection = connection,
        .method = head->method.length > 0 ? access_log_method(head->method) : NULL,
        .body_bytes = req->entity.len,
        .body = {req->entity.base, req->entity.len},
        .started_ms = clock_now_ms(),
        .started_wall_ms = clock_wall_ms(),
        .phase = CALL_OPEN,
        .is_head = span_equals(head->method, SPAN("HEAD")),
        .req = req,
        .generator = {on_proceed, NULL},
    };
    randombytes_buf(random, sizeof random);
    take_trace(call, head);
    request_id_make(call->id, call->started_wall_ms, random);
    if (head->is_http_1_0 || connection_is_last(connection))
        req->http1_is_persistent = 0;
    connection_request_begins(connection, on_left, call);
    return call;
}

void call_watch(struct call *call, const struct call_events *events, void *owner)
{
    call->events = events;
    call->owner = owner;
}

static void note_text(struct call *call, struct span *noted, struct span text)
{
    if (text.length == 0 || span_equals(*noted, text))
        return;
    h2o_iovec_t copy = h2o_strdup(&call->req->pool, text.data, text.length);
    *noted = span_of(copy.base, copy.len);
}

void call_note_service(struct call *call, struct span model, struct span credential_id)
{
    note_text(call, &call->service.model, model);
    note_text(call, &call->service.credential_id, credential_id);
}

/* ---- headers ---- */

static void add_header(struct call *call, const char *name, struct span value)
{
    h2o_add_header_by_str(&call->req->pool, &call->req->res.headers, name, strlen(name), 0, NULL, value.data,
                          value.length);
}

void call_add_header(struct call *call, const char *name, struct span value)
{
    h2o_iovec_t copy = h2o_strdup(&call->req->pool, value.data, value.length);
    add_header(call, name, span_of(copy.base, copy.len));
}

static void add_common_headers(struct call *call, int status)
{
    bool is_private = call->route && call->route->audience != AUDIENCE_ANYONE;
    call->req->res.status = status;
    call->req->res.reason = status_phrase(status);
    call->status = (uint16_t)status;
    add_header(call, "X-Request-ID", span_str(call->id));
    if (call->cors_allow.length > 0) {
        call_add_header(call, "Access-Control-Allow-Origin", call->cors_allow);
        add_header(call, "Access-Control-Expose-Headers", SPAN("X-Request-ID, Retry-After"));
        add_header(call, "Vary", SPAN("Origin"));
    }
    if (status == 401)
        add_header(call, "WWW-Authenticate", SPAN("Bearer"));
    if (is_private && h2o_find_header_by_str(&call->req->res.headers, H2O_STRLIT("Cache-Control"), -1) < 0)
        add_header(call, "Cache-Control", SPAN("private, no-store"));
    add_header(call, "X-Content-Type-Options", SPAN("nosniff"));
    if (connection_is_last(call->connection))
        call->req->http1_is_persistent = 0;
}

/* ---- answers ---- */

void call_reply(struct call *call, int status, const char *content_type, struct span body)
{
    assert(call->phase == CALL_OPEN);
    h2o_iovec_t copy = h2o_strdup(&call->req->pool, body.data ? body.data : "", body.length);
    bool has_body = body.length > 0 && !call->is_head;
    if (content_type)
        add_header(call, "Content-Type", span_str(content_type));
    add_common_headers(call, status);
    if (status != 204 && status != 304)
        call->req->res.content_length = body.length;
    call->phase = CALL_FINISHED;
    call->began_ms = clock_now_ms();
    call->sent_bytes = has_body ? body.length : 0;
    connection_write_begins(call->connection);
    h2o_start_response(call->req, &call->generator);
    h2o_send(call->req, &copy, has_body ? 1 : 0, H2O_SEND_STATE_FINAL);
}

void call_fail_with(struct call *call, const struct call_problem *problem)
{
    struct buffer body = {0};
    call->failure = problem->failure;
    if (problem->retry_after_s > 0) {
        snprintf(call->retry_after, sizeof call->retry_after, "%" PRIu32, problem->retry_after_s);
        add_header(call, "Retry-After", span_str(call->retry_after));
    }
    int error = failure_append_json(&body, problem->failure, problem->message, problem->type, problem->code,
                                    problem->param);
    if (error < 0)
        log_error(call->id, "error_body_failed", LOG_STR("problem", error_text(error)),
                  LOG_OPT("trace", call_trace_id(call)));
    call_reply(call, failure_status(problem->failure), "application/json", buffer_span(&body));
    buffer_fini(&body);
}

void call_fail(struct call *call, enum failure failure, uint32_t retry_after_s)
{
    struct call_problem problem = {.failure = failure, .retry_after_s = retry_after_s};
    call_fail_with(call, &problem);
}

void call_begin(struct call *call, int status, bool is_stream, int64_t content_bytes)
{
    assert(call->phase == CALL_OPEN);
    if (is_stream) {
        add_header(call, "Content-Type", SPAN("text/event-stream; charset=utf-8"));
        add_header(call, "Cache-Control", SPAN("no-cache, no-transform"));
        add_header(call, "X-Accel-Buffering", SPAN("no"));
    } else {
        add_header(call, "Content-Type", SPAN("application/json"));
        if (content_bytes >= 0)
            call->req->res.content_length = (size_t)content_bytes;
    }
    add_common_headers(call, status);
    call->phase = CALL_IDLE;
    call->began_ms = clock_now_ms();
    h2o_start_response(call->req, &call->generator);
}

void call_write(struct call *call, struct span data, bool is_last)
{
    assert(call->phase == CALL_IDLE);
    if (data.length == 0 && !is_last)
        return;
    h2o_iovec_t piece = h2o_iovec_init(data.data, data.length);
    call->phase = is_last ? CALL_FINISHED : CALL_WRITING;
    call->sent_bytes += data.length;
    connection_write_begins(call->connection);
    h2o_send(call->req, &piece, data.length > 0 ? 1 : 0,
             is_last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

void call_abort(struct call *call)
{
    enum call_phase phase = call->phase;
    if (phase == CALL_FINISHED)
        return;
    call->failure = call->failure == FAILURE_NONE ? FAILURE_CANCELLED : call->failure;
    call->req->http1_is_persistent = 0;
    connection_cut(call->connection);
    if (phase == CALL_OPEN) {
        call_reply(call, failure_status(FAILURE_CANCELLED), NULL, span_of(NULL, 0));
        return;
    }
    call->phase = CALL_FINISHED;
    if (phase == CALL_IDLE)
        h2o_send(call->req, NULL, 0, H2O_SEND_STATE_ERROR);
    /* WRITING: the write fails on the cut connection and h2o closes it, or it was done already: on_proceed.
     */
}
