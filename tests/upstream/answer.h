/* SPDX-License-Identifier: MIT */
/* What the model "says" in a scenario: the list of deltas, and the JSON of each chunk, of the finish and
 * usage chunks, of a whole completion and of errors. Knows nothing of SSE, HTTP or time. Pure.
 *
 * The content is predictable, so that a reader can tell loss, doubling and reordering without being told:
 * content chunk k says `tK ` (then fill), reasoning chunk k says `rK `, tool call i has the id PREFIX_s0i
 * and the arguments {"city":"City i","n":i,"note":"é世🙂 \"q\""}. */
#ifndef UPSTREAM_ANSWER_H
#define UPSTREAM_ANSWER_H

#include "tests/upstream/scenario.h"

/* One delta to come. Numbers are -1 where the delta has no such part. */
struct answer_event {
    int32_t content, reasoning;
    int32_t tool, tool_count; /* calls tool .. tool + tool_count - 1 */
    int32_t fragment;         /* of these calls */
    bool role_only, noise_only, echo, first, last;
};

struct answer {
    const struct scenario *scenario; /* borrowed */
    struct span model;               /* decoded; borrowed */
    struct span echo;                /* what echo=1 says; borrowed */
    struct span request_id;          /* what mark=1 says; borrowed */
    int64_t wall_s;                  /* now, for dates in errors */
    struct answer_event *events;     /* owned */
    size_t event_count, event_capacity;
};

struct answer_usage {
    int64_t prompt, completion, cached, reasoning;
    int64_t credit_nano; /* 1e-9 credits */
};

/* Makes the list of deltas from the members above it. */
void answer_init(struct answer *answer);
void answer_fini(struct answer *answer);

/* JSON of delta number index. */
void answer_append_delta(const struct answer *answer, size_t index, struct buffer *out);
/* A content chunk with a text of its own, for bodies that never end. */
void answer_append_filler(const struct answer *answer, struct buffer *out);
/* True if the scenario has such a chunk. */
bool answer_has_finish(const struct answer *answer);
bool answer_has_usage_chunk(const struct answer *answer);
void answer_append_finish(const struct answer *answer, struct buffer *out);
void answer_append_usage_chunk(const struct answer *answer, struct buffer *out);
/* The event of bad=...; for BAD_NUL and BAD_UTF8 it is not text. */
void answer_append_bad(const struct answer *answer, struct buffer *out);
/* The event of stream_error=... */
void answer_append_stream_error(const struct answer *answer, struct buffer *out);
/* The body of an answer that is no stream, and its media type. */
void answer_append_body(const struct answer *answer, struct buffer *out);
const char *answer_body_type(const struct answer *answer);
/* What usage says at the end; all 0 if the scenario has none. */
struct answer_usage answer_total_usage(const struct answer *answer);

#endif
