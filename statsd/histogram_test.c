/* SPDX-License-Identifier: MIT */
#include "statsd/histogram.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_percentiles_are_close(void **state)
{
    (void)state;
    for (uint32_t scale = 1; scale <= 1000; scale *= 10) {
        struct histogram histogram = {{0}};
        for (uint32_t i = 1; i <= 1000; i++)
            histogram_add(&histogram, i * scale);
        for (unsigned percent = 5; percent <= 100; percent += 5) {
            int64_t true_ms = (int64_t)percent * 10 * scale;
            int64_t found_ms = histogram_percentile(&histogram, percent);
            assert_in_range(found_ms * 100, true_ms * 93, true_ms * 107);
        }
    }
}

static void test_edges(void **state)
{
    (void)state;
    struct histogram histogram = {{0}};
    assert_int_equal(histogram_percentile(&histogram, 95), -1);
    histogram_add(&histogram, 0);
    assert_int_equal(histogram_percentile(&histogram, 95), 0);
    histogram_add(&histogram, UINT32_MAX); /* counts as the longest there is: 70 minutes */
    assert_in_range(histogram_percentile(&histogram, 100), 3900000, 4194303);
    struct histogram full = {{0}};
    full.counts[3] = UINT32_MAX;
    histogram_merge(&full, &full);
    assert_int_equal(full.counts[3], UINT32_MAX);
}

static void test_every_value_has_a_bucket_of_its_size(void **state)
{
    (void)state;
    for (uint32_t value = 1; value < 4194304; value += 1 + value / 50) {
        struct histogram histogram = {{0}};
        histogram_add(&histogram, value);
        int64_t found = histogram_percentile(&histogram, 50);
        assert_in_range(found * 100, (int64_t)value * 93, (int64_t)value * 107);
    }
}

static void test_round_trip_and_sums(void **state)
{
    (void)state;
    struct histogram a = {{0}}, b = {{0}};
    unsigned char text[HISTOGRAM_MAX_BYTES];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        a.counts[i] = UINT32_MAX >> (i % 33 == 32 ? 31 : i % 32);
    size_t length = histogram_encode(&a, text);
    assert_true(length <= sizeof text);
    assert_int_equal(histogram_add_encoded(&b, span_of((const char *)text, length)), 0);
    assert_memory_equal(&a, &b, sizeof a);
    struct histogram c = {{0}};
    histogram_add(&c, 5);
    length = histogram_encode(&c, text);
    assert_int_equal(length, 2);
    assert_int_equal(histogram_add_encoded(&c, span_of((const char *)text, length)), 0);
    assert_int_equal(c.counts[5], 2);
    assert_int_equal(histogram_add_encoded(&c, SPAN("")), 0);
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    struct histogram histogram = {{0}};
    static const struct span bad[] = {
        SPAN("\x05"),                         /* no count */
        SPAN("\x05\x80"),                     /* a count cut off */
        SPAN("\xA0\x01"),                     /* no such bucket */
        SPAN("\x05\xFF\xFF\xFF\xFF\xFF\x01"), /* a count that is too long */
        SPAN("\x05\xFF\xFF\xFF\xFF\x1F"),     /* one over 32 bits */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(histogram_add_encoded(&histogram, bad[i]), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_close),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_every_value_has_a_bucket_of_its_size),
        cmocka_unit_test(test_round_trip_and_sums),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
