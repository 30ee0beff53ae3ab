/* SPDX-License-Identifier: MIT */
#include "statsd/rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_rate_is_that_of_the_last_ten_seconds(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_int_equal(rate_per_s_milli(&rate), 0);
    rate_add(&rate, 1000, 5000);
    assert_int_equal(rate_per_s_milli(&rate), 0);
    rate_add(&rate, 1003, 7000);
    assert_int_equal(rate_per_s_milli(&rate), 1500);
    for (int i = 0; i < 20; i++)
        rate_add(&rate, 2000 + 7 * i, 8000 + 1000 * i);
    assert_int_equal(rate_per_s_milli(&rate), 7000); /* the jump is long ago */
}

static void test_a_fall_begins_anew(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_add(&rate, 100, 1000);
    rate_add(&rate, 50, 2000);
    assert_int_equal(rate_per_s_milli(&rate), 0);
    rate_add(&rate, 52, 3000);
    assert_int_equal(rate_per_s_milli(&rate), 2000);
    rate_add(&rate, 52, 3000); /* no time between: no division */
    assert_int_equal(rate_per_s_milli(&rate), 2000);
    struct rate still = {0};
    rate_add(&still, 1, 1000);
    rate_add(&still, 9, 1000);
    assert_int_equal(rate_per_s_milli(&still), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_is_that_of_the_last_ten_seconds),
        cmocka_unit_test(test_a_fall_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
