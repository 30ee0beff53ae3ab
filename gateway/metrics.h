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
/* How a request ended: answered; refused (a status below 500, or an error of the client's); failed (ours or
 * the upstream's fault, also after the status line); cancelled (the client left). */
#define REQUEST_END_LIST(E)                                                                                  \
    E(REQUEST_OK, "ok")                                                                                      \
    E(REQUEST_REFUSED, "refused")                                                                            \
    E(REQUEST_FAILED, "failed")                                                                              \
    E(REQUEST_CANCELLED, "cancelled")
enum request_end {
#define E(name, word) name,
    REQUEST_END_LIST(E)
#undef E
        REQUEST_END_COUNT
};
/* Judges by the failure (FAILURE_NONE: none) and the status. Pure. */
enum request_end request_end_of(unsigned status, enum failure failure);
/* Counts a request that is over by route (NULL: none), status and end. */
void metrics_request(struct metrics *metrics, const struct route *route, unsigned status,
                     enum failure failure);
/* Counts an error that was answered before h2o saw the request. */
void metrics_refusal(struct metrics *metrics, enum failure failure);

#endif
