/* SPDX-License-Identifier: MIT */
#include "statsd/ledger_schema.h"
#include "proto/error.h"
#include "statsd/rollup.h"
#include "statsd/totals.h"
#include "statsd/totals_store.h"

#include <assert.h>
#include <stdio.h>

/* WAL: a commit appends to one file, and readers (a backup, a person with sqlite3) never block it.
 * synchronous=FULL: a commit is on the disk, not only with the kernel, before it is acknowledged, since the
 * sender forgets the event then: neither a killed process nor a power cut loses what was acknowledged. NORMAL
 * would survive the first only. It costs one fsync per batch, on a thread of its own, at most 20 a second.
 * wal_autocheckpoint: 4,000 pages (16 MiB) rather than 1,000: an index page that changes in many batches is
 * then copied into the database once. journal_size_limit gives the space back after a burst.
 * cache_size: 16 MiB holds the hot end of the index; request ids that begin with their time keep it there.
 * busy_timeout: another process may hold the file for a moment (backup, checkpoint by a reader). */
static const char configuration[] = "PRAGMA journal_mode=WAL;"
                                    "PRAGMA synchronous=FULL;"
                                    "PRAGMA wal_autocheckpoint=4000;"
                                    "PRAGMA journal_size_limit=67108864;"
                                    "PRAGMA cache_size=-16384;"
                                    "PRAGMA temp_store=MEMORY;"
                                    "PRAGMA trusted_schema=OFF;";
enum { BUSY_TIMEOUT_MS = 5000 };

/* Version 1: the events. id is the order of arrival. request_id and start together make repeats harmless; the
 * first alone would not do, since a client may choose its X-Request-ID and use one again. */
static const char create_events[] = "CREATE TABLE events("
                                    " id INTEGER PRIMARY KEY,"
                                    " request_id TEXT NOT NULL,"
                                    " started_wall_ms INTEGER NOT NULL,"
                                    " duration_ms INTEGER NOT NULL,"
                                    " first_event_ms INTEGER NOT NULL,"
                                    " key_id TEXT NOT NULL,"
                                    " credential_id TEXT NOT NULL,"
                                    " model TEXT NOT NULL,"
                                    " status INTEGER NOT NULL,"
                                    " outcome INTEGER NOT NULL,"
                                    " code TEXT NOT NULL,"
                                    " stream INTEGER NOT NULL,"
                                    " attempts INTEGER NOT NULL,"
                                    " moves INTEGER NOT NULL,"
                                    " prompt_tokens INTEGER NOT NULL,"
                                    " completion_tokens INTEGER NOT NULL,"
                                    " cached_tokens INTEGER NOT NULL,"
                                    " reasoning_tokens INTEGER NOT NULL,"
                                    " credit_micro INTEGER NOT NULL,"
                                    " UNIQUE(request_id, started_wall_ms)) STRICT;"
                                    "CREATE INDEX events_started ON events(started_wall_ms);";

/* Version 2: what a start needs, so that it need not read every event: the sums over all events, written in
 * the transaction that writes the events, and the counters of other processes. */
static const char create_totals[] = "CREATE TABLE totals("
                                    " family TEXT NOT NULL,"
                                    " label TEXT NOT NULL,"
                                    " value INTEGER NOT NULL,"
                                    " PRIMARY KEY(family, label)) STRICT, WITHOUT ROWID;"
                                    "CREATE TABLE counters("
                                    " kind INTEGER NOT NULL,"
                                    " role TEXT NOT NULL,"
                                    " process TEXT NOT NULL,"
                                    " name TEXT NOT NULL,"
                                    " value_micro INTEGER NOT NULL,"
                                    " seen_wall_ms INTEGER NOT NULL,"
                                    " PRIMARY KEY(kind, role, process, name)) STRICT, WITHOUT ROWID;";

static int to_version_1(sqlite3 *db, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    return sqlite3_exec(db, create_events, NULL, NULL, NULL);
}

/* Adds up what a ledger of version 1 already holds. */
static int to_version_2(sqlite3 *db, int64_t now_wall_ms)
{
    int code = sqlite3_exec(db, create_totals, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return code;
    struct totals *sums = totals_new(NULL);
    code = sums ? totals_store_compute(db, sums, now_wall_ms) : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = totals_store_add(db, sums);
    totals_free(&sums);
    return code;
}

/* Version 3: sums by minute and hour. Those of events that are there already are made later, in small steps
 * (tidy.h): ledger_state says up to which id they are missing. */
static int to_version_3(sqlite3 *db, int64_t now_wall_ms)
{
    static const char begin_backlog[] =
        "CREATE TABLE ledger_state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
        "INSERT INTO ledger_state SELECT 'rollup_backlog_id', id FROM events ORDER BY id DESC LIMIT 1;";
    (void)now_wall_ms;
    int code = sqlite3_exec(db, rollup_create_sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? sqlite3_exec(db, begin_backlog, NULL, NULL, NULL) : code;
}

static int (*const migrations[])(sqlite3 *db, int64_t now_wall_ms) = {to_version_1, to_version_2,
                                                                      to_version_3};

const int ledger_schema_version = sizeof migrations / sizeof migrations[0];

int ledger_schema_configure(sqlite3 *db)
{
    sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    sqlite3_extended_result_codes(db, 1);
    return sqlite3_exec(db, configuration, NULL, NULL, NULL);
}

static int read_version(sqlite3 *db, int *version)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *version = sqlite3_column_int(statement, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

static int migrate_one(sqlite3 *db, int from, int64_t now_wall_ms)
{
    char set_version[64];
    snprintf(set_version, sizeof set_version, "PRAGMA user_version=%d", from + 1);
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return code;
    code = migrations[from](db, now_wall_ms);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, set_version, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

int ledger_schema_migrate(sqlite3 *db, int version, int64_t now_wall_ms)
{
    assert(version <= ledger_schema_version);
    int have = 0;
    int code = read_version(db, &have);
    if (code == SQLITE_OK && (have > ledger_schema_version || have < 0))
        return SQLITE_SCHEMA;
    while (code == SQLITE_OK && have < version && have < ledger_schema_version)
        code = migrate_one(db, have++, now_wall_ms);
    return code;
}
