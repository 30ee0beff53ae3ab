/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/supervise.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { NOW_MS = 1000000 };

static const struct supervise_limits limits = {.start_ms = 30000,
                                               .silence_ms = 10000,
                                               .starved_most_ms = 60000,
                                               .starved_look_ms = 1000,
                                               .abort_grace_ms = 2000,
                                               .drain_ms = 35000,
                                               .backoff_first_ms = 100,
                                               .backoff_most_ms = 30000,
                                               .healthy_ms = 10000};

/* A table brought into `state` by events alone, entered at NOW_MS. */
static struct supervise in_state(enum supervise_state state, enum supervise_after after)
{
    struct supervise s;

    supervise_init(&s, &limits, NOW_MS);
    if (state == SUPERVISE_STOPPED)
        return s;
    supervise_handle(&s, SUPERVISE_START, 0, NOW_MS);
    if (state == SUPERVISE_READY || (state == SUPERVISE_STOPPING && after == SUPERVISE_THEN_RELOADED))
        supervise_handle(&s, SUPERVISE_IS_READY, 0, NOW_MS);
    if (state == SUPERVISE_BACKING_OFF) {
        supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS);
        supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS);
    }
    if (state == SUPERVISE_PARKED)
        supervise_handle(&s, SUPERVISE_HAS_EXITED, EXIT_CONFIG, NOW_MS);
    if (state == SUPERVISE_STOPPING && after == SUPERVISE_THEN_STOPPED)
        supervise_handle(&s, SUPERVISE_STOP, NOW_MS + 20000, NOW_MS);
    if (state == SUPERVISE_STOPPING && after == SUPERVISE_THEN_RELOADED)
        supervise_handle(&s, SUPERVISE_RELOAD, 0, NOW_MS);
    if (state == SUPERVISE_STOPPING && after == SUPERVISE_THEN_FAILED)
        supervise_handle(&s, SUPERVISE_IS_DRAINING, 0, NOW_MS);
    assert_int_equal(s.state, state);
    return s;
}

struct cell {
    enum supervise_state from;
    enum supervise_after after; /* of SUPERVISE_STOPPING, otherwise 0 */
    enum supervise_event event;
    int64_t detail, late_ms; /* the event comes so long after the state was entered */
    enum supervise_state to;
    enum supervise_after to_after;
    enum supervise_action action;
};

#define STAYS(state, event)                                                                                  \
    {                                                                                                        \
        state, 0, event, 0, 1, state, 0, SUPERVISE_DO_NOTHING                                                \
    }
#define STOPPING_STAYS(after, event)                                                                         \
    {                                                                                                        \
        SUPERVISE_STOPPING, after, event, NOW_MS + 9999, 1, SUPERVISE_STOPPING, after, SUPERVISE_DO_NOTHING  \
    }
#define S SUPERVISE_THEN_STOPPED
#define R SUPERVISE_THEN_RELOADED
#define F SUPERVISE_THEN_FAILED

/* clang-format off */
static const struct cell cells[] = {
    {SUPERVISE_STOPPED, 0, SUPERVISE_START, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    STAYS(SUPERVISE_STOPPED, SUPERVISE_IS_READY),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_IS_ALIVE),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_IS_DRAINING),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_HAS_EXITED),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_TIME),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_STOP),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_RELOAD),
    STAYS(SUPERVISE_STOPPED, SUPERVISE_KILL),

    STAYS(SUPERVISE_STARTING, SUPERVISE_START),
    {SUPERVISE_STARTING, 0, SUPERVISE_IS_READY, 0, 5, SUPERVISE_READY, 0, SUPERVISE_DO_NOTHING},
    STAYS(SUPERVISE_STARTING, SUPERVISE_IS_ALIVE),
    {SUPERVISE_STARTING, 0, SUPERVISE_IS_DRAINING, 0, 5, SUPERVISE_STOPPING, F, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STARTING, 0, SUPERVISE_HAS_EXITED, 1, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_STARTING, 0, SUPERVISE_HAS_EXITED, EXIT_CONFIG, 5, SUPERVISE_PARKED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STARTING, 0, SUPERVISE_TIME, 0, 29999, SUPERVISE_STARTING, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STARTING, 0, SUPERVISE_TIME, 0, 30000, SUPERVISE_STOPPING, F, SUPERVISE_DO_ABORT},
    {SUPERVISE_STARTING, 0, SUPERVISE_STOP, NOW_MS + 20000, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_TERMINATE},
    {SUPERVISE_STARTING, 0, SUPERVISE_RELOAD, 0, 5, SUPERVISE_STOPPING, R, SUPERVISE_DO_TERMINATE},
    {SUPERVISE_STARTING, 0, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},

    STAYS(SUPERVISE_READY, SUPERVISE_START),
    STAYS(SUPERVISE_READY, SUPERVISE_IS_READY),
    STAYS(SUPERVISE_READY, SUPERVISE_IS_ALIVE),
    {SUPERVISE_READY, 0, SUPERVISE_IS_DRAINING, 0, 5, SUPERVISE_STOPPING, F, SUPERVISE_DO_NOTHING},
    {SUPERVISE_READY, 0, SUPERVISE_HAS_EXITED, -9, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_READY, 0, SUPERVISE_HAS_EXITED, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_READY, 0, SUPERVISE_HAS_EXITED, EXIT_CONFIG, 5, SUPERVISE_PARKED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_READY, 0, SUPERVISE_TIME, 0, 9999, SUPERVISE_READY, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_READY, 0, SUPERVISE_TIME, 0, 10000, SUPERVISE_STOPPING, F, SUPERVISE_DO_ABORT},
    {SUPERVISE_READY, 0, SUPERVISE_STOP, NOW_MS + 20000, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_TERMINATE},
    {SUPERVISE_READY, 0, SUPERVISE_RELOAD, 0, 5, SUPERVISE_STOPPING, R, SUPERVISE_DO_TERMINATE},
    {SUPERVISE_READY, 0, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},

    STOPPING_STAYS(S, SUPERVISE_START), STOPPING_STAYS(R, SUPERVISE_START), STOPPING_STAYS(F, SUPERVISE_START),
    STOPPING_STAYS(S, SUPERVISE_IS_READY), STOPPING_STAYS(R, SUPERVISE_IS_READY), STOPPING_STAYS(F, SUPERVISE_IS_READY),
    STOPPING_STAYS(S, SUPERVISE_IS_ALIVE), STOPPING_STAYS(R, SUPERVISE_IS_ALIVE), STOPPING_STAYS(F, SUPERVISE_IS_ALIVE),
    STOPPING_STAYS(S, SUPERVISE_IS_DRAINING), STOPPING_STAYS(R, SUPERVISE_IS_DRAINING),
    STOPPING_STAYS(F, SUPERVISE_IS_DRAINING),
    {SUPERVISE_STOPPING, S, SUPERVISE_HAS_EXITED, 0, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, S, SUPERVISE_HAS_EXITED, EXIT_CONFIG, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, R, SUPERVISE_HAS_EXITED, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_STOPPING, F, SUPERVISE_HAS_EXITED, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_STOPPING, F, SUPERVISE_HAS_EXITED, EXIT_CONFIG, 5, SUPERVISE_PARKED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, S, SUPERVISE_TIME, 0, 19999, SUPERVISE_STOPPING, S, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, S, SUPERVISE_TIME, 0, 20000, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},
    {SUPERVISE_STOPPING, R, SUPERVISE_TIME, 0, 34999, SUPERVISE_STOPPING, R, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, R, SUPERVISE_TIME, 0, 35000, SUPERVISE_STOPPING, R, SUPERVISE_DO_KILL},
    {SUPERVISE_STOPPING, F, SUPERVISE_TIME, 0, 35000, SUPERVISE_STOPPING, F, SUPERVISE_DO_KILL},
    STOPPING_STAYS(S, SUPERVISE_STOP),
    {SUPERVISE_STOPPING, R, SUPERVISE_STOP, NOW_MS + 9999, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_NOTHING},
    {SUPERVISE_STOPPING, F, SUPERVISE_STOP, NOW_MS + 9999, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_NOTHING},
    STOPPING_STAYS(S, SUPERVISE_RELOAD), STOPPING_STAYS(R, SUPERVISE_RELOAD), STOPPING_STAYS(F, SUPERVISE_RELOAD),
    {SUPERVISE_STOPPING, S, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},
    {SUPERVISE_STOPPING, R, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},
    {SUPERVISE_STOPPING, F, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPING, S, SUPERVISE_DO_KILL},

    STAYS(SUPERVISE_BACKING_OFF, SUPERVISE_START),
    STAYS(SUPERVISE_BACKING_OFF, SUPERVISE_IS_READY),
    STAYS(SUPERVISE_BACKING_OFF, SUPERVISE_IS_ALIVE),
    STAYS(SUPERVISE_BACKING_OFF, SUPERVISE_IS_DRAINING),
    STAYS(SUPERVISE_BACKING_OFF, SUPERVISE_HAS_EXITED),
    {SUPERVISE_BACKING_OFF, 0, SUPERVISE_TIME, 0, 99, SUPERVISE_BACKING_OFF, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_BACKING_OFF, 0, SUPERVISE_TIME, 0, 100, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_BACKING_OFF, 0, SUPERVISE_STOP, NOW_MS + 5, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_BACKING_OFF, 0, SUPERVISE_RELOAD, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_BACKING_OFF, 0, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},

    STAYS(SUPERVISE_PARKED, SUPERVISE_START),
    STAYS(SUPERVISE_PARKED, SUPERVISE_IS_READY),
    STAYS(SUPERVISE_PARKED, SUPERVISE_IS_ALIVE),
    STAYS(SUPERVISE_PARKED, SUPERVISE_IS_DRAINING),
    STAYS(SUPERVISE_PARKED, SUPERVISE_HAS_EXITED),
    {SUPERVISE_PARKED, 0, SUPERVISE_TIME, 0, 1000000000, SUPERVISE_PARKED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_PARKED, 0, SUPERVISE_STOP, NOW_MS + 5, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},
    {SUPERVISE_PARKED, 0, SUPERVISE_RELOAD, 0, 5, SUPERVISE_STARTING, 0, SUPERVISE_DO_SPAWN},
    {SUPERVISE_PARKED, 0, SUPERVISE_KILL, 0, 5, SUPERVISE_STOPPED, 0, SUPERVISE_DO_NOTHING},
};
/* clang-format on */

static void every_cell_does_what_the_table_says(void **state)
{
    bool seen[SUPERVISE_STATE_COUNT][SUPERVISE_EVENT_COUNT] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
        const struct cell *cell = &cells[i];
        struct supervise s = in_state(cell->from, cell->after);
        enum supervise_action action =
            supervise_handle(&s, cell->event, cell->detail, NOW_MS + cell->late_ms);

        if (s.state != cell->to || action != cell->action)
            print_error("cell %zu: %s, event %d\n", i, supervise_state_name(cell->from), (int)cell->event);
        assert_int_equal(s.state, cell->to);
        assert_int_equal(action, cell->action);
        if (cell->to == SUPERVISE_STOPPING)
            assert_int_equal(s.after, cell->to_after);
        if (cell->to != cell->from)
            assert_int_equal(s.since_ms, NOW_MS + cell->late_ms);
        seen[cell->from][cell->event] = true;
    }
    for (int i = 0; i < SUPERVISE_STATE_COUNT; i++)
        for (int j = 0; j < SUPERVISE_EVENT_COUNT; j++)
            assert_true(seen[i][j]);
}

/* Crashes in a row: at once, then 100 ms doubling to 30 s. */
static void backoff_doubles_to_its_limit(void **state)
{
    static const int64_t delays_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    struct supervise s = in_state(SUPERVISE_READY, 0);
    int64_t now_ms = NOW_MS;

    (void)state;
    assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, -9, now_ms), SUPERVISE_DO_SPAWN);
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(*delays_ms); i++) {
        assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, now_ms), SUPERVISE_DO_NOTHING);
        assert_int_equal(s.deadline_ms, now_ms + delays_ms[i]);
        assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, s.deadline_ms - 1), SUPERVISE_DO_NOTHING);
        now_ms = s.deadline_ms;
        assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, now_ms), SUPERVISE_DO_SPAWN);
    }
    assert_int_equal(s.failures_count, 12);
}

static void health_wipes_the_slate_clean(void **state)
{
    struct supervise s = in_state(SUPERVISE_BACKING_OFF, 0);

    (void)state;
    supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 100);
    supervise_handle(&s, SUPERVISE_IS_READY, 0, NOW_MS + 200);
    supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS + 200 + 9999);
    assert_int_equal(s.state, SUPERVISE_BACKING_OFF); /* a moment too short */

    supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 20000);
    supervise_handle(&s, SUPERVISE_IS_READY, 0, NOW_MS + 20000);
    assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS + 30000), SUPERVISE_DO_SPAWN);
    supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS + 30000);
    assert_int_equal(s.deadline_ms, NOW_MS + 30100); /* and from 100 ms again */
}

/* Time spent starting is no health, however long. */
static void a_slow_start_is_not_health(void **state)
{
    struct supervise s = in_state(SUPERVISE_BACKING_OFF, 0);

    (void)state;
    supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 100);
    assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS + 25000), SUPERVISE_DO_NOTHING);
    assert_int_equal(s.deadline_ms, NOW_MS + 25200);
}

static void each_line_puts_the_hang_off(void **state)
{
    struct supervise s = in_state(SUPERVISE_READY, 0);

    (void)state;
    for (int64_t t = 1000; t <= 60000; t += 1000) {
        assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + t), SUPERVISE_DO_NOTHING);
        supervise_handle(&s, SUPERVISE_IS_ALIVE, 0, NOW_MS + t);
    }
    assert_int_equal(s.deadline_ms, NOW_MS + 70000);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 70000), SUPERVISE_DO_ABORT);
}

static void a_hang_is_aborted_then_killed_then_started_again(void **state)
{
    struct supervise s = in_state(SUPERVISE_READY, 0);

    (void)state;
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 10000), SUPERVISE_DO_ABORT);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 11999), SUPERVISE_DO_NOTHING);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 12000), SUPERVISE_DO_KILL);
    assert_int_equal(s.deadline_ms, SUPERVISE_NEVER); /* one SIGKILL is enough */
    assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, -9, NOW_MS + 12001), SUPERVISE_DO_SPAWN);
}

/* The stop's limit may not lengthen the two seconds that a hung process has. */
static void a_stop_does_not_put_a_kill_off(void **state)
{
    struct supervise s = in_state(SUPERVISE_READY, 0);

    (void)state;
    supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 10000);
    supervise_handle(&s, SUPERVISE_STOP, NOW_MS + 60000, NOW_MS + 10001);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 12000), SUPERVISE_DO_KILL);
    supervise_handle(&s, SUPERVISE_HAS_EXITED, -9, NOW_MS + 12001);
    assert_int_equal(s.state, SUPERVISE_STOPPED);
    assert_false(supervise_is_alive(&s));
}

static void a_reload_forgets_the_backoff(void **state)
{
    struct supervise s = in_state(SUPERVISE_BACKING_OFF, 0);

    (void)state;
    supervise_handle(&s, SUPERVISE_RELOAD, 0, NOW_MS + 1);
    assert_int_equal(supervise_handle(&s, SUPERVISE_HAS_EXITED, 1, NOW_MS + 2), SUPERVISE_DO_SPAWN);
}

/* Looked at again and again, as long as it starves; one look that finds it idle, or a minute, is the end. */
static void who_is_starved_gets_a_minute(void **state)
{
    struct supervise s = in_state(SUPERVISE_READY, 0);

    (void)state;
    for (int64_t t = 10000; t < 60000; t += 1000) {
        assert_int_equal(s.deadline_ms, NOW_MS + t);
        assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + t), SUPERVISE_DO_NOTHING);
    }
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + 60000), SUPERVISE_DO_ABORT);

    s = in_state(SUPERVISE_READY, 0);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + 10000), SUPERVISE_DO_NOTHING);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 0, NOW_MS + 11000), SUPERVISE_DO_ABORT);

    s = in_state(SUPERVISE_READY, 0);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + 10000), SUPERVISE_DO_NOTHING);
    supervise_handle(&s, SUPERVISE_IS_ALIVE, 0, NOW_MS + 10500); /* it spoke: all is as before */
    assert_int_equal(s.deadline_ms, NOW_MS + 20500);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + 65000), SUPERVISE_DO_NOTHING);

    s = in_state(SUPERVISE_STARTING, 0);
    assert_int_equal(supervise_handle(&s, SUPERVISE_TIME, 1, NOW_MS + 30000), SUPERVISE_DO_NOTHING);
    supervise_handle(&s, SUPERVISE_IS_READY, 0, NOW_MS + 30500);
    assert_int_equal(s.state, SUPERVISE_READY);
    assert_int_equal(s.failures_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_starved_gets_a_minute),
        cmocka_unit_test(every_cell_does_what_the_table_says),
        cmocka_unit_test(backoff_doubles_to_its_limit),
        cmocka_unit_test(health_wipes_the_slate_clean),
        cmocka_unit_test(a_slow_start_is_not_health),
        cmocka_unit_test(each_line_puts_the_hang_off),
        cmocka_unit_test(a_hang_is_aborted_then_killed_then_started_again),
        cmocka_unit_test(a_stop_does_not_put_a_kill_off),
        cmocka_unit_test(a_reload_forgets_the_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
