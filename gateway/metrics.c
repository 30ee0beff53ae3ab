/* SPDX-License-Identifier: MIT */
#include "gateway/metrics.h"
#include "gateway/routes.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

enum { NAME_BYTES = 128, STATUS_LIMIT = 600 };

/* A counter's name, made when it first counts. */
struct request_name {
    UT_hash_handle hh;
    uint64_t key; /* row, status, end */
    char text[NAME_BYTES];
};

struct metrics {
    struct reporter *const *reporter;
    struct request_name *requests;
    char refusals[FAILURE_COUNT][NAME_BYTES];
};

enum request_end request_end_of(unsigned status, enum failure failure)
{
    if (failure == FAILURE_CANCELLED)
        return REQUEST_CANCELLED;
    if (failure != FAILURE_NONE)
        return failure_status(failure) < 500 ? REQUEST_REFUSED : REQUEST_FAILED;
    return status < 400 ? REQUEST_OK : status < 500 ? REQUEST_REFUSED : REQUEST_FAILED;
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

struct metrics *metrics_new(struct reporter *const *reporter)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->reporter = reporter;
    for (int i = 0; i < FAILURE_COUNT; i++)
        snprintf(metrics->refusals[i], NAME_BYTES, "codebuddy2api_gateway_refusals_total{code=\"%s\"}",
                 failure_code((enum failure)i));
    for (int i = 0; i < METRIC_COUNT; i++) /* there from the start, so that a rate has its zero */
        metrics_add(metrics, (enum metric)i, 0);
    return metrics;
}

void metrics_free(struct metrics **metrics)
{
    if (!*metrics)
        return;
    struct request_name *name = (*metrics)->requests;
    HASH_CLEAR(hh, (*metrics)->requests); /* the elements stay, and stay chained */
    while (name) {
        struct request_name *next = name->hh.next;
        free(name);
        name = next;
    }
    free(*metrics);
    *metrics = NULL;
}

static struct request_name *request_name_make(struct metrics *metrics, uint64_t key)
{
    struct request_name *name = calloc(1, sizeof *name);
    if (!name)
        return NULL;
    name->key = key;
    HASH_ADD(hh, metrics->requests, key, sizeof name->key, name);
    if (name->hh.tbl)
        return name;
    free(name);
    return NULL;
}

/* Two prefixes of one route have the same name, and so the same counter. NULL when out of memory. */
static const char *request_name(struct metrics *metrics, const struct route *route, unsigned status,
                                enum request_end end)
{
    static const char *const words[] = {
#define E(name, word) [name] = (word),
        REQUEST_END_LIST(E)
#undef E
    };
    uint64_t row = route ? (uint64_t)(route - routes_at(0)) + 1 : 0;
    uint64_t key = (row * STATUS_LIMIT + status) * REQUEST_END_COUNT + end;
    struct request_name *name = NULL;
    HASH_FIND(hh, metrics->requests, &key, sizeof key, name);
    if (name)
        return name->text;
    name = request_name_make(metrics, key);
    if (!name)
        return NULL;
    snprintf(name->text, NAME_BYTES,
             "codebuddy2api_gateway_requests_total{route=\"%s\",status=\"%u\",outcome=\"%s\"}",
             route ? route->name : "none", status, words[end]);
    return name->text;
}

void metrics_request(struct metrics *metrics, const struct route *route, unsigned status,
                     enum failure failure)
{
    if (!*metrics->reporter || status >= STATUS_LIMIT)
        return;
    const char *name = request_name(metrics, route, status, request_end_of(status, failure));
    if (name)
        reporter_count(*metrics->reporter, name, 1);
}

void metrics_refusal(struct metrics *metrics, enum failure failure)
{
    if (*metrics->reporter && (unsigned)failure < FAILURE_COUNT)
        reporter_count(*metrics->reporter, metrics->refusals[failure], 1);
}
