/* SPDX-License-Identifier: MIT */
/* answer - an upstream's 200, from its body's bytes to the client's: SSE or JSON in, a stream or one
 * completion out. Ties sse_parser, normaliser, chunk and aggregator together. Nothing blocks.
 *
 * Life: new → feed* → finish → free. It is over once feed or finish has returned anything but ANSWER_MORE;
 * after that feed and finish return the same again and append nothing.
 *
 * Whether the body is a stream or one JSON text is seen from its first character, not from its content type:
 * no event stream begins with "{", and upstreams send error envelopes under either type.
 *
 * | upstream sent | client streams                          | client does not              |
 * | SSE           | chunks as they come, [usage], [DONE]    | one completion at the end    |
 * | JSON          | the completion as a chunk, [usage], [DONE] | the completion, normalised |
 * | an error      | ANSWER_REFUSED                          | ANSWER_REFUSED               |
 * | HTML          | ERR_INVALID                             | ERR_INVALID                  | */
#ifndef UPSTREAM_WORKER_ANSWER_H
#define UPSTREAM_WORKER_ANSWER_H

#include "upstream-worker/normaliser.h"

enum {
    ANSWER_EVENT_LIMIT_BYTES = 8 << 20,  /* events of 1 MiB are fine; real ones have hundreds of bytes */
    ANSWER_TOTAL_LIMIT_BYTES = 64 << 20, /* a completion is under 1 MiB in practice */
    ANSWER_READ_LIMIT_BYTES = 128 << 20, /* 128,000 tokens come as 32 MiB of events */
};

struct answer_options {
    struct span id;    /* the completion's, without the "chatcmpl-" that is put in front */
    struct span model; /* as the client named it (UTF-8, not escaped) */
    int64_t created_s; /* wall */
    bool wants_stream;
    bool wants_usage;         /* of a stream; a plain answer always has it */
    size_t event_limit_bytes; /* 0: ANSWER_EVENT_LIMIT_BYTES */
    size_t total_limit_bytes; /* of what a plain or JSON answer may gather; 0: ANSWER_TOTAL_LIMIT_BYTES */
    size_t read_limit_bytes;  /* of what a plain one may be made of; 0: ANSWER_READ_LIMIT_BYTES */
};

enum answer_status {
    ANSWER_MORE,     /* feed on */
    ANSWER_COMPLETE, /* all is appended; what the upstream still sends does not matter */
    ANSWER_REFUSED   /* the upstream said it failed: answer_refusal */
};

struct answer;

/* Copies the options; borrows `scratch` for its life. NULL: out of memory. */
struct answer *answer_new(const struct answer_options *options, struct scratch *scratch);
void answer_free(struct answer **answer);
/* Takes bytes of the upstream's body (borrowed) and appends what the client gets now to `out`: whole SSE
 * events if it streams, else nothing before the end. An enum answer_status; or what answer_failure explains:
 * ERR_INVALID, ERR_TOO_LARGE, ERR_NOMEM. What was appended before a failure in the same call is good and may
 * be sent. */
int answer_feed(struct answer *answer, struct span bytes, struct buffer *out);
/* The upstream's body ended cleanly. ANSWER_COMPLETE or ANSWER_REFUSED; ERR_TRUNCATED if the answer is not
 * complete. */
int answer_finish(struct answer *answer, struct buffer *out);

/* After ANSWER_REFUSED: what the upstream said. Borrowed from the answer. */
const struct upstream_error *answer_refusal(const struct answer *answer);
/* What the client is told after a negative status of feed or finish. */
enum failure answer_failure(int error);
/* After ERR_INVALID: why, for the log; static. */
const char *answer_reason(const struct answer *answer);
/* The usage so far; all zero if the upstream gave none. Parses: call it once, at the end. */
void answer_read_usage(struct answer *answer, struct usage *usage);
/* How many upstream events have come ([DONE] counted): time to first event is when this leaves 0. */
uint64_t answer_event_count(const struct answer *answer);

/* Appends `data: {"error":...}\n\n`, the end of a stream that failed after its status line: there is no
 * [DONE]. With a verdict it is that of the upstream's `error` (which may be NULL); without, `failure` in its
 * own words. 0 or ERR_NOMEM. */
int answer_append_error_event(struct buffer *out, enum failure failure, const struct upstream_error *error,
                              const struct upstream_verdict *verdict);

#endif
