/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_tree.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json_tree tree;

static int setup(void **state)
{
    (void)state;
    json_tree_init(&tree, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_tree_fini(&tree);
    return 0;
}

static void assert_span(struct span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.data, text, span.length);
}

static void finds_members(void **state)
{
    (void)state;
    assert_int_equal(
        json_tree_parse(&tree, SPAN(" {\"a\":{\"b\":[10,\"x\\n\",{}]},\"\\u0063\":null,\"d\":true} ")), 0);
    uint32_t a = json_tree_find(&tree, JSON_ROOT, SPAN("a"));
    uint32_t b = json_tree_find(&tree, a, SPAN("b"));
    assert_span(json_node_span(&tree, a), "{\"b\":[10,\"x\\n\",{}]}");
    assert_span(json_node_key(&tree, b), "b");
    uint32_t ten = json_node_first(&tree, b), x = json_node_next(&tree, ten),
             empty = json_node_next(&tree, x);
    assert_span(json_node_span(&tree, ten), "10");
    assert_span(json_node_raw(&tree, x), "x\\n");
    assert_int_equal(json_node_kind(&tree, empty), JSON_KIND_OBJECT);
    assert_int_equal(json_node_first(&tree, empty), JSON_NONE);
    assert_int_equal(json_node_next(&tree, empty), JSON_NONE);
    uint32_t c = json_tree_find(&tree, JSON_ROOT, SPAN("c"));
    assert_int_not_equal(c, JSON_NONE);
    assert_true(json_node_is_null(&tree, c));
    assert_int_equal(json_tree_find(&tree, JSON_ROOT, SPAN("e")), JSON_NONE);
    assert_true(json_node_is_null(&tree, JSON_NONE));
    assert_int_equal(json_tree_find(&tree, JSON_NONE, SPAN("e")), JSON_NONE);
    assert_int_equal(json_tree_find(&tree, ten, SPAN("e")), JSON_NONE);
}

static void the_last_of_equal_names_wins(void **state)
{
    (void)state;
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":1,\"b\":2,\"\\u0061\":3}")), 0);
    assert_span(json_node_span(&tree, json_tree_find(&tree, JSON_ROOT, SPAN("a"))), "3");
}

static void a_failure_leaves_an_empty_tree(void **state)
{
    (void)state;
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":1")), ERR_INVALID);
    assert_non_null(tree.reason);
    assert_int_equal(json_tree_find(&tree, JSON_ROOT, SPAN("a")), JSON_NONE);
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":1} {}")), ERR_INVALID);
    assert_int_equal(json_tree_parse(&tree, SPAN("")), ERR_INVALID);
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":1}")), 0);
    assert_null(tree.reason);
}

static void is_bounded(void **state)
{
    struct json_tree small;
    (void)state;
    json_tree_init(&small, 6); /* two are its own */
    assert_int_equal(json_tree_parse(&small, SPAN("[1,2,3,4]")), 0);
    assert_int_equal(json_tree_parse(&small, SPAN("[1,2,3,4,5]")), ERR_TOO_LARGE);
    assert_int_equal(json_node_first(&small, JSON_ROOT), JSON_NONE);
    json_tree_fini(&small);
}

static void flags_bad_utf8(void **state)
{
    (void)state;
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":\"\xFF\"}")), 0);
    assert_true(tree.has_bad_utf8);
    assert_int_equal(json_tree_parse(&tree, SPAN("{\"a\":\"\xC3\xA9\"}")), 0);
    assert_false(tree.has_bad_utf8);
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *text;
        bool is_integer, is_decimal;
        int64_t integer, millionths;
    } rows[] = {
        {"0", true, true, 0, 0},
        {"-0", true, true, 0, 0},
        {"42", true, true, 42, 42000000},
        {"-7", true, true, -7, -7000000},
        {"3.0", true, true, 3, 3000000},
        {"3.999", true, true, 3, 3999000},
        {"1e3", true, true, 1000, 1000000000},
        {"1.5E+2", true, true, 150, 150000000},
        {"25e-1", true, true, 2, 2500000},
        {"0.0000019", true, true, 0, 1},
        {"0.000000e5", true, true, 0, 0},
        {"0e999999999999", true, true, 0, 0},
        {"1e-999999999999", true, true, 0, 0},
        {"0.12345678901234567890", true, true, 0, 123456},
        {"9223372036854775807", true, false, INT64_MAX, 0},
        {"9223372036854775808", false, false, 0, 0},
        {"1e19", false, false, 0, 0},
        {"1e999999999999", false, false, 0, 0},
        {"\"1.25\"", false, true, 0, 1250000},
        {"\"1.25 \"", false, false, 0, 0},
        {"\"\"", false, false, 0, 0},
        {"true", false, false, 0, 0},
        {"null", false, false, 0, 0},
        {"[1]", false, false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t value = -99;
        assert_int_equal(json_tree_parse(&tree, span_str(rows[i].text)), 0);
        if (json_node_to_int64(&tree, JSON_ROOT, &value) != rows[i].is_integer ||
            (rows[i].is_integer && value != rows[i].integer))
            fail_msg("%s as integer: %lld", rows[i].text, (long long)value);
        if (json_node_to_millionths(&tree, JSON_ROOT, &value) != rows[i].is_decimal ||
            (rows[i].is_decimal && value != rows[i].millionths))
            fail_msg("%s in millionths: %lld", rows[i].text, (long long)value);
    }
}

static void shrinks(void **state)
{
    struct buffer text = {0};
    (void)state;
    assert_int_equal(buffer_append_char(&text, '['), 0);
    for (int i = 0; i < 50000; i++)
        assert_int_equal(buffer_append(&text, "0,", 2), 0);
    assert_int_equal(buffer_append(&text, "0]", 2), 0);
    assert_int_equal(json_tree_parse(&tree, buffer_span(&text)), 0);
    assert_true(tree.capacity > 50000);
    json_tree_shrink(&tree);
    assert_true(tree.capacity < 100);
    assert_int_equal(json_tree_parse(&tree, SPAN("[1]")), 0);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_members, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_of_equal_names_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_leaves_an_empty_tree, setup, teardown),
        cmocka_unit_test_setup_teardown(is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(flags_bad_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(shrinks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
