/* SPDX-License-Identifier: MIT */
#include "statsd/ledger.h"
#include "proto/clock.h"
#include "proto/data_directory.h"
#include "proto/error.h"
#include "proto/log.h"
#include "statsd/ledger_schema.h"
#include "statsd/rollup.h"
#include "statsd/totals_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct ledger {
    char *directory, *path, *lock_path;
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *insert_event, *put_counter, *delete_counter;
    struct rollup *rollup;
    unsigned set_aside_count;
    int64_t backlog_count;
    char problem[256];
};

struct ledger *ledger_new(const char *directory)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (!ledger)
        return NULL;
    ledger->lock_fd = -1;
    ledger->directory = span_dup(span_str(directory));
    if (!ledger->directory || asprintf(&ledger->path, "%s/usage.db", directory) < 0)
        ledger->path = NULL;
    if (ledger->path && asprintf(&ledger->lock_path, "%s/usage.lock", directory) < 0)
        ledger->lock_path = NULL;
    if (!ledger->lock_path)
        ledger_free(&ledger);
    return ledger;
}

void ledger_close(struct ledger *ledger)
{
    sqlite3_finalize(ledger->insert_event);
    sqlite3_finalize(ledger->put_counter);
    sqlite3_finalize(ledger->delete_counter);
    ledger->insert_event = ledger->put_counter = ledger->delete_counter = NULL;
    rollup_close(&ledger->rollup);
    sqlite3_close(ledger->db);
    ledger->db = NULL;
    if (ledger->lock_fd >= 0)
        close(ledger->lock_fd);
    ledger->lock_fd = -1;
}

void ledger_free(struct ledger **ledger)
{
    if (!*ledger)
        return;
    ledger_close(*ledger);
    free((*ledger)->directory);
    free((*ledger)->path);
    free((*ledger)->lock_path);
    free(*ledger);
    *ledger = NULL;
}

bool ledger_is_open(const struct ledger *ledger)
{
    return ledger->insert_event != NULL;
}

const char *ledger_problem(const struct ledger *ledger)
{
    return ledger->problem;
}

const char *ledger_path(const struct ledger *ledger)
{
    return ledger->path;
}

unsigned ledger_set_aside_count(const struct ledger *ledger)
{
    return ledger->set_aside_count;
}

/* ---- failures ---- */

static int fail_errno(struct ledger *ledger, const char *what)
{
    snprintf(ledger->problem, sizeof ledger->problem, "%.180s: %s", what, strerror(errno));
    return ERR_IO;
}

static bool is_corrupt(int code)
{
    return (code & 0xFF) == SQLITE_CORRUPT || (code & 0xFF) == SQLITE_NOTADB;
}

static int fail_sqlite(struct ledger *ledger, int code)
{
    const char *detail = ledger->db ? sqlite3_errmsg(ledger->db) : sqlite3_errstr(code);
    snprintf(ledger->problem, sizeof ledger->problem, "%s (SQLite %d)", detail, code);
    if ((code & 0xFF) == SQLITE_NOMEM)
        return ERR_NOMEM;
    return code == SQLITE_SCHEMA ? ERR_VERSION : is_corrupt(code) ? ERR_INVALID : ERR_IO;
}

/* Gives the corrupt file and its companions a name of their own. ERR_INVALID if that fails: then it stays,
 * and nothing is written. The lock is kept by whoever calls: it is a file of its own. */
static int set_aside(struct ledger *ledger)
{
    static const char *const suffixes[] = {"-wal", "-shm",
                                           ""}; /* the database last: it is the name that counts */
    char stamp[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char from[4096], to[4096];
        snprintf(from, sizeof from, "%s%s", ledger->path, suffixes[i]);
        snprintf(to, sizeof to, "%s.corrupt-%s-%u%s", ledger->path, stamp, ledger->set_aside_count,
                 suffixes[i]);
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && errno != ENOENT) {
            fail_errno(ledger, ledger->path);
            return ERR_INVALID;
        }
    }
    ledger->set_aside_count++;
    log_error(NULL, "ledger_set_aside", LOG_STR("path", ledger->path), LOG_STR("time", stamp),
              LOG_STR("problem", ledger->problem), LOG_STR("action", "a new ledger is begun"));
    return 0;
}

/* ---- opening ---- */

static int make_directory(struct ledger *ledger)
{
    struct stat status;
    if (data_directory_make(ledger->directory) < 0)
        return fail_errno(ledger, ledger->directory);
    if (stat(ledger->directory, &status) < 0)
        return fail_errno(ledger, ledger->directory);
    if (status.st_mode & 077) /* a mounted volume often is: the file's own mode still protects it */
        log_warning(NULL, "data_dir_is_open_to_others", LOG_STR("path", ledger->directory));
    return 0;
}

static int take_lock(struct ledger *ledger)
{
    if (ledger->lock_fd >= 0)
        return 0;
    int fd = open(ledger->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(ledger, ledger->lock_path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int busy = errno == EWOULDBLOCK;
        fail_errno(ledger, ledger->lock_path);
        close(fd);
        return busy ? ERR_BUSY : ERR_IO;
    }
    ledger->lock_fd = fd;
    return 0;
}

/* Makes the file 0600 before SQLite sees it; SQLite gives -wal and -shm the same mode. One that is there is
 * not opened here: closing it would end the locks that a query's connection holds on it (POSIX). */
static int make_file(struct ledger *ledger)
{
    struct stat status;
    int fd = open(ledger->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno != EEXIST || lstat(ledger->path, &status) < 0)
        return fail_errno(ledger, ledger->path);
    if (!S_ISREG(status.st_mode)) {
        errno = ELOOP;
        return fail_errno(ledger, ledger->path);
    }
    if ((status.st_mode & 0777) != 0600 && chmod(ledger->path, 0600) < 0)
        return fail_errno(ledger, ledger->path);
    return 0;
}

static int prepare_statements(struct ledger *ledger)
{
    static const char insert_event[] =
        "INSERT OR IGNORE INTO events(request_id, started_wall_ms, duration_ms, first_event_ms, key_id, "
        "credential_id, model, status, outcome, code, stream, attempts, moves, prompt_tokens, "
        "completion_tokens, cached_tokens, reasoning_tokens, credit_micro) "
        "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)";
    static const char put_counter[] =
        "INSERT INTO counters(kind, role, process, name, value_micro, seen_wall_ms) "
        "VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT(kind, role, process, name) DO UPDATE "
        "SET value_micro = excluded.value_micro, seen_wall_ms = excluded.seen_wall_ms";
    static const char delete_counter[] =
        "DELETE FROM counters WHERE kind=?1 AND role=?2 AND process=?3 AND name=?4";
    unsigned flags = SQLITE_PREPARE_PERSISTENT;
    int code = sqlite3_prepare_v3(ledger->db, put_counter, -1, flags, &ledger->put_counter, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v3(ledger->db, delete_counter, -1, flags, &ledger->delete_counter, NULL);
    if (code == SQLITE_OK) /* the last: it is what ledger_is_open looks at */
        code = sqlite3_prepare_v3(ledger->db, insert_event, -1, flags, &ledger->insert_event, NULL);
    return code;
}

static int load_counters(sqlite3 *db, struct counter_rows *counters)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(
        db, "SELECT kind, role, process, name, value_micro, seen_wall_ms FROM counters ORDER BY kind", -1,
        &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct counter_row row = {
            .kind = sqlite3_column_int(statement, 0) == COUNTER_TOTAL ? COUNTER_TOTAL : COUNTER_SOURCE,
            .role = (const char *)sqlite3_column_text(statement, 1),
            .process = (const char *)sqlite3_column_text(statement, 2),
            .name = (const char *)sqlite3_column_text(statement, 3),
            .value_micro = sqlite3_column_int64(statement, 4),
            .seen_wall_ms = sqlite3_column_int64(statement, 5),
        };
        bool ok = row.role && row.process && row.name && counter_rows_add(counters, &row) == 0;
        code = ok ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* True if no event was ever counted in this ledger. */
static bool is_unused(const struct totals *totals)
{
    return totals_sum(totals, TOTAL_REQUESTS) == 0;
}

/* Begins a new ledger with the sums that its predecessor had. */
static int plant_seed(sqlite3 *db, const struct totals *seed)
{
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE; DELETE FROM totals", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = totals_store_add(db, seed);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static int load(struct ledger *ledger, const struct totals *seed, struct totals *totals,
                struct counter_rows *counters)
{
    int code = totals_store_load(ledger->db, totals);
    if (code == SQLITE_OK && seed && is_unused(totals) && !totals_is_empty(seed)) {
        code = plant_seed(ledger->db, seed);
        totals_clear(totals);
        if (code == SQLITE_OK)
            code = totals_store_load(ledger->db, totals);
    }
    return code == SQLITE_OK ? load_counters(ledger->db, counters) : code;
}

/* One attempt on the file as it is. An SQLite code; ledger->db may be open on failure too. */
static int open_database(struct ledger *ledger, int64_t now_wall_ms)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(ledger->path, &ledger->db, flags, NULL);
    if (code == SQLITE_OK)
        code = ledger_schema_configure(ledger->db);
    if (code == SQLITE_OK)
        code = ledger_schema_migrate(ledger->db, ledger_schema_version, now_wall_ms);
    if (code == SQLITE_OK)
        ledger->rollup = rollup_open(ledger->db, &code);
    return code == SQLITE_OK ? prepare_statements(ledger) : code;
}

/* Closes the database but keeps the lock. */
static void close_database(struct ledger *ledger)
{
    int lock_fd = ledger->lock_fd;
    ledger->lock_fd = -1;
    ledger_close(ledger);
    ledger->lock_fd = lock_fd;
}

static int count_backlog(struct ledger *ledger)
{
    struct tidy_state state;
    int code = tidy_read_state(ledger->db, &state);
    return code == SQLITE_OK ? tidy_count_backlog(ledger->db, &state, &ledger->backlog_count) : code;
}

int ledger_open(struct ledger *ledger, int64_t now_wall_ms, const struct totals *seed, struct totals *totals,
                struct counter_rows *counters)
{
    if (ledger_is_open(ledger))
        return 0;
    int error = make_directory(ledger);
    if (error == 0)
        error = take_lock(ledger);
    for (int attempt = 0; error == 0 && attempt < 2; attempt++) {
        error = make_file(ledger);
        if (error < 0)
            break;
        int code = open_database(ledger, now_wall_ms);
        if (code == SQLITE_OK)
            code = load(ledger, seed, totals, counters);
        if (code == SQLITE_OK)
            code = count_backlog(ledger);
        if (code == SQLITE_OK)
            return 0;
        error = fail_sqlite(ledger, code);
        close_database(ledger);
        totals_clear(totals);
        counter_rows_fini(counters);
        if (error == ERR_INVALID)
            error = set_aside(ledger); /* then once more, with a new file */
    }
    ledger_close(ledger);
    return error < 0 ? error : ERR_IO;
}

/* ---- committing ---- */

static void bind_span(sqlite3_stmt *statement, int column, struct span text)
{
    /* A NULL pointer would bind NULL, which the table refuses. */
    sqlite3_bind_text(statement, column, text.length > 0 ? text.data : "", (int)text.length, SQLITE_STATIC);
}

static void bind_event(sqlite3_stmt *statement, const struct msg_event *event)
{
    bind_span(statement, 1, event->request_id);
    sqlite3_bind_int64(statement, 2, event->started_wall_ms);
    sqlite3_bind_int64(statement, 3, event->duration_ms);
    sqlite3_bind_int64(statement, 4, event->first_event_ms);
    bind_span(statement, 5, event->key_id);
    bind_span(statement, 6, event->credential_id);
    bind_span(statement, 7, event->model);
    sqlite3_bind_int(statement, 8, event->status);
    sqlite3_bind_int(statement, 9, event->outcome);
    bind_span(statement, 10, event->code);
    sqlite3_bind_int(statement, 11, event->stream);
    sqlite3_bind_int(statement, 12, event->attempts);
    sqlite3_bind_int(statement, 13, event->moves);
    sqlite3_bind_int64(statement, 14, totals_clamp_tokens(event->prompt_tokens));
    sqlite3_bind_int64(statement, 15, totals_clamp_tokens(event->completion_tokens));
    sqlite3_bind_int64(statement, 16, totals_clamp_tokens(event->cached_tokens));
    sqlite3_bind_int64(statement, 17, totals_clamp_tokens(event->reasoning_tokens));
    sqlite3_bind_int64(statement, 18, totals_clamp_credit(event->credit_micro));
}

static int insert_events(struct ledger *ledger, struct span train, struct totals *delta)
{
    struct frame frame;
    struct msg_event event;
    while (train_next(&train, &frame) == 1) {
        int error = message_decode(&frame, &event);
        assert(error == 0); /* intake encoded it */
        bind_event(ledger->insert_event, &event);
        int code = sqlite3_step(ledger->insert_event);
        sqlite3_reset(ledger->insert_event);
        if (code != SQLITE_DONE)
            return code;
        if (sqlite3_changes(ledger->db) == 0)
            continue;
        if (totals_add_event(delta, &event) < 0)
            return SQLITE_NOMEM;
        code = rollup_add(ledger->rollup, &event, 0);
        if (code != SQLITE_OK)
            return code;
    }
    return rollup_flush(ledger->rollup);
}

static int write_counters(struct ledger *ledger, const struct counter_rows *counters)
{
    for (const struct counter_row *row = counters->first; row; row = row->next) {
        sqlite3_stmt *statement = row->gone ? ledger->delete_counter : ledger->put_counter;
        sqlite3_bind_int(statement, 1, (int)row->kind);
        sqlite3_bind_text(statement, 2, row->role, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 3, row->process, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 4, row->name, -1, SQLITE_STATIC);
        if (!row->gone) {
            sqlite3_bind_int64(statement, 5, row->value_micro);
            sqlite3_bind_int64(statement, 6, row->seen_wall_ms);
        }
        int code = sqlite3_step(statement);
        sqlite3_reset(statement);
        if (code != SQLITE_DONE)
            return code;
    }
    return SQLITE_OK;
}

/* Commits if `code` is SQLITE_OK, else undoes. 0, or as ledger_commit. */
static int end_transaction(struct ledger *ledger, int code)
{
    if (code == SQLITE_OK)
        code = sqlite3_exec(ledger->db, "COMMIT", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        return 0;
    int error = fail_sqlite(ledger, code);
    if (!sqlite3_get_autocommit(ledger->db)) /* SQLite rolls back by itself on some errors */
        sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
    int undone = rollup_rollback(ledger->rollup);
    if (error == ERR_INVALID || undone != SQLITE_OK)
        close_database(ledger); /* without its labels it is of no use: it is opened anew */
    if (error == ERR_INVALID)
        error = set_aside(ledger) < 0 ? ERR_IO : ERR_INVALID;
    return error;
}

int ledger_commit(struct ledger *ledger, struct span train, const struct counter_rows *counters,
                  struct totals *delta)
{
    assert(ledger_is_open(ledger));
    int code = sqlite3_exec(ledger->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = insert_events(ledger, train, delta);
    if (code == SQLITE_OK)
        code = totals_store_add(ledger->db, delta);
    if (code == SQLITE_OK)
        code = write_counters(ledger, counters);
    return end_transaction(ledger, code);
}

int ledger_tidy(struct ledger *ledger, const struct retention *retention, int64_t now_wall_ms, bool *more)
{
    assert(ledger_is_open(ledger));
    *more = false;
    int code = sqlite3_exec(ledger->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = tidy_step(ledger->db, ledger->rollup, retention, now_wall_ms, more);
    if (code == SQLITE_OK)
        code = count_backlog(ledger);
    return end_transaction(ledger, code);
}

int64_t ledger_memory_bytes(void)
{
    return sqlite3_memory_used();
}

int64_t ledger_backlog_count(const struct ledger *ledger)
{
    return ledger->backlog_count;
}

int64_t ledger_count_events(struct ledger *ledger)
{
    assert(ledger_is_open(ledger));
    sqlite3_stmt *statement = NULL;
    int64_t count = ERR_IO;
    if (sqlite3_prepare_v2(ledger->db, "SELECT count(*) FROM events", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

void ledger_limit_pages(struct ledger *ledger, int64_t page_count)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%" PRId64, page_count);
    sqlite3_exec(ledger->db, sql, NULL, NULL, NULL);
}
