/* SPDX-License-Identifier: MIT */
#include "credd/second_chances.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct second_chances chances;

static int set_up(void **state)
{
    (void)state;
    chances = (struct second_chances){0};
    return 0;
}

/* Whether the request may try the credential again, which it has tried. */
static bool is_given(uint64_t request, uint64_t credential_id)
{
    uint64_t excluded[] = {credential_id};
    return second_chances_give(&chances, request, excluded, 1) == 0;
}

static void test_once_each(void **state)
{
    (void)state;
    assert_false(is_given(5, 100));
    second_chances_note(&chances, 5, 100);
    assert_false(is_given(6, 100)); /* another's */
    assert_false(is_given(5, 101));
    assert_true(is_given(5, 100));
    assert_false(is_given(5, 100));
    second_chances_note(&chances, 5, 100); /* refused again: that was its second */
    assert_false(is_given(5, 100));
}

static void test_what_is_left_keeps_its_order(void **state)
{
    uint64_t excluded[] = {1, 2, 3, 4, 5};
    (void)state;
    second_chances_note(&chances, 9, 2);
    second_chances_note(&chances, 9, 5);
    assert_int_equal(second_chances_give(&chances, 9, excluded, 5), 3);
    assert_int_equal(excluded[0], 1);
    assert_int_equal(excluded[1], 3);
    assert_int_equal(excluded[2], 4);
    assert_int_equal(second_chances_give(&chances, 9, excluded, 0), 0);
}

static void test_a_request_without_a_name_has_none(void **state)
{
    (void)state;
    second_chances_note(&chances, 0, 100);
    assert_false(is_given(0, 100));
    assert_false(is_given(0, 0)); /* as an empty place of the ring reads */
}

static void test_the_last_are_remembered(void **state)
{
    (void)state;
    for (uint64_t request = 1; request <= SECOND_CHANCES + 1; request++)
        second_chances_note(&chances, request, 100);
    assert_false(is_given(1, 100));
    assert_true(is_given(2, 100));
    assert_true(is_given(SECOND_CHANCES + 1, 100));
    second_chances_note(&chances, 1, 100); /* in the place of 2, which was used */
    assert_true(is_given(1, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_once_each, set_up),
        cmocka_unit_test_setup(test_what_is_left_keeps_its_order, set_up),
        cmocka_unit_test_setup(test_a_request_without_a_name_has_none, set_up),
        cmocka_unit_test_setup(test_the_last_are_remembered, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
