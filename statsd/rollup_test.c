/* SPDX-License-Identifier: MIT */
/* The sums by minute and hour: what they add up to, how older ledgers get them, and how the old ones go. */
#include "proto/error.h"
#include "statsd/ledger_fixture.h"
#include "statsd/ledger_schema.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { DAY_S = 86400, NEVER_DAYS = 10000 };
static const struct retention FOR_EVER = {.events_days = 0, .minutes_days = NEVER_DAYS};

static void test_sums_are_those_of_the_events(void **state)
{
    struct ledger_fixture *f = *state;
    for (unsigned first = 1; first <= 3000; first += 100)
        assert_int_equal(ledger_fixture_commit_range(f, first, first + 149), 0); /* a third comes twice */
    assert_int_equal(ledger_count_events(f->ledger), 3050);
    ledger_fixture_expect_sums(f, 0);
    ledger_fixture_reopen(f); /* the labels are read again */
    assert_int_equal(ledger_fixture_commit_range(f, 3051, 4000), 0);
    ledger_fixture_expect_sums(f, 0);
}

/* More cells than are gathered at a time: they are written in between. */
static void test_a_large_batch(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 20000), 0);
    assert_true(ledger_fixture_number(f, "SELECT count(*) FROM usage_minutes") > 6000);
    ledger_fixture_expect_sums(f, 0);
}

static void test_histograms_are_those_of_the_events(void **state)
{
    struct ledger_fixture *f = *state;
    struct histogram want = {{0}}, have = {{0}};
    for (unsigned i = 1; i <= 1000; i++) {
        struct msg_event event;
        struct fixture_texts texts = {0};
        ledger_fixture_event(i, &event, &texts);
        if (event.stream && event.first_event_ms > 0)
            histogram_add(&want, event.first_event_ms);
    }
    for (unsigned first = 1; first <= 1000; first += 50)
        assert_int_equal(ledger_fixture_commit_range(f, first, first + 49), 0);
    for (int dimension = 0; dimension < DIMENSION_COUNT; dimension++)
        for (int by_hour = 0; by_hour < 2; by_hour++) {
            char sql[128];
            sqlite3_stmt *statement = NULL;
            snprintf(sql, sizeof sql, "SELECT first_event_histogram FROM %s WHERE dimension=%d",
                     by_hour ? "usage_hours" : "usage_minutes", dimension);
            assert_int_equal(sqlite3_prepare_v2(f->db, sql, -1, &statement, NULL), SQLITE_OK);
            have = (struct histogram){{0}};
            while (sqlite3_step(statement) == SQLITE_ROW)
                assert_int_equal(
                    histogram_add_encoded(&have, span_of(sqlite3_column_blob(statement, 0),
                                                         (size_t)sqlite3_column_bytes(statement, 0))),
                    0);
            sqlite3_finalize(statement);
            assert_memory_equal(&have, &want, sizeof want);
        }
}

static void test_labels_are_bounded(void **state)
{
    struct ledger_fixture *f = *state;
    for (unsigned i = 1; i <= 230; i++) {
        struct msg_event event;
        struct fixture_texts texts = {0};
        char model[16];
        ledger_fixture_event(i, &event, &texts);
        snprintf(model, sizeof model, "m-%u", i);
        event.model = span_str(model);
        assert_int_equal(ledger_fixture_commit(f, &event), 0);
    }
    int64_t label;
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM labels WHERE dimension=1"), 201);
    assert_int_equal(ledger_fixture_number(f, "SELECT sum(requests) FROM usage_hours JOIN labels ON id=label "
                                              "WHERE text='other' AND labels.dimension=1"),
                     30);
    assert_int_equal(rollup_find_label(f->db, DIMENSION_MODEL, SPAN("m-230"), &label), SQLITE_OK);
    assert_int_equal(label, ledger_fixture_number(f, "SELECT id FROM labels WHERE text='other'"));
    assert_int_equal(rollup_find_label(f->db, DIMENSION_KEY, SPAN("nobody"), &label), SQLITE_OK);
    assert_int_equal(label, 0);
}

static void test_a_failed_commit_leaves_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 100), 0);
    ledger_limit_pages(f->ledger, ledger_fixture_number(f, "PRAGMA page_count"));
    assert_int_equal(ledger_fixture_commit_range(f, 101, 9000), ERR_IO);
    ledger_fixture_expect_sums(f, 0);
    ledger_limit_pages(f->ledger, 1 << 20);
    assert_int_equal(ledger_fixture_commit_range(f, 101, 9000), 0);
    assert_int_equal(ledger_count_events(f->ledger), 9000);
    ledger_fixture_expect_sums(f, 0);
}

static void test_sums_saturate(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 1), 0);
    ledger_fixture_run(f, "UPDATE usage_hours SET credit_micro=9223372036854775807; "
                          "UPDATE usage_minutes SET credit_micro=9223372036854775800");
    struct msg_event event;
    struct fixture_texts texts = {0};
    ledger_fixture_event(1, &event, &texts);
    event.request_id = SPAN("another");
    event.credit_micro = 8;
    assert_int_equal(ledger_fixture_commit(f, &event), 0);
    static const char sql[] =
        "SELECT count(*) FROM usage_hours WHERE credit_micro<>9223372036854775807 OR requests<>2";
    assert_int_equal(ledger_fixture_number(f, sql), 0);
    assert_int_equal(ledger_fixture_number(f, "SELECT min(credit_micro) FROM usage_minutes"), INT64_MAX);
}

static void test_nonsense_times_are_counted_at_the_edge(void **state)
{
    struct ledger_fixture *f = *state;
    static const int64_t times[] = {INT64_MIN, -1, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct msg_event event;
        struct fixture_texts texts = {0};
        ledger_fixture_event((unsigned)i, &event, &texts);
        event.started_wall_ms = times[i];
        assert_int_equal(ledger_fixture_commit(f, &event), 0);
    }
    assert_int_equal(
        ledger_fixture_number(f, "SELECT sum(requests) FROM usage_hours WHERE dimension=0 AND start_s=0"), 2);
    assert_int_equal(ledger_fixture_number(f, "SELECT sum(requests) FROM usage_hours WHERE dimension=0"), 3);
}

/* ---- older ledgers ---- */

/* As a program of version 2 leaves it: events and no sums by time. */
static void make_version_2(struct ledger_fixture *f, unsigned count)
{
    sqlite3 *db = NULL;
    char sql[1024];
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(ledger_schema_configure(db), SQLITE_OK);
    assert_int_equal(ledger_schema_migrate(db, 2, FIXTURE_NOW_MS), SQLITE_OK);
    snprintf(
        sql, sizeof sql,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%u) INSERT INTO events "
        "SELECT i, 'old-'||i, %" PRId64
        "-i*7919%%10000000, i%%30000, i%%9000, 'key-'||(i%%7), 'cred-'||(i%%3), "
        "'old-model-'||(i%%5), iif(i%%9=0,502,200), iif(i%%9=0,3,0), '', i%%2, 1, 0, i%%100, i%%50, 1, 2, "
        "i%%999 "
        "FROM n",
        count, FIXTURE_NOW_MS);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "INSERT OR REPLACE INTO totals SELECT 'requests', '200 ok stream', count(*) FROM events",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
}

static bool tidy(struct ledger_fixture *f, const struct retention *retention)
{
    bool more = false;
    assert_int_equal(ledger_tidy(f->ledger, retention, FIXTURE_NOW_MS, &more), 0);
    return more;
}

/* At any moment each event is either counted or in the backlog. */
static void expect_counted_or_waiting(struct ledger_fixture *f)
{
    struct tidy_state shape;
    char sql[128];
    assert_int_equal(tidy_read_state(f->db, &shape), SQLITE_OK);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM events WHERE id<=%" PRId64, shape.backlog_id);
    assert_int_equal(
        ledger_fixture_number(f, "SELECT ifnull(sum(requests),0) FROM usage_hours WHERE dimension=0") +
            ledger_fixture_number(f, sql),
        ledger_count_events(f->ledger));
    assert_int_equal(ledger_backlog_count(f->ledger), shape.backlog_id); /* ids begin with 1 */
}

static void test_an_older_ledger_gets_its_sums_in_steps(void **state)
{
    struct ledger_fixture *f = *state;
    make_version_2(f, 3500);
    ledger_fixture_open(f);
    assert_int_equal(ledger_fixture_number(f, "PRAGMA user_version"), ledger_schema_version);
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM usage_hours"), 0);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 3500);
    assert_int_equal(ledger_backlog_count(f->ledger), 3500);
    unsigned steps = 0;
    do { /* commits go on between the steps, and a restart too */
        expect_counted_or_waiting(f);
        assert_int_equal(ledger_fixture_commit_range(f, 1 + steps * 50, 50 + steps * 50), 0);
        expect_counted_or_waiting(f);
        if (steps == 1)
            ledger_fixture_reopen(f);
        assert_true(++steps < 100);
    } while (tidy(f, &FOR_EVER));
    assert_true(steps > 3); /* none did it all */
    struct tidy_state shape;
    assert_int_equal(tidy_read_state(f->db, &shape), SQLITE_OK);
    assert_int_equal(shape.backlog_id, 0);
    assert_int_equal(ledger_backlog_count(f->ledger), 0);
    ledger_fixture_expect_sums(f, 0);
    assert_int_equal(ledger_count_events(f->ledger), 3500 + steps * 50);
}

static void test_a_step_that_fails_changes_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    bool more;
    make_version_2(f, 1500);
    ledger_fixture_open(f);
    ledger_limit_pages(f->ledger, ledger_fixture_number(f, "PRAGMA page_count"));
    assert_int_equal(ledger_tidy(f->ledger, &FOR_EVER, FIXTURE_NOW_MS, &more), ERR_IO);
    expect_counted_or_waiting(f);
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM usage_hours"), 0);
    ledger_limit_pages(f->ledger, 1 << 20);
    while (tidy(f, &FOR_EVER))
        ;
    ledger_fixture_expect_sums(f, 0);
}

/* ---- retention ---- */

static void commit_at(struct ledger_fixture *f, unsigned number, int64_t days_ago)
{
    struct msg_event event;
    struct fixture_texts texts = {0};
    ledger_fixture_event(number, &event, &texts);
    event.started_wall_ms = FIXTURE_NOW_MS - 1 - days_ago * DAY_S * 1000;
    assert_int_equal(ledger_fixture_commit(f, &event), 0);
}

static void test_what_is_too_old_goes_in_steps(void **state)
{
    struct ledger_fixture *f = *state;
    const struct retention retention = {.events_days = 10, .minutes_days = 5};
    for (unsigned i = 0; i < 1200; i++)
        commit_at(f, i, i % 20);
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM events"), 1200);
    unsigned steps = 1;
    while (tidy(f, &retention)) {
        assert_true(ledger_fixture_number(f, "SELECT count(*) FROM events") >= 600);
        assert_true(++steps < 100);
    }
    assert_true(steps > 1);
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM events"), 600); /* the last 10 days */
    assert_int_equal(ledger_fixture_number(f, "SELECT sum(requests) FROM usage_minutes WHERE dimension=0"),
                     300);
    assert_int_equal(ledger_fixture_number(f, "SELECT sum(requests) FROM usage_hours WHERE dimension=0"),
                     1200);
    struct tidy_state shape;
    assert_int_equal(tidy_read_state(f->db, &shape), SQLITE_OK);
    assert_int_equal(shape.minutes_since_s, FIXTURE_NOW_MS / 1000 - 5 * DAY_S);
    assert_false(tidy(f, &FOR_EVER)); /* minutes that are gone do not come back with a longer time */
    assert_int_equal(tidy_read_state(f->db, &shape), SQLITE_OK);
    assert_int_equal(shape.minutes_since_s, FIXTURE_NOW_MS / 1000 - 5 * DAY_S);
    ledger_fixture_reopen(f);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 1200); /* and the sums of all stay */
}

static void test_nothing_goes_before_it_is_counted(void **state)
{
    struct ledger_fixture *f = *state;
    const struct retention retention = {.events_days = 1, .minutes_days = 1};
    make_version_2(f, 1500);
    ledger_fixture_open(f);
    ledger_fixture_run(f, "UPDATE events SET started_wall_ms=started_wall_ms-86400000*3");
    while (tidy(f, &retention))
        ;
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM events"), 0);
    assert_int_equal(ledger_fixture_number(f, "SELECT count(*) FROM usage_minutes"), 0);
    assert_int_equal(ledger_fixture_number(f, "SELECT sum(requests) FROM usage_hours WHERE dimension=0"),
                     1500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_fixture_setup, ledger_fixture_teardown)
#define TEST_OLD(name)                                                                                       \
    cmocka_unit_test_setup_teardown(name, ledger_fixture_setup_closed, ledger_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sums_are_those_of_the_events),
        TEST(test_a_large_batch),
        TEST(test_histograms_are_those_of_the_events),
        TEST(test_labels_are_bounded),
        TEST(test_a_failed_commit_leaves_nothing),
        TEST(test_sums_saturate),
        TEST(test_nonsense_times_are_counted_at_the_edge),
        TEST_OLD(test_an_older_ledger_gets_its_sums_in_steps),
        TEST_OLD(test_a_step_that_fails_changes_nothing),
        TEST(test_what_is_too_old_goes_in_steps),
        TEST_OLD(test_nothing_goes_before_it_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
