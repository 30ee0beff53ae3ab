/* SPDX-License-Identifier: MIT */
/* gaps - how long an upstream's stream kept silent between two of its events: a histogram that costs a few
 * comparisons and additions an event (most gaps are short, and so is the way to their bucket). */
#ifndef UPSTREAM_WORKER_GAPS_H
#define UPSTREAM_WORKER_GAPS_H

#include "proto/reporter.h"

/* G(upper bound in ms, the same in s, as metrics write it). Tokens come every 10 to 100 ms; a reasoning model
 * or an upstream in trouble is silent for seconds; past CODEBUDDY_IDLE_TIMEOUT_S (120) a stream is given up.
 */
#define GAP_LIST(G)                                                                                          \
    G(5, "0.005")                                                                                            \
    G(10, "0.01")                                                                                            \
    G(20, "0.02")                                                                                            \
    G(30, "0.03")                                                                                            \
    G(50, "0.05")                                                                                            \
    G(75, "0.075")                                                                                           \
    G(100, "0.1")                                                                                            \
    G(150, "0.15")                                                                                           \
    G(250, "0.25")                                                                                           \
    G(500, "0.5")                                                                                            \
    G(1000, "1.0")                                                                                           \
    G(2500, "2.5")                                                                                           \
    G(5000, "5.0")                                                                                           \
    G(10000, "10.0")                                                                                         \
    G(30000, "30.0")                                                                                         \
    G(60000, "60.0")

enum {
#define G(ms, text) +1
    GAP_BOUNDS = GAP_LIST(G)
#undef G
};

static const int64_t gap_bounds_ms[GAP_BOUNDS] = {
#define G(ms, text) ms,
    GAP_LIST(G)
#undef G
};

struct gaps {
    uint64_t counts[GAP_BOUNDS + 1]; /* per bucket, not cumulative; the last: longer than all bounds */
    uint64_t sum_ms;
};

/* `count` events came at once (not 0), `gap_ms` after the one before them. */
static inline void gaps_note(struct gaps *gaps, int64_t gap_ms, uint64_t count)
{
    size_t bucket = 0;
    while (bucket < GAP_BOUNDS && gap_ms > gap_bounds_ms[bucket])
        bucket++;
    gaps->counts[bucket]++;
    gaps->counts[0] += count - 1; /* no gap between these */
    gaps->sum_ms += (uint64_t)gap_ms;
}

/* Adds to the reporter's counters what was noted since `told`, and makes that equal. */
void gaps_report(const struct gaps *gaps, struct gaps *told, struct reporter *reporter);

#endif
