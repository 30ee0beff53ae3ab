/* SPDX-License-Identifier: MIT */
#include "statsd/tidy.h"

#include <stdio.h>

enum {
    DAY_S = 86400,
    /* Each some 10 ms on a slow machine: a commit that comes meanwhile waits no longer. */
    BACKLOG_EVENTS = 1000,
    OLD_MINUTE_ROWS = 2000,
    OLD_EVENTS = 500
};

/* ---- the state, rows of ledger_state ---- */

#define MINUTES_SINCE "minutes_since_s"
#define BACKLOG_ID    "rollup_backlog_id"

int tidy_read_state(sqlite3 *db, struct tidy_state *state)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT name, value FROM ledger_state", -1, &statement, NULL);
    *state = (struct tidy_state){0};
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct span name = span_str((const char *)sqlite3_column_text(statement, 0));
        if (span_equals(name, SPAN(MINUTES_SINCE)))
            state->minutes_since_s = sqlite3_column_int64(statement, 1);
        else if (span_equals(name, SPAN(BACKLOG_ID)))
            state->backlog_id = sqlite3_column_int64(statement, 1);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int tidy_count_backlog(sqlite3 *db, const struct tidy_state *state, int64_t *count)
{
    sqlite3_stmt *statement = NULL;
    *count = 0;
    if (state->backlog_id == 0)
        return SQLITE_OK;
    int code = sqlite3_prepare_v2(db, "SELECT id FROM events WHERE id<=?1 ORDER BY id LIMIT 1", -1,
                                  &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, state->backlog_id);
        code = sqlite3_step(statement);
    }
    if (code == SQLITE_ROW)
        *count = state->backlog_id - sqlite3_column_int64(statement, 0) + 1;
    sqlite3_finalize(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static int write_state(sqlite3 *db, const char *name, int64_t value)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO ledger_state VALUES(?1, ?2)", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, value);
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* From when on there are minutes, should be, and will be: it never goes back, for what is deleted is gone. */
static int64_t find_minutes_since_s(const struct retention *retention, int64_t now_wall_ms)
{
    int64_t now_s = now_wall_ms / 1000;
    int64_t kept_s = retention->minutes_days * DAY_S;
    return now_s > kept_s ? (now_s - kept_s) / 3600 * 3600 : 0;
}

/* ---- the backlog ---- */

static struct span column_span(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column); /* of a TEXT: its bytes, without a NUL */
    return span_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

static void event_of_row(sqlite3_stmt *statement, struct msg_event *event)
{
    *event = (struct msg_event){
        .started_wall_ms = sqlite3_column_int64(statement, 1),
        .duration_ms = (uint32_t)sqlite3_column_int64(statement, 2),
        .first_event_ms = (uint32_t)sqlite3_column_int64(statement, 3),
        .key_id = column_span(statement, 4),
        .credential_id = column_span(statement, 5),
        .model = column_span(statement, 6),
        .status = (uint16_t)sqlite3_column_int(statement, 7),
        .outcome = (uint8_t)sqlite3_column_int(statement, 8),
        .stream = (uint8_t)sqlite3_column_int(statement, 9),
        .prompt_tokens = (uint64_t)sqlite3_column_int64(statement, 10),
        .completion_tokens = (uint64_t)sqlite3_column_int64(statement, 11),
        .cached_tokens = (uint64_t)sqlite3_column_int64(statement, 12),
        .reasoning_tokens = (uint64_t)sqlite3_column_int64(statement, 13),
        .credit_micro = sqlite3_column_int64(statement, 14),
    };
}

/* Counts the newest BACKLOG_EVENTS up to `*id`, and sets it to the one before them; 0: none are left. */
static int roll_up_backlog(sqlite3 *db, struct rollup *rollup, int64_t minutes_since_s, int64_t *id)
{
    static const char sql[] =
        "SELECT id, started_wall_ms, duration_ms, first_event_ms, key_id, credential_id, model, status, "
        "outcome, stream, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, credit_micro "
        "FROM events WHERE id <= ?1 ORDER BY id DESC LIMIT ?2";
    sqlite3_stmt *statement = NULL;
    int count = 0;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, *id);
        sqlite3_bind_int(statement, 2, BACKLOG_EVENTS);
    }
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct msg_event event;
        event_of_row(statement, &event);
        *id = sqlite3_column_int64(statement, 0) - 1;
        count++;
        code = rollup_add(rollup, &event, minutes_since_s);
    }
    sqlite3_finalize(statement);
    if (code == SQLITE_DONE)
        code = rollup_flush(rollup);
    if (count < BACKLOG_EVENTS)
        *id = 0;
    return code;
}

static int step_backlog(sqlite3 *db, struct rollup *rollup, const struct tidy_state *state)
{
    int64_t id = state->backlog_id;
    int code = roll_up_backlog(db, rollup, state->minutes_since_s, &id);
    if (code != SQLITE_OK)
        return code;
    if (id > 0)
        return write_state(db, BACKLOG_ID, id);
    return sqlite3_exec(db, "DELETE FROM ledger_state WHERE name='" BACKLOG_ID "'", NULL, NULL, NULL);
}

/* ---- what is too old ---- */

static int run_delete(sqlite3 *db, const char *sql, int64_t before, int limit, bool *more)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, before);
        sqlite3_bind_int(statement, 2, limit);
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    *more = code == SQLITE_DONE && sqlite3_changes(db) >= limit;
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int step_minutes(sqlite3 *db, int64_t minutes_since_s, bool *more)
{
    int code = SQLITE_OK;
    for (int i = 0; i < DIMENSION_COUNT && code == SQLITE_OK && !*more; i++) {
        char sql[320];
        snprintf(sql, sizeof sql,
                 "DELETE FROM usage_minutes WHERE (dimension, start_s, label) IN (SELECT dimension, start_s, "
                 "label FROM usage_minutes WHERE dimension=%d AND start_s<?1 ORDER BY start_s LIMIT ?2)",
                 i);
        code = run_delete(db, sql, minutes_since_s, OLD_MINUTE_ROWS, more);
    }
    return code;
}

static int step_events(sqlite3 *db, int64_t before_ms, bool *more)
{
    return run_delete(db,
                      "DELETE FROM events WHERE id IN (SELECT id FROM events INDEXED BY events_started "
                      "WHERE started_wall_ms<?1 ORDER BY started_wall_ms LIMIT ?2)",
                      before_ms, OLD_EVENTS, more);
}

int tidy_step(sqlite3 *db, struct rollup *rollup, const struct retention *retention, int64_t now_wall_ms,
              bool *more)
{
    struct tidy_state state;
    int64_t minutes_since_s = find_minutes_since_s(retention, now_wall_ms);
    *more = false;
    int code = tidy_read_state(db, &state);
    if (code == SQLITE_OK && minutes_since_s > state.minutes_since_s) {
        state.minutes_since_s = minutes_since_s;
        code = write_state(db, MINUTES_SINCE, minutes_since_s);
    }
    if (code != SQLITE_OK)
        return code;
    if (state.backlog_id > 0) { /* first: nothing is deleted before it is counted */
        *more = true;
        return step_backlog(db, rollup, &state);
    }
    code = step_minutes(db, state.minutes_since_s, more);
    if (code == SQLITE_OK && !*more && retention->events_days > 0)
        code = step_events(db, now_wall_ms - retention->events_days * DAY_S * 1000, more);
    return code;
}
