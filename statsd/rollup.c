/* SPDX-License-Identifier: MIT */
#include "statsd/rollup.h"
#include "proto/outcome.h"
#include "statsd/totals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

enum {
    MAX_CELLS = 8192, /* some 6 MB: then they are written, and gathering goes on in the same transaction */
    LABEL_MAX_BYTES = 255,
    MINUTE_S = 60,
    HOUR_S = 3600
};
/* What a clock can say, year 1 to 9999 or so: a sender's nonsense is counted at the edge. */
static const int64_t LATEST_MS = INT64_C(253402300799000);

const char *const dimension_words[DIMENSION_COUNT] = {
#define D(name, value, word, limit) [name] = (word),
    DIMENSION_LIST(D)
#undef D
};
static const unsigned label_limits[DIMENSION_COUNT] = {
#define D(name, value, word, limit) [name] = (limit),
    DIMENSION_LIST(D)
#undef D
};

#define TABLE(name)                                                                                          \
    "CREATE TABLE " name "("                                                                                 \
    " dimension INTEGER NOT NULL,"                                                                           \
    " start_s INTEGER NOT NULL,"                                                                             \
    " label INTEGER NOT NULL," SUM_COLUMNS " first_event_histogram BLOB NOT NULL,"                           \
    " PRIMARY KEY(dimension, start_s, label)) STRICT, WITHOUT ROWID;"
#define S(name, column) column " INTEGER NOT NULL,"
#define SUM_COLUMNS     ROLLUP_SUM_LIST(S)
const char rollup_create_sql[] =
    "CREATE TABLE labels("
    " id INTEGER PRIMARY KEY,"
    " dimension INTEGER NOT NULL,"
    " text TEXT NOT NULL,"
    " UNIQUE(dimension, text)) STRICT;" TABLE("usage_minutes") TABLE("usage_hours")
    /* In which hours a label was used at all: how /api/requests finds a rare one among millions. */
    "CREATE INDEX usage_hours_label ON usage_hours(dimension, label, start_s);";
#undef S
#undef SUM_COLUMNS
#undef TABLE

/* Sums saturate: SQLite makes an overflowing sum a REAL, which min() compares exactly. */
#define S(name, column) column ","
#define UPSERT(table)                                                                                        \
    "INSERT INTO " table "(dimension, start_s, label, " ROLLUP_SUM_LIST(                                     \
        S) "first_event_histogram) "                                                                         \
           "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15) "                                     \
           "ON CONFLICT(dimension, start_s, label) DO UPDATE SET " UPDATES                                   \
           "first_event_histogram = add_histograms(first_event_histogram, excluded.first_event_histogram)"
#define U(name, column) column " = min(" column " + excluded." column ", 9223372036854775807), "
#define UPDATES         ROLLUP_SUM_LIST(U)
static const char upsert_minute[] = UPSERT("usage_minutes");
static const char upsert_hour[] = UPSERT("usage_hours");
#undef S
#undef U
#undef UPDATES
#undef UPSERT
enum { FIRST_SUM_COLUMN = 4, HISTOGRAM_COLUMN = FIRST_SUM_COLUMN + ROLLUP_SUM_COUNT };
_Static_assert((int)HISTOGRAM_COLUMN == 15, "the statement above numbers its parameters by hand");

struct cell_key {
    int64_t start_s;
    int32_t dimension, label;
};

struct cell {
    UT_hash_handle hh;
    struct cell_key key;
    int64_t sums[ROLLUP_SUM_COUNT];
    struct histogram first;
};

struct label {
    UT_hash_handle hh;
    int32_t id;
    size_t key_bytes;
    char key[]; /* one byte of dimension, then the text */
};

struct rollup {
    sqlite3 *db;
    sqlite3_stmt *put_minute, *put_hour, *put_label;
    struct label *labels;
    unsigned label_count[DIMENSION_COUNT];
    struct cell *minutes, *hours; /* counted, not yet written */
    int64_t minutes_since_s;
};

/* ---- labels ---- */

static size_t label_key(char key[1 + LABEL_MAX_BYTES], enum dimension dimension, struct span text)
{
    size_t length = text.length < LABEL_MAX_BYTES ? text.length : LABEL_MAX_BYTES;
    key[0] = (char)dimension;
    if (length > 0)
        memcpy(key + 1, text.data, length);
    return length + 1;
}

static int remember_label(struct rollup *rollup, int32_t id, enum dimension dimension, struct span text)
{
    char key[1 + LABEL_MAX_BYTES];
    size_t key_bytes = label_key(key, dimension, text);
    struct label *label = calloc(1, sizeof *label + key_bytes);
    if (!label)
        return SQLITE_NOMEM;
    label->id = id;
    label->key_bytes = key_bytes;
    memcpy(label->key, key, key_bytes);
    HASH_ADD_KEYPTR(hh, rollup->labels, label->key, label->key_bytes, label);
    if (!label->hh.tbl) {
        free(label);
        return SQLITE_NOMEM;
    }
    rollup->label_count[dimension]++;
    return SQLITE_OK;
}

static void forget_labels(struct rollup *rollup)
{
    struct label *label = rollup->labels;
    HASH_CLEAR(hh, rollup->labels); /* the elements stay, and stay chained */
    while (label) {
        struct label *next = label->hh.next;
        free(label);
        label = next;
    }
    memset(rollup->label_count, 0, sizeof rollup->label_count);
}

static int load_labels(struct rollup *rollup)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(rollup->db, "SELECT id, dimension, text FROM labels", -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int dimension = sqlite3_column_int(statement, 1);
        struct span text =
            span_of(sqlite3_column_blob(statement, 2), (size_t)sqlite3_column_bytes(statement, 2));
        code =
            dimension < 0 || dimension >= DIMENSION_COUNT
                ? SQLITE_OK /* a later program's */
                : remember_label(rollup, sqlite3_column_int(statement, 0), (enum dimension)dimension, text);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int make_label(struct rollup *rollup, enum dimension dimension, struct span text, int32_t *id)
{
    sqlite3_bind_int(rollup->put_label, 1, (int)dimension);
    sqlite3_bind_text(rollup->put_label, 2, text.length > 0 ? text.data : "", (int)text.length,
                      SQLITE_STATIC);
    int code = sqlite3_step(rollup->put_label);
    sqlite3_reset(rollup->put_label);
    if (code != SQLITE_DONE)
        return code;
    *id = (int32_t)sqlite3_last_insert_rowid(rollup->db);
    return remember_label(rollup, *id, dimension, text);
}

static int label_of(struct rollup *rollup, enum dimension dimension, struct span text, int32_t *id)
{
    char key[1 + LABEL_MAX_BYTES];
    struct label *label = NULL;
    size_t key_bytes = label_key(key, dimension, text);
    HASH_FIND(hh, rollup->labels, key, key_bytes, label);
    if (label) {
        *id = label->id;
        return SQLITE_OK;
    }
    bool is_other = span_equals(text, SPAN(TOTALS_OTHER));
    if (rollup->label_count[dimension] >= label_limits[dimension] && !is_other)
        return label_of(rollup, dimension, SPAN(TOTALS_OTHER), id);
    return make_label(rollup, dimension, text, id);
}

static int find_label(sqlite3 *db, enum dimension dimension, struct span text, int64_t *label)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(db, "SELECT id FROM labels WHERE dimension=?1 AND text=?2", -1, &statement, NULL);
    *label = 0;
    if (code == SQLITE_OK) {
        sqlite3_bind_int(statement, 1, (int)dimension);
        sqlite3_bind_text(statement, 2, text.length > 0 ? text.data : "", (int)text.length, SQLITE_STATIC);
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
            *label = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

int rollup_find_label(sqlite3 *db, enum dimension dimension, struct span text, int64_t *label)
{
    int code = find_label(db, dimension, text, label);
    if (code == SQLITE_OK && *label == 0)
        code = find_label(db, dimension, SPAN(TOTALS_OTHER), label);
    return code;
}

/* ---- counting ---- */

static void add_saturating(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = INT64_MAX;
}

static void forget_cells(struct cell **table)
{
    struct cell *cell = *table;
    HASH_CLEAR(hh, *table);
    while (cell) {
        struct cell *next = cell->hh.next;
        free(cell);
        cell = next;
    }
}

static struct cell *cell_for(struct cell **table, const struct cell_key *key)
{
    struct cell *cell = NULL;
    HASH_FIND(hh, *table, key, sizeof *key, cell);
    if (cell)
        return cell;
    cell = calloc(1, sizeof *cell);
    if (!cell)
        return NULL;
    cell->key = *key;
    HASH_ADD(hh, *table, key, sizeof cell->key, cell);
    if (cell->hh.tbl)
        return cell;
    free(cell);
    return NULL;
}

/* What one event adds to every cell it belongs to. */
static void weigh(const struct msg_event *event, int64_t sums[ROLLUP_SUM_COUNT])
{
    bool is_cancelled = event->outcome == OUTCOME_CANCELLED || event->status == 499;
    bool has_first = event->stream && event->first_event_ms > 0;
    sums[SUM_REQUESTS] = 1;
    sums[SUM_ERRORS] = totals_event_is_error(event);
    sums[SUM_CANCELLED] = is_cancelled;
    sums[SUM_PROMPT] = totals_clamp_tokens(event->prompt_tokens);
    sums[SUM_COMPLETION] = totals_clamp_tokens(event->completion_tokens);
    sums[SUM_CACHED] = totals_clamp_tokens(event->cached_tokens);
    sums[SUM_REASONING] = totals_clamp_tokens(event->reasoning_tokens);
    sums[SUM_CREDIT] = totals_clamp_credit(event->credit_micro);
    sums[SUM_DURATION] = event->duration_ms;
    sums[SUM_FIRST_COUNT] = has_first;
    sums[SUM_FIRST] = has_first ? event->first_event_ms : 0;
}

static int64_t begin_of(int64_t wall_ms)
{
    int64_t clamped_ms = wall_ms < 0 ? 0 : wall_ms > LATEST_MS ? LATEST_MS : wall_ms;
    return clamped_ms / 1000 / MINUTE_S * MINUTE_S;
}

int rollup_add(struct rollup *rollup, const struct msg_event *event, int64_t minutes_since_s)
{
    char status[8];
    int64_t sums[ROLLUP_SUM_COUNT];
    snprintf(status, sizeof status, "%u", (unsigned)event->status);
    const struct span texts[DIMENSION_COUNT] = {
        [DIMENSION_ALL] = SPAN("all"),
        [DIMENSION_MODEL] = event->model,
        [DIMENSION_CREDENTIAL] = event->credential_id,
        [DIMENSION_KEY] = event->key_id,
        [DIMENSION_STATUS] = span_str(status),
        [DIMENSION_OUTCOME] = span_str(outcome_word(event->outcome)),
    };
    weigh(event, sums);
    rollup->minutes_since_s = minutes_since_s;
    for (int i = 0; i < DIMENSION_COUNT; i++) {
        struct cell_key key = {.start_s = begin_of(event->started_wall_ms), .dimension = i};
        int code = label_of(rollup, (enum dimension)i, texts[i], &key.label);
        struct cell *cell = code == SQLITE_OK ? cell_for(&rollup->minutes, &key) : NULL;
        if (!cell)
            return code == SQLITE_OK ? SQLITE_NOMEM : code;
        for (int sum = 0; sum < ROLLUP_SUM_COUNT; sum++)
            add_saturating(&cell->sums[sum], sums[sum]);
        if (sums[SUM_FIRST_COUNT])
            histogram_add(&cell->first, event->first_event_ms);
    }
    return HASH_COUNT(rollup->minutes) >= MAX_CELLS ? rollup_flush(rollup) : SQLITE_OK;
}

/* ---- writing ---- */

static int write_cell(sqlite3_stmt *statement, const struct cell *cell)
{
    unsigned char encoded[HISTOGRAM_MAX_BYTES];
    size_t length = histogram_encode(&cell->first, encoded);
    sqlite3_bind_int(statement, 1, cell->key.dimension);
    sqlite3_bind_int64(statement, 2, cell->key.start_s);
    sqlite3_bind_int(statement, 3, cell->key.label);
    for (int i = 0; i < ROLLUP_SUM_COUNT; i++)
        sqlite3_bind_int64(statement, FIRST_SUM_COLUMN + i, cell->sums[i]);
    sqlite3_bind_blob(statement, HISTOGRAM_COLUMN, encoded, (int)length, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int add_to_hour(struct rollup *rollup, const struct cell *minute)
{
    struct cell_key key = minute->key;
    key.start_s -= key.start_s % HOUR_S;
    struct cell *hour = cell_for(&rollup->hours, &key);
    if (!hour)
        return SQLITE_NOMEM;
    for (int i = 0; i < ROLLUP_SUM_COUNT; i++)
        add_saturating(&hour->sums[i], minute->sums[i]);
    if (minute->sums[SUM_FIRST_COUNT] > 0)
        histogram_merge(&hour->first, &minute->first);
    return SQLITE_OK;
}

/* In the table's own order: neighbours in it are written one after the other. */
static int compare_cells(const struct cell *a, const struct cell *b)
{
    if (a->key.dimension != b->key.dimension)
        return a->key.dimension < b->key.dimension ? -1 : 1;
    if (a->key.start_s != b->key.start_s)
        return a->key.start_s < b->key.start_s ? -1 : 1;
    return (a->key.label > b->key.label) - (a->key.label < b->key.label);
}

int rollup_flush(struct rollup *rollup)
{
    int code = SQLITE_OK;
    HASH_SORT(rollup->minutes, compare_cells);
    for (const struct cell *cell = rollup->minutes; cell && code == SQLITE_OK; cell = cell->hh.next) {
        if (cell->key.start_s >= rollup->minutes_since_s)
            code = write_cell(rollup->put_minute, cell);
        if (code == SQLITE_OK)
            code = add_to_hour(rollup, cell);
    }
    for (const struct cell *cell = rollup->hours; cell && code == SQLITE_OK; cell = cell->hh.next)
        code = write_cell(rollup->put_hour, cell);
    forget_cells(&rollup->minutes);
    forget_cells(&rollup->hours);
    return code;
}

int rollup_rollback(struct rollup *rollup)
{
    forget_cells(&rollup->minutes);
    forget_cells(&rollup->hours);
    forget_labels(rollup);
    return load_labels(rollup);
}

/* ---- life ---- */

/* add_histograms(a, b): both added up, as SQL needs it. */
static void add_histograms(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct histogram sum = {{0}};
    unsigned char encoded[HISTOGRAM_MAX_BYTES];
    for (int i = 0; i < count; i++) {
        const char *data = sqlite3_value_blob(values[i]);
        /* What is damaged adds what could be read of it: the sums beside it are whole all the same. */
        (void)histogram_add_encoded(&sum, span_of(data, (size_t)sqlite3_value_bytes(values[i])));
    }
    size_t length = histogram_encode(&sum, encoded);
    sqlite3_result_blob(context, encoded, (int)length, SQLITE_TRANSIENT);
}

static int prepare(struct rollup *rollup)
{
    static const char put_label[] = "INSERT INTO labels(dimension, text) VALUES(?1, ?2)";
    unsigned flags = SQLITE_PREPARE_PERSISTENT;
    int code = sqlite3_create_function_v2(rollup->db, "add_histograms", 2,
                                          SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                          add_histograms, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v3(rollup->db, upsert_minute, -1, flags, &rollup->put_minute, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v3(rollup->db, upsert_hour, -1, flags, &rollup->put_hour, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v3(rollup->db, put_label, -1, flags, &rollup->put_label, NULL);
    return code;
}

struct rollup *rollup_open(sqlite3 *db, int *code)
{
    struct rollup *rollup = calloc(1, sizeof *rollup);
    *code = SQLITE_NOMEM;
    if (!rollup)
        return NULL;
    rollup->db = db;
    *code = prepare(rollup);
    if (*code == SQLITE_OK)
        *code = load_labels(rollup);
    if (*code != SQLITE_OK)
        rollup_close(&rollup);
    return rollup;
}

void rollup_close(struct rollup **rollup_pointer)
{
    struct rollup *rollup = *rollup_pointer;
    *rollup_pointer = NULL;
    if (!rollup)
        return;
    forget_cells(&rollup->minutes);
    forget_cells(&rollup->hours);
    forget_labels(rollup);
    sqlite3_finalize(rollup->put_minute);
    sqlite3_finalize(rollup->put_hour);
    sqlite3_finalize(rollup->put_label);
    free(rollup);
}
