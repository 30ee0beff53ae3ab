/* SPDX-License-Identifier: MIT */
#include "statsd/totals_store.h"
#include "proto/error.h"

static struct span column_span(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column); /* of a TEXT: its bytes, without a NUL */
    return span_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

int totals_store_load(sqlite3 *db, struct totals *totals)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT family, label, value FROM totals", -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        enum total_family family;
        int64_t value = sqlite3_column_int64(statement, 2);
        code = SQLITE_OK;
        if (!total_family_of(column_span(statement, 0), &family) || value < 0)
            continue; /* a later program's, or a person's */
        if (totals_add(totals, family, column_span(statement, 1), value) < 0)
            code = SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

struct adding {
    sqlite3_stmt *statement;
    enum total_family family;
    int code;
};

static int add_row(void *context, struct span label, int64_t value)
{
    struct adding *adding = context;
    sqlite3_bind_text(adding->statement, 1, total_family_word(adding->family), -1, SQLITE_STATIC);
    sqlite3_bind_text(adding->statement, 2, label.data, (int)label.length, SQLITE_STATIC);
    sqlite3_bind_int64(adding->statement, 3, value);
    adding->code = sqlite3_step(adding->statement);
    sqlite3_reset(adding->statement);
    return adding->code == SQLITE_DONE ? 0 : ERR_IO;
}

int totals_store_add(sqlite3 *db, const struct totals *totals)
{
    /* The sum saturates as in memory: SQLite would turn an overflow into a REAL, which STRICT refuses. */
    static const char sql[] =
        "INSERT INTO totals(family, label, value) VALUES(?1, ?2, ?3) ON CONFLICT(family, label) DO UPDATE "
        "SET value = CASE WHEN value > 9223372036854775807 - excluded.value THEN 9223372036854775807 "
        "ELSE value + excluded.value END";
    struct adding adding = {0};
    int code = sqlite3_prepare_v2(db, sql, -1, &adding.statement, NULL);
    if (code != SQLITE_OK)
        return code;
    adding.code = SQLITE_DONE;
    int error = 0;
    for (unsigned i = 0; i < TOTAL_FAMILY_COUNT && error == 0; i++) {
        adding.family = (enum total_family)i;
        error = totals_each(totals, adding.family, add_row, &adding);
    }
    sqlite3_finalize(adding.statement);
    if (error == ERR_NOMEM)
        return SQLITE_NOMEM;
    return adding.code == SQLITE_DONE ? SQLITE_OK : adding.code;
}

static void event_of_row(sqlite3_stmt *statement, struct msg_event *event)
{
    *event = (struct msg_event){
        .duration_ms = (uint32_t)sqlite3_column_int64(statement, 0),
        .first_event_ms = (uint32_t)sqlite3_column_int64(statement, 1),
        .credential_id = column_span(statement, 2),
        .model = column_span(statement, 3),
        .status = (uint16_t)sqlite3_column_int(statement, 4),
        .outcome = (uint8_t)sqlite3_column_int(statement, 5),
        .stream = (uint8_t)sqlite3_column_int(statement, 6),
        .attempts = (uint8_t)sqlite3_column_int(statement, 7),
        .moves = (uint8_t)sqlite3_column_int(statement, 8),
        .prompt_tokens = (uint64_t)sqlite3_column_int64(statement, 9),
        .completion_tokens = (uint64_t)sqlite3_column_int64(statement, 10),
        .cached_tokens = (uint64_t)sqlite3_column_int64(statement, 11),
        .reasoning_tokens = (uint64_t)sqlite3_column_int64(statement, 12),
        .credit_micro = sqlite3_column_int64(statement, 13),
    };
}

int totals_store_compute(sqlite3 *db, struct totals *totals, int64_t now_wall_ms)
{
    static const char sql[] =
        "SELECT duration_ms, first_event_ms, credential_id, model, status, outcome, stream, attempts, moves, "
        "prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, credit_micro, started_wall_ms "
        "FROM events";
    sqlite3_stmt *statement = NULL;
    int64_t since_wall_ms = now_wall_ms;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct msg_event event;
        event_of_row(statement, &event);
        int64_t started_wall_ms = sqlite3_column_int64(statement, 14);
        if (started_wall_ms > 0 && started_wall_ms < since_wall_ms)
            since_wall_ms = started_wall_ms;
        code = totals_add_event(totals, &event) < 0 ? SQLITE_NOMEM : SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE && code != SQLITE_OK)
        return code;
    if (since_wall_ms < 0)
        since_wall_ms = 0;
    return totals_add(totals, TOTAL_SINCE, SPAN(""), since_wall_ms) < 0 ? SQLITE_NOMEM : SQLITE_OK;
}
