/* SPDX-License-Identifier: MIT */
/* exchange_private - what exchange.c (the request and the client's side) and attempt.c (the credential's and
 * the upstream's side) share. Included by nobody else. */
#ifndef UPSTREAM_WORKER_EXCHANGE_PRIVATE_H
#define UPSTREAM_WORKER_EXCHANGE_PRIVATE_H

#include "proto/trace_context.h"
#include "upstream-worker/exchange.h"
#include "upstream-worker/relay.h"

enum { CREDENTIAL_ID_BYTES = 64, FAIL_TEXT_BYTES = 1024, FAIL_PARAM_BYTES = 128 };

/* A failure, kept until it is told or superseded. The texts lie in one buffer, in this order. */
struct ending {
    bool is_failure;
    bool is_movable; /* another worker may do better: the gateway decides, and reports */
    enum failure failure;
    enum outcome outcome;
    uint32_t retry_after_s;
    struct buffer texts;
    size_t message_length, type_length, code_length, param_length;
};

struct exchange {
    struct exchange_home *home;
    enum exchange_state state;
    void *place;
    struct relay relay;

    /* The request: spans into `texts`. */
    char *texts;
    struct span request_id, client_request_id, key_id, conversation_id, conversation_request_id,
        conversation_message_id;
    struct span traceparent, tracestate; /* empty: none */
    struct span only_credential_id;      /* the one to use; empty: any */
    uint8_t moves;
    int64_t started_ms, started_wall_ms, deadline_ms;

    /* Its body; let go at the first byte of a stream's answer. */
    char *body;
    size_t body_bytes, arrived_bytes;
    struct rulebook *rulebook; /* held: `request` and its payload borrow from it */
    struct request_body *request;
    struct buffer flat; /* a small one, as the upstream wants it: `body` and `request` are gone then */
    struct span flat_piece;
    struct payload flat_payload;  /* borrows flat_piece */
    char *model;                  /* as the client named it; NULL before it is known */
    size_t upstream_model_offset; /* behind the operator's prefix */
    bool wants_stream, wants_usage;

    /* The attempt. */
    struct lease lease;
    struct buffer exclude; /* credential ids that were tried, comma separated */
    char credential_id[CREDENTIAL_ID_BYTES + 1];
    char *url;
    struct call_headers headers;
    struct transfer *transfer;
    struct response_head head;
    struct answer *answer;
    int answer_status;
    struct buffer out; /* what the answer made since it was last sent; or the body of a refusal */
    size_t hold_bytes; /* what may wait here beyond the window before the transfer is paused */
    int64_t heard_ms;  /* last event of the upstream, or the call's beginning */
    uint64_t event_count;
    uint8_t attempts;
    bool has_retried;

    struct ending ending; /* why the last attempt failed, until it is the end */
    struct usage usage;
    uint32_t first_event_ms;
};

static inline int64_t exchange_now_ms(const struct exchange *exchange)
{
    return exchange->home->now_ms(exchange->home->now_context);
}

/* The trace that it belongs to: in each of its log lines. Empty: none. */
static inline struct span exchange_trace_id(const struct exchange *exchange)
{
    return trace_parent_id(exchange->traceparent);
}

/* ---- exchange.c ---- */

/* Notes why it failed; the texts are copied (clipped to what FAIL carries) and may be empty. */
void exchange_note_failure(struct exchange *exchange, enum failure failure, enum outcome outcome,
                           uint32_t retry_after_s, struct span message, struct span type, struct span code,
                           struct span param);
/* Ends with the failure noted. The attempt must be over (attempt_end). */
void exchange_finish_failed(struct exchange *exchange);
/* Both, for failures without texts of their own. Ends the attempt too. */
void exchange_fail(struct exchange *exchange, enum failure failure, enum outcome outcome);
/* Ends what this process has not the means for: another worker may, unless the answer has begun. */
void exchange_send_back(struct exchange *exchange);
/* Sends `out` as part of a stream, HEAD first. False if that ended the exchange. */
bool exchange_send_stream(struct exchange *exchange);
/* The answer is whole; `out` has the rest of it. Ends the attempt too. */
void exchange_complete(struct exchange *exchange);

/* ---- attempt.c ---- */

/* Asks credd for a credential and goes on from there. */
void attempt_lease(struct exchange *exchange);
/* Ends transfer and lease, if there are any; the answer is gone, its usage is read. */
void attempt_end(struct exchange *exchange, const struct msg_release *release);
/* The stream has begun: what only another attempt would need goes. */
void attempt_commit(struct exchange *exchange);
/* Frees what the call borrowed. No transfer may run. */
void attempt_free_call(struct exchange *exchange);
/* Looks at the upstream's silence. */
void attempt_tick(struct exchange *exchange);

#endif
