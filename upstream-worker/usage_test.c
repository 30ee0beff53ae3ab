/* SPDX-License-Identifier: MIT */
#include "upstream-worker/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void reads_every_spelling(void **state)
{
    static const struct {
        const char *json;
        struct usage usage;
    } rows[] = {
        {"{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}", {10, 5, 0, 0, 0}},
        {"{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4},"
         "\"completion_tokens_details\":{\"reasoning_tokens\":3},\"credit\":1.25}",
         {10, 5, 4, 3, 1250000}},
        {"{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_cache_hit_tokens\":6,\"prompt_cache_miss_"
         "tokens\":4,"
         "\"completion_thinking_tokens\":2,\"credit\":\"0.000001\"}",
         {10, 5, 6, 2, 1}},
        {"{\"prompt_tokens\":10,\"cache_read_input_tokens\":7,\"cache_creation_input_tokens\":1}",
         {10, 0, 7, 0, 0}},
        {"{\"prompt_cache_hit_tokens\":6,\"prompt_cache_miss_tokens\":4,\"total_tokens\":12}",
         {10, 2, 6, 0, 0}},
        {"{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":0},\"prompt_cache_hit_tokens\":"
         "6}",
         {10, 0, 6, 0, 0}},
        {"{\"prompt_tokens\":3.0,\"completion_tokens\":1e2}", {3, 100, 0, 0, 0}},
        {"{\"prompt_tokens\":-1,\"completion_tokens\":\"5\",\"credit\":-0.5}", {0, 0, 0, 0, 0}},
        {"{\"prompt_tokens\":1e18,\"completion_tokens\":99999999999999999999,\"prompt_tokens_details\":7}",
         {0, 0, 0, 0, 0}},
        {"{}", {0, 0, 0, 0, 0}},
        {"[1]", {0, 0, 0, 0, 0}},
        {"null", {0, 0, 0, 0, 0}},
    };
    struct json_tree tree;
    (void)state;
    json_tree_init(&tree, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct usage usage = {-1, -1, -1, -1, -1};
        assert_int_equal(json_tree_parse(&tree, span_str(rows[i].json)), 0);
        usage_read(&tree, JSON_ROOT, &usage);
        if (memcmp(&usage, &rows[i].usage, sizeof usage) != 0)
            fail_msg("%s: %lld %lld %lld %lld %lld", rows[i].json, (long long)usage.prompt_tokens,
                     (long long)usage.completion_tokens, (long long)usage.cached_tokens,
                     (long long)usage.reasoning_tokens, (long long)usage.credit_millionths);
    }
    json_tree_fini(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_every_spelling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
