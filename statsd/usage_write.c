/* SPDX-License-Identifier: MIT */
/* usage_write - the series of /api/usage as JSON and as CSV. */
#include "proto/error.h"
#include "statsd/decimal.h"
#include "statsd/usage.h"

/* What a point shows. */
enum measure_kind { MEASURE_SUM, MEASURE_MICRO, MEASURE_MEAN, MEASURE_P95 };

static const struct measure {
    const char *name;
    enum measure_kind kind;
    enum rollup_sum sum, count; /* MEAN: sum / count */
} measures[] = {
    {"requests", MEASURE_SUM, SUM_REQUESTS, 0},
    {"errors", MEASURE_SUM, SUM_ERRORS, 0},
    {"cancelled", MEASURE_SUM, SUM_CANCELLED, 0},
    {"prompt_tokens", MEASURE_SUM, SUM_PROMPT, 0},
    {"completion_tokens", MEASURE_SUM, SUM_COMPLETION, 0},
    {"cached_tokens", MEASURE_SUM, SUM_CACHED, 0},
    {"reasoning_tokens", MEASURE_SUM, SUM_REASONING, 0},
    {"credit", MEASURE_MICRO, SUM_CREDIT, 0},
    {"first_event_mean_ms", MEASURE_MEAN, SUM_FIRST, SUM_FIRST_COUNT},
    {"first_event_p95_ms", MEASURE_P95, 0, 0},
    {"duration_mean_ms", MEASURE_MEAN, SUM_DURATION, SUM_REQUESTS},
};
enum { MEASURE_COUNT = sizeof measures / sizeof measures[0] };

/* `none` stands for a number that there is not. */
static int put_measure(struct buffer *out, const struct measure *measure, const struct usage_point *point,
                       struct span none)
{
    int64_t count = point->sums[measure->count];
    switch (measure->kind) {
    case MEASURE_SUM:
        return decimal_append(out, point->sums[measure->sum]);
    case MEASURE_MICRO:
        return decimal_append_micro(out, point->sums[measure->sum]);
    case MEASURE_MEAN:
        return count > 0 ? decimal_append(out, (point->sums[measure->sum] + count / 2) / count)
                         : buffer_append_span(out, none);
    case MEASURE_P95:
        return point->first_p95_ms >= 0 ? decimal_append(out, point->first_p95_ms)
                                        : buffer_append_span(out, none);
    }
    return ERR_INVALID;
}

/* ---- JSON ---- */

static int put_totals(struct buffer *out, const struct usage_point *total)
{
    int error = buffer_append_span(out, SPAN(",\"totals\":{"));
    for (size_t i = 0; i < MEASURE_COUNT && error == 0; i++) {
        error = buffer_printf(out, "%s\"%s\":", i ? "," : "", measures[i].name);
        if (error == 0)
            error = put_measure(out, &measures[i], total, SPAN("null"));
    }
    return error < 0 ? error : buffer_append_char(out, '}');
}

static int put_points(struct buffer *out, const struct usage_series *series, size_t point_count)
{
    int error = buffer_append_span(out, SPAN(",\"points\":{"));
    for (size_t i = 0; i < MEASURE_COUNT && error == 0; i++) {
        error = buffer_printf(out, "%s\"%s\":[", i ? "," : "", measures[i].name);
        for (size_t point = 0; point < point_count && error == 0; point++) {
            if (point > 0)
                error = buffer_append_char(out, ',');
            if (error == 0)
                error = put_measure(out, &measures[i], &series->points[point], SPAN("null"));
        }
        if (error == 0)
            error = buffer_append_char(out, ']');
    }
    return error < 0 ? error : buffer_append_char(out, '}');
}

static int put_times(struct buffer *out, const struct usage_question *question)
{
    int error = 0;
    for (size_t i = 0; i < question->point_count && error == 0; i++) {
        if (i > 0)
            error = buffer_append_char(out, ',');
        if (error == 0)
            error = decimal_append(out, question->from_s + (int64_t)i * question->step_s);
    }
    return error;
}

static int write_json(struct buffer *out, const struct usage_question *question,
                      const struct usage_answer *answer)
{
    bool has_by = question->by != DIMENSION_ALL;
    int error = buffer_printf(
        out, "{\"from\":%lld,\"to\":%lld,\"step\":%lld,\"by\":%s%s%s,\"missing_events\":%lld,\"times\":[",
        (long long)question->from_s, (long long)question->to_s, (long long)question->step_s,
        has_by ? "\"" : "", has_by ? dimension_words[question->by] : "null", has_by ? "\"" : "",
        (long long)answer->missing_events);
    if (error == 0)
        error = put_times(out, question);
    if (error == 0)
        error = buffer_append_span(out, SPAN("],\"series\":["));
    for (size_t i = 0; i < answer->count && error == 0; i++) {
        error = buffer_printf(out, "%s{\"name\":", i ? "," : "");
        if (error == 0)
            error = buffer_append_json_string(out, span_str(answer->series[i]->name));
        if (error == 0)
            error = put_totals(out, &answer->series[i]->total);
        if (error == 0)
            error = put_points(out, answer->series[i], question->point_count);
        if (error == 0)
            error = buffer_append_char(out, '}');
    }
    return error < 0 ? error : buffer_append_span(out, SPAN("]}"));
}

/* ---- CSV (RFC 4180) ---- */

/* Clients choose models' names, and a spreadsheet takes a cell that begins so for a formula. */
static bool looks_like_formula(struct span text)
{
    return text.length > 0 && text.data[0] != '\0' && strchr("=+-@\t\r", text.data[0]);
}

static int put_cell(struct buffer *out, struct span text)
{
    int error = buffer_append_char(out, '"');
    if (error == 0 && looks_like_formula(text))
        error = buffer_append_char(out, '\'');
    for (size_t i = 0; i < text.length && error == 0; i++) {
        if (text.data[i] == '"')
            error = buffer_append_char(out, '"');
        if (error == 0)
            error = buffer_append_char(out, text.data[i]);
    }
    return error < 0 ? error : buffer_append_char(out, '"');
}

static int write_row(struct buffer *out, int64_t time_s, const struct usage_series *series,
                     const struct usage_point *point)
{
    int error = decimal_append(out, time_s);
    if (error == 0)
        error = buffer_append_char(out, ',');
    if (error == 0)
        error = put_cell(out, span_str(series->name));
    for (size_t i = 0; i < MEASURE_COUNT && error == 0; i++) {
        error = buffer_append_char(out, ',');
        if (error == 0)
            error = put_measure(out, &measures[i], point, SPAN(""));
    }
    return error < 0 ? error : buffer_append_span(out, SPAN("\r\n"));
}

static int write_csv(struct buffer *out, const struct usage_question *question,
                     const struct usage_answer *answer)
{
    int error = buffer_append_span(out, SPAN("time,by"));
    for (size_t i = 0; i < MEASURE_COUNT && error == 0; i++)
        error = buffer_printf(out, ",%s", measures[i].name);
    if (error == 0)
        error = buffer_append_span(out, SPAN("\r\n"));
    for (size_t point = 0; point < question->point_count && error == 0; point++)
        for (size_t i = 0; i < answer->count && error == 0; i++)
            error = write_row(out, question->from_s + (int64_t)point * question->step_s, answer->series[i],
                              &answer->series[i]->points[point]);
    return error;
}

int usage_write_answer(struct buffer *out, const struct usage_question *question,
                       const struct usage_answer *answer)
{
    return question->is_csv ? write_csv(out, question, answer) : write_json(out, question, answer);
}
