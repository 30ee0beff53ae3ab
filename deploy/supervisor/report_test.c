/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/report.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static int parse(const char *line, struct report *report)
{
    return report_parse(span_str(line), report);
}

static void lines_of_the_contract_are_understood(void **state)
{
    struct report report;

    (void)state;
    assert_int_equal(parse("ready", &report), 0);
    assert_int_equal(report.type, REPORT_READY);
    assert_int_equal(parse("draining", &report), 0);
    assert_int_equal(report.type, REPORT_DRAINING);
    assert_int_equal(parse("alive", &report), 0);
    assert_int_equal(report.type, REPORT_ALIVE);
    assert_int_equal(report.numbers_count, 0);
    assert_int_equal(parse("alive lag_ms=0 streams=12 drift=-9223372036854775807", &report), 0);
    assert_int_equal(report.numbers_count, 3);
    assert_string_equal(report.numbers[1].key, "streams");
    assert_int_equal(report.numbers[1].value, 12);
    assert_int_equal(report.numbers[2].value, -INT64_MAX);
}

static void anything_else_is_refused_and_changes_nothing(void **state)
{
    static const char *const lines[] = {
        "",
        "read",
        "ready ",
        "readyy",
        "alivestreams=1",
        "alive streams",
        "alive =1",
        "alive a=",
        "alive a=-",
        "alive a=1x",
        "alive a=1  b=2",
        "alive A=1",
        "alive a=+1",
        "alive a=1.5",
        "alive a==1",
        "drainingalive",
        "alive a=1=2",
        "ALIVE",
        "alive \t",
        "alive a=\"1\"",
        "alive a=99999999999999999999",
        "alive a=9223372036854775808",
        "alive a234567890123456789012345678901x=1",
    };
    struct report report = {.type = REPORT_DRAINING, .numbers_count = 7};

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        assert_int_equal(parse(lines[i], &report), ERR_INVALID);
        assert_int_equal(report.type, REPORT_DRAINING);
        assert_int_equal(report.numbers_count, 7);
    }
}

static void too_many_numbers_are_dropped(void **state)
{
    char line[1024] = "alive";
    struct report report;

    (void)state;
    for (int i = 0; i < REPORT_NUMBERS_MAX + 5; i++)
        snprintf(line + strlen(line), sizeof(line) - strlen(line), " k%d=%d", i, i);
    assert_int_equal(parse(line, &report), 0);
    assert_int_equal(report.numbers_count, REPORT_NUMBERS_MAX);
}

struct lines {
    size_t count;
    char text[8][64];
};

static void collect(void *context, struct span line)
{
    struct lines *lines = context;

    assert_true(lines->count < 8);
    snprintf(lines->text[lines->count++], 64, "%.*s", (int)line.length, line.length ? line.data : "");
}

/* Wherever the stream is cut, the same lines come out. */
static void lines_are_cut_wherever_reads_end(void **state)
{
    static const char stream[] = "ready\nalive a=1\n\ndraining\nrest";

    (void)state;
    for (size_t step = 1; step <= sizeof(stream); step++) {
        struct report_reader reader = {0};
        struct lines lines = {0};

        for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
            size_t left = sizeof(stream) - 1 - at;
            report_reader_feed(&reader, span_of(stream + at, left < step ? left : step), collect, &lines);
        }
        assert_int_equal(lines.count, 4);
        assert_string_equal(lines.text[0], "ready");
        assert_string_equal(lines.text[1], "alive a=1");
        assert_string_equal(lines.text[2], "");
        assert_string_equal(lines.text[3], "draining");
    }
}

static void a_line_without_end_costs_no_memory_and_is_no_report(void **state)
{
    struct report_reader reader = {0};
    struct lines lines = {0};

    (void)state;
    for (int i = 0; i < REPORT_LINE_MAX_BYTES; i++)
        report_reader_feed(&reader, SPAN("ready "), collect, &lines);
    assert_int_equal(lines.count, 0);
    report_reader_feed(&reader, SPAN("\nready\n"), collect, &lines);
    assert_int_equal(lines.count, 2);
    assert_string_equal(lines.text[0], "");
    assert_string_equal(lines.text[1], "ready");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_the_contract_are_understood),
        cmocka_unit_test(anything_else_is_refused_and_changes_nothing),
        cmocka_unit_test(too_many_numbers_are_dropped),
        cmocka_unit_test(lines_are_cut_wherever_reads_end),
        cmocka_unit_test(a_line_without_end_costs_no_memory_and_is_no_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
