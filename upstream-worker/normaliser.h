/* SPDX-License-Identifier: MIT */
/* normaliser - the state of one answer: takes the upstream's events one by one and says what of each is for
 * the client.
 *
 * Rules (http-api.md 2, upstream.md 5), for each choice on its own:
 *   - the first delta that is sent has role "assistant"; no other has a role;
 *   - noise goes: role, content/refusal/reasoning_content null or "", tool_calls [] or null, an empty
 * function_call, extra_fields, finish_reason "", usage and error null;
 *   - `reasoning` becomes `reasoning_content`, unless that is there too: then it is a copy, and goes;
 *   - tool calls: see tool_calls.h;
 *   - unknown members of the event, choice, delta and call pass byte for byte, with a chunk that has
 * something to say: a delta with a field that is not null, a finish_reason, or logprobs. A chunk that has not
 * is not sent;
 *   - a finish_reason that repeats the one sent is not sent again; if the upstream ends with [DONE] and gave
 * none, one is made up: "tool_calls" if there are any, else "stop", so that both modes have one;
 *   - choices pass with their index (under CHOICES_MAX); `message` in the place of `delta` is a whole
 * completion;
 *   - usage is taken off every chunk; the last one wins. Top-level members of an event without choices go
 * with it. A value of the wrong kind (content that is a number) is a protocol error: nothing is passed that
 * one of the two modes could not represent. Bytes that are not UTF-8 become U+FFFD. */
#ifndef UPSTREAM_WORKER_NORMALISER_H
#define UPSTREAM_WORKER_NORMALISER_H

#include "upstream-worker/chunk.h"
#include "upstream-worker/json_tree.h"
#include "upstream-worker/tool_calls.h"
#include "upstream-worker/upstream_error.h"
#include "upstream-worker/usage.h"

enum { CHOICES_MAX = 128 };

/* What is needed only while one event is at work: one per process, shared by all its streams. */
struct scratch {
    struct json_tree tree;
    struct chunk chunk;
    struct buffer repaired; /* an event whose invalid UTF-8 was replaced */
    struct upstream_error error;
};
void scratch_init(struct scratch *scratch);
void scratch_fini(struct scratch *scratch);

struct normaliser;

/* Borrows `scratch` for its life. `id_stem`: what missing tool call ids are made of, copied. NULL: out of
 * memory. */
struct normaliser *normaliser_new(struct scratch *scratch, struct span id_stem);
void normaliser_free(struct normaliser **normaliser);

enum normaliser_result {
    NORMALISER_NOTHING, /* noise, or usage, which is kept */
    NORMALISER_CHUNK,   /* scratch.chunk is for the client, until the next call with this scratch */
    NORMALISER_DONE,    /* [DONE]: go on with normaliser_end */
    NORMALISER_REFUSED  /* the upstream says it failed: scratch.error */
};
/* Takes one event (borrowed). An enum normaliser_result; ERR_INVALID: not an event of this protocol;
 * ERR_TOO_LARGE; ERR_NOMEM. */
int normaliser_take(struct normaliser *normaliser, struct span event);
/* The answer has ended, by [DONE] or by the end of input. NORMALISER_CHUNK: scratch.chunk is the last (what
 * waited, a finish_reason that was missing); NORMALISER_NOTHING; ERR_TRUNCATED: the answer is not complete:
 * neither [DONE] nor a finish_reason came; ERR_NOMEM. Call it once. */
int normaliser_end(struct normaliser *normaliser);

/* Whether any choice has come. A whole completion has one. */
bool normaliser_has_choices(const struct normaliser *normaliser);
/* The last usage object as the upstream sent it; empty if it sent none. Borrowed. */
struct span normaliser_usage_json(const struct normaliser *normaliser);
/* Top-level members that came with usage alone, as a JSON object; empty if there are none. Borrowed. */
struct span normaliser_usage_fields(const struct normaliser *normaliser);
/* Why the last take returned ERR_INVALID, in a few words; static. */
const char *normaliser_reason(const struct normaliser *normaliser);

#endif
