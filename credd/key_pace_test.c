/* SPDX-License-Identifier: MIT */
#include "credd/key_pace.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct moment START = {.now_ms = 1000500, .wall_ms = 1790000000700};

static struct moment after(int64_t ms)
{
    return (struct moment){.now_ms = START.now_ms + ms, .wall_ms = START.wall_ms + ms};
}

static void check(const struct key_pace *pace, const struct moment *moment, int64_t count, int64_t free_in_s)
{
    int64_t actual_s;
    assert_int_equal(key_pace_count(pace, moment, &actual_s), count);
    assert_int_equal(actual_s, free_in_s);
}

static void test_a_minute(void **state)
{
    struct key_pace pace = {0};
    struct moment moment = START;
    (void)state;
    check(&pace, &moment, 0, 60);
    key_pace_note(&pace, &moment);
    key_pace_note(&pace, &moment);
    moment = after(20000);
    key_pace_note(&pace, &moment);
    check(&pace, &moment, 3, 40);
    moment = after(59000);
    check(&pace, &moment, 3, 1);
    moment = after(60000);
    check(&pace, &moment, 1, 20);
    key_pace_note(&pace, &moment); /* the same slot, a minute on */
    check(&pace, &moment, 2, 20);
    moment = after(3600000);
    check(&pace, &moment, 0, 60);
}

/* Another process has another monotonic clock: here one that begins at 7 s. */
static void test_it_outlives_a_process(void **state)
{
    struct key_pace pace = {0}, next = {0}, late = {0}, early = {0};
    struct moment moment = START;
    (void)state;
    key_pace_note(&pace, &moment);
    moment = after(30000);
    key_pace_note(&pace, &moment);
    key_pace_note(&pace, &moment);
    json_t *kept = key_pace_describe(&pace, &moment);
    assert_int_equal(json_array_size(kept), 2);
    moment = after(40000);
    moment.now_ms = 7000;
    assert_int_equal(key_pace_restore(&next, kept, &moment), 0);
    check(&next, &moment, 3, 20);
    key_pace_note(&next, &moment);
    check(&next, &moment, 4, 20);
    moment.wall_ms += 30000;
    assert_int_equal(key_pace_restore(&late, kept, &moment), 0);
    check(&late, &moment, 2, 20);
    moment.wall_ms = START.wall_ms - 1000; /* the clock was set back */
    assert_int_equal(key_pace_restore(&early, kept, &moment), 0);
    check(&early, &moment, 0, 60);
    json_decref(kept);
}

static void test_what_is_not_understood(void **state)
{
    static const char *const bad[] = {"{}",
                                      "null",
                                      "[1]",
                                      "[[]]",
                                      "[[1790000000]]",
                                      "[[1790000000,0]]",
                                      "[[1790000000,-1]]",
                                      "[[1790000000,1.5]]",
                                      "[[\"1790000000\",1]]",
                                      "[[-1,1]]",
                                      "[[1790000000,1000000001]]"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct key_pace pace = {0};
        json_t *value = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(key_pace_restore(&pace, value, &START), ERR_INVALID);
        check(&pace, &START, 0, 60);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_minute),
        cmocka_unit_test(test_it_outlives_a_process),
        cmocka_unit_test(test_what_is_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
