/* SPDX-License-Identifier: MIT */
#include "statsd/exposition.h"
#include "proto/error.h"
#include "statsd/metric_help.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MICRO = 1000000, MS_TO_MICRO = 1000 };

struct page {
    struct buffer *out;
    enum exposition_format format;
    const struct totals *totals;
    int error; /* the first; what follows it does nothing */
};

/* ---- pieces ---- */

static void put(struct page *page, const char *text)
{
    if (page->error == 0)
        page->error = buffer_append_span(page->out, span_str(text));
}

static void put_escaped(struct page *page, struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c == '\\')
            put(page, "\\\\");
        else if (c == '"')
            put(page, "\\\"");
        else if (c == '\n')
            put(page, "\\n");
        else if (page->error == 0)
            page->error = buffer_append_char(page->out, c);
    }
}

int exposition_append_micro(struct buffer *out, int64_t value_micro)
{
    char text[40];
    uint64_t size = value_micro < 0 ? 0 - (uint64_t)value_micro : (uint64_t)value_micro;
    int length = snprintf(text, sizeof text, "%s%" PRIu64 ".%06" PRIu64, value_micro < 0 ? "-" : "",
                          size / MICRO, size % MICRO);
    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    return buffer_append(out, text, (size_t)length);
}

static void put_micro_line(struct page *page, int64_t value_micro)
{
    put(page, " ");
    if (page->error == 0)
        page->error = exposition_append_micro(page->out, value_micro);
    put(page, "\n");
}

/* Counts can exceed what millionths hold. */
static void put_integer_line(struct page *page, int64_t value)
{
    if (page->error == 0)
        page->error = buffer_printf(page->out, " %" PRId64 "\n", value);
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text), suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

/* HELP, TYPE, UNIT. In the older format a family carries its _total or _info, and there is no type info. */
static void put_family(struct page *page, const char *family, enum metric_kind kind, const char *help)
{
    static const char *const types[] = {"gauge", "counter", "histogram", "gauge"};
    static const char *const openmetrics_types[] = {"gauge", "counter", "histogram", "info"};
    static const char *const suffixes[] = {"", "_total", "", "_info"};
    bool is_openmetrics = page->format == EXPOSITION_OPENMETRICS;
    const char *suffix = is_openmetrics ? "" : suffixes[kind];
    const char *unit = has_suffix(family, "_seconds") ? "seconds"
                       : has_suffix(family, "_bytes") ? "bytes"
                                                      : NULL;
    if (page->error == 0)
        page->error = buffer_printf(page->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", family, suffix, help,
                                    family, suffix, (is_openmetrics ? openmetrics_types : types)[kind]);
    if (page->error == 0 && is_openmetrics && unit)
        page->error = buffer_printf(page->out, "# UNIT %s %s\n", family, unit);
}

/* ---- ours ---- */

/* What a total's label becomes: `names` are the label names for its words, separated by spaces in both. */
struct own_family {
    const char *family;
    enum total_family total;
    const char *label_names; /* NULL: no label */
    bool is_micro;
    const char *help;
};

static const struct own_family own_counters[] = {
    {"codebuddy2api_requests", TOTAL_REQUESTS, "status outcome mode", false,
     "Completions finished, by the status that the client saw, outcome, and streamed or plain."},
    {"codebuddy2api_request_errors", TOTAL_ERRORS, NULL, false,
     "Completions that failed, those that the client cancelled not among them."},
    {"codebuddy2api_model_requests", TOTAL_MODEL, "model", false,
     "Completions by model; models past the first 200 are `other`."},
    {"codebuddy2api_credential_requests", TOTAL_CREDENTIAL, "credential", false,
     "Completions by the credential that served them."},
    {"codebuddy2api_tokens", TOTAL_TOKENS, "kind", false,
     "Tokens: prompt and completion; cached are part of prompt, reasoning of completion."},
    {"codebuddy2api_credit", TOTAL_CREDIT, NULL, true, "Credit that the upstream charged."},
    {"codebuddy2api_upstream_retries", TOTAL_RETRIES, NULL, false, "Upstream attempts after the first."},
    {"codebuddy2api_request_moves", TOTAL_MOVES, NULL, false, "Completions moved from a dead worker."},
};

static const char duration_family[] = "codebuddy2api_request_duration_seconds";
static const char first_family[] = "codebuddy2api_time_to_first_event_seconds";
static const char since_family[] = "codebuddy2api_counting_since_timestamp_seconds";

static bool is_own(const char *family)
{
    static const char *const others[] = {duration_family, first_family, since_family};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(family, others[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof own_counters / sizeof own_counters[0]; i++)
        if (strcmp(family, own_counters[i].family) == 0)
            return true;
    return false;
}

static struct span next_word(struct span *rest, bool is_last)
{
    const char *space = is_last || rest->length == 0 ? NULL : memchr(rest->data, ' ', rest->length);
    size_t length = space ? (size_t)(space - rest->data) : rest->length;
    struct span word = span_of(rest->data, length);
    *rest = space ? span_of(space + 1, rest->length - length - 1) : span_of(NULL, 0);
    return word;
}

/* {status="200",outcome="ok"}: the last name takes all that is left, spaces included. */
static void put_own_labels(struct page *page, const char *names, struct span words)
{
    struct span rest = span_str(names);
    put(page, "{");
    while (rest.length > 0) {
        struct span name = next_word(&rest, false);
        struct span word = next_word(&words, rest.length == 0);
        if (page->error == 0)
            page->error = buffer_append_span(page->out, name);
        put(page, "=\"");
        put_escaped(page, word);
        put(page, rest.length > 0 ? "\"," : "\"");
    }
    put(page, "}");
}

struct own_writing {
    struct page *page;
    const struct own_family *own;
};

static int put_own_sample(void *context, struct span label, int64_t value)
{
    struct own_writing *writing = context;
    struct page *page = writing->page;
    put(page, writing->own->family);
    put(page, "_total");
    if (writing->own->label_names)
        put_own_labels(page, writing->own->label_names, label);
    if (writing->own->is_micro)
        put_micro_line(page, value);
    else
        put_integer_line(page, value);
    return page->error;
}

static void put_own_counter(struct page *page, const struct own_family *own)
{
    struct own_writing writing = {page, own};
    put_family(page, own->family, METRIC_COUNTER, own->help);
    if (page->error < 0)
        return;
    if (!own->label_names) /* there from the start, so that a rate has its zero */
        put_own_sample(&writing, SPAN(""), totals_sum(page->totals, own->total));
    else
        page->error = totals_each(page->totals, own->total, put_own_sample, &writing);
}

struct counting {
    uint32_t bound_ms;
    int64_t count;
};

/* Adds a stored bucket if all of it lies under the bound: buckets of an older version with other bounds count
 * too, a little high up. */
static int count_bucket(void *context, struct span label, int64_t value)
{
    struct counting *counting = context;
    uint64_t bound_ms;
    if (span_to_u64(label, &bound_ms) && bound_ms <= counting->bound_ms)
        counting->count += value;
    return 0;
}

static void put_own_histogram(struct page *page, const char *family, const char *help,
                              enum total_family buckets, enum total_family sum, const uint32_t *bounds_ms,
                              size_t bound_count)
{
    int64_t count = totals_sum(page->totals, buckets);
    put_family(page, family, METRIC_HISTOGRAM, help);
    for (size_t i = 0; i < bound_count && page->error == 0; i++) {
        struct counting counting = {bounds_ms[i], 0};
        page->error = totals_each(page->totals, buckets, count_bucket, &counting);
        put(page, family);
        put(page, "_bucket{le=\"");
        if (page->error == 0)
            page->error = exposition_append_micro(page->out, (int64_t)bounds_ms[i] * MS_TO_MICRO);
        put(page, bounds_ms[i] % 1000 == 0 ? ".0\"}" : "\"}"); /* OpenMetrics wants a float here */
        put_integer_line(page, counting.count);
    }
    if (page->error == 0)
        page->error = buffer_printf(
            page->out, "%s_bucket{le=\"+Inf\"} %" PRId64 "\n%s_sum %" PRId64 ".%03d\n", family, count, family,
            totals_sum(page->totals, sum) / 1000, (int)(totals_sum(page->totals, sum) % 1000));
    if (page->error == 0)
        page->error = buffer_printf(page->out, "%s_count %" PRId64 "\n", family, count);
}

static void put_own(struct page *page)
{
    put_family(page, since_family, METRIC_GAUGE, "When counting began, seconds since 1970.");
    put(page, since_family);
    put_integer_line(page, totals_sum(page->totals, TOTAL_SINCE) / 1000);
    for (size_t i = 0; i < sizeof own_counters / sizeof own_counters[0]; i++)
        put_own_counter(page, &own_counters[i]);
    put_own_histogram(page, duration_family, "From request to the end of its answer.", TOTAL_DURATION,
                      TOTAL_DURATION_SUM, totals_duration_bounds_ms, totals_duration_bound_count);
    put_own_histogram(page, first_family, "From request to the first byte of a streamed answer.", TOTAL_FIRST,
                      TOTAL_FIRST_SUM, totals_first_bounds_ms, totals_first_bound_count);
}

/* ---- reported ---- */

struct gathering {
    struct registry_sample *samples;
    size_t count, capacity;
};

static int gather(void *context, const struct registry_sample *sample)
{
    struct gathering *gathering = context;
    if (is_own(sample->metric->family))
        return 0;
    if (gathering->count == gathering->capacity) {
        size_t capacity = gathering->capacity ? gathering->capacity * 2 : 256;
        struct registry_sample *samples = realloc(gathering->samples, capacity * sizeof *samples);
        if (!samples)
            return ERR_NOMEM;
        gathering->samples = samples;
        gathering->capacity = capacity;
    }
    gathering->samples[gathering->count++] = *sample;
    return 0;
}

static int compare_samples(const void *left, const void *right)
{
    const struct registry_sample *a = left, *b = right;
    int order = strcmp(a->metric->family, b->metric->family);
    if (order == 0)
        order = (int)b->metric->kind - (int)a->metric->kind; /* of two kinds, the gauge gives way */
    if (order == 0)
        order = strcmp(a->metric->labels, b->metric->labels);
    if (order == 0)
        order = strcmp(a->role, b->role);
    if (order == 0)
        order = strcmp(a->process, b->process);
    if (order == 0)
        order = (int)a->metric->part - (int)b->metric->part;
    if (order == 0)
        order = (a->metric->le > b->metric->le) - (a->metric->le < b->metric->le);
    return order;
}

static void put_sample(struct page *page, const struct registry_sample *sample)
{
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    const struct metric *metric = sample->metric;
    put(page, metric->family);
    put(page, metric->kind == METRIC_COUNTER ? "_total"
              : metric->kind == METRIC_INFO  ? "_info"
                                             : suffixes[metric->part]);
    put(page, "{");
    put(page, metric->labels);
    put(page, metric->labels[0] ? ",role=\"" : "role=\"");
    put_escaped(page, span_str(sample->role));
    put(page, "\"");
    if (sample->process[0]) {
        put(page, ",process=\"");
        put_escaped(page, span_str(sample->process));
        put(page, "\"");
    }
    if (metric->part == METRIC_BUCKET) {
        put(page, ",le=\"");
        put(page, metric->le_text);
        put(page, "\"");
    }
    put(page, "}");
    put_micro_line(page, sample->value_micro);
}

static void put_reported(struct page *page, const struct registry *registry)
{
    struct gathering gathering = {0};
    page->error = registry_each(registry, gather, &gathering);
    if (page->error == 0 && gathering.count > 0)
        qsort(gathering.samples, gathering.count, sizeof *gathering.samples, compare_samples);
    const struct metric *family = NULL; /* the one being written */
    for (size_t i = 0; i < gathering.count && page->error == 0; i++) {
        const struct registry_sample *sample = &gathering.samples[i];
        bool is_new = !family || strcmp(family->family, sample->metric->family) != 0;
        if (is_new) {
            family = sample->metric;
            put_family(page, family->family, family->kind, metric_help(family->family));
        }
        bool is_repeat = i > 0 && compare_samples(sample, sample - 1) == 0; /* x and x_total of one counter */
        if (family->kind == sample->metric->kind && !is_repeat)
            put_sample(page, sample);
    }
    free(gathering.samples);
}

int exposition_write(struct buffer *out, enum exposition_format format, const struct totals *totals,
                     const struct registry *registry)
{
    struct page page = {.out = out, .format = format, .totals = totals};
    put_own(&page);
    if (page.error == 0)
        put_reported(&page, registry);
    if (format == EXPOSITION_OPENMETRICS)
        put(&page, "# EOF\n");
    return page.error;
}
