/* SPDX-License-Identifier: MIT */
#include "statsd/stats.h"
#include "statsd/decimal.h"

#include <inttypes.h>

struct map_writing {
    struct buffer *out;
    bool any;
};

static int put_pair(void *context, struct span label, int64_t value)
{
    struct map_writing *writing = context;
    int error = writing->any ? buffer_append_char(writing->out, ',') : 0;
    writing->any = true;
    if (error == 0)
        error = buffer_append_json_string(writing->out, label);
    return error < 0 ? error : buffer_printf(writing->out, ":%" PRId64, value);
}

static int put_map(struct buffer *out, const char *name, const struct totals *totals,
                   enum total_family family)
{
    struct map_writing writing = {out, false};
    int error = buffer_printf(out, "\"%s\":{", name);
    if (error == 0)
        error = totals_each(totals, family, put_pair, &writing);
    return error < 0 ? error : buffer_append_span(out, SPAN("},"));
}

/* Requests whose label, "STATUS OUTCOME stream|plain", says that the client left. */
static int add_if_cancelled(void *context, struct span label, int64_t value)
{
    int64_t *sum = context;
    const char *end = label.data + label.length;
    bool is_cancelled = span_starts_with(label, SPAN("499 "));
    const char *space = memchr(label.data, ' ', label.length);
    if (space && span_starts_with(span_of(space + 1, (size_t)(end - space - 1)), SPAN("cancelled ")))
        is_cancelled = true;
    if (is_cancelled && __builtin_add_overflow(*sum, value, sum))
        *sum = INT64_MAX;
    return 0;
}

static int put_sums(struct buffer *out, const struct totals *totals)
{
    int error = buffer_printf(out,
                              "\"requests\":%" PRId64 ",\"errors\":%" PRId64 ",\"prompt_tokens\":%" PRId64
                              ",\"completion_tokens\":%" PRId64 ",\"cached_tokens\":%" PRId64
                              ",\"reasoning_tokens\":%" PRId64 ",\"credit\":",
                              totals_sum(totals, TOTAL_REQUESTS), totals_sum(totals, TOTAL_ERRORS),
                              totals_get(totals, TOTAL_TOKENS, SPAN("prompt")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("completion")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("cached")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("reasoning")));
    return error < 0 ? error : decimal_append_micro(out, totals_sum(totals, TOTAL_CREDIT));
}

int stats_append_live(struct buffer *out, const struct totals *totals)
{
    int64_t cancelled = 0;
    int error = totals_each(totals, TOTAL_REQUESTS, add_if_cancelled, &cancelled);
    if (error == 0)
        error = buffer_printf(out, "{\"cancelled\":%" PRId64 ",", cancelled);
    if (error == 0)
        error = put_sums(out, totals);
    return error < 0 ? error : buffer_append_char(out, '}');
}

int stats_append(struct buffer *out, const struct totals *totals)
{
    int error = buffer_append_char(out, '{');
    if (error == 0)
        error = put_map(out, "model_usage", totals, TOTAL_MODEL);
    if (error == 0)
        error = put_map(out, "credential_usage", totals, TOTAL_CREDENTIAL);
    if (error == 0)
        error = buffer_append_span(out, SPAN("\"totals\":{"));
    if (error == 0)
        error = put_sums(out, totals);
    return error < 0 ? error
                     : buffer_printf(out, "},\"since\":%" PRId64 "}", totals_sum(totals, TOTAL_SINCE) / 1000);
}
