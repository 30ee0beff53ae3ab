/* SPDX-License-Identifier: MIT */
#include "upstream-worker/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_event(const struct chunk *chunk, const char *event)
{
    struct buffer out = {0};
    assert_int_equal(buffer_append_span(&out, SPAN("before ")), 0);
    assert_int_equal(chunk_append_event(chunk, SPAN("{\"id\":1"), &out), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_string_equal(out.data, event);
    buffer_fini(&out);
}

static void writes_every_member(void **state)
{
    struct chunk chunk;
    (void)state;
    chunk_init(&chunk);
    assert_int_equal(chunk_add_field(&chunk, SPAN("t"), SPAN("[1]")), 0);
    assert_int_equal(chunk_add_field(&chunk, SPAN("c"), SPAN("2")), 0);
    assert_int_equal(chunk_add_field(&chunk, SPAN("d"), SPAN("null")), 0);
    assert_int_equal(chunk_add_field(&chunk, SPAN("k"), SPAN("{}")), 0);
    assert_int_equal(chunk_add_field(&chunk, SPAN("f"), SPAN("\"x\"")), 0);
    chunk.fields = (struct chunk_run){0, 1};
    struct chunk_call *call = chunk_add_call(&chunk);
    *call = (struct chunk_call){.index = 0,
                                .is_first = true,
                                .raw_id = SPAN("i"),
                                .raw_type = SPAN("function"),
                                .raw_name = SPAN("n"),
                                .fields = {3, 1},
                                .function_fields = {4, 1}};
    call = chunk_add_call(&chunk);
    *call = (struct chunk_call){.index = 4294967295u, .raw_arguments = SPAN("\\\"")};
    struct chunk_choice *choice = chunk_add_choice(&chunk);
    *choice = (struct chunk_choice){.has_role = true,
                                    .raw_content = SPAN("\\n"),
                                    .raw_reasoning = SPAN("r"),
                                    .raw_refusal = SPAN("no"),
                                    .function_call = SPAN("{}"),
                                    .logprobs = SPAN("{ }"),
                                    .raw_finish_reason = SPAN("stop"),
                                    .calls = {0, 2},
                                    .delta_fields = {2, 1},
                                    .fields = {1, 1}};
    choice = chunk_add_choice(&chunk);
    choice->index = 10;
    expect_event(
        &chunk,
        "before data: "
        "{\"id\":1,\"t\":[1],\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\\n\","
        "\"reasoning_content\":\"r\",\"refusal\":\"no\",\"function_call\":{},\"tool_calls\":[{\"index\":0,"
        "\"id\":\"i\","
        "\"type\":\"function\",\"k\":{},\"function\":{\"name\":\"n\",\"arguments\":\"\",\"f\":\"x\"}},{"
        "\"index\":4294967295,"
        "\"function\":{\"arguments\":\"\\\"\"}}],\"d\":null},\"logprobs\":{ "
        "},\"c\":2,\"finish_reason\":\"stop\"},"
        "{\"index\":10,\"delta\":{},\"finish_reason\":null}]}\n\n");
    chunk_clear(&chunk);
    expect_event(&chunk, "before data: {\"id\":1,\"choices\":[]}\n\n");
    chunk_fini(&chunk);
}

static void the_head_is_escaped(void **state)
{
    struct buffer out = {0};
    (void)state;
    assert_int_equal(chunk_append_head(&out, SPAN("a\"b"), "chat.completion", -5, SPAN("m\n\xFF")), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_string_equal(
        out.data,
        "{\"id\":\"a\\\"b\",\"object\":\"chat.completion\",\"created\":-5,\"model\":\"m\\n\xEF\xBF\xBD\"");
    buffer_fini(&out);
}

static void grows(void **state)
{
    struct chunk chunk;
    (void)state;
    chunk_init(&chunk);
    for (uint32_t i = 0; i < 1000; i++) {
        chunk_add_choice(&chunk)->index = i;
        chunk_add_call(&chunk)->index = i;
        assert_int_equal(chunk_add_field(&chunk, SPAN("k"), SPAN("1")), 0);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(chunk.choices[i].index, i);
        assert_int_equal(chunk.calls[i].index, i);
    }
    assert_int_equal(chunk.field_count, 1000);
    chunk_fini(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_every_member),
                                       cmocka_unit_test(the_head_is_escaped), cmocka_unit_test(grows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
