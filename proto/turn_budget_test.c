/* SPDX-License-Identifier: MIT */
#include "proto/turn_budget.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    TURN_BYTES = 256 << 10,
    SHARE_BYTES = 64 << 10,
    LEAST_BYTES = 8 << 10,
    STEP_BYTES = 4 << 10,
    CROWD = 300
};

static const struct turn_budget fresh = {.limits = {TURN_BYTES, SHARE_BYTES, LEAST_BYTES}};

/* Takes as long as it may; how much. */
static size_t take_all(struct turn_budget *budget, struct turn_share *share)
{
    size_t taken = 0;
    while (turn_budget_take(budget, share, STEP_BYTES))
        taken += STEP_BYTES;
    return taken;
}

static void test_one_takes_its_share_each_turn(void **state)
{
    struct turn_budget budget = fresh;
    struct turn_share share = {0};
    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(take_all(&budget, &share), SHARE_BYTES);
        assert_false(turn_budget_take(&budget, &share, 1));
        turn_budget_begin(&budget);
    }
}

static void test_a_crowd_takes_the_turns_bytes_and_each_its_least(void **state)
{
    struct turn_budget budget = fresh;
    struct turn_share shares[CROWD] = {0};
    size_t taken = 0;
    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        size_t one = take_all(&budget, &shares[i]);
        assert_in_range(one, LEAST_BYTES, SHARE_BYTES);
        taken += one;
    }
    assert_in_range(taken, CROWD * LEAST_BYTES, TURN_BYTES + CROWD * LEAST_BYTES);
    turn_budget_begin(&budget);
    assert_int_equal(take_all(&budget, &shares[CROWD - 1]), SHARE_BYTES); /* the last is first now */
}

static void test_slow_ones_are_never_put_off(void **state)
{
    struct turn_budget budget = fresh;
    struct turn_share greedy[8] = {0}, slow[CROWD] = {0};
    (void)state;
    for (size_t i = 0; i < 8; i++)
        take_all(&budget, &greedy[i]);
    assert_true(budget.taken_bytes >= TURN_BYTES);
    for (size_t i = 0; i < CROWD; i++)
        assert_true(turn_budget_take(&budget, &slow[i], 600));
}

/* As who can be given a buffer of any size does it. */
static void test_what_is_left_bounds_a_read(void **state)
{
    struct turn_budget budget = fresh;
    struct turn_share shares[6] = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(turn_budget_left(&budget, &shares[i]), SHARE_BYTES);
        turn_budget_note(&budget, &shares[i], SHARE_BYTES - 1);
        assert_int_equal(turn_budget_left(&budget, &shares[i]), 1);
    }
    assert_int_equal(turn_budget_left(&budget, &shares[4]), LEAST_BYTES); /* 4 are left of the turn */
    turn_budget_note(&budget, &shares[4], 100);
    assert_int_equal(turn_budget_left(&budget, &shares[4]), LEAST_BYTES - 100);
    turn_budget_note(&budget, &shares[4], LEAST_BYTES); /* more than that: what could not be split */
    assert_int_equal(turn_budget_left(&budget, &shares[4]), 0);
    assert_int_equal(turn_budget_left(&budget, &shares[0]), 0); /* the turn is full, and it has its least */
    assert_int_equal(turn_budget_left(&budget, &shares[5]), LEAST_BYTES);
    turn_budget_begin(&budget);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(turn_budget_left(&budget, &shares[i]), SHARE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_takes_its_share_each_turn),
        cmocka_unit_test(test_a_crowd_takes_the_turns_bytes_and_each_its_least),
        cmocka_unit_test(test_slow_ones_are_never_put_off),
        cmocka_unit_test(test_what_is_left_bounds_a_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
