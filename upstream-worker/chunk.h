/* SPDX-License-Identifier: MIT */
/* chunk - one normalised piece of an answer, before it is written: what the normaliser says, and what both
 * the stream writer (here) and the aggregator read. Whatever is decided about an event is decided before it
 * gets here, so that streamed and plain answers cannot tell different stories.
 *
 * All spans are borrowed, from the event's text or from the stream's state; `raw` ones are JSON as it stands:
 * a string field's is the inside of the string, still escaped. An empty span is an absent field. */
#ifndef UPSTREAM_WORKER_CHUNK_H
#define UPSTREAM_WORKER_CHUNK_H

#include "proto/bytes.h"

/* A member that passes as it stands. */
struct chunk_field {
    struct span raw_key;   /* without quotes */
    struct span raw_value; /* any JSON value */
};

/* A run of the chunk's fields or calls. */
struct chunk_run {
    uint32_t first, count;
};

/* A fragment of a tool call. */
struct chunk_call {
    uint32_t index; /* ours: 0-based, in order of appearance, stable */
    bool is_first;  /* carries id, type and name */
    struct span raw_id, raw_type, raw_name;
    struct span raw_arguments; /* may be empty on the first fragment */
    struct chunk_run fields;   /* further members of the call, such as a signature */
    struct chunk_run function_fields;
};

struct chunk_choice {
    uint32_t index;
    bool has_role; /* the delta says role "assistant" */
    struct span raw_content, raw_reasoning, raw_refusal, raw_finish_reason;
    struct span function_call; /* the old form, as an object */
    struct span logprobs;      /* an object */
    struct chunk_run calls;
    struct chunk_run delta_fields;
    struct chunk_run fields;
};

/* Arrays are used again from chunk to chunk. */
struct chunk {
    struct chunk_choice *choices;
    struct chunk_call *calls;
    struct chunk_field *all_fields;
    uint32_t choice_count, call_count, field_count;
    uint32_t choice_capacity, call_capacity, field_capacity;
    struct chunk_run fields; /* top-level members */
};

void chunk_init(struct chunk *chunk);
void chunk_fini(struct chunk *chunk);
void chunk_clear(struct chunk *chunk);
/* Each returns a cleared new entry at the end, NULL when out of memory; entries move when the next is added.
 */
struct chunk_choice *chunk_add_choice(struct chunk *chunk);
struct chunk_call *chunk_add_call(struct chunk *chunk);
/* 0 or ERR_NOMEM. */
int chunk_add_field(struct chunk *chunk, struct span raw_key, struct span raw_value);

/* Appends the chunk as one client event, `data: {...}\n\n`. `head` is what all chunks of the stream have in
 * common: chunk_append_head's. On ERR_NOMEM `out` is as it was. */
int chunk_append_event(const struct chunk *chunk, struct span head, struct buffer *out);
/* Appends `{"id":...,"object":OBJECT,"created":...,"model":...`, without the closing brace. 0 or ERR_NOMEM.
 */
int chunk_append_head(struct buffer *out, struct span id, const char *object, int64_t created_s,
                      struct span model);
/* Appends `,"key":value` for each field of a run. 0 or ERR_NOMEM. */
int chunk_append_fields(const struct chunk *chunk, struct chunk_run run, struct buffer *out);

#endif
