/* SPDX-License-Identifier: MIT */
#include "upstream-worker/replacements.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_rules_are_read_in_order(void **state)
{
    (void)state;
    struct replacements replacements;
    assert_int_equal(replacements_load(&replacements,
                                       "[{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"\\u00e9\",\"to\":\"\"}]"),
                     0);
    assert_int_equal(replacements.count, 2);
    assert_true(span_equals(replacements.rules[0].from, SPAN("a")));
    assert_true(span_equals(replacements.rules[0].to, SPAN("b")));
    assert_true(span_equals(replacements.rules[1].from, SPAN("\xC3\xA9")));
    assert_int_equal(replacements.rules[1].to.length, 0);
    replacements_fini(&replacements);
}

static void test_none_is_fine(void **state)
{
    (void)state;
    struct replacements replacements;
    assert_int_equal(replacements_load(&replacements, ""), 0);
    assert_int_equal(replacements.count, 0);
    assert_int_equal(replacements_load(&replacements, "[]"), 0);
    assert_int_equal(replacements.count, 0);
    replacements_fini(&replacements);
}

static void test_anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[1]",
                                        "[{\"from\":\"a\"}]",
                                        "[{\"from\":\"\",\"to\":\"b\"}]",
                                        "[{\"from\":1,\"to\":\"b\"}]",
                                        "[",
                                        "nonsense"};
    struct replacements replacements;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(replacements_load(&replacements, texts[i]), ERR_INVALID);
        assert_null(replacements.document);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_are_read_in_order),
        cmocka_unit_test(test_none_is_fine),
        cmocka_unit_test(test_anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
