/* SPDX-License-Identifier: MIT */
/* usage - what a completion cost, read from the upstream's `usage` object in any of its spellings
 * (upstream.md 5). */
#ifndef UPSTREAM_WORKER_USAGE_H
#define UPSTREAM_WORKER_USAGE_H

#include "upstream-worker/json_tree.h"

/* Counts are never negative; what the upstream did not say, or said absurdly, is 0. */
struct usage {
    int64_t prompt_tokens;
    int64_t completion_tokens;
    int64_t cached_tokens;     /* part of prompt_tokens */
    int64_t reasoning_tokens;  /* part of completion_tokens */
    int64_t credit_millionths; /* the price of the call, in millionths of a credit */
};

/* Reads the object `node`; anything else reads as all zero. */
void usage_read(const struct json_tree *tree, uint32_t node, struct usage *usage);

#endif
