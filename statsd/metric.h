/* SPDX-License-Identifier: MIT */
/* metric - the name of one number that a process reports, taken apart: family, part of a histogram, labels.
 *
 *     codebuddy2api_gateway_requests_total{route="chat",status="2xx"}      counter
 *     codebuddy2api_event_gap_seconds_bucket{le="0.1"} …_sum …_count       histogram, reported as counters
 *     codebuddy2api_leases                                                 gauge
 *     codebuddy2api_build_info{version="1.0"}                              info, reported as a gauge of 1
 *
 * Accepted: `codebuddy2api_` and [a-z0-9_], then at most 8 labels, values escaped as Prometheus wants (\\ \"
 * \n). `role` and `process` are ours to add, `le` belongs to buckets. Pure. */
#ifndef STATSD_METRIC_H
#define STATSD_METRIC_H

#include "proto/message.h"

enum metric_kind { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM, METRIC_INFO };
/* In the order in which a histogram's lines are written. */
enum metric_part { METRIC_VALUE, METRIC_BUCKET, METRIC_SUM, METRIC_COUNT };

struct metric {
    enum metric_kind kind;
    enum metric_part part;
    double le;     /* of a bucket */
    char *family;  /* without _total, _bucket, _sum, _count, _info */
    char *labels;  /* a="b",c="d" as given, without le; may be empty */
    char *le_text; /* of a bucket, as given; else empty */
    char text[];   /* what the three point into */
};

/* True for the families about processes, codebuddy2api_process_…: their counters are summed over the lives of
 * one process, all others over a role. */
bool metric_is_per_process(const char *name);
/* Returns owned (free), NULL if the name is not accepted or out of memory. */
struct metric *metric_parse(struct span name, enum gauge_kind kind);

#endif
