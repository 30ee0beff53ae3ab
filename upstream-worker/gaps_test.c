/* SPDX-License-Identifier: MIT */
/* The reporter is ours: it adds up what it is told. */
#include "upstream-worker/gaps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MAX_NUMBERS = 32 };

static struct {
    char name[80];
    uint64_t value_micro;
} numbers[MAX_NUMBERS];

void reporter_count_micro(struct reporter *reporter, const char *name, uint64_t add_micro)
{
    (void)reporter;
    for (size_t i = 0; i < MAX_NUMBERS; i++) {
        if (!numbers[i].name[0])
            snprintf(numbers[i].name, sizeof numbers[i].name, "%s", name);
        if (strcmp(numbers[i].name, name) == 0) {
            numbers[i].value_micro += add_micro;
            return;
        }
    }
    fail_msg("too many numbers: %s", name);
}

void reporter_count(struct reporter *reporter, const char *name, uint64_t add)
{
    reporter_count_micro(reporter, name, add * 1000000);
}

static uint64_t told_micro(const char *name)
{
    char full[80];
    snprintf(full, sizeof full, "codebuddy2api_event_gap_seconds_%s", name);
    for (size_t i = 0; i < MAX_NUMBERS; i++)
        if (strcmp(numbers[i].name, full) == 0)
            return numbers[i].value_micro;
    fail_msg("not told: %s", full);
    return 0;
}

static void expect(const char *name, uint64_t count)
{
    assert_int_equal(told_micro(name), count * 1000000);
}

static void test_buckets_are_cumulative(void **state)
{
    struct gaps gaps = {0}, told = {0};
    (void)state;
    gaps_report(&gaps, &told, NULL); /* there from the start */
    expect("bucket{le=\"0.005\"}", 0);
    expect("count", 0);
    gaps_note(&gaps, 0, 1);
    gaps_note(&gaps, 5, 1);
    gaps_note(&gaps, 6, 1);
    gaps_note(&gaps, 100, 3); /* three at once: one gap, and two of nothing */
    gaps_note(&gaps, 60000, 1);
    gaps_note(&gaps, 60001, 1);
    gaps_report(&gaps, &told, NULL);
    expect("bucket{le=\"0.005\"}", 4);
    expect("bucket{le=\"0.01\"}", 5);
    expect("bucket{le=\"0.075\"}", 5);
    expect("bucket{le=\"0.1\"}", 6);
    expect("bucket{le=\"30.0\"}", 6);
    expect("bucket{le=\"60.0\"}", 7);
    expect("bucket{le=\"+Inf\"}", 8);
    expect("count", 8);
    assert_int_equal(told_micro("sum"), (5 + 6 + 100 + 60000 + 60001) * 1000);
    gaps_note(&gaps, 200, 1);
    gaps_report(&gaps, &told, NULL);
    gaps_report(&gaps, &told, NULL); /* nothing new */
    expect("bucket{le=\"0.15\"}", 6);
    expect("bucket{le=\"0.25\"}", 7);
    expect("count", 9);
}

static void test_bounds_ascend_and_are_what_they_say(void **state)
{
    static const char *const texts[] = {
#define G(ms, text) text,
        GAP_LIST(G)
#undef G
    };
    (void)state;
    for (size_t i = 0; i < GAP_BOUNDS; i++) {
        assert_true(i == 0 || gap_bounds_ms[i] > gap_bounds_ms[i - 1]);
        assert_true(strtod(texts[i], NULL) * 1000 == (double)gap_bounds_ms[i]);
        assert_non_null(strchr(texts[i], '.')); /* OpenMetrics wants floats */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_are_cumulative),
        cmocka_unit_test(test_bounds_ascend_and_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
