/* SPDX-License-Identifier: MIT */
#include "upstream-worker/usage.h"

static const int64_t ABSURD =
    INT64_C(1000000000000000); /* more than anyone will pay for: the field is broken */

static int64_t sane(int64_t value)
{
    return value < 0 || value > ABSURD ? 0 : value;
}

static int64_t read_count(const struct json_tree *tree, uint32_t object, struct span name)
{
    int64_t value = 0;
    json_node_to_int64(tree, json_tree_find(tree, object, name), &value);
    return sane(value);
}

/* The greatest of several spellings of one count: those that an upstream does not mean are absent or 0. */
static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void usage_read(const struct json_tree *tree, uint32_t node, struct usage *usage)
{
    uint32_t prompt = json_tree_find(tree, node, SPAN("prompt_tokens_details"));
    uint32_t completion = json_tree_find(tree, node, SPAN("completion_tokens_details"));
    int64_t hit = read_count(tree, node, SPAN("prompt_cache_hit_tokens"));
    int64_t miss = read_count(tree, node, SPAN("prompt_cache_miss_tokens"));
    int64_t total = read_count(tree, node, SPAN("total_tokens"));
    int64_t credit = 0;
    *usage = (struct usage){.prompt_tokens = read_count(tree, node, SPAN("prompt_tokens")),
                            .completion_tokens = read_count(tree, node, SPAN("completion_tokens"))};
    if (usage->prompt_tokens == 0)
        usage->prompt_tokens = hit + miss;
    if (usage->completion_tokens == 0 && total > usage->prompt_tokens)
        usage->completion_tokens = total - usage->prompt_tokens;
    usage->cached_tokens = greater(greater(read_count(tree, prompt, SPAN("cached_tokens")), hit),
                                   read_count(tree, node, SPAN("cache_read_input_tokens")));
    usage->reasoning_tokens = greater(read_count(tree, completion, SPAN("reasoning_tokens")),
                                      read_count(tree, node, SPAN("completion_thinking_tokens")));
    json_node_to_millionths(tree, json_tree_find(tree, node, SPAN("credit")), &credit);
    usage->credit_millionths = sane(credit);
}
