/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/wheel.h"

static struct wheel wheel;

static void fires_in_order_never_early(void **state)
{
    static const int64_t due_us[] = {1500, 1000, 999, 70000, 5000000, 4096000 + 1500, 20000000};
    struct wheel_timer timers[7] = {0};
    unsigned fired = 0;
    int64_t now_us = 0;

    (void)state;
    wheel_init(&wheel, 0);
    for (int i = 0; i < 7; i++)
        wheel_add(&wheel, &timers[i], due_us[i]);
    while (fired < 7) {
        int64_t wait_us = wheel_until_next_us(&wheel, now_us);
        struct wheel_timer *timer;

        assert_true(wait_us >= 0);
        now_us += wait_us;
        while ((timer = wheel_take_due(&wheel, now_us))) {
            size_t index = (size_t)(timer - timers);

            assert_true(now_us >= due_us[index]);
            assert_true(now_us <= due_us[index] + WHEEL_TICK_US);
            fired++;
        }
    }
    assert_int_equal(wheel_until_next_us(&wheel, now_us), -1);
}

static void removed_does_not_fire(void **state)
{
    struct wheel_timer timers[2] = {0};

    (void)state;
    wheel_init(&wheel, 5000000);
    wheel_add(&wheel, &timers[0], 5010000);
    wheel_add(&wheel, &timers[1], 5010000);
    wheel_remove(&wheel, &timers[0]);
    wheel_remove(&wheel, &timers[0]);
    assert_ptr_equal(wheel_take_due(&wheel, 5010000), &timers[1]);
    assert_null(wheel_take_due(&wheel, 5010000));
    assert_int_equal(wheel.count, 0);
}

static void past_fires_at_the_next_tick(void **state)
{
    struct wheel_timer timer = {0};

    (void)state;
    wheel_init(&wheel, 9000000);
    wheel_add(&wheel, &timer, 10);
    assert_true(wheel_until_next_us(&wheel, 9000000) <= WHEEL_TICK_US);
    assert_ptr_equal(wheel_take_due(&wheel, 9000000 + WHEEL_TICK_US), &timer);
}

static void added_while_firing_waits_its_turn(void **state)
{
    struct wheel_timer timer = {0};
    int fired = 0;

    (void)state;
    wheel_init(&wheel, 0);
    wheel_add(&wheel, &timer, 1000);
    for (int64_t now_us = 0; now_us <= 10000; now_us += 1000) {
        struct wheel_timer *due;

        while ((due = wheel_take_due(&wheel, now_us))) {
            fired++;
            wheel_add(&wheel, due, now_us + 2000);
        }
    }
    assert_int_equal(fired, 5); /* at 1, 3, 5, 7, 9 ms */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_in_order_never_early), cmocka_unit_test(removed_does_not_fire),
        cmocka_unit_test(past_fires_at_the_next_tick), cmocka_unit_test(added_while_firing_waits_its_turn)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
