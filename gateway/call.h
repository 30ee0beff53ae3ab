/* SPDX-License-Identifier: MIT */
/* call - one HTTP request being answered: who asks, and the only way to answer. It hides h2o.
 *
 *   phase    | call_fail, | call_begin | call_write | call_write, | h2o has     | call_abort
 *            | call_reply |            |            | last        | written     |
 *   OPEN     | FINISHED   | IDLE       | -          | -           | -           | FINISHED, cut
 *   IDLE     | -          | -          | WRITING    | FINISHED    | -           | FINISHED, cut
 *   WRITING  | -          | -          | -          | -           | IDLE        | FINISHED, cut
 *   FINISHED | -          | -          | -          | -           | -           | -
 *
 * A call lives in its h2o request's pool: it is gone when events->ended returns, or, without events, once it
 * is FINISHED. The last call_write, call_fail, call_reply and call_abort may end it before they return. */
#ifndef GATEWAY_CALL_H
#define GATEWAY_CALL_H

#include "gateway/auth.h"
#include "gateway/connection.h"
#include "gateway/gateway.h"
#include "gateway/request_id.h"
#include "proto/outcome.h"
#include "proto/trace_context.h"

struct route;

enum call_phase { CALL_OPEN, CALL_IDLE, CALL_WRITING, CALL_FINISHED };

/* For an answer that is not given at once. Each is called on the loop. */
struct call_events {
    void (*written)(void *owner); /* what call_write was given has reached the socket */
    void (*left)(void *owner);    /* the client is gone: call_abort is all that is left to do */
    void (*ended)(void *owner); /* the call is over, however it ended, and is gone when this returns. Last. */
};

/* What became of it beyond HTTP, for the access line. */
struct call_service {
    bool is_completion;
    bool is_judged; /* `outcome` is said */
    enum outcome outcome;
    struct span model, credential_id; /* in the call's pool */
    uint64_t prompt_tokens, completion_tokens;
    uint8_t attempts, moves;
};

struct call {
    struct gateway *gateway;
    struct connection *connection;
    const struct route *route; /* NULL: none */
    struct caller caller;
    char credential_id[65]; /* the one credential that may serve it; "": any */
    char id[REQUEST_ID_BYTES];
    char traceparent[TRACE_PARENT_BYTES + 1]; /* of the client, checked; "": none */
    struct span tracestate;
    const char *method; /* a literal; NULL: not understood */
    size_t body_bytes;
    struct span body;       /* of the request; borrowed until connection_release_input */
    struct span cors_allow; /* value of Access-Control-Allow-Origin, or empty */
    int64_t started_ms, started_wall_ms;
    int64_t began_ms; /* the answer; 0: not yet */
    struct call_service service;
    /* The rest is call.c's. */
    enum call_phase phase;
    bool is_head; /* HEAD: no body in the answer */
    uint16_t status;
    enum failure failure;
    uint64_t sent_bytes;
    const struct call_events *events;
    void *owner;
    char retry_after[12];
    h2o_req_t *req;
    h2o_generator_t generator;
};

/* The trace that a call belongs to: in each of its log lines. Empty: none. */
static inline struct span call_trace_id(const struct call *call)
{
    return trace_parent_id(span_str(call->traceparent));
}

/* Makes the record of a request whose head passed the connection. Lives in `req`'s pool. */
struct call *call_new(struct gateway *gateway, h2o_req_t *req, struct connection *connection,
                      const struct head *head);
/* Who is told of this call's fate. */
void call_watch(struct call *call, const struct call_events *events, void *owner);

/* Who serves it what, as far as is known: copied. Empty ones leave what was there. */
void call_note_service(struct call *call, struct span model, struct span credential_id);

/* A header of the answer; before it begins. `name` is a literal; the value is copied. */
void call_add_header(struct call *call, const char *name, struct span value);
/* The whole answer; the body is copied. `content_type` is a literal; NULL with an empty body: none. */
void call_reply(struct call *call, int status, const char *content_type, struct span body);
/* The error as JSON; empty parts are the list's own (failure.h). */
void call_fail(struct call *call, enum failure failure, uint32_t retry_after_s);
struct call_problem {
    enum failure failure;
    uint32_t retry_after_s;
    struct span message, type, code, param;
};
void call_fail_with(struct call *call, const struct call_problem *problem);

/* Begins an answer in pieces: an event stream, or JSON of `content_bytes` (-1: unknown). Nothing leaves
 * before the first call_write. */
void call_begin(struct call *call, int status, bool is_stream, int64_t content_bytes);
/* Writes a piece, without holding anything back. Borrows `data` until events->written, or, of the last piece,
 * events->ended. Only in phase IDLE. */
void call_write(struct call *call, struct span data, bool is_last);
/* Ends it here and now, by cutting the connection. */
void call_abort(struct call *call);

#endif
