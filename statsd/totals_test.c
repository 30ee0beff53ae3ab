/* SPDX-License-Identifier: MIT */
#include "statsd/totals.h"
#include "proto/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct msg_event good_event(void)
{
    return (struct msg_event){.request_id = SPAN("r"),
                              .duration_ms = 1200,
                              .first_event_ms = 300,
                              .key_id = SPAN("password"),
                              .credential_id = SPAN("c1"),
                              .model = SPAN("gpt-5"),
                              .status = 200,
                              .outcome = OUTCOME_OK,
                              .stream = 1,
                              .attempts = 1,
                              .prompt_tokens = 10,
                              .completion_tokens = 20,
                              .cached_tokens = 3,
                              .reasoning_tokens = 4,
                              .credit_micro = 1500000};
}

static void test_one_event(void **state)
{
    (void)state;
    struct totals *totals = totals_new(NULL);
    struct msg_event event = good_event();
    assert_int_equal(totals_add_event(totals, &event), 0);
    event.outcome = OUTCOME_TRANSIENT;
    event.status = 502;
    event.stream = 0;
    event.attempts = 3;
    event.moves = 1;
    assert_int_equal(totals_add_event(totals, &event), 0);
    assert_int_equal(totals_get(totals, TOTAL_REQUESTS, SPAN("200 ok stream")), 1);
    assert_int_equal(totals_get(totals, TOTAL_REQUESTS, SPAN("502 transient plain")), 1);
    assert_int_equal(totals_sum(totals, TOTAL_ERRORS), 1);
    assert_int_equal(totals_get(totals, TOTAL_MODEL, SPAN("gpt-5")), 2);
    assert_int_equal(totals_get(totals, TOTAL_CREDENTIAL, SPAN("c1")), 2);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("prompt")), 20);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("completion")), 40);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("cached")), 6);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("reasoning")), 8);
    assert_int_equal(totals_sum(totals, TOTAL_CREDIT), 3000000);
    assert_int_equal(totals_sum(totals, TOTAL_RETRIES), 2);
    assert_int_equal(totals_sum(totals, TOTAL_MOVES), 1);
    assert_int_equal(totals_get(totals, TOTAL_DURATION, SPAN("2500")), 2);
    assert_int_equal(totals_sum(totals, TOTAL_DURATION_SUM), 2400);
    assert_int_equal(totals_get(totals, TOTAL_FIRST, SPAN("500")), 1); /* streams only */
    assert_int_equal(totals_sum(totals, TOTAL_FIRST_SUM), 300);
    totals_free(&totals);
}

static void test_what_is_an_error(void **state)
{
    (void)state;
    struct msg_event event = good_event();
    assert_false(totals_event_is_error(&event));
    event.outcome = OUTCOME_CANCELLED;
    event.status = 499;
    assert_false(totals_event_is_error(&event));
    event.outcome = OUTCOME_BLAMELESS;
    event.status = 400;
    assert_true(totals_event_is_error(&event));
    event.outcome = OUTCOME_TRANSIENT; /* broke after the status line */
    event.status = 200;
    assert_true(totals_event_is_error(&event));
}

static void test_bucket_edges(void **state)
{
    (void)state;
    struct totals *totals = totals_new(NULL);
    struct msg_event event = good_event();
    event.duration_ms = 100;
    totals_add_event(totals, &event);
    event.duration_ms = 101;
    totals_add_event(totals, &event);
    event.duration_ms = UINT32_MAX;
    totals_add_event(totals, &event);
    assert_int_equal(totals_get(totals, TOTAL_DURATION, SPAN("100")), 1);
    assert_int_equal(totals_get(totals, TOTAL_DURATION, SPAN("250")), 1);
    assert_int_equal(totals_get(totals, TOTAL_DURATION, SPAN("inf")), 1);
    totals_free(&totals);
}

static void add_models(struct totals *totals, int first, int last)
{
    struct msg_event event = good_event();
    for (int i = first; i <= last; i++) {
        char model[32];
        snprintf(model, sizeof model, "model-%d", i);
        event.model = span_str(model);
        assert_int_equal(totals_add_event(totals, &event), 0);
    }
}

static int count_labels(void *context, struct span label, int64_t value)
{
    (void)label;
    (void)value;
    ++*(int *)context;
    return 0;
}

static void test_labels_are_bounded_also_through_deltas(void **state)
{
    (void)state;
    struct totals *totals = totals_new(NULL);
    add_models(totals, 1, 150);
    struct totals *delta = totals_new(totals);
    add_models(delta, 140, 300); /* 11 known, 50 that fit, 100 too many */
    assert_int_equal(totals_get(delta, TOTAL_MODEL, SPAN("model-140")), 1);
    assert_int_equal(totals_get(delta, TOTAL_MODEL, SPAN("model-200")), 1);
    assert_int_equal(totals_get(delta, TOTAL_MODEL, SPAN("model-201")), 0);
    assert_int_equal(totals_get(delta, TOTAL_MODEL, SPAN("other")), 100);
    assert_int_equal(totals_merge(totals, delta), 0);
    int count = 0;
    assert_int_equal(totals_each(totals, TOTAL_MODEL, count_labels, &count), 0);
    assert_int_equal(count, 201);
    assert_int_equal(totals_get(totals, TOTAL_MODEL, SPAN("model-145")), 2);
    assert_int_equal(totals_sum(totals, TOTAL_MODEL), 150 + 161);
    totals_free(&delta);
    totals_free(&totals);
}

static void test_one_lie_does_not_spoil_the_sums(void **state)
{
    (void)state;
    struct totals *totals = totals_new(NULL);
    struct msg_event event = good_event();
    event.prompt_tokens = UINT64_MAX;
    event.credit_micro = -5;
    event.status = 65535;
    event.outcome = 200;
    totals_add_event(totals, &event);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("prompt")), TOTALS_MAX_TOKENS);
    assert_int_equal(totals_sum(totals, TOTAL_CREDIT), 0);
    assert_int_equal(totals_get(totals, TOTAL_REQUESTS, SPAN("0 unknown stream")), 1);
    totals_add(totals, TOTAL_CREDIT, SPAN(""), INT64_MAX);
    totals_add(totals, TOTAL_CREDIT, SPAN(""), 5);
    assert_int_equal(totals_sum(totals, TOTAL_CREDIT), INT64_MAX);
    totals_free(&totals);
}

static int check_sorted(void *context, struct span label, int64_t value)
{
    static const char *const expected[] = {"a", "ab", "b"};
    int *at = context;
    (void)value;
    assert_true(span_equals(label, span_str(expected[*at])));
    ++*at;
    return 0;
}

static void test_labels_come_sorted(void **state)
{
    (void)state;
    struct totals *totals = totals_new(NULL);
    totals_add(totals, TOTAL_MODEL, SPAN("b"), 1);
    totals_add(totals, TOTAL_MODEL, SPAN("ab"), 1);
    totals_add(totals, TOTAL_MODEL, SPAN("a"), 1);
    totals_add(totals, TOTAL_CREDENTIAL, SPAN("aa"), 1);
    int at = 0;
    assert_int_equal(totals_each(totals, TOTAL_MODEL, check_sorted, &at), 0);
    assert_int_equal(at, 3);
    totals_clear(totals);
    assert_true(totals_is_empty(totals));
    totals_free(&totals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_event),
        cmocka_unit_test(test_what_is_an_error),
        cmocka_unit_test(test_bucket_edges),
        cmocka_unit_test(test_labels_are_bounded_also_through_deltas),
        cmocka_unit_test(test_one_lie_does_not_spoil_the_sums),
        cmocka_unit_test(test_labels_come_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
