/* SPDX-License-Identifier: MIT */
/* request_body - checks a client's chat completion request and makes the upstream's body of it.
 *
 * The body lies in one piece of memory, which may still be filling (and moving) while it is scanned. Nothing
 * is copied but what must change, and no call does more work than its budget allows: a 24 MB body is scanned
 * slice by slice, one slice per loop turn.
 *
 *     request = request_body_new(&options);
 *     while ((status = request_body_scan(request, arrived, is_whole, REQUEST_SLICE_BYTES)) == REQUEST_MORE)
 *         come back next turn, or when more has arrived;
 *
 * Refused (http-api.md 2), with a message and a `param` that name the field: what is not a JSON object in
 * UTF-8; nesting over 512; `messages` missing, not an array, empty; a message that is no object, has no
 * string role, or no content (an assistant's may be null, or absent beside tool_calls; a null of any other
 * role is none); `stream` not a boolean; `stream_options` neither object nor null, its include_usage not a
 * boolean; `model` not a string, empty or over REQUEST_MODEL_MAX_BYTES. Also `model`, `messages`, `stream` or
 * `stream_options` given twice, or a message's role or content: parsers differ on which one counts, and we
 * must not check one and send the other.
 *
 * What the upstream gets (upstream.md 4): the same bytes, except that stream is true; stream_options has
 * include_usage true beside the client's others; model is there, without the operator's prefix; role
 * developer is system; the first system message is first, or a default one is put there; the operator's rules
 * are applied to the system messages' texts. */
#ifndef UPSTREAM_WORKER_REQUEST_BODY_H
#define UPSTREAM_WORKER_REQUEST_BODY_H

#include "proto/bytes.h"
#include "upstream-worker/keyword_rules.h"
#include "upstream-worker/payload.h"

enum {
    REQUEST_SLICE_BYTES = 256 << 10,        /* 0.1 to 0.5 ms, measured */
    REQUEST_MODEL_MAX_BYTES = 128,          /* what LEASE, END and EVENT carry (proto/message.h) */
    REQUEST_SYSTEM_MESSAGES_MAX = 10000,    /* system and developer messages: each costs an edit */
    REQUEST_SYSTEM_TEXTS_MAX = 10000,       /* texts that keyword rules apply to */
    REQUEST_RULED_TEXT_MAX_BYTES = 1 << 20, /* one text that keyword rules apply to: about 4 ms at worst */
    REQUEST_STREAM_OPTIONS_MAX_BYTES = 64 << 10
};

/* Borrowed for the request's life. */
struct request_options {
    struct span default_model; /* UTF-8, not escaped; what a body without model gets */
    struct span model_prefix;  /* cut off in front of the upstream's model; may be empty */
    struct span system_text;   /* of the default system message, UTF-8, not escaped */
    const struct keyword_rule *rules;
    size_t rule_count;
};

enum request_status {
    REQUEST_READY, /* checked; the payload is there */
    REQUEST_MORE /* call again: with more bytes if all that arrived is scanned (request_body_offset), else as
                    is */
};

struct request_body;

/* NULL: out of memory. */
struct request_body *request_body_new(const struct request_options *options);
void request_body_free(struct request_body **request);
/* Scans on, at most `budget_bytes` (fewer if they are many small tokens: about 1 ms at worst). `arrived` is
 * all of the body there is so far, from its first byte; the next call may give it at another address, with
 * the same bytes and more. After REQUEST_READY the payload borrows the memory of that call. An enum
 * request_status; ERR_INVALID: refused, see request_body_message; ERR_NOMEM. Final but for MORE. */
int request_body_scan(struct request_body *request, struct span arrived, bool is_whole, size_t budget_bytes);
/* How many bytes are scanned. */
size_t request_body_offset(const struct request_body *request);

/* After ERR_INVALID: what to tell the client, and the field's path (`messages[3].role`), empty if it is the
 * body as a whole. Borrowed. */
struct span request_body_message(const struct request_body *request);
struct span request_body_param(const struct request_body *request);

/* After REQUEST_READY. */
struct span
request_body_model(const struct request_body *request); /* as the client named it, or the default; borrowed */
bool request_body_wants_stream(const struct request_body *request);
bool request_body_wants_usage(const struct request_body *request);
/* Borrowed, as long as the request and the body's memory. */
const struct payload *request_body_payload(const struct request_body *request);

#endif
