/* SPDX-License-Identifier: MIT */
/* trace_context - what a client says of the trace that its request belongs to (W3C Trace Context, the
 * Recommendation of 2021: https://www.w3.org/TR/trace-context-1/). Pure; nothing blocks.
 *
 * We take part in a trace that somebody else began and never begin one: who sends no valid `traceparent`
 * gets none. What is not valid is ignored, as the standard wants it, never refused. */
#ifndef PROTO_TRACE_CONTEXT_H
#define PROTO_TRACE_CONTEXT_H

#include "proto/bytes.h"

enum {
    TRACE_PARENT_BYTES = 55,  /* of version 00, without a NUL */
    TRACE_ID_BYTES = 32,      /* hex digits */
    TRACE_SPAN_BYTES = 16,    /* hex digits */
    TRACE_STATE_BYTES = 512,  /* what all must pass on; a longer tracestate is dropped */
    TRACE_STATE_MEMBERS = 32, /* at most that many in one tracestate */
};

/* Checks a traceparent of this or a later version and writes it as one of version 00, with no flag but
 * `sampled`, and a NUL. False, and "" in `parent`: not valid. */
bool trace_parent_parse(struct span text, char parent[TRACE_PARENT_BYTES + 1]);
/* The trace id of a checked traceparent; empty of an empty one. Borrows. */
struct span trace_parent_id(struct span parent);
/* The same trace, with us as the caller: `span_id` are 16 hex digits, not all of them 0. */
void trace_parent_continue(char parent[TRACE_PARENT_BYTES + 1], struct span received, const char *span_id);
/* Checks one tracestate header and adds its members to `state` behind those of earlier headers. 0;
 * ERR_INVALID, ERR_TOO_LARGE (all of tracestate is to be dropped then); ERR_NOMEM. */
int trace_state_add(struct buffer *state, struct span header);

#endif
