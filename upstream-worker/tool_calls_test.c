/* SPDX-License-Identifier: MIT */
#include "upstream-worker/tool_calls.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Feeds `fragments` (a JSON array of arrays: the `tool_calls` of each event) and describes what each event
 * sends, as "index[id type name](arguments){fields}", events separated by " | ", the flush at the end by " $
 * ". */
static int describe(const char *fragments, bool is_message, struct buffer *said)
{
    struct json_tree tree;
    struct chunk chunk;
    struct tool_calls calls = {0};
    int error = 0;
    chunk_init(&chunk);
    json_tree_init(&tree, 100000);
    buffer_clear(said);
    assert_int_equal(json_tree_parse(&tree, span_str(fragments)), 0);
    for (uint32_t event = json_node_first(&tree, JSON_ROOT);; event = json_node_next(&tree, event)) {
        uint32_t position = 0;
        chunk_clear(&chunk);
        for (uint32_t element = json_node_first(&tree, event); element && error == 0;
             element = json_node_next(&tree, element))
            error = tool_calls_take(&calls, &tree, element, position++, is_message, SPAN("stem"), &chunk);
        if (!event) {
            assert_int_equal(buffer_printf(said, " $"), 0);
            assert_int_equal(tool_calls_flush(&calls, SPAN("stem"), &chunk), 0);
        }
        for (uint32_t i = 0; i < chunk.call_count; i++) {
            struct chunk_call *call = &chunk.calls[i];
            assert_int_equal(buffer_printf(said, " %u", call->index), 0);
            if (call->is_first)
                assert_int_equal(buffer_printf(said, "[%.*s %.*s %.*s]", (int)call->raw_id.length,
                                               call->raw_id.data, (int)call->raw_type.length,
                                               call->raw_type.data, (int)call->raw_name.length,
                                               call->raw_name.length ? call->raw_name.data : ""),
                                 0);
            assert_int_equal(buffer_printf(said, "(%.*s)", (int)call->raw_arguments.length,
                                           call->raw_arguments.length ? call->raw_arguments.data : ""),
                             0);
            if (call->fields.count + call->function_fields.count > 0) {
                assert_int_equal(chunk_append_fields(&chunk, call->fields, said), 0);
                assert_int_equal(buffer_append_char(said, ';'), 0);
                assert_int_equal(chunk_append_fields(&chunk, call->function_fields, said), 0);
            }
        }
        if (!event || error < 0)
            break;
        assert_int_equal(buffer_printf(said, " |"), 0);
    }
    tool_calls_fini(&calls);
    chunk_fini(&chunk);
    json_tree_fini(&tree);
    assert_int_equal(buffer_append_char(said, '\0'), 0);
    return error;
}

static void expect_of(const char *fragments, bool is_message, const char *sent)
{
    struct buffer said = {0};
    assert_int_equal(describe(fragments, is_message, &said), 0);
    assert_string_equal(said.data, sent);
    buffer_fini(&said);
}

static void expect(const char *fragments, const char *sent)
{
    expect_of(fragments, false, sent);
}

#define F(members, function) "{" members ",\"function\":{" function "}}"
#define ARGS(text)           "\"arguments\":\"" text "\""
#define NAME(text)           "\"name\":\"" text "\""

static void a_call_waits_for_its_arguments(void **state)
{
    (void)state;
    expect("[[" F("\"index\":0,\"id\":\"call_1\"", NAME("f") "," ARGS("")) "],[" F(
               "\"index\":0", ARGS("{")) "],[" F("\"index\":0", ARGS("}")) "]]",
           " | 0[call_1 function f]({) | 0(}) | $");
    expect("[[" F("\"index\":0,\"id\":\"call_1\"", NAME("f")) "]]", " | $ 0[call_1 function f]()");
    expect("[[" F("\"index\":0,\"id\":\"call_1\"", NAME("f") "," ARGS("{}")) "]]",
           " 0[call_1 function f]({}) | $");
}

static void calls_are_sent_in_order(void **state)
{
    (void)state;
    /* Call 0 has no arguments and waits until call 1 has some. */
    expect("[[" F("\"index\":0,\"id\":\"a\"", NAME("f")) "," F("\"index\":1,\"id\":\"b\"", NAME("g")) "],[" F(
               "\"index\":1", ARGS("{}")) "],[" F("\"index\":0", ARGS("x")) "]]",
           " | 0[call_a function f]() 1[call_b function g]({}) | 0(x) | $");
}

static void names_in_pieces_of_several_calls(void **state)
{
    (void)state;
    expect(
        "[[" F("\"index\":0", NAME("get_")) "," F("\"index\":1", NAME("get_")) "],[" F(
            "\"index\":0", NAME("a")) "," F("\"index\":1", NAME("b")) "],[" F("\"index\":0", ARGS("{}")) "]]",
        " | | 0[call_stem_0 function get_a]({}) | $ 1[call_stem_1 function get_b]()");
}

static void fragments_find_their_call(void **state)
{
    (void)state;
    /* by id, whatever the index; without one, the last call opened at the index */
    expect("[[" F("\"index\":0,\"id\":\"a\"", NAME("f") "," ARGS("1")) "],[" F(
               "\"index\":0,\"id\":\"b\"",
               NAME("f") "," ARGS("2")) "],[" F("\"index\":0,\"id\":\"a\"",
                                                ARGS("3")) "],[" F("\"index\":0", ARGS("4")) "]]",
           " 0[call_a function f](1) | 1[call_b function f](2) | 0(3) | 1(4) | $");
    /* neither id nor index: the call last spoken of, unless another is named */
    expect("[[{\"function\":{\"name\":\"f\",\"arguments\":\"1\"}}],[{\"function\":{\"arguments\":\"2\"}}],[{"
           "\"function\":{\"name\":\"f\",\"arguments\":\"3\"}}],"
           "[{\"function\":{\"name\":\"g\",\"arguments\":\"4\"}}]]",
           " 0[call_stem_0 function f](1) | 0(2) | 0(3) | 1[call_stem_1 function g](4) | $");
    /* an id that comes late, before and after the call was sent */
    expect("[[" F("\"index\":0", NAME("f")) "],[" F("\"index\":0,\"id\":\"a\"", ARGS("1")) "]]",
           " | 0[call_a function f](1) | $");
    expect("[[" F("\"index\":0", NAME("f") "," ARGS("1")) "],[" F(
               "\"index\":0,\"id\":\"a\"", ARGS("2")) "],[" F("\"index\":5,\"id\":\"a\"", ARGS("3")) "]]",
           " 0[call_stem_0 function f](1) | 0(2) | 0(3) | $");
}

static void noise_opens_no_call(void **state)
{
    (void)state;
    expect("[[{}],[{\"index\":0}],[{\"index\":0,\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":"
           "\"\",\"arguments\":\"\"}}],"
           "[{\"index\":0,\"function\":null}],[{\"index\":0,\"id\":null,\"function\":{\"name\":null,"
           "\"arguments\":null}}]]",
           " | | | | | $");
}

static void further_members_pass(void **state)
{
    (void)state;
    expect("[[{\"index\":0,\"id\":\"a\",\"sig\":\"s\",\"function\":{\"name\":\"f\",\"x\":1}}],[{\"index\":0,"
           "\"sig\":2,\"function\":{\"arguments\":\"{}\"}}],"
           "[{\"index\":0,\"sig\":null}],[{\"index\":0,\"sig\":3}]]",
           " | 0[call_a function f]({}),\"sig\":\"s\",\"sig\":2;,\"x\":1 | | 0(),\"sig\":3; | $");
}

static void ids_and_types(void **state)
{
    (void)state;
    expect("[[{\"index\":0,\"id\":\"call_x\",\"type\":\"custom\",\"function\":{\"arguments\":\"1\"}}],[{"
           "\"index\":0,\"id\":\"toolu\\u0073e_1\",\"function\":{\"arguments\":\"2\"}}]]",
           " 0[call_x custom ](1) | 1[call_toolu\\u0073e_1 function ](2) | $");
}

static void a_message_lists_calls_by_position(void **state)
{
    (void)state;
    expect_of("[[{\"function\":{\"name\":\"f\",\"arguments\":\"1\"}},{\"function\":{\"name\":\"f\","
              "\"arguments\":\"2\"}}]]",
              true, " 0[call_stem_0 function f](1) 1[call_stem_1 function f](2) | $");
}

static void is_bounded(void **state)
{
    struct buffer said = {0}, text = {0};
    (void)state;
    assert_int_equal(buffer_append_span(&text, SPAN("[[")), 0);
    for (int i = 0; i <= TOOL_CALLS_MAX; i++)
        assert_int_equal(buffer_printf(&text, "%s{\"index\":%d,\"id\":\"i%d\"}", i ? "," : "", i, i), 0);
    assert_int_equal(buffer_append(&text, "]]", 3), 0);
    assert_int_equal(describe(text.data, false, &said), ERR_TOO_LARGE);
    buffer_fini(&said);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_waits_for_its_arguments),
        cmocka_unit_test(calls_are_sent_in_order),
        cmocka_unit_test(names_in_pieces_of_several_calls),
        cmocka_unit_test(fragments_find_their_call),
        cmocka_unit_test(noise_opens_no_call),
        cmocka_unit_test(further_members_pass),
        cmocka_unit_test(ids_and_types),
        cmocka_unit_test(a_message_lists_calls_by_position),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
