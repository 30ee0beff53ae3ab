/* SPDX-License-Identifier: MIT */
/* What answer_test cannot provoke through the normaliser: bounds of the aggregator's own, and last values. */
#include "upstream-worker/aggregator.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json_tree tree;
static struct chunk chunk;

static int setup(void **state)
{
    (void)state;
    json_tree_init(&tree, 1000);
    chunk_init(&chunk);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_tree_fini(&tree);
    chunk_fini(&chunk);
    return 0;
}

static void expect(const struct aggregator *aggregator, const char *rest)
{
    struct buffer out = {0};
    assert_int_equal(aggregator_append_json(aggregator, SPAN("{\"id\":1"), (struct span){0}, &out), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_string_equal(out.data, rest);
    buffer_fini(&out);
}

static void nothing_is_an_empty_message(void **state)
{
    struct aggregator *aggregator = aggregator_new(100);
    (void)state;
    expect(aggregator, "{\"id\":1,\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                       "null,\"refusal\":null},"
                       "\"logprobs\":null,\"finish_reason\":null}]}");
    aggregator_free(&aggregator);
    aggregator_free(&aggregator); /* NULL */
}

static void the_last_value_wins_and_costs_once(void **state)
{
    struct aggregator *aggregator = aggregator_new(20);
    (void)state;
    for (int i = 0; i < 100; i++) {
        chunk_clear(&chunk);
        assert_int_equal(chunk_add_field(&chunk, SPAN("k"), i % 2 ? SPAN("\"odd\"") : SPAN("\"even one\"")),
                         0);
        chunk.fields.count = 1;
        chunk_add_choice(&chunk)->raw_finish_reason = i % 2 ? SPAN("stop") : SPAN("length");
        assert_int_equal(aggregator_add(aggregator, &chunk, &tree), 0);
    }
    assert_int_equal(aggregator_add_members(aggregator, SPAN("{\"k\":1,\"l\":2}"), &tree), 0);
    expect(aggregator, "{\"id\":1,\"k\":1,\"l\":2,\"choices\":[{\"index\":0,\"message\":{\"role\":"
                       "\"assistant\",\"content\":null,"
                       "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]}");
    aggregator_free(&aggregator);
}

static void is_bounded(void **state)
{
    struct aggregator *aggregator = aggregator_new(10);
    (void)state;
    chunk_clear(&chunk);
    chunk_add_choice(&chunk)->raw_content = SPAN("12345");
    assert_int_equal(aggregator_add(aggregator, &chunk, &tree), 0);
    assert_int_equal(aggregator_add(aggregator, &chunk, &tree), 0);
    assert_int_equal(aggregator_add(aggregator, &chunk, &tree), ERR_TOO_LARGE);
    aggregator_free(&aggregator);

    aggregator = aggregator_new(1 << 20); /* many different members */
    int error = 0, count = 0;
    for (; error == 0 && count < 10000; count++) {
        char key[16];
        int length = snprintf(key, sizeof key, "k%d", count);
        chunk_clear(&chunk);
        assert_int_equal(chunk_add_field(&chunk, span_of(key, (size_t)length), SPAN("1")), 0);
        chunk.fields.count = 1;
        error = aggregator_add(aggregator, &chunk, &tree);
    }
    assert_int_equal(error, ERR_TOO_LARGE);
    assert_true(count > 100 && count < 1000);
    aggregator_free(&aggregator);
}

static void fragments_of_no_call_are_refused(void **state)
{
    struct aggregator *aggregator = aggregator_new(1000);
    (void)state;
    chunk_clear(&chunk);
    chunk_add_call(&chunk)->index = 1;
    chunk_add_choice(&chunk)->calls.count = 1;
    assert_int_equal(aggregator_add(aggregator, &chunk, &tree), ERR_INVALID);
    aggregator_free(&aggregator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_an_empty_message, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_value_wins_and_costs_once, setup, teardown),
        cmocka_unit_test_setup_teardown(is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(fragments_of_no_call_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
