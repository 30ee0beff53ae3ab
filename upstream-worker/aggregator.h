/* SPDX-License-Identifier: MIT */
/* aggregator - puts the chunks of one answer together into one `chat.completion`.
 *
 * It reads the same chunks that a streaming client is sent, choice 0 only (http-api.md 2 has one choice).
 * Strings are joined raw, never unescaped. content, reasoning_content, refusal, tool call arguments and the
 * old function_call's are concatenated; logprobs' `content` and `refusal` lists are joined; of every other
 * field the last value wins, which is what OpenAI's own client does with a stream. */
#ifndef UPSTREAM_WORKER_AGGREGATOR_H
#define UPSTREAM_WORKER_AGGREGATOR_H

#include "upstream-worker/chunk.h"
#include "upstream-worker/json_tree.h"

struct aggregator;

/* `limit_bytes`: of all that is kept. NULL: out of memory. */
struct aggregator *aggregator_new(size_t limit_bytes);
void aggregator_free(struct aggregator **aggregator);
/* Adds a chunk; all of it is copied. `tree` is scratch; it may be the one that the chunk was made with, for
 * chunks point into texts, not trees. 0; ERR_TOO_LARGE; ERR_NOMEM; ERR_INVALID: not a chunk of the
 * normaliser's. */
int aggregator_add(struct aggregator *aggregator, const struct chunk *chunk, struct json_tree *tree);
/* Adds the members of a JSON object to the completion's own. Results as above. */
int aggregator_add_members(struct aggregator *aggregator, struct span object, struct json_tree *tree);
/* Appends the completion. `head`: chunk_append_head's; `usage_json` may be empty. 0 or ERR_NOMEM, then `out`
 * is as it was. */
int aggregator_append_json(const struct aggregator *aggregator, struct span head, struct span usage_json,
                           struct buffer *out);

#endif
