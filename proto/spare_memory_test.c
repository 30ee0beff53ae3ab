/* SPDX-License-Identifier: MIT */
#include "proto/spare_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { MB = 1 << 20 };

static int beats_until_trim(struct spare_memory *spare, size_t free_bytes, size_t used_bytes)
{
    for (int i = 1; i <= 20; i++)
        if (spare_memory_beat(spare, free_bytes, used_bytes))
            return i;
    return 0;
}

static void test_what_stays_free_is_given_back(void **state)
{
    struct spare_memory spare = {0};
    (void)state;
    assert_int_equal(beats_until_trim(&spare, 50 * MB, 10 * MB), 5);
    assert_int_equal(beats_until_trim(&spare, 2 * MB, 10 * MB), 5);
}

static void test_what_is_used_now_and_then_is_kept(void **state)
{
    struct spare_memory spare = {0};
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_false(spare_memory_beat(&spare, i % 4 == 0 ? 0 : 50 * MB, 10 * MB));
}

static void test_little_is_kept(void **state)
{
    struct spare_memory spare = {0};
    (void)state;
    assert_int_equal(beats_until_trim(&spare, MB - 1, 2 * MB), 0);
    assert_int_equal(beats_until_trim(&spare, 2 * MB, 100 * MB), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_stays_free_is_given_back),
        cmocka_unit_test(test_what_is_used_now_and_then_is_kept),
        cmocka_unit_test(test_little_is_kept),
    };
    return cmocka_run_group_tests_name("spare_memory", tests, NULL, NULL);
}
