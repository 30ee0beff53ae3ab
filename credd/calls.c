/* SPDX-License-Identifier: MIT */
#include "credd/calls.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <utlist.h>

enum { MAX_TABLES = 8, REPLY_MAX_BYTES = 1 << 20 /* what REPLY carries */, OVERLOADED_RETRY_S = 1 };

struct call {
    struct calls *calls;
    void *peer; /* NULL: it went */
    uint64_t request;
    char actor[CALL_ACTOR_MAX_BYTES + 1];
    struct call *prev, *next;
};

struct table {
    const struct call_method *methods;
    void *owner;
};

struct calls {
    void (*send)(void *owner, void *peer, uint64_t request, const struct msg_reply *reply);
    void *owner;
    struct table tables[MAX_TABLES];
    size_t table_count;
    struct call *open;
    size_t open_count;
};

struct calls *
calls_new(void (*send)(void *owner, void *peer, uint64_t request, const struct msg_reply *reply), void *owner)
{
    struct calls *calls = calloc(1, sizeof *calls);
    if (calls) {
        calls->send = send;
        calls->owner = owner;
    }
    return calls;
}

static void call_end(struct call *call)
{
    DL_DELETE(call->calls->open, call);
    call->calls->open_count--;
    free(call);
}

void calls_free(struct calls **calls)
{
    if (!*calls)
        return;
    while ((*calls)->open)
        call_end((*calls)->open);
    free(*calls);
    *calls = NULL;
}

int calls_add(struct calls *calls, const struct call_method *methods, void *owner)
{
    if (calls->table_count == MAX_TABLES)
        return ERR_NOMEM;
    calls->tables[calls->table_count++] = (struct table){methods, owner};
    return 0;
}

void calls_forget_peer(struct calls *calls, const void *peer)
{
    struct call *call;
    DL_FOREACH (calls->open, call) {
        if (call->peer == peer)
            call->peer = NULL;
    }
}

const char *call_actor(const struct call *call)
{
    return call->actor[0] ? call->actor : "unknown";
}

/* ---- answers ---- */

static void send_text(struct call *call, int status, struct span body, uint32_t retry_after_s)
{
    const struct msg_reply reply = {.status = (uint16_t)status, .body = body, .retry_after_s = retry_after_s};
    if (call->peer)
        call->calls->send(call->calls->owner, call->peer, call->request, &reply);
    call_end(call);
}

static void fail_with(struct call *call, enum failure failure, struct span code, const char *param,
                      const char *message, uint32_t retry_after_s)
{
    struct buffer body = {0};
    if (failure_append_json(&body, failure, span_str(message), SPAN(""), code, span_str(param)) < 0)
        buffer_clear(&body); /* the status says it all the same */
    send_text(call, failure_status(failure), buffer_span(&body), retry_after_s);
    buffer_fini(&body);
}

void call_fail(struct call *call, enum failure failure, const char *param, const char *message)
{
    fail_with(call, failure, SPAN(""), param, message, 0);
}

void call_fail_as(struct call *call, enum failure failure, const char *code, const char *message)
{
    call_fail_until(call, failure, code, message, 0);
}

void call_fail_until(struct call *call, enum failure failure, const char *code, const char *message,
                     uint32_t retry_after_s)
{
    fail_with(call, failure, span_str(code), NULL, message, retry_after_s);
}

void call_fail_error(struct call *call, int error)
{
    fail_with(call, error_can_retry(error) ? FAILURE_UNAVAILABLE : FAILURE_INTERNAL, SPAN(""), NULL,
              error_text(error), 0);
}

void call_reply(struct call *call, int status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(body);
    size_t length = text ? strlen(text) : 0;
    if (!text || length > REPLY_MAX_BYTES) {
        log_error(NULL, "reply_failed", LOG_STR("problem", text ? "too large" : error_text(ERR_NOMEM)));
        call_fail(call, FAILURE_INTERNAL, NULL, text ? "The answer is too large." : NULL);
    } else {
        send_text(call, status, span_of(text, length), 0);
    }
    free(text);
}

void call_audit(const struct call *call, const char *what, const char *subject, const char *detail)
{
    calls_audit(call_actor(call), what, subject, detail);
}

void calls_audit(const char *actor, const char *what, const char *subject, const char *detail)
{
    log_info(NULL, "audit", LOG_STR("actor", actor), LOG_STR("what", what), LOG_STR("subject", subject),
             LOG_STR("detail", detail));
}

/* ---- questions ---- */

static const struct call_method *find_method(const struct calls *calls, struct span name, void **owner)
{
    for (size_t i = 0; i < calls->table_count; i++)
        for (const struct call_method *method = calls->tables[i].methods; method->name; method++)
            if (span_equals(span_str(method->name), name)) {
                *owner = calls->tables[i].owner;
                return method;
            }
    return NULL;
}

static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at;) {
        size_t span = strcspn(at, " ");
        if (span == length && memcmp(at, word, length) == 0)
            return true;
        at += span + (at[span] == ' ');
    }
    return false;
}

/* Answers the question, and returns false, if it has an argument that the method does not know. */
static bool arguments_are_known(struct call *call, const struct call_method *method, json_t *arguments)
{
    const char *name;
    json_t *value;
    json_object_foreach (arguments, name, value) {
        if (!list_has(method->arguments, name)) {
            call_fail(call, FAILURE_BAD_FIELD, name, "There is no such field.");
            return false;
        }
    }
    return true;
}

/* Notes who asks. False if the envelope is none. */
static bool take_envelope(struct call *call, json_t *root)
{
    const json_t *actor = json_object_get(root, "actor");
    struct span text = span_of(json_string_value(actor), json_string_length(actor));
    const json_t *arguments = json_object_get(root, "arguments");
    if (!json_is_object(root) || (actor && !json_is_string(actor)) || text.length > CALL_ACTOR_MAX_BYTES)
        return false;
    if (text.length > 0)
        memcpy(call->actor, text.data, text.length);
    return !arguments || json_is_object(arguments);
}

static void answer(struct call *call, const struct msg_call *message)
{
    void *owner = NULL;
    const struct call_method *method = find_method(call->calls, message->method, &owner);
    json_t *root =
        method ? json_loadb(message->body.data, message->body.length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *arguments = json_incref(json_object_get(root, "arguments"));
    if (!arguments)
        arguments = json_object();
    if (!method)
        call_fail(call, FAILURE_NOT_FOUND, NULL, "credd has no such method.");
    else if (!root || !take_envelope(call, root))
        call_fail(call, FAILURE_INVALID_REQUEST, NULL, "The body is not a JSON object.");
    else if (!arguments)
        call_fail_error(call, ERR_NOMEM);
    else if (arguments_are_known(call, method, arguments))
        method->answer(owner, call, arguments);
    json_decref(arguments);
    json_decref(root);
}

/* More than may be open at once: nothing is kept of it. */
static void refuse(struct calls *calls, void *peer, uint64_t request)
{
    struct buffer body = {0};
    struct span none = {NULL, 0};
    if (failure_append_json(&body, FAILURE_OVERLOADED, none, none, none, none) < 0)
        buffer_clear(&body);
    const struct msg_reply reply = {.status = failure_status(FAILURE_OVERLOADED),
                                    .body = buffer_span(&body),
                                    .retry_after_s = OVERLOADED_RETRY_S};
    log_warning(NULL, "call_refused", LOG_INT("open", calls->open_count));
    calls->send(calls->owner, peer, request, &reply);
    buffer_fini(&body);
}

void calls_take(struct calls *calls, void *peer, uint64_t request, const struct msg_call *message)
{
    struct call *call = calls->open_count < CALLS_MAX_OPEN ? calloc(1, sizeof *call) : NULL;
    if (!call) {
        refuse(calls, peer, request);
        return;
    }
    call->calls = calls;
    call->peer = peer;
    call->request = request;
    DL_APPEND(calls->open, call);
    calls->open_count++;
    answer(call, message);
}
