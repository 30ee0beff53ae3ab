/* SPDX-License-Identifier: MIT */
#include "gateway/metrics.h"
#include "gateway/routes.h"

#include <stdlib.h>

enum { CLASSES = 5 /* 1xx to 5xx */, MAX_ROUTES = 32, NAME_BYTES = 100 };

struct metrics {
    struct reporter *const *reporter;
    char requests[MAX_ROUTES + 1][CLASSES][NAME_BYTES]; /* the last row: no route */
    char refusals[FAILURE_COUNT][NAME_BYTES];
};

/* Routes of one name (two prefixes) share their row's name, and so their counter. */
static void name_requests(struct metrics *metrics, size_t row, const char *route)
{
    for (int class = 0; class < CLASSES; class ++)
        snprintf(metrics->requests[row][class], NAME_BYTES,
                 "codebuddy2api_gateway_requests_total{route=\"%s\",status=\"%dxx\"}", route, class + 1);
}

struct metrics *metrics_new(struct reporter *const *reporter)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->reporter = reporter;
    for (size_t i = 0; i < routes_count() && i < MAX_ROUTES; i++)
        name_requests(metrics, i, routes_at(i)->name);
    name_requests(metrics, MAX_ROUTES, "none");
    for (int i = 0; i < FAILURE_COUNT; i++)
        snprintf(metrics->refusals[i], NAME_BYTES, "codebuddy2api_gateway_refusals_total{code=\"%s\"}",
                 failure_code((enum failure)i));
    return metrics;
}

void metrics_free(struct metrics **metrics)
{
    free(*metrics);
    *metrics = NULL;
}

void metrics_add(struct metrics *metrics, enum metric metric, uint64_t add)
{
    static const char *const names[METRIC_COUNT] = {
#define C(name, metric) [name] = metric,
        METRICS_LIST(C)
#undef C
    };
    if (*metrics->reporter)
        reporter_count(*metrics->reporter, names[metric], add);
}

void metrics_request(struct metrics *metrics, const struct route *route, int status)
{
    size_t row = route ? (size_t)(route - routes_at(0)) : MAX_ROUTES;
    int class = status / 100 - 1;
    if (*metrics->reporter && row <= MAX_ROUTES && class >= 0 && class < CLASSES)
        reporter_count(*metrics->reporter, metrics->requests[row][class], 1);
}

void metrics_refusal(struct metrics *metrics, enum failure failure)
{
    if (*metrics->reporter && (unsigned)failure < FAILURE_COUNT)
        reporter_count(*metrics->reporter, metrics->refusals[failure], 1);
}
