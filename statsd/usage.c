/* SPDX-License-Identifier: MIT */
#include "statsd/usage.h"
#include "statsd/tidy.h"
#include "statsd/totals.h"

#include <stdlib.h>

enum {
    MINUTE_S = 60,
    HOUR_S = 3600,
    DAY_S = 86400,
    FEW_POINTS = 300, /* what a chart can show; steps that are not asked for give at most so many */
    RECENT_S = 300
};
static const int64_t LATEST_S = INT64_C(253402300799); /* the year 9999 */

/* ---- the question ---- */

static bool read_by(const json_t *arguments, struct usage_question *question, struct problem *problem)
{
    static const enum dimension open_to_all[] = {DIMENSION_MODEL, DIMENSION_CREDENTIAL, DIMENSION_KEY,
                                                 DIMENSION_STATUS};
    struct span by = arguments_get(arguments, "by");
    question->by = DIMENSION_ALL;
    if (!by.data)
        return true;
    for (size_t i = 0; i < sizeof open_to_all / sizeof open_to_all[0]; i++)
        if (span_equals(by, span_str(dimension_words[open_to_all[i]]))) {
            question->by = open_to_all[i];
            return true;
        }
    *problem = (struct problem){"by", "It must be model, credential, key or status."};
    return false;
}

static bool read_format(const json_t *arguments, struct usage_question *question, struct problem *problem)
{
    struct span format = arguments_get(arguments, "format");
    question->is_csv = span_equals(format, SPAN("csv"));
    if (!format.data || question->is_csv || span_equals(format, SPAN("json")))
        return true;
    *problem = (struct problem){"format", "It must be json or csv."};
    return false;
}

static int64_t choose_step_s(int64_t range_s, bool has_minutes)
{
    static const int64_t steps_s[] = {60,    300,   900,       1800,       HOUR_S,     3 * HOUR_S,
                                      21600, DAY_S, 7 * DAY_S, 30 * DAY_S, 365 * DAY_S};
    size_t count = sizeof steps_s / sizeof steps_s[0];
    for (size_t i = 0; i < count; i++)
        if ((has_minutes || steps_s[i] >= HOUR_S) && range_s <= steps_s[i] * FEW_POINTS)
            return steps_s[i];
    return steps_s[count - 1] * 100;
}

static bool read_times(const json_t *arguments, int64_t now_wall_ms, struct usage_question *question,
                       struct problem *problem)
{
    question->to_s = now_wall_ms / 1000;
    question->step_s = 0;
    if (!arguments_get_number(arguments, "to", 0, LATEST_S, &question->to_s, problem))
        return false;
    question->from_s = question->to_s > DAY_S ? question->to_s - DAY_S : 0;
    if (!arguments_get_number(arguments, "from", 0, LATEST_S, &question->from_s, problem) ||
        !arguments_get_number(arguments, "step", 1, LATEST_S, &question->step_s, problem))
        return false;
    if (question->from_s >= question->to_s) {
        *problem = (struct problem){"from", "It must be before `to`, which is now unless given."};
        return false;
    }
    if (question->step_s % MINUTE_S != 0) {
        *problem = (struct problem){"step", "It must be a multiple of 60 seconds."};
        return false;
    }
    return true;
}

bool usage_read_question(const json_t *arguments, int64_t now_wall_ms, int64_t minutes_since_s,
                         struct usage_question *question, struct problem *problem)
{
    static const char *const names[] = {"from", "to", "step", "by", "format", NULL};
    *question = (struct usage_question){0};
    if (!arguments_are_known(arguments, names, problem) || !read_by(arguments, question, problem) ||
        !read_format(arguments, question, problem) || !read_times(arguments, now_wall_ms, question, problem))
        return false;
    bool has_minutes = question->from_s >= minutes_since_s, has_from = arguments_get(arguments, "from").data;
    if (question->step_s == 0)
        question->step_s = choose_step_s(question->to_s - question->from_s, has_minutes);
    question->by_hour = question->step_s % HOUR_S == 0;
    if (!question->by_hour && !has_minutes) {
        *problem =
            (struct problem){"step", "So far back only whole hours are kept: take a multiple of 3600."};
        return false;
    }
    /* One that is given is kept but for what the table cannot tell apart (so that days can begin at
     * somebody's midnight); else points lie on multiples of the step, and stay where they are from one answer
     * to the next. */
    question->from_s -=
        question->from_s % (has_from ? question->by_hour ? HOUR_S : MINUTE_S : question->step_s);
    int64_t count = (question->to_s - question->from_s + question->step_s - 1) / question->step_s;
    if (count > USAGE_MAX_POINTS) {
        *problem = (struct problem){"step", "That makes more than 2000 points: take a longer step."};
        return false;
    }
    question->point_count = (size_t)count;
    question->to_s = question->from_s + count * question->step_s;
    return true;
}

/* ---- series ---- */

static void series_free(struct usage_series *series)
{
    if (series) {
        free(series->name);
        free(series->points);
    }
    free(series);
}

void usage_answer_fini(struct usage_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        series_free(answer->series[i]);
    answer->count = 0;
}

/* NULL when out of memory. */
static struct usage_series *series_add(struct usage_answer *answer, const struct usage_question *question,
                                       int64_t label, struct span name)
{
    struct usage_series *series = calloc(1, sizeof *series);
    if (!series)
        return NULL;
    series->label = label;
    series->name = span_dup(name);
    series->points = calloc(question->point_count, sizeof *series->points);
    if (!series->name || !series->points) {
        series_free(series);
        return NULL;
    }
    for (size_t i = 0; i < question->point_count; i++)
        series->points[i].first_p95_ms = -1;
    series->total.first_p95_ms = -1;
    answer->series[answer->count++] = series;
    return series;
}

/* ---- which labels get a series of their own ---- */

enum {
    LARGEST = USAGE_MAX_SERIES - 1, /* one place is left for `other` */
    LABEL_MAX = 1 << 20 /* ours are below a few thousand; a ledger that somebody brought may have any */
};

static void add_saturating(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = INT64_MAX;
}

static int count_labels(sqlite3 *db, enum dimension dimension, int64_t *count)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT count(*) FROM labels WHERE dimension=?1", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int(statement, 1, (int)dimension);
        code = sqlite3_step(statement);
    }
    *count = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* What a label's hours add up to; by its number, which is below a few thousand. */
struct label_sums {
    int64_t *requests;
    size_t length;
};

static int measure_labels(sqlite3 *db, struct label_sums *sums)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT ifnull(max(id), 0) FROM labels", -1, &statement, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t largest = sqlite3_column_int64(statement, 0);
        sums->length = largest >= 0 && largest <= LABEL_MAX ? (size_t)largest + 1 : 0;
        sums->requests = sums->length > 0 ? calloc(sums->length, sizeof *sums->requests) : NULL;
        code = sums->requests ? SQLITE_OK : sums->length > 0 ? SQLITE_NOMEM : SQLITE_CORRUPT;
    }
    sqlite3_finalize(statement);
    if (sums->requests)
        return SQLITE_OK;
    return code == SQLITE_OK || code == SQLITE_DONE ? SQLITE_CORRUPT : code; /* an aggregate has a row */
}

/* Added up here: SQLite would sort all rows by label first, which takes longer than all the rest. */
static int sum_labels(sqlite3 *db, const struct usage_question *question, struct label_sums *sums)
{
    static const char sql[] =
        "SELECT label, requests FROM usage_hours WHERE dimension=?1 AND start_s>=?2 AND start_s<?3";
    sqlite3_stmt *statement = NULL;
    int code = measure_labels(db, sums);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int(statement, 1, (int)question->by);
        sqlite3_bind_int64(statement, 2, question->from_s - question->from_s % HOUR_S);
        sqlite3_bind_int64(statement, 3, question->to_s);
    }
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        size_t label = (size_t)sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
        if (label < sums->length)
            add_saturating(&sums->requests[label], sqlite3_column_int64(statement, 1));
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Leaves the LARGEST greatest sums, of those that are equal the label of the lowest number, and clears the
 * others. */
static void keep_largest(struct label_sums *sums)
{
    size_t kept[LARGEST], count = 0;
    for (size_t label = 0; label < sums->length; label++) {
        size_t place = count;
        while (place > 0 && sums->requests[kept[place - 1]] < sums->requests[label])
            place--;
        if (sums->requests[label] == 0)
            continue;
        if (count == LARGEST) /* the last one, or this one, goes */
            sums->requests[place < LARGEST ? kept[LARGEST - 1] : label] = 0;
        else
            count++;
        if (place == LARGEST)
            continue;
        memmove(kept + place + 1, kept + place, (count - place - 1) * sizeof kept[0]);
        kept[place] = label;
    }
}

/* `other` is what is left over, however much that is. */
static int clear_other(sqlite3 *db, const struct usage_question *question, struct label_sums *sums)
{
    int64_t label;
    int code = rollup_find_label(db, question->by, SPAN(TOTALS_OTHER), &label);
    if (code == SQLITE_OK && label > 0 && label < (int64_t)sums->length)
        sums->requests[label] = 0;
    return code;
}

/* Adds a series for each label of the dimension: all, or those that have a sum in `sums`. */
static int add_series_of(sqlite3 *db, const struct usage_question *question, const struct label_sums *sums,
                         struct usage_answer *answer)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT id, text FROM labels WHERE dimension=?1", -1, &statement, NULL);
    if (code == SQLITE_OK)
        sqlite3_bind_int(statement, 1, (int)question->by);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t label = sqlite3_column_int64(statement, 0);
        const void *text = sqlite3_column_blob(statement, 1);
        struct span name = span_of(text, (size_t)sqlite3_column_bytes(statement, 1));
        code = label >= 1 && label <= LABEL_MAX ? SQLITE_OK : SQLITE_CORRUPT;
        if (code != SQLITE_OK || (sums && sums->requests[label] == 0))
            continue;
        if (answer->count == USAGE_MAX_SERIES || !series_add(answer, question, label, name))
            code = SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* All labels if they fit; else those with the most requests by the sums of the hours, which are few, and a
 * series of label 0 for the others. */
static int choose_series(sqlite3 *db, const struct usage_question *question, struct usage_answer *answer)
{
    struct label_sums sums = {0};
    int64_t count;
    int code = count_labels(db, question->by, &count);
    if (code != SQLITE_OK)
        return code;
    if (question->by == DIMENSION_ALL) /* there is one, also without any request */
        return series_add(answer, question, 0, SPAN("all")) ? SQLITE_OK : SQLITE_NOMEM;
    if (count <= USAGE_MAX_SERIES)
        return add_series_of(db, question, NULL, answer);
    code = sum_labels(db, question, &sums);
    if (code == SQLITE_OK)
        code = clear_other(db, question, &sums);
    if (code == SQLITE_OK) {
        keep_largest(&sums);
        code = add_series_of(db, question, &sums, answer);
    }
    free(sums.requests);
    if (code == SQLITE_OK && !series_add(answer, question, 0, SPAN(TOTALS_OTHER)))
        code = SQLITE_NOMEM;
    return code;
}

/* ---- reading ---- */

/* Series by label: labels are numbers below a few thousand. */
struct series_index {
    struct usage_series **by_label, *other;
    size_t length;
};

static int index_series(const struct usage_answer *answer, struct series_index *index)
{
    for (size_t i = 0; i < answer->count; i++)
        if (answer->series[i]->label >= (int64_t)index->length)
            index->length = (size_t)answer->series[i]->label + 1;
    index->by_label = calloc(index->length ? index->length : 1, sizeof(struct usage_series *));
    if (!index->by_label)
        return SQLITE_NOMEM;
    for (size_t i = 0; i < answer->count; i++) {
        if (answer->series[i]->label == 0)
            index->other = answer->series[i];
        index->by_label[answer->series[i]->label] = answer->series[i];
    }
    return SQLITE_OK;
}

static struct usage_series *find_series(const struct series_index *index, int64_t label)
{
    struct usage_series *series = label > 0 && label < (int64_t)index->length ? index->by_label[label] : NULL;
    return series ? series : index->other;
}

/* Rows come by time: one point's histograms are all there are at a time. */
static void end_point(struct usage_answer *answer, size_t point)
{
    for (size_t i = 0; i < answer->count; i++) {
        struct usage_series *series = answer->series[i];
        for (int sum = 0; sum < ROLLUP_SUM_COUNT; sum++)
            add_saturating(&series->total.sums[sum], series->points[point].sums[sum]);
        if (series->points[point].sums[SUM_FIRST_COUNT] == 0)
            continue;
        series->points[point].first_p95_ms = histogram_percentile(&series->first, 95);
        histogram_merge(&series->first_total, &series->first);
        series->first = (struct histogram){{0}};
    }
}

enum { COLUMN_START, COLUMN_LABEL, COLUMN_SUMS, COLUMN_HISTOGRAM = COLUMN_SUMS + ROLLUP_SUM_COUNT };
#define S(name, column) column ","
#define SELECT_ROWS(table)                                                                                   \
    "SELECT start_s, label, " ROLLUP_SUM_LIST(                                                               \
        S) "first_event_histogram FROM " table                                                               \
           " WHERE dimension=?1 AND start_s>=?2 AND start_s<?3 ORDER BY start_s"
static const char select_minutes[] = SELECT_ROWS("usage_minutes");
static const char select_hours[] = SELECT_ROWS("usage_hours");
#undef S
#undef SELECT_ROWS

static int read_histogram(sqlite3_stmt *statement, int column, struct histogram *into)
{
    const void *data = sqlite3_column_blob(statement, column);
    struct span text = span_of(data, (size_t)sqlite3_column_bytes(statement, column));
    return text.length == 0 || histogram_add_encoded(into, text) == 0 ? SQLITE_OK : SQLITE_CORRUPT;
}

static int read_row(sqlite3_stmt *statement, struct usage_series *series, size_t point)
{
    int64_t *sums = series->points[point].sums;
    for (int i = 0; i < ROLLUP_SUM_COUNT; i++)
        add_saturating(&sums[i], sqlite3_column_int64(statement, COLUMN_SUMS + i));
    return read_histogram(statement, COLUMN_HISTOGRAM, &series->first);
}

static int prepare_rows(sqlite3 *db, const struct usage_question *question, sqlite3_stmt **statement)
{
    int code = sqlite3_prepare_v2(db, question->by_hour ? select_hours : select_minutes, -1, statement, NULL);
    if (code != SQLITE_OK)
        return code;
    sqlite3_bind_int(*statement, 1, (int)question->by);
    sqlite3_bind_int64(*statement, 2, question->from_s);
    sqlite3_bind_int64(*statement, 3, question->to_s);
    return SQLITE_OK;
}

static int read_rows(sqlite3 *db, const struct usage_question *question, struct usage_answer *answer,
                     const struct series_index *index)
{
    sqlite3_stmt *statement = NULL;
    size_t point = 0;
    int code = prepare_rows(db, question, &statement);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t start_s = sqlite3_column_int64(statement, COLUMN_START);
        size_t this_point = (size_t)((start_s - question->from_s) / question->step_s);
        struct usage_series *series = find_series(index, sqlite3_column_int64(statement, COLUMN_LABEL));
        if (this_point != point)
            end_point(answer, point);
        point = this_point;
        code = series ? read_row(statement, series, point) : SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (question->point_count > 0)
        end_point(answer, point);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int compare_series(const void *left, const void *right)
{
    const struct usage_series *a = *(const struct usage_series *const *)left;
    const struct usage_series *b = *(const struct usage_series *const *)right;
    int64_t x = a->total.sums[SUM_REQUESTS], y = b->total.sums[SUM_REQUESTS];
    return x != y ? (x < y ? 1 : -1) : strcmp(a->name, b->name);
}

/* A label of another time has no series. */
static void drop_empty(struct usage_answer *answer)
{
    while (answer->count > 0 && answer->series[answer->count - 1]->total.sums[SUM_REQUESTS] == 0)
        series_free(answer->series[--answer->count]);
}

static int count_missing(sqlite3 *db, int64_t *count)
{
    struct tidy_state state;
    int code = tidy_read_state(db, &state);
    return code == SQLITE_OK ? tidy_count_backlog(db, &state, count) : code;
}

int usage_read_answer(sqlite3 *db, const struct usage_question *question, struct usage_answer *answer)
{
    struct series_index index = {0};
    *answer = (struct usage_answer){.count = 0};
    int code = choose_series(db, question, answer);
    if (code == SQLITE_OK)
        code = index_series(answer, &index);
    if (code == SQLITE_OK)
        code = read_rows(db, question, answer, &index);
    if (code == SQLITE_OK)
        code = count_missing(db, &answer->missing_events);
    free(index.by_label);
    if (code != SQLITE_OK)
        return code;
    for (size_t i = 0; i < answer->count; i++)
        answer->series[i]->total.first_p95_ms = histogram_percentile(&answer->series[i]->first_total, 95);
    qsort(answer->series, answer->count, sizeof(struct usage_series *), compare_series);
    if (question->by != DIMENSION_ALL)
        drop_empty(answer);
    return SQLITE_OK;
}

int usage_append_first_event(sqlite3 *db, int64_t now_wall_ms, struct buffer *out)
{
    sqlite3_stmt *statement = NULL;
    struct histogram sum = {{0}};
    static const char sql[] =
        "SELECT first_event_histogram FROM usage_minutes WHERE dimension=0 AND start_s>?1";
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        sqlite3_bind_int64(statement, 1, now_wall_ms / 1000 - RECENT_S);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        code = read_histogram(statement, 0, &sum);
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE)
        return code;
    int64_t p50_ms = histogram_percentile(&sum, 50), p95_ms = histogram_percentile(&sum, 95);
    int error = p50_ms < 0
                    ? buffer_append_span(out, SPAN("null"))
                    : buffer_printf(out, "{\"p50\":%lld,\"p95\":%lld}", (long long)p50_ms, (long long)p95_ms);
    return error < 0 ? SQLITE_NOMEM : SQLITE_OK;
}
