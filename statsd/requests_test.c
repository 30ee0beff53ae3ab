/* SPDX-License-Identifier: MIT */
#include "statsd/requests.h"
#include "statsd/ledger_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ALL = 3000 };

static bool is_late; /* every page's time is over when it begins */

static bool is_over(const void *patience)
{
    (void)patience;
    return is_late;
}

static bool read_question(json_t *arguments, struct requests_question *question, struct problem *problem)
{
    *problem = (struct problem){"", ""};
    return requests_read_question(arguments, question, problem);
}

static json_t *ask(struct ledger_fixture *f, json_t *arguments)
{
    struct requests_question question;
    struct problem problem;
    struct tidy_state shape;
    struct buffer out = {0};
    if (!read_question(arguments, &question, &problem))
        fail_msg("%s %s", problem.field, problem.message);
    question.is_over = is_over;
    assert_int_equal(tidy_read_state(f->db, &shape), SQLITE_OK);
    assert_int_equal(requests_append_answer(f->db, &question, &shape, &out), SQLITE_OK);
    json_t *root = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buffer_fini(&out);
    return root;
}

/* Reads page after page; returns how many rows, and asserts that they come newest first and none twice.
 * `condition`: what they are by SQL. */
static int64_t page_through(struct ledger_fixture *f, const char *filters, const char *limit, unsigned *pages)
{
    char before[64] = "";
    int64_t count = 0;
    double last = 1e18;
    for (*pages = 1;; ++*pages) {
        json_t *arguments = json_loads(filters, 0, NULL), *row;
        size_t i;
        json_object_set_new(arguments, "limit", json_string(limit));
        if (before[0])
            json_object_set_new(arguments, "before", json_string(before));
        json_t *root = ask(f, arguments);
        json_array_foreach (json_object_get(root, "requests"), i, row) {
            double started = json_number_value(json_object_get(row, "started_at"));
            assert_true(started <= last);
            last = started;
            count++;
        }
        const char *next = json_string_value(json_object_get(root, "next_before"));
        snprintf(before, sizeof before, "%s", next ? next : "");
        json_decref(root);
        json_decref(arguments);
        if (!before[0])
            return count;
        assert_true(*pages < 10000);
    }
}

static void expect_by_filter(struct ledger_fixture *f, const char *filters, const char *where)
{
    char sql[256];
    unsigned pages;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM events WHERE %s", where);
    assert_int_equal(page_through(f, filters, "7", &pages), ledger_fixture_number(f, sql));
}

static void expect_all_filters(struct ledger_fixture *f)
{
    expect_by_filter(f, "{}", "1");
    expect_by_filter(f, "{\"model\":\"model-3\"}", "model='model-3'");
    expect_by_filter(f, "{\"credential\":\"cred-1\"}", "credential_id='cred-1'");
    expect_by_filter(f, "{\"credential\":\"\"}", "credential_id=''");
    expect_by_filter(f, "{\"key\":\"key-8\"}", "key_id='key-8'");
    expect_by_filter(f, "{\"status\":\"502\"}", "status=502");
    expect_by_filter(f, "{\"outcome\":\"cancelled\"}", "outcome=1");
    expect_by_filter(f, "{\"model\":\"model-3\",\"status\":\"499\",\"key\":\"key-2\"}",
                     "model='model-3' AND status=499 AND key_id='key-2'");
    expect_by_filter(f, "{\"model\":\"nobody's\"}", "0");
    expect_by_filter(f, "{\"model\":\"model-3\",\"key\":\"no\"}", "0");
}

static void test_every_filter_finds_its_own(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, ALL), 0);
    expect_all_filters(f);
}

/* Where sums by the minute are gone, hours guide; where sums are missing, nothing does. */
static void test_the_same_without_minutes_and_without_sums(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, ALL), 0);
    ledger_fixture_run(f, "INSERT INTO ledger_state VALUES('minutes_since_s', 1763996400);"
                          "DELETE FROM usage_minutes WHERE start_s<1763996400");
    expect_all_filters(f);
    ledger_fixture_run(f,
                       "INSERT INTO ledger_state VALUES('rollup_backlog_id', 2000); DELETE FROM usage_hours");
    expect_all_filters(f);
}

static void test_a_page_and_the_next(void **state)
{
    struct ledger_fixture *f = *state;
    unsigned pages;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 100), 0);
    assert_int_equal(page_through(f, "{}", "50", &pages), 100);
    assert_int_equal(pages, 2); /* the second one knows that it is the last */
    assert_int_equal(page_through(f, "{}", "500", &pages), 100);
    assert_int_equal(pages, 1);
    assert_int_equal(page_through(f, "{}", "1", &pages), 100);
    assert_int_equal(pages, 100);
}

static void test_many_in_one_millisecond(void **state)
{
    struct ledger_fixture *f = *state;
    unsigned pages;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 200), 0);
    ledger_fixture_run(f, "UPDATE events SET started_wall_ms=1763999999999");
    assert_int_equal(page_through(f, "{}", "30", &pages), 200);
    assert_int_equal(pages, 7);
}

/* Two that are common, but never together: pages are short or empty, and lead on to the end. */
static void test_a_long_search_is_handed_over_in_pieces(void **state)
{
    struct ledger_fixture *f = *state;
    unsigned pages;
    char sql[512];
    snprintf(
        sql, sizeof sql,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO events SELECT "
        "i+100000, 'r-'||i, %" PRId64
        "-i*100, 1, 1, 'k'||(i%%2), 'c', 'm'||(i%%2), 200, 0, '', 1, 1, 0, 1, 1, 0, 0, 0 FROM n",
        3 * REQUESTS_MAX_LOOKS, FIXTURE_NOW_MS);
    ledger_fixture_run(f, sql);
    ledger_fixture_run(f, "INSERT INTO ledger_state VALUES('rollup_backlog_id', 1000000)");
    assert_int_equal(page_through(f, "{\"model\":\"m0\",\"key\":\"k1\"}", "50", &pages), 0);
    assert_in_range(pages, 3, 5);
    ledger_fixture_run(f, "UPDATE events SET key_id='k1' WHERE id=100002");
    ledger_fixture_run(f, "UPDATE events SET key_id='k1' WHERE request_id='r-25000'");
    assert_int_equal(page_through(f, "{\"model\":\"m0\",\"key\":\"k1\"}", "50", &pages), 2);
}

/* On a slow disk a page ends with its time, after REQUESTS_FREE_LOOKS at least, and none is lost between two.
 */
static void test_a_page_ends_with_its_time(void **state)
{
    struct ledger_fixture *f = *state;
    unsigned pages;
    is_late = true;
    assert_int_equal(page_through(f, "{}", "50", &pages), 0);
    assert_int_equal(ledger_fixture_commit_range(f, 1, 2 * REQUESTS_FREE_LOOKS + 500), 0);
    assert_int_equal(page_through(f, "{}", "500", &pages), 2 * REQUESTS_FREE_LOOKS + 500);
    int64_t late = page_through(f, "{\"model\":\"model-1\",\"status\":\"200\"}", "500", &pages);
    assert_in_range(pages, 2, 10);
    is_late = false;
    assert_int_equal(page_through(f, "{\"model\":\"model-1\",\"status\":\"200\"}", "500", &pages), late);
    assert_int_equal(pages, 1);
    assert_true(late > 10);
}

static void test_what_a_row_says(void **state)
{
    struct ledger_fixture *f = *state;
    struct msg_event event;
    struct fixture_texts texts = {0};
    ledger_fixture_event(11, &event, &texts);
    event.request_id = SPAN("an-id");
    event.started_wall_ms = FIXTURE_NOW_MS + 7;
    event.key_id = SPAN("");
    event.credential_id = SPAN("");
    event.model = SPAN("a \"model\"");
    event.first_event_ms = 0;
    event.stream = 1;
    event.status = 503;
    event.outcome = 0;
    event.code = SPAN("no_credential");
    event.credit_micro = 12300;
    event.duration_ms = 9;
    event.prompt_tokens = event.completion_tokens = event.cached_tokens = event.reasoning_tokens = 0;
    assert_int_equal(ledger_fixture_commit(f, &event), 0);
    json_t *arguments = json_object(), *root = ask(f, arguments);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(14));
    assert_string_equal(
        text, "{\"next_before\":null,\"requests\":[{\"cached_tokens\":0,\"completion_tokens\":0,"
              "\"credential_id\":null,\"credit\":0.0123,\"duration_ms\":9,\"error_code\":\"no_credential\","
              "\"first_event_ms\":null,\"id\":\"an-id\",\"key_id\":null,\"model\":\"a \\\"model\\\"\","
              "\"outcome\":\"ok\",\"prompt_tokens\":0,\"reasoning_tokens\":0,\"started_at\":1764000000.007,"
              "\"status\":503,\"stream\":true}]}");
    free(text);
    json_decref(root);
    json_decref(arguments);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *field;
    } bad[] = {
        {"{\"limit\":\"0\"}", "limit"},       {"{\"limit\":\"501\"}", "limit"},
        {"{\"limit\":\"x\"}", "limit"},       {"{\"limit\":5}", "limit"},
        {"{\"before\":\"\"}", "before"},      {"{\"before\":\"1\"}", "before"},
        {"{\"before\":\"1-\"}", "before"},    {"{\"before\":\"-1\"}", "before"},
        {"{\"before\":\"1-2-3\"}", "before"}, {"{\"before\":\"9223372036854775808-1\"}", "before"},
        {"{\"status\":\"1000\"}", "status"},  {"{\"status\":\"ok\"}", "status"},
        {"{\"outcome\":\"\"}", "outcome"},    {"{\"outcome\":\"unknown\"}", "outcome"},
        {"{\"from\":\"1\"}", "from"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct requests_question question;
        struct problem problem;
        json_t *arguments = json_loads(bad[i].json, 0, NULL);
        assert_false(read_question(arguments, &question, &problem));
        assert_string_equal(problem.field, bad[i].field);
        json_decref(arguments);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_fixture_setup, ledger_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_filter_finds_its_own),
        TEST(test_the_same_without_minutes_and_without_sums),
        TEST(test_a_page_and_the_next),
        TEST(test_many_in_one_millisecond),
        TEST(test_a_long_search_is_handed_over_in_pieces),
        TEST(test_a_page_ends_with_its_time),
        TEST(test_what_a_row_says),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
