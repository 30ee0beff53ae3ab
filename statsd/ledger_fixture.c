/* SPDX-License-Identifier: MIT */
#include "statsd/ledger_fixture.h"
#include "proto/outcome.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

int ledger_fixture_setup_closed(void **state)
{
    struct ledger_fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    snprintf(f->directory, sizeof f->directory, "/tmp/cb-ledger-XXXXXX");
    if (!mkdtemp(f->directory)) {
        free(f);
        return -1;
    }
    snprintf(f->path, sizeof f->path, "%s/usage.db", f->directory);
    f->ledger = ledger_new(f->directory);
    f->totals = totals_new(NULL);
    counter_rows_init(&f->counters);
    *state = f;
    return 0;
}

void ledger_fixture_open(struct ledger_fixture *f)
{
    totals_clear(f->totals);
    counter_rows_fini(&f->counters);
    assert_int_equal(ledger_open(f->ledger, FIXTURE_NOW_MS, NULL, f->totals, &f->counters), 0);
    assert_int_equal(sqlite3_open_v2(f->path, &f->db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
}

int ledger_fixture_setup(void **state)
{
    if (ledger_fixture_setup_closed(state) < 0)
        return -1;
    ledger_fixture_open(*state);
    return 0;
}

void ledger_fixture_reopen(struct ledger_fixture *f)
{
    sqlite3_close(f->db);
    f->db = NULL;
    ledger_close(f->ledger);
    ledger_fixture_open(f);
}

int ledger_fixture_teardown(void **state)
{
    struct ledger_fixture *f = *state;
    sqlite3_close(f->db);
    ledger_free(&f->ledger);
    totals_free(&f->totals);
    counter_rows_fini(&f->counters);
    DIR *dir = opendir(f->directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(f->directory);
    free(f);
    return 0;
}

void ledger_fixture_event(unsigned number, struct msg_event *event, struct fixture_texts *texts)
{
    unsigned mixed = number * 2654435761u;
    bool failed = mixed % 11 == 0, left = mixed % 13 == 0;
    snprintf(texts->id, sizeof texts->id, "req-%08u", number);
    snprintf(texts->model, sizeof texts->model, "model-%u", (mixed >> 8) % 12);
    snprintf(texts->credential, sizeof texts->credential, "cred-%u", (mixed >> 12) % 5);
    snprintf(texts->key, sizeof texts->key, "key-%u", (mixed >> 16) % 9);
    *event = (struct msg_event){.request_id = span_str(texts->id),
                                .started_wall_ms = FIXTURE_NOW_MS - 1 - (mixed >> 4) % (3 * 3600 * 1000),
                                .duration_ms = mixed % 50000,
                                .first_event_ms = failed ? 0 : mixed % 9000,
                                .key_id = span_str(texts->key),
                                .credential_id = failed ? SPAN("") : span_str(texts->credential),
                                .model = span_str(texts->model),
                                .status = failed ? 502
                                          : left ? 499
                                                 : 200,
                                .outcome = failed ? OUTCOME_TRANSIENT
                                           : left ? OUTCOME_CANCELLED
                                                  : OUTCOME_OK,
                                .code = failed ? SPAN("upstream_error") : SPAN(""),
                                .stream = (mixed >> 20) % 2,
                                .attempts = 1,
                                .prompt_tokens = mixed % 1000,
                                .completion_tokens = mixed % 777,
                                .cached_tokens = mixed % 99,
                                .reasoning_tokens = mixed % 55,
                                .credit_micro = mixed % 1000000};
}

static int commit(struct ledger_fixture *f, struct span train)
{
    struct counter_rows none;
    counter_rows_init(&none);
    struct totals *delta = totals_new(f->totals);
    int error = ledger_commit(f->ledger, train, &none, delta);
    if (error == 0)
        assert_int_equal(totals_merge(f->totals, delta), 0);
    totals_free(&delta);
    return error;
}

int ledger_fixture_commit(struct ledger_fixture *f, const struct msg_event *event)
{
    struct buffer train = {0};
    assert_int_equal(message_encode(&train, MESSAGE_EVENT, 1, event), 0);
    int error = commit(f, buffer_span(&train));
    buffer_fini(&train);
    return error;
}

int ledger_fixture_commit_range(struct ledger_fixture *f, unsigned first, unsigned last)
{
    struct buffer train = {0};
    for (unsigned i = first; i <= last; i++) {
        struct msg_event event;
        struct fixture_texts texts = {0};
        ledger_fixture_event(i, &event, &texts);
        assert_int_equal(message_encode(&train, MESSAGE_EVENT, i, &event), 0);
    }
    int error = commit(f, buffer_span(&train));
    buffer_fini(&train);
    return error;
}

int64_t ledger_fixture_number(struct ledger_fixture *f, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(f->db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(f->db));
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

void ledger_fixture_run(struct ledger_fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* Rows of `table` that differ from what the events of that dimension add up to, either way. */
static int64_t count_wrong_rows(struct ledger_fixture *f, const char *table, int width_s, int dimension,
                                const char *label, int64_t since_s)
{
    static const char sums[] =
        "requests, errors, cancelled, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, "
        "credit_micro, duration_ms, first_event_count, first_event_ms";
    static const char counted[] =
        "count(*), sum(outcome NOT IN (0,1) OR (outcome=0 AND status>=400 AND status<>499)), sum(outcome=1 "
        "OR "
        "status=499), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens), sum(reasoning_tokens), "
        "sum(credit_micro), sum(duration_ms), sum(stream AND first_event_ms>0), "
        "sum(iif(stream, first_event_ms, 0))";
    char sql[4096], have[512], want[1024];
    snprintf(have, sizeof have,
             "SELECT start_s, text, %s FROM %s JOIN labels ON id=label WHERE labels.dimension=%d AND "
             "start_s>=%" PRId64,
             sums, table, dimension, since_s);
    snprintf(
        want, sizeof want,
        "SELECT started_wall_ms/1000/%d*%d AS start, CAST(%s AS TEXT), %s FROM events WHERE start>=%" PRId64
        " GROUP BY 1, 2",
        width_s, width_s, label, counted, since_s);
    snprintf(sql, sizeof sql,
             "SELECT (SELECT count(*) FROM (%s EXCEPT %s)) + (SELECT count(*) FROM (%s EXCEPT %s))", have,
             want, want, have);
    return ledger_fixture_number(f, sql);
}

void ledger_fixture_expect_sums(struct ledger_fixture *f, int64_t minutes_since_s)
{
    static const struct {
        enum dimension dimension;
        const char *label;
    } all[] = {
        {DIMENSION_ALL, "'all'"},
        {DIMENSION_MODEL, "model"},
        {DIMENSION_CREDENTIAL, "credential_id"},
        {DIMENSION_KEY, "key_id"},
        {DIMENSION_STATUS, "status"},
        {DIMENSION_OUTCOME, "CASE outcome WHEN 0 THEN 'ok' WHEN 1 THEN 'cancelled' ELSE 'transient' END"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(
            count_wrong_rows(f, "usage_minutes", 60, (int)all[i].dimension, all[i].label, minutes_since_s),
            0);
        assert_int_equal(count_wrong_rows(f, "usage_hours", 3600, (int)all[i].dimension, all[i].label, 0), 0);
    }
}
