/* SPDX-License-Identifier: MIT */
#include "statsd/exposition.h"
#include "proto/error.h"
#include "proto/outcome.h"
#include "statsd/readiness.h"
#include "statsd/stats.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t NOW = 1763900000000, MICRO = 1000000;

static struct totals *sample_totals(void)
{
    struct totals *totals = totals_new(NULL);
    struct msg_event event = {.request_id = SPAN("r"),
                              .duration_ms = 1250,
                              .first_event_ms = 300,
                              .credential_id = SPAN("cred-1"),
                              .model = SPAN("gpt-5"),
                              .status = 200,
                              .outcome = OUTCOME_OK,
                              .stream = 1,
                              .attempts = 2,
                              .prompt_tokens = 10,
                              .completion_tokens = 20,
                              .cached_tokens = 4,
                              .reasoning_tokens = 6,
                              .credit_micro = 1250001};
    totals_add(totals, TOTAL_SINCE, SPAN(""), NOW);
    totals_add_event(totals, &event);
    event.model = SPAN("we\"ird\\ model\n");
    event.stream = 0;
    event.status = 502;
    event.outcome = OUTCOME_TRANSIENT;
    event.duration_ms = 4000000;
    totals_add_event(totals, &event);
    return totals;
}

static void report(struct registry *registry, struct source *source, const char *name, enum gauge_kind kind,
                   int64_t value_micro)
{
    assert_int_equal(registry_report(registry, source, span_str(name), kind, value_micro, NOW), 0);
}

static struct registry *sample_registry(void)
{
    struct registry *registry = registry_new();
    struct source *gateway = registry_open_source(registry, "gateway", "gateway-0@h", 1, NOW);
    struct source *worker = registry_open_source(registry, "upstream-worker", "upstream-worker-0@h", 2, NOW);
    registry_show_unsaved(registry, true);
    report(registry, gateway, "codebuddy2api_streams", GAUGE_NOW, 3 * MICRO);
    report(registry, worker, "codebuddy2api_streams", GAUGE_NOW, -1);
    report(registry, gateway, "codebuddy2api_gateway_requests_total{route=\"chat\",status=\"2xx\"}",
           GAUGE_COUNTER, 7 * MICRO);
    report(registry, gateway, "codebuddy2api_gateway_requests_total{route=\"a\"}", GAUGE_COUNTER, MICRO);
    report(registry, gateway, "codebuddy2api_gateway_requests{route=\"a\"}", GAUGE_COUNTER, 5 * MICRO);
    report(registry, worker, "codebuddy2api_event_gap_seconds_count", GAUGE_COUNTER, 9 * MICRO);
    report(registry, worker, "codebuddy2api_event_gap_seconds_sum", GAUGE_COUNTER, 2500000);
    report(registry, worker, "codebuddy2api_event_gap_seconds_bucket{le=\"+Inf\"}", GAUGE_COUNTER, 9 * MICRO);
    report(registry, worker, "codebuddy2api_event_gap_seconds_bucket{le=\"10.0\"}", GAUGE_COUNTER, 8 * MICRO);
    report(registry, worker, "codebuddy2api_event_gap_seconds_bucket{le=\"0.5\"}", GAUGE_COUNTER, 4 * MICRO);
    report(registry, worker, "codebuddy2api_process_cpu_seconds_total", GAUGE_COUNTER, 1234567);
    report(registry, worker, "codebuddy2api_build_info{version=\"1.0\"}", GAUGE_NOW, MICRO);
    /* What must not be shown: the name of one of ours, and a family of two kinds. */
    report(registry, worker, "codebuddy2api_tokens_total", GAUGE_COUNTER, 666 * MICRO);
    report(registry, worker, "codebuddy2api_gateway_requests", GAUGE_NOW, 666 * MICRO);
    return registry;
}

/* Compares with a file beside this one, after the lines about the version. */
static void expect_golden(enum exposition_format format, const char *path)
{
    struct totals *totals = sample_totals();
    struct registry *registry = sample_registry();
    struct buffer page = {0};
    assert_int_equal(exposition_write(&page, format, totals, registry), 0);
    assert_int_equal(buffer_append_char(&page, '\0'), 0);
    const char *from = strstr(page.data, "# HELP codebuddy2api_counting");
    assert_non_null(from);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char expected[65536];
    size_t length = fread(expected, 1, sizeof expected - 1, file);
    expected[length] = '\0';
    fclose(file);
    assert_string_equal(from, expected);
    buffer_fini(&page);
    registry_free(&registry);
    totals_free(&totals);
}

static void test_golden_text(void **state)
{
    (void)state;
    expect_golden(EXPOSITION_TEXT, "statsd/golden/metrics.txt");
}

static void test_golden_openmetrics(void **state)
{
    (void)state;
    expect_golden(EXPOSITION_OPENMETRICS, "statsd/golden/metrics.openmetrics.txt");
}

static void test_negotiation(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum exposition_format format;
    } cases[] = {
        {"", EXPOSITION_TEXT},
        {"*/*", EXPOSITION_TEXT},
        {"text/html,application/xhtml+xml", EXPOSITION_TEXT},
        {"text/plain;version=0.0.4", EXPOSITION_TEXT},
        {"application/openmetrics-text", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text; version=1.0.0; charset=utf-8", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;version=0.0.1", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0.2, text/plain;q=0.5", EXPOSITION_TEXT},
        {"text/plain;q=0.5 , Application/OpenMetrics-Text ; q=0.75", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=x", EXPOSITION_TEXT},
        {",;,=;q", EXPOSITION_TEXT},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         EXPOSITION_OPENMETRICS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(exposition_negotiate(span_str(cases[i].accept)), cases[i].format);
}

static void expect_micro(int64_t value_micro, const char *text)
{
    struct buffer out = {0};
    assert_int_equal(exposition_append_micro(&out, value_micro), 0);
    assert_true(span_equals(buffer_span(&out), span_str(text)));
    buffer_fini(&out);
}

static void test_exact_decimals(void **state)
{
    (void)state;
    expect_micro(0, "0");
    expect_micro(1, "0.000001");
    expect_micro(-1, "-0.000001");
    expect_micro(1500000, "1.5");
    expect_micro(100 * MICRO, "100");
    expect_micro(INT64_MAX, "9223372036854.775807");
    expect_micro(INT64_MIN, "-9223372036854.775808");
}

static void test_stats_json(void **state)
{
    (void)state;
    struct totals *totals = sample_totals();
    struct buffer out = {0};
    assert_int_equal(stats_append(&out, totals), 0);
    assert_non_null(memmem(out.data, out.length, "\"credit\":2.500002}", 18)); /* exact, not a double */
    json_t *json = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_t *models = json_object_get(json, "model_usage"), *sums = json_object_get(json, "totals");
    assert_int_equal(json_object_size(models), 2);
    assert_int_equal(json_integer_value(json_object_get(models, "gpt-5")), 1);
    assert_int_equal(json_integer_value(json_object_get(models, "we\"ird\\ model\n")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "credential_usage"), "cred-1")),
                     2);
    assert_int_equal(json_integer_value(json_object_get(sums, "requests")), 2);
    assert_int_equal(json_integer_value(json_object_get(sums, "errors")), 1);
    assert_int_equal(json_integer_value(json_object_get(sums, "prompt_tokens")), 20);
    assert_int_equal(json_integer_value(json_object_get(sums, "completion_tokens")), 40);
    assert_int_equal(json_integer_value(json_object_get(sums, "cached_tokens")), 8);
    assert_int_equal(json_integer_value(json_object_get(sums, "reasoning_tokens")), 12);
    assert_int_equal(json_integer_value(json_object_get(json, "since")), NOW / 1000);
    json_decref(json);
    buffer_fini(&out);
    totals_free(&totals);
}

static void expect_readiness(struct registry *registry, bool expected, const char *json)
{
    struct buffer out = {0};
    bool ready = !expected;
    assert_int_equal(readiness_write(&out, registry, false, &ready), 0);
    assert_int_equal(ready, expected);
    buffer_append_char(&out, '\0');
    assert_string_equal(out.data, json);
    buffer_fini(&out);
}

static void test_readiness_says_what_is_missing(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    expect_readiness(
        registry, false,
        "{\"status\":\"not_ready\",\"reasons\":[\"no gateway is connected\",\"no upstream-worker is "
        "connected\",\"credd is not connected\"],\"ledger\":\"ok\"}");
    struct source *gateway = registry_open_source(registry, "gateway", "g@h", 1, NOW);
    struct source *worker = registry_open_source(registry, "upstream-worker", "w@h", 2, NOW);
    struct source *credd = registry_open_source(registry, "credd", "c@h", 3, NOW);
    report(registry, gateway, READINESS_WORKERS_GAUGE, GAUGE_NOW, 0);
    expect_readiness(registry, false,
                     "{\"status\":\"not_ready\",\"reasons\":[\"no gateway has a ready upstream-worker\",\"no "
                     "credential is usable\",\"no upstream-worker reaches credd\"],\"ledger\":\"ok\"}");
    report(registry, gateway, READINESS_WORKERS_GAUGE, GAUGE_NOW, MICRO);
    report(registry, credd, READINESS_CREDENTIALS_GAUGE, GAUGE_NOW, 2 * MICRO);
    report(registry, worker, READINESS_CREDD_GAUGE, GAUGE_NOW, MICRO);
    expect_readiness(registry, true, "{\"status\":\"ready\",\"reasons\":[],\"ledger\":\"ok\"}");
    registry_close_source(registry, &worker, NOW);
    expect_readiness(registry, false,
                     "{\"status\":\"not_ready\",\"reasons\":[\"no upstream-worker is connected\"],\"ledger\":"
                     "\"ok\"}");
    registry_free(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_text), cmocka_unit_test(test_golden_openmetrics),
        cmocka_unit_test(test_negotiation), cmocka_unit_test(test_exact_decimals),
        cmocka_unit_test(test_stats_json),  cmocka_unit_test(test_readiness_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
