/* SPDX-License-Identifier: MIT */
#include "credd/site_marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_for_a_while(void **state)
{
    struct site_marks marks = {0};
    (void)state;
    assert_false(site_marks_has(&marks, 1, SPAN("glm"), 0));
    site_marks_add(&marks, 1, SPAN("glm"), 100);
    assert_true(site_marks_has(&marks, 1, SPAN("glm"), 100));
    assert_false(site_marks_has(&marks, 2, SPAN("glm"), 100));
    assert_false(site_marks_has(&marks, 1, SPAN("gl"), 100));
    assert_false(site_marks_has(&marks, 1, SPAN(""), 100));
    assert_true(site_marks_has(&marks, 1, SPAN("glm"), 100 + ROTATION_NOT_SERVED_MS - 1));
    assert_false(site_marks_has(&marks, 1, SPAN("glm"), 100 + ROTATION_NOT_SERVED_MS));
    site_marks_add(&marks, 1, SPAN("glm"), 200); /* again: longer, in the same place */
    assert_true(site_marks_has(&marks, 1, SPAN("glm"), 100 + ROTATION_NOT_SERVED_MS));
    assert_int_equal(marks.count, 1);
}

static void test_of_too_many_the_first_to_end_goes(void **state)
{
    struct site_marks marks = {0};
    char model[16];
    (void)state;
    for (int i = 0; i < SITE_MARKS; i++) {
        snprintf(model, sizeof model, "m%d", i);
        site_marks_add(&marks, 1, span_str(model), i == 0 ? 500 : i); /* so m1 ends first */
    }
    site_marks_add(&marks, 1, SPAN("new"), 600);
    assert_true(site_marks_has(&marks, 1, SPAN("new"), 600));
    assert_true(site_marks_has(&marks, 1, SPAN("m0"), 600));
    assert_false(site_marks_has(&marks, 1, SPAN("m1"), 600));
    assert_true(site_marks_has(&marks, 1, SPAN("m2"), 600));
}

static void test_a_name_that_is_too_long(void **state)
{
    struct site_marks marks = {0};
    char model[ROTATION_MODEL_MAX_BYTES + 2];
    (void)state;
    memset(model, 'x', sizeof model);
    site_marks_add(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES + 1), 0);
    assert_true(site_marks_has(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES), 0));
    assert_true(site_marks_has(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES + 1), 0));
    assert_true(site_marks_has(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES + 2), 0));
    assert_false(site_marks_has(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES - 1), 0));
    site_marks_add(&marks, 1, span_of(model, ROTATION_MODEL_MAX_BYTES + 2), 0);
    assert_int_equal(marks.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_a_while),
        cmocka_unit_test(test_of_too_many_the_first_to_end_goes),
        cmocka_unit_test(test_a_name_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
