/* SPDX-License-Identifier: MIT */
#include "statsd/metric.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_LABELS = 8 };

static const char prefix[] = "codebuddy2api_";
static const char process_prefix[] = "codebuddy2api_process_";

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool span_ends_with(struct span text, const char *suffix)
{
    size_t length = strlen(suffix);
    return text.length > length && memcmp(text.data + text.length - length, suffix, length) == 0;
}

static bool cut_suffix(struct span *text, const char *suffix)
{
    if (!span_ends_with(*text, suffix))
        return false;
    text->length -= strlen(suffix);
    return true;
}

static struct span take_while_name(struct span *rest)
{
    size_t length = 0;
    while (length < rest->length && is_name_char(rest->data[length]))
        length++;
    struct span name = span_of(rest->data, length);
    *rest = span_of(rest->data + length, rest->length - length);
    return name;
}

static bool take_char(struct span *rest, char c)
{
    if (rest->length == 0 || rest->data[0] != c)
        return false;
    *rest = span_of(rest->data + 1, rest->length - 1);
    return true;
}

/* A quoted value, without its quotes. False if an escape is unknown or the end is missing. */
static bool take_value(struct span *rest, struct span *value)
{
    if (!take_char(rest, '"'))
        return false;
    for (size_t i = 0; i < rest->length; i++) {
        char c = rest->data[i];
        if (c == '"') {
            *value = span_of(rest->data, i);
            *rest = span_of(rest->data + i + 1, rest->length - i - 1);
            return true;
        }
        if (c == '\n')
            return false;
        if (c == '\\' && (++i == rest->length || !strchr("\\\"n", rest->data[i])))
            return false;
    }
    return false;
}

static bool parse_le(struct span value, double *le)
{
    char text[32], *end;
    if (value.length == 0 || value.length >= sizeof text)
        return false;
    memcpy(text, value.data, value.length);
    text[value.length] = '\0';
    *le = strtod(text, &end);
    return *end == '\0' && !isnan(*le);
}

/* One `name="value"`: appended to the labels, or kept as the bucket's bound. */
static bool take_label(struct span *rest, struct metric *metric, char **labels_end, char *le_text)
{
    struct span start = *rest, value;
    struct span name = take_while_name(rest);
    if (name.length == 0 || (name.data[0] >= '0' && name.data[0] <= '9') || !take_char(rest, '=') ||
        !take_value(rest, &value))
        return false;
    if (span_equals(name, SPAN("role")) || span_equals(name, SPAN("process")) ||
        span_starts_with(name, SPAN("__")))
        return false;
    if (span_equals(name, SPAN("le"))) {
        bool is_first = le_text[0] == '\0';
        if (!is_first || metric->part != METRIC_BUCKET || !parse_le(value, &metric->le))
            return false;
        memcpy(le_text, value.data, value.length);
        return true;
    }
    if (*labels_end > metric->labels)
        *(*labels_end)++ = ',';
    memcpy(*labels_end, start.data, start.length - rest->length);
    *labels_end += start.length - rest->length;
    return true;
}

/* `{…}` to the end of the text, or nothing. */
static bool parse_labels(struct span rest, struct metric *metric, char *le_text)
{
    char *labels_end = metric->labels;
    if (rest.length == 0)
        return true;
    if (!take_char(&rest, '{'))
        return false;
    for (int i = 0; i < MAX_LABELS; i++) {
        if (i == 0 && take_char(&rest, '}'))
            return rest.length == 0;
        if (!take_label(&rest, metric, &labels_end, le_text))
            return false;
        if (take_char(&rest, '}'))
            return rest.length == 0;
        if (!take_char(&rest, ','))
            return false;
    }
    return false;
}

/* Kind and part by the suffix, which is cut off. A gauge must not look like anything else. */
static bool parse_family(struct span *name, enum gauge_kind kind, struct metric *metric)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    static const enum metric_part parts[] = {METRIC_BUCKET, METRIC_SUM, METRIC_COUNT};
    bool is_total = cut_suffix(name, "_total");
    metric->kind = kind == GAUGE_COUNTER ? METRIC_COUNTER : METRIC_GAUGE;
    if (is_total)
        return metric->kind == METRIC_COUNTER;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (cut_suffix(name, suffixes[i])) {
            metric->part = parts[i];
            bool is_counter = metric->kind == METRIC_COUNTER;
            metric->kind = METRIC_HISTOGRAM;
            return is_counter;
        }
    if (cut_suffix(name, "_info")) {
        bool is_gauge = metric->kind == METRIC_GAUGE;
        metric->kind = METRIC_INFO;
        return is_gauge;
    }
    return !span_ends_with(*name, "_created");
}

bool metric_is_per_process(const char *name)
{
    return strncmp(name, process_prefix, strlen(process_prefix)) == 0;
}

struct metric *metric_parse(struct span name, enum gauge_kind kind)
{
    struct metric *metric = calloc(1, sizeof *metric + 3 * (name.length + 1));
    if (!metric)
        return NULL;
    metric->family = metric->text;
    metric->labels = metric->text + name.length + 1;
    metric->le_text = metric->labels + name.length + 1;
    struct span rest = name, family = take_while_name(&rest);
    bool ok = parse_family(&family, kind, metric) && family.length > strlen(prefix) &&
              memcmp(family.data, prefix, strlen(prefix)) == 0 &&
              parse_labels(rest, metric, metric->le_text) &&
              (metric->part == METRIC_BUCKET) == (metric->le_text[0] != '\0');
    if (!ok) {
        free(metric);
        return NULL;
    }
    memcpy(metric->family, family.data, family.length);
    return metric;
}
