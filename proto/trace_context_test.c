/* SPDX-License-Identifier: MIT */
#include "proto/error.h"
#include "proto/trace_context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define CALLER "00f067aa0ba902b7"
#define PARENT "00-" TRACE "-" CALLER "-01"

static void assert_parent(const char *text, const char *expected)
{
    char parent[TRACE_PARENT_BYTES + 1];
    assert_int_equal(trace_parent_parse(span_str(text), parent), *expected != '\0');
    assert_string_equal(parent, expected);
}

static void test_a_valid_parent_is_taken(void **state)
{
    (void)state;
    assert_parent(PARENT, PARENT);
    assert_parent("00-" TRACE "-" CALLER "-00", "00-" TRACE "-" CALLER "-00");
    assert_parent("00-" TRACE "-" CALLER "-ff", PARENT); /* flags that we do not know are not passed on */
    assert_parent("00-" TRACE "-" CALLER "-fe", "00-" TRACE "-" CALLER "-00");
    assert_parent("cc-" TRACE "-" CALLER "-01", PARENT); /* a later version */
    assert_parent("01-" TRACE "-" CALLER "-01-what-the-future-will-be-like", PARENT);
    assert_parent("01-" TRACE "-" CALLER "-01-", PARENT);
}

static void test_what_is_not_valid_is_ignored(void **state)
{
    static const char *const bad[] = {
        "",
        "-",
        "00",
        "00-" TRACE "-" CALLER "-0",
        "00-" TRACE "-" CALLER "-01-",
        "00-" TRACE "-" CALLER "-01-more",
        "00-" TRACE "-" CALLER "-01 ",
        " " PARENT,
        "01-" TRACE "-" CALLER "-01.more",
        "ff-" TRACE "-" CALLER "-01",
        "ff-" TRACE "-" CALLER "-01-more",
        "0x-" TRACE "-" CALLER "-01",
        "00-" TRACE "-" CALLER "-0g",
        "00-" TRACE "-" CALLER "-0A",
        "00_" TRACE "-" CALLER "-01",
        "00-" TRACE "_" CALLER "-01",
        "00-" TRACE "-" CALLER "_01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" CALLER "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" CALLER "-011",
        "00-00000000000000000000000000000000-" CALLER "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-" TRACE "-00f067aa0ba902bz-01",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_parent(bad[i], "");
    assert_int_equal(trace_parent_id(span_of(NULL, 0)).length, 0);
}

static void test_we_become_the_caller(void **state)
{
    char parent[TRACE_PARENT_BYTES + 1];
    (void)state;
    trace_parent_continue(parent, SPAN(PARENT), "0123456789abcdef");
    assert_string_equal(parent, "00-" TRACE "-0123456789abcdef-01");
    assert_true(span_equals(trace_parent_id(span_str(parent)), SPAN(TRACE)));
}

static void assert_state(const char *first, const char *second, const char *expected)
{
    struct buffer joined = {0};
    int error = trace_state_add(&joined, span_str(first));
    if (error == 0)
        error = trace_state_add(&joined, span_str(second));
    if (expected)
        assert_true(span_equals(buffer_span(&joined), span_str(expected)));
    assert_int_equal(error == 0, expected != NULL);
    buffer_fini(&joined);
}

static void test_states_are_joined(void **state)
{
    (void)state;
    assert_state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    assert_state("rojo=1 , \tcongo=2\t,, ", "b=3", "rojo=1,congo=2,b=3");
    assert_state("", ",", "");
    assert_state("fw529a3039@dt=FfffffFff,0t@s=!\"#~", "a_-*/9= x",
                 "fw529a3039@dt=FfffffFff,0t@s=!\"#~,a_-*/9= x");
}

static void test_bad_states_are_refused(void **state)
{
    static const char *const bad[] = {
        "a",    "=1",   "a=",    "A=1", "0=1", "a b=1",  "a =1",   "a=1=2",
        "@a=1", "a@=1", "a@0=1", "é=1", "a=é", "a=\x7f", "a=\x01", "ab@systemistoolong=1"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_state("a=1", bad[i], NULL);
}

static void test_states_have_bounds(void **state)
{
    struct buffer joined = {0};
    char text[TRACE_STATE_BYTES + 2];
    (void)state;
    for (int i = 0; i < TRACE_STATE_MEMBERS; i++)
        assert_int_equal(trace_state_add(&joined, SPAN("k=v")), 0);
    assert_int_equal(trace_state_add(&joined, SPAN("k=v")), ERR_TOO_LARGE);
    buffer_clear(&joined);
    memset(text, 'v', sizeof text);
    text[0] = 'k';
    text[1] = '=';
    assert_int_equal(trace_state_add(&joined, span_of(text, 2 + 256)), 0);
    assert_int_equal(trace_state_add(&joined, span_of(text, 2 + 257)), ERR_INVALID);
    assert_int_equal(trace_state_add(&joined, span_of(text, 2 + 200)), 0);
    assert_int_equal(trace_state_add(&joined, span_of(text, 2 + 200)), ERR_TOO_LARGE);
    memset(text, 'k', sizeof text);
    text[256] = '=';
    buffer_clear(&joined);
    assert_int_equal(trace_state_add(&joined, span_of(text, 258)), 0);
    text[256] = 'k', text[257] = '=';
    assert_int_equal(trace_state_add(&joined, span_of(text, 259)), ERR_INVALID);
    buffer_fini(&joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_valid_parent_is_taken), cmocka_unit_test(test_what_is_not_valid_is_ignored),
        cmocka_unit_test(test_we_become_the_caller),    cmocka_unit_test(test_states_are_joined),
        cmocka_unit_test(test_bad_states_are_refused),  cmocka_unit_test(test_states_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
