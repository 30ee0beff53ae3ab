/* SPDX-License-Identifier: MIT */
#include "statsd/requests.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/outcome.h"
#include "statsd/decimal.h"

#include <inttypes.h>
#include <sys/resource.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 500, MINUTE_S = 60, HOUR_S = 3600 };

/* ---- the question ---- */

static bool read_cursor(struct span text, struct requests_question *question, struct problem *problem)
{
    uint64_t started, id;
    const char *dash = text.data ? memchr(text.data, '-', text.length) : NULL;
    question->before_wall_ms = INT64_MAX;
    question->before_id = INT64_MAX;
    if (!text.data)
        return true;
    if (dash && span_to_u64(span_of(text.data, (size_t)(dash - text.data)), &started) &&
        span_to_u64(span_of(dash + 1, text.length - (size_t)(dash + 1 - text.data)), &id) &&
        started <= INT64_MAX && id <= INT64_MAX) {
        question->before_wall_ms = (int64_t)started;
        question->before_id = (int64_t)id;
        return true;
    }
    *problem = (struct problem){"before", "It must be the `next_before` of an earlier answer."};
    return false;
}

static bool read_outcome(struct span text, struct requests_question *question, struct problem *problem)
{
    question->outcome = -1;
    if (!text.data)
        return true;
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        if (span_equals(text, span_str(outcome_word(i)))) {
            question->outcome = (int64_t)i;
            return true;
        }
    *problem = (struct problem){"outcome", "There is no such outcome."};
    return false;
}

bool requests_read_question(const json_t *arguments, struct requests_question *question,
                            struct problem *problem)
{
    static const char *const names[] = {"limit", "before", "model",   "credential",
                                        "key",   "status", "outcome", NULL};
    *question = (struct requests_question){.limit = LIMIT_DEFAULT, .status = -1};
    if (!arguments_are_known(arguments, names, problem) ||
        !arguments_get_number(arguments, "limit", 1, LIMIT_MAX, &question->limit, problem) ||
        !arguments_get_number(arguments, "status", 0, 999, &question->status, problem) ||
        !read_cursor(arguments_get(arguments, "before"), question, problem) ||
        !read_outcome(arguments_get(arguments, "outcome"), question, problem))
        return false;
    for (int i = DIMENSION_MODEL; i < DIMENSION_COUNT; i++)
        question->filters[i] = arguments_get(arguments, dimension_words[i]);
    return true;
}

/* ---- how long ---- */

static int64_t count_disk_reads(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_inblock : 0;
}

void requests_patience_begin(struct requests_patience *patience)
{
    *patience = (struct requests_patience){clock_now_ms() + REQUESTS_PAGE_MS, count_disk_reads()};
}

bool requests_patience_is_over(const void *context)
{
    const struct requests_patience *patience = context;
    return clock_now_ms() > patience->until_ms && count_disk_reads() > patience->disk_reads;
}

/* ---- a page ---- */

struct page {
    sqlite3 *db;
    const struct requests_question *question;
    struct buffer *out;
    sqlite3_stmt *scan, *fetch;
    const struct tidy_state *state;
    int64_t count, looks;
    int64_t at_wall_ms, at_id; /* everything from here on has been looked at */
    bool is_full;              /* stop: there is more */
};

static struct span column_span(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column); /* of a TEXT: its bytes, without a NUL */
    return span_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

static int put_text(struct buffer *out, const char *name, struct span text, bool is_optional)
{
    int error = buffer_printf(out, "\"%s\":", name);
    if (error < 0)
        return error;
    error = is_optional && text.length == 0 ? buffer_append_span(out, SPAN("null"))
                                            : buffer_append_json_string(out, text);
    return error < 0 ? error : buffer_append_char(out, ',');
}

enum {
    F_REQUEST_ID,
    F_STARTED,
    F_DURATION,
    F_FIRST,
    F_KEY,
    F_CREDENTIAL,
    F_MODEL,
    F_STATUS,
    F_OUTCOME,
    F_CODE,
    F_STREAM,
    F_PROMPT,
    F_COMPLETION,
    F_CACHED,
    F_REASONING,
    F_CREDIT
};
static const char fetch_sql[] =
    "SELECT request_id, started_wall_ms, duration_ms, first_event_ms, key_id, credential_id, model, status, "
    "outcome, code, stream, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, credit_micro "
    "FROM events WHERE id=?1";

static int put_numbers(struct buffer *out, sqlite3_stmt *row)
{
    static const struct {
        const char *name;
        int column;
    } numbers[] = {{"duration_ms", F_DURATION}, {"status", F_STATUS},
                   {"prompt_tokens", F_PROMPT}, {"completion_tokens", F_COMPLETION},
                   {"cached_tokens", F_CACHED}, {"reasoning_tokens", F_REASONING}};
    int error = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && error == 0; i++) {
        error = buffer_printf(out, "\"%s\":", numbers[i].name);
        if (error == 0)
            error = decimal_append(out, sqlite3_column_int64(row, numbers[i].column));
        if (error == 0)
            error = buffer_append_char(out, ',');
    }
    return error;
}

static int put_times(struct buffer *out, sqlite3_stmt *row)
{
    int64_t started_wall_ms = sqlite3_column_int64(row, F_STARTED),
            first_ms = sqlite3_column_int64(row, F_FIRST);
    int error =
        buffer_printf(out, "\"started_at\":%" PRId64 ".%03" PRId64 ",\"stream\":%s,", started_wall_ms / 1000,
                      started_wall_ms % 1000, sqlite3_column_int(row, F_STREAM) ? "true" : "false");
    if (error < 0)
        return error;
    return first_ms > 0 ? buffer_printf(out, "\"first_event_ms\":%" PRId64 ",", first_ms)
                        : buffer_append_span(out, SPAN("\"first_event_ms\":null,"));
}

static int put_row(struct buffer *out, sqlite3_stmt *row)
{
    const char *outcome = outcome_word((unsigned)sqlite3_column_int(row, F_OUTCOME));
    int error = buffer_append_char(out, '{');
    if (error == 0)
        error = put_text(out, "id", column_span(row, F_REQUEST_ID), false);
    if (error == 0)
        error = put_text(out, "key_id", column_span(row, F_KEY), true);
    if (error == 0)
        error = put_text(out, "credential_id", column_span(row, F_CREDENTIAL), true);
    if (error == 0)
        error = put_text(out, "model", column_span(row, F_MODEL), false);
    if (error == 0)
        error = put_text(out, "outcome", span_str(outcome), false);
    if (error == 0)
        error = put_text(out, "error_code", column_span(row, F_CODE), true);
    if (error == 0)
        error = put_times(out, row);
    if (error == 0)
        error = put_numbers(out, row);
    if (error == 0)
        error = buffer_append_span(out, SPAN("\"credit\":"));
    if (error == 0)
        error = decimal_append_micro(out, sqlite3_column_int64(row, F_CREDIT));
    return error < 0 ? error : buffer_append_char(out, '}');
}

/* The rest is for the next page. */
static bool is_enough(const struct page *page)
{
    return page->looks > REQUESTS_MAX_LOOKS ||
           (page->looks > REQUESTS_FREE_LOOKS && page->question->is_over &&
            page->question->is_over(page->question->patience));
}

static int take_row(struct page *page, int64_t id)
{
    sqlite3_bind_int64(page->fetch, 1, id);
    int code = sqlite3_step(page->fetch);
    if (code == SQLITE_ROW) {
        int error = page->count > 0 ? buffer_append_char(page->out, ',') : 0;
        if (error == 0)
            error = put_row(page->out, page->fetch);
        code = error < 0 ? SQLITE_NOMEM : SQLITE_OK;
        page->count++;
    }
    sqlite3_reset(page->fetch);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* ---- walking the events ---- */

enum { S_ID, S_STARTED, S_MODEL, S_CREDENTIAL, S_KEY, S_STATUS, S_OUTCOME };
static const char scan_sql[] =
    "SELECT id, started_wall_ms, model, credential_id, key_id, status, outcome FROM events INDEXED BY "
    "events_started WHERE started_wall_ms<=?1 AND started_wall_ms>=?2 ORDER BY started_wall_ms DESC, id DESC";

static bool text_fits(struct span filter, sqlite3_stmt *row, int column)
{
    return !filter.data || span_equals(filter, column_span(row, column));
}

static bool row_fits(const struct requests_question *question, sqlite3_stmt *row)
{
    return (question->status < 0 || sqlite3_column_int64(row, S_STATUS) == question->status) &&
           (question->outcome < 0 || sqlite3_column_int64(row, S_OUTCOME) == question->outcome) &&
           text_fits(question->filters[DIMENSION_MODEL], row, S_MODEL) &&
           text_fits(question->filters[DIMENSION_CREDENTIAL], row, S_CREDENTIAL) &&
           text_fits(question->filters[DIMENSION_KEY], row, S_KEY);
}

/* One more row that fits than the page takes tells that there is more. */
static int look_at(struct page *page, sqlite3_stmt *row)
{
    int64_t id = sqlite3_column_int64(row, S_ID), started_wall_ms = sqlite3_column_int64(row, S_STARTED);
    bool is_before = started_wall_ms < page->question->before_wall_ms ||
                     (started_wall_ms == page->question->before_wall_ms && id < page->question->before_id);
    if (!is_before)
        return SQLITE_OK;
    page->looks++;
    bool fits = row_fits(page->question, row);
    if (is_enough(page) || (fits && page->count == page->question->limit)) {
        page->is_full = true;
        return SQLITE_OK;
    }
    page->at_wall_ms = started_wall_ms;
    page->at_id = id;
    return fits ? take_row(page, id) : SQLITE_OK;
}

/* Looks at the events that began from `since_ms` up to `until_ms`, newest first. */
static int walk(struct page *page, int64_t since_ms, int64_t until_ms)
{
    int64_t from_ms = page->question->before_wall_ms < until_ms ? page->question->before_wall_ms : until_ms;
    int code;
    sqlite3_bind_int64(page->scan, 1, from_ms);
    sqlite3_bind_int64(page->scan, 2, since_ms);
    while ((code = sqlite3_step(page->scan)) == SQLITE_ROW && !page->is_full)
        if ((code = look_at(page, page->scan)) != SQLITE_OK || page->is_full)
            break;
    sqlite3_reset(page->scan);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* ---- where a label was used ---- */

struct guide {
    enum dimension dimension;
    int64_t label;
};

static int count_hours(sqlite3 *db, const struct guide *guide, int64_t *count)
{
    static const char sql[] = "SELECT count(*) FROM usage_hours INDEXED BY usage_hours_label WHERE "
                              "dimension=?1 AND label=?2";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int(statement, 1, (int)guide->dimension);
        sqlite3_bind_int64(statement, 2, guide->label);
        code = sqlite3_step(statement);
    }
    *count = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* The filter whose label was used in the fewest hours. `*hours` 0: there is no such event; -1: no filter. */
static int choose_guide(const struct page *page, struct guide *guide, int64_t *hours)
{
    int code = SQLITE_OK;
    *hours = -1;
    for (int i = DIMENSION_MODEL; i < DIMENSION_COUNT && code == SQLITE_OK && *hours != 0; i++) {
        struct guide one = {(enum dimension)i, 0};
        int64_t count = 0;
        if (!page->question->filters[i].data)
            continue;
        code = rollup_find_label(page->db, one.dimension, page->question->filters[i], &one.label);
        if (code == SQLITE_OK && one.label > 0)
            code = count_hours(page->db, &one, &count);
        if (*hours < 0 || count < *hours) {
            *guide = one;
            *hours = count;
        }
    }
    return code;
}

/* Walks the minutes of one hour that have the label, the latest first. */
static int walk_minutes(struct page *page, sqlite3_stmt *minute, const struct guide *guide, int64_t hour_s)
{
    int code = SQLITE_OK;
    for (int64_t start_s = hour_s + HOUR_S - MINUTE_S;
         start_s >= hour_s && code == SQLITE_OK && !page->is_full; start_s -= MINUTE_S) {
        if (start_s * 1000 > page->question->before_wall_ms)
            continue;
        page->looks++;
        sqlite3_bind_int(minute, 1, (int)guide->dimension);
        sqlite3_bind_int64(minute, 2, start_s);
        sqlite3_bind_int64(minute, 3, guide->label);
        code = sqlite3_step(minute);
        sqlite3_reset(minute);
        if (code == SQLITE_ROW)
            code = walk(page, start_s * 1000, (start_s + MINUTE_S) * 1000 - 1);
        else if (code == SQLITE_DONE)
            code = SQLITE_OK;
        if (!page->is_full) {
            page->at_wall_ms = start_s * 1000;
            page->at_id = 0;
            page->is_full = is_enough(page);
        }
    }
    return code;
}

static int walk_hour(struct page *page, sqlite3_stmt *minute, const struct guide *guide, int64_t hour_s)
{
    int code = hour_s >= page->state->minutes_since_s
                   ? walk_minutes(page, minute, guide, hour_s)
                   : walk(page, hour_s * 1000, (hour_s + HOUR_S) * 1000 - 1);
    if (!page->is_full) {
        page->at_wall_ms = hour_s * 1000;
        page->at_id = 0;
        page->is_full = is_enough(page);
    }
    return code;
}

static int walk_guided(struct page *page, const struct guide *guide)
{
    static const char hours_sql[] =
        "SELECT start_s FROM usage_hours INDEXED BY usage_hours_label WHERE dimension=?1 AND label=?2 AND "
        "start_s<=?3 ORDER BY start_s DESC";
    static const char minute_sql[] =
        "SELECT 1 FROM usage_minutes WHERE dimension=?1 AND start_s=?2 AND label=?3";
    sqlite3_stmt *hours = NULL, *minute = NULL;
    int code = sqlite3_prepare_v2(page->db, hours_sql, -1, &hours, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(page->db, minute_sql, -1, &minute, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int(hours, 1, (int)guide->dimension);
        sqlite3_bind_int64(hours, 2, guide->label);
        sqlite3_bind_int64(hours, 3, page->question->before_wall_ms / 1000);
    }
    while (code == SQLITE_OK && !page->is_full && (code = sqlite3_step(hours)) == SQLITE_ROW)
        code = walk_hour(page, minute, guide, sqlite3_column_int64(hours, 0));
    sqlite3_finalize(hours);
    sqlite3_finalize(minute);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int walk_page(struct page *page)
{
    struct guide guide = {DIMENSION_ALL, 0};
    int64_t hours;
    int code = choose_guide(page, &guide, &hours);
    if (code != SQLITE_OK)
        return code;
    if (hours < 0 || page->state->backlog_id > 0) /* while sums are missing they guide nobody */
        return walk(page, 0, INT64_MAX);
    return hours == 0 ? SQLITE_OK : walk_guided(page, &guide);
}

static int end_page(const struct page *page)
{
    return page->is_full ? buffer_printf(page->out, "],\"next_before\":\"%" PRId64 "-%" PRId64 "\"}",
                                         page->at_wall_ms, page->at_id)
                         : buffer_append_span(page->out, SPAN("],\"next_before\":null}"));
}

int requests_append_answer(sqlite3 *db, const struct requests_question *question,
                           const struct tidy_state *state, struct buffer *out)
{
    struct page page = {.db = db,
                        .question = question,
                        .out = out,
                        .state = state,
                        .at_wall_ms = question->before_wall_ms,
                        .at_id = question->before_id};
    int code = sqlite3_prepare_v2(db, scan_sql, -1, &page.scan, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, fetch_sql, -1, &page.fetch, NULL);
    if (code == SQLITE_OK && buffer_append_span(out, SPAN("{\"requests\":[")) < 0)
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = walk_page(&page);
    if (code == SQLITE_OK && end_page(&page) < 0)
        code = SQLITE_NOMEM;
    sqlite3_finalize(page.scan);
    sqlite3_finalize(page.fetch);
    return code;
}
