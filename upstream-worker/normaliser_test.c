/* SPDX-License-Identifier: MIT */
/* What answer_test cannot see from outside: the normaliser's own results, and that its memory stays flat. */
#include "upstream-worker/normaliser.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct scratch scratch;
static struct normaliser *normaliser;

static int setup(void **state)
{
    (void)state;
    scratch_init(&scratch);
    normaliser = normaliser_new(&scratch, SPAN("stem"));
    return normaliser ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    normaliser_free(&normaliser);
    normaliser_free(&normaliser); /* NULL */
    scratch_fini(&scratch);
    return 0;
}

static int take(const char *event)
{
    return normaliser_take(normaliser, span_str(event));
}

static void says_what_an_event_is(void **state)
{
    (void)state;
    assert_int_equal(take("{\"choices\":[{\"delta\":{\"role\":\"\"}}]}"), NORMALISER_NOTHING);
    assert_false(scratch.chunk.choice_count > 0);
    assert_int_equal(take("{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}"), NORMALISER_NOTHING);
    assert_int_equal(take(" {\"choices\":[{\"delta\":{\"content\":\"a\"}}]} "), NORMALISER_CHUNK);
    assert_true(normaliser_has_choices(normaliser));
    assert_true(scratch.chunk.choices[0].has_role);
    assert_true(span_equals(scratch.chunk.choices[0].raw_content, SPAN("a")));
    assert_int_equal(take("{\"choices\":7}"), ERR_INVALID);
    assert_string_equal(normaliser_reason(normaliser), "choices is no array");
    assert_int_equal(take("{\"error\":{\"message\":\"m\",\"code\":429}}"), NORMALISER_REFUSED);
    assert_int_equal(scratch.error.code, 429);
    assert_int_equal(take("\r[DONE] "), NORMALISER_DONE);
    assert_int_equal(normaliser_end(normaliser), NORMALISER_CHUNK);
    assert_true(span_equals(scratch.chunk.choices[0].raw_finish_reason, SPAN("stop")));
    assert_int_equal(normaliser_end(normaliser), NORMALISER_NOTHING);
}

static void the_last_usage_wins(void **state)
{
    (void)state;
    assert_int_equal(normaliser_usage_json(normaliser).length, 0);
    take("{\"x\":1,\"choices\":[],\"usage\":{\"prompt_tokens\":1}}");
    take("{\"y\":2,\"choices\":[],\"usage\":{ \"prompt_tokens\" : 2 }}");
    take("{\"choices\":[],\"usage\":null}");
    take("{\"choices\":[],\"usage\":{}}");
    take("{\"choices\":[],\"usage\":7}");
    assert_true(span_equals(normaliser_usage_json(normaliser), SPAN("{ \"prompt_tokens\" : 2 }")));
    assert_true(span_equals(normaliser_usage_fields(normaliser), SPAN("{\"y\":2}")));
}

static void every_choice_must_end(void **state)
{
    (void)state;
    take("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"},{\"index\":1,"
         "\"delta\":{\"content\":\"b\"}}]}");
    assert_int_equal(normaliser_end(normaliser), ERR_TRUNCATED);
    take("{\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}");
    assert_int_equal(normaliser_end(normaliser), NORMALISER_NOTHING);
}

static void names_with_escapes_are_known(void **state)
{
    (void)state;
    assert_int_equal(take("{\"ch\\u006fices\":[{\"d\\u0065lta\":{\"c\\u006fntent\":\"a\",\"r\\u006fle\":"
                          "\"x\"}}],\"us\\u0061ge\":{\"a\":1}}"),
                     NORMALISER_CHUNK);
    assert_true(span_equals(scratch.chunk.choices[0].raw_content, SPAN("a")));
    assert_int_equal(scratch.chunk.choices[0].delta_fields.count, 0);
    assert_int_equal(scratch.chunk.fields.count, 0);
    assert_true(normaliser_usage_json(normaliser).length > 0);
}

static void a_big_event_leaves_no_big_memory(void **state)
{
    struct buffer event = {0};
    (void)state;
    assert_int_equal(buffer_append_span(&event, SPAN("{\"x\":\"\xFF\",\"y\":[")), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buffer_append_span(&event, SPAN("1,")), 0);
    assert_int_equal(buffer_append_span(&event, SPAN("1],\"choices\":[{\"delta\":{\"content\":\"a\"}}]}")),
                     0);
    assert_int_equal(normaliser_take(normaliser, buffer_span(&event)), NORMALISER_CHUNK);
    assert_true(scratch.tree.capacity > 100000 && scratch.repaired.capacity > 200000);
    assert_int_equal(take("{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"), NORMALISER_CHUNK);
    assert_true(scratch.tree.capacity < 1000 && scratch.repaired.capacity == 0);
    buffer_fini(&event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_what_an_event_is, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_usage_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(every_choice_must_end, setup, teardown),
        cmocka_unit_test_setup_teardown(names_with_escapes_are_known, setup, teardown),
        cmocka_unit_test_setup_teardown(a_big_event_leaves_no_big_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
