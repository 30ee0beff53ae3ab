/* SPDX-License-Identifier: MIT */
#include "statsd/stats.h"
#include "proto/failure.h"
#include "statsd/exposition.h"

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

static int put_totals(struct buffer *out, const struct totals *totals)
{
    int error = buffer_printf(out,
                              "\"totals\":{\"requests\":%" PRId64 ",\"errors\":%" PRId64
                              ",\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
                              ",\"cached_tokens\":%" PRId64 ",\"reasoning_tokens\":%" PRId64 ",\"credit\":",
                              totals_sum(totals, TOTAL_REQUESTS), totals_sum(totals, TOTAL_ERRORS),
                              totals_get(totals, TOTAL_TOKENS, SPAN("prompt")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("completion")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("cached")),
                              totals_get(totals, TOTAL_TOKENS, SPAN("reasoning")));
    return error < 0 ? error : exposition_append_micro(out, totals_sum(totals, TOTAL_CREDIT));
}

static int answer_stats(struct buffer *out, const struct totals *totals)
{
    int error = buffer_append_char(out, '{');
    if (error == 0)
        error = put_map(out, "model_usage", totals, TOTAL_MODEL);
    if (error == 0)
        error = put_map(out, "credential_usage", totals, TOTAL_CREDENTIAL);
    if (error == 0)
        error = put_totals(out, totals);
    return error < 0 ? error
                     : buffer_printf(out, "},\"since\":%" PRId64 "}", totals_sum(totals, TOTAL_SINCE) / 1000);
}

int stats_answer(struct buffer *out, struct span method, const struct totals *totals, uint16_t *status)
{
    static const struct {
        struct span method;
        int (*answer)(struct buffer *out, const struct totals *totals);
    } methods[] = {{SPAN("stats"), answer_stats}};
    *status = 200;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (span_equals(method, methods[i].method))
            return methods[i].answer(out, totals);
    *status = failure_status(FAILURE_NOT_FOUND);
    return failure_append_json(out, FAILURE_NOT_FOUND, SPAN(""), SPAN(""), SPAN(""), SPAN(""));
}
