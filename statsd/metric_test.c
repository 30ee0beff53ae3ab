/* SPDX-License-Identifier: MIT */
#include "statsd/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void expect(const char *name, enum gauge_kind gauge_kind, enum metric_kind kind, enum metric_part part,
                   const char *family, const char *labels, const char *le)
{
    struct metric *metric = metric_parse(span_str(name), gauge_kind);
    assert_non_null(metric);
    assert_int_equal(metric->kind, kind);
    assert_int_equal(metric->part, part);
    assert_string_equal(metric->family, family);
    assert_string_equal(metric->labels, labels);
    assert_string_equal(metric->le_text, le);
    free(metric);
}

static void test_accepted(void **state)
{
    (void)state;
    expect("codebuddy2api_a_total", GAUGE_COUNTER, METRIC_COUNTER, METRIC_VALUE, "codebuddy2api_a", "", "");
    expect("codebuddy2api_a", GAUGE_COUNTER, METRIC_COUNTER, METRIC_VALUE, "codebuddy2api_a", "", "");
    expect("codebuddy2api_a{}", GAUGE_NOW, METRIC_GAUGE, METRIC_VALUE, "codebuddy2api_a", "", "");
    expect("codebuddy2api_b_info{v=\"1\"}", GAUGE_NOW, METRIC_INFO, METRIC_VALUE, "codebuddy2api_b",
           "v=\"1\"", "");
    expect("codebuddy2api_a_total{x=\"1\",y=\"q\\\"\\\\\\n\"}", GAUGE_COUNTER, METRIC_COUNTER, METRIC_VALUE,
           "codebuddy2api_a", "x=\"1\",y=\"q\\\"\\\\\\n\"", "");
    expect("codebuddy2api_s_bucket{x=\"1\",le=\"0.5\",y=\"2\"}", GAUGE_COUNTER, METRIC_HISTOGRAM,
           METRIC_BUCKET, "codebuddy2api_s", "x=\"1\",y=\"2\"", "0.5");
    expect("codebuddy2api_s_bucket{le=\"+Inf\"}", GAUGE_COUNTER, METRIC_HISTOGRAM, METRIC_BUCKET,
           "codebuddy2api_s", "", "+Inf");
    expect("codebuddy2api_s_sum{x=\"1\"}", GAUGE_COUNTER, METRIC_HISTOGRAM, METRIC_SUM, "codebuddy2api_s",
           "x=\"1\"", "");
    expect("codebuddy2api_s_count", GAUGE_COUNTER, METRIC_HISTOGRAM, METRIC_COUNT, "codebuddy2api_s", "", "");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "x",
        "codebuddy2api_",
        "other_total",
        "codebuddy2api_A_total",
        "codebuddy2api_a total",
        "codebuddy2api_a_total{",
        "codebuddy2api_a_total{x}",
        "codebuddy2api_a_total{x=\"1\"",
        "codebuddy2api_a_total{x=\"1}",
        "codebuddy2api_a_total{x=\"1\"}}",
        "codebuddy2api_a_total{x=\"\n\"}",
        "codebuddy2api_a_total{x=\"\\q\"}",
        "codebuddy2api_a_total{x=\"\\",
        "codebuddy2api_a_total{1x=\"\"}",
        "codebuddy2api_a_total{role=\"x\"}",
        "codebuddy2api_a_total{process=\"x\"}",
        "codebuddy2api_a_total{__x=\"x\"}",
        "codebuddy2api_a_total{le=\"1\"}",
        "codebuddy2api_s_bucket",
        "codebuddy2api_s_bucket{le=\"\"}",
        "codebuddy2api_s_bucket{le=\"abc\"}",
        "codebuddy2api_s_bucket{le=\"nan\"}",
        "codebuddy2api_s_bucket{le=\"1\",le=\"2\"}",
        "codebuddy2api_a_info",
        "codebuddy2api_a_total{,}",
        "codebuddy2api_a_total{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\",g=\"\",h=\"\",i=\"\"}"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_null(metric_parse(span_str(names[i]), GAUGE_COUNTER));
    assert_null(metric_parse(SPAN("codebuddy2api_a_total"), GAUGE_NOW));
    assert_null(metric_parse(SPAN("codebuddy2api_a_count"), GAUGE_NOW));
}

/* Every prefix of a good name, in memory of just that size: nothing is read past the end. */
static void test_every_truncation(void **state)
{
    (void)state;
    static const char name[] = "codebuddy2api_s_bucket{x=\"a\\\\b\",le=\"0.5\",y=\"2\"}";
    for (size_t length = 0; length < strlen(name); length++) {
        char *copy = malloc(length ? length : 1);
        memcpy(copy, name, length);
        struct metric *metric = metric_parse(span_of(copy, length), GAUGE_COUNTER);
        assert_null(metric); /* a bucket without its bound, or an open brace */
        free(copy);
        if (length == strlen("codebuddy2api_s") - 1)
            length = strlen("codebuddy2api_s_bucket") - 1; /* in between lie shorter good names */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
