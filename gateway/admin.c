/* SPDX-License-Identifier: MIT */
/* admin - the admin API: its questions belong to credd and statsd, and are handed on as the route's CALL
 * (credd/README.md and statsd/README.md say with what arguments). 503 when who is asked is away or slow. */
#include "gateway/call.h"
#include "gateway/handlers.h"
#include "gateway/percent.h"
#include "gateway/query.h"
#include "gateway/routes.h"
#include "gateway/rpc.h"
#include "proto/error.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CREDD_TIMEOUT_MS = 35000, /* it may have to ask the upstream */
    STATSD_TIMEOUT_MS = 5000, /* longer than it lets a question take */
    RETRY_S = 2,
    ID_MAX_BYTES = 64,
    BODY_MAX_BYTES = (1 << 19) - 1024 /* what CALL carries, less its envelope */
};

struct question {
    struct call *call;
    struct rpc *rpc;
    struct rpc_question *open; /* NULL once answered */
    bool is_csv;               /* if it is answered with 200 */
};

static void fail_away(struct call *call)
{
    struct call_problem problem = {
        .failure = FAILURE_UNAVAILABLE,
        .retry_after_s = RETRY_S,
        .message = SPAN("The service that answers this is away; try again shortly."),
    };
    call_fail_with(call, &problem);
}

/* What the answer says of it. */
static void add_retry_after(const struct question *question)
{
    char retry_after[12];
    if (rpc_retry_after_s(question->rpc) == 0)
        return;
    snprintf(retry_after, sizeof retry_after, "%" PRIu32, rpc_retry_after_s(question->rpc));
    call_add_header(question->call, "Retry-After", span_str(retry_after));
}

static void on_answered(void *context, int error, int status, struct span body)
{
    struct question *question = context;
    question->open = NULL;
    if (error < 0 || status < 200 || status > 599) {
        fail_away(question->call);
        return;
    }
    add_retry_after(question);
    if (question->is_csv && status == 200) {
        call_add_header(question->call, "Content-Disposition", SPAN("attachment; filename=\"usage.csv\""));
        call_reply(question->call, status, "text/csv; charset=utf-8", body);
    } else {
        call_reply(question->call, status, "application/json", body);
    }
}

static void on_left(void *owner)
{
    struct question *question = owner;
    rpc_drop(&question->open);
    call_abort(question->call);
}

static void on_ended(void *owner)
{
    struct question *question = owner;
    rpc_drop(&question->open);
    free(question);
}

static void on_written(void *owner)
{
    (void)owner; /* the answer is one piece */
}

static const struct call_events events = {on_written, on_left, on_ended};

static void ask(struct call *call, struct rpc *rpc, struct span body, uint64_t timeout_ms, bool is_csv)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    question->call = call;
    question->is_csv = is_csv;
    question->rpc = rpc;
    call_watch(call, &events, question);
    question->open = rpc_ask(rpc, call->route->ask, body, timeout_ms, on_answered, question);
    if (!question->open)
        fail_away(call);
}

/* The client's JSON object, or an empty one if there is no body; NULL: answered with an error. Owned. */
static json_t *read_arguments(struct call *call)
{
    struct call_problem problem = {.failure = FAILURE_INVALID_REQUEST,
                                   .message = SPAN("The body is not a JSON object.")};
    if (call->body.length == 0 || !call->route->takes_body)
        return json_object();
    json_t *arguments = NULL;
    if (call->body.length > BODY_MAX_BYTES)
        problem = (struct call_problem){.failure = FAILURE_TOO_LARGE};
    else
        arguments = json_loadb(call->body.data, call->body.length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(arguments))
        return arguments;
    json_decref(arguments);
    call_fail_with(call, &problem);
    return NULL;
}

/* Takes the arguments. Returns owned the CALL's body, NULL when out of memory. */
static char *wrap(const struct call *call, json_t *arguments)
{
    const char *actor = call->caller.has_session ? "session" : "password";
    json_t *root = json_pack("{s:s, s:o}", "actor", actor, "arguments", arguments);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

void answer_by_credd(struct call *call, const struct head *head, struct span rest)
{
    char id[ID_MAX_BYTES];
    int length = percent_decode(rest, id, sizeof id);
    (void)head;
    if (length < 0) {
        call_fail(call, FAILURE_NOT_FOUND, 0);
        return;
    }
    json_t *arguments = read_arguments(call);
    if (!arguments)
        return;
    if (call->route->takes_rest &&
        json_object_set_new(arguments, "id", json_stringn(id, (size_t)length)) < 0) {
        json_decref(arguments);
        call_fail(call, FAILURE_NOT_FOUND, 0); /* not UTF-8: nothing has such an id */
        return;
    }
    char *body = wrap(call, arguments);
    if (body)
        ask(call, call->gateway->credd, span_str(body), CREDD_TIMEOUT_MS, false);
    else
        call_fail(call, FAILURE_INTERNAL, 0);
    free(body);
}

bool read_query(struct call *call, const struct head *head, json_t *arguments)
{
    struct query_problem wrong = {.message = NULL};
    int error = call->route->query ? query_read(head->query, call->route->query, arguments, &wrong) : 0;
    struct call_problem problem = {
        .failure = FAILURE_BAD_FIELD, .param = span_str(wrong.name), .message = span_str(wrong.message)};
    if (error == ERR_INVALID)
        call_fail_with(call, &problem);
    else if (error < 0)
        call_fail(call, FAILURE_INTERNAL, 0);
    return error == 0;
}

/* /api/usage is also had as a table, by ?format=csv or `Accept: text/csv`. */
static bool wants_csv(const struct head *head, json_t *arguments)
{
    struct span accept = head_find(head, SPAN("accept")), csv = SPAN("text/csv");
    const char *format = json_string_value(json_object_get(arguments, "format"));
    if (!format && accept.length > 0 && memmem(accept.data, accept.length, csv.data, csv.length)) {
        format = "csv";
        if (json_object_set_new(arguments, "format", json_string(format)) < 0)
            return false;
    }
    return format && strcmp(format, "csv") == 0;
}

void answer_by_statsd(struct call *call, const struct head *head, struct span rest)
{
    bool is_csv = false;
    (void)rest;
    json_t *arguments = json_object();
    if (!arguments) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    if (!read_query(call, head, arguments)) {
        json_decref(arguments);
        return;
    }
    if (call->route->query && strstr(call->route->query, "format"))
        is_csv = wants_csv(head, arguments);
    char *body = wrap(call, arguments);
    if (body)
        ask(call, call->gateway->statsd, span_str(body), STATSD_TIMEOUT_MS, is_csv);
    else
        call_fail(call, FAILURE_INTERNAL, 0);
    free(body);
}
