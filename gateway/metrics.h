/* SPDX-License-Identifier: MIT */
/* metrics - the counters of this service, by name, towards statsd. Names with few labels, all bounded. */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "proto/failure.h"
#include "proto/reporter.h"

/* C(NAME, metric) */
#define METRICS_LIST(C)                                                                                      \
    C(METRIC_MOVES, "codebuddy2api_gateway_moves_total")                                                     \
    C(METRIC_LATE_FRAMES, "codebuddy2api_gateway_late_frames_total")                                         \
    C(METRIC_BAD_FRAMES, "codebuddy2api_gateway_bad_frames_total")                                           \
    C(METRIC_WRONG_PROOFS, "codebuddy2api_gateway_wrong_proofs_total")                                       \
    C(METRIC_CLIENTS_LEFT, "codebuddy2api_gateway_clients_left_total")                                       \
    C(METRIC_WORKERS_LOST, "codebuddy2api_gateway_workers_lost_total")                                       \
    C(METRIC_OVERLOADED, "codebuddy2api_gateway_overloaded_total")

enum metric {
#define C(name, metric) name,
    METRICS_LIST(C)
#undef C
        METRIC_COUNT
};

struct metrics;
struct route;

/* Borrows the place of the reporter; while that is NULL nothing is counted. Returns owned, NULL when out of
 * memory. */
struct metrics *metrics_new(struct reporter *const *reporter);
void metrics_free(struct metrics **metrics);
void metrics_add(struct metrics *metrics, enum metric metric, uint64_t add);
/* Counts an answered request by route (NULL: none) and class of status. */
void metrics_request(struct metrics *metrics, const struct route *route, int status);
/* Counts an error that was answered before h2o saw the request. */
void metrics_refusal(struct metrics *metrics, enum failure failure);

#endif
