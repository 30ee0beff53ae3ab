/* SPDX-License-Identifier: MIT */
#include "upstream-worker/gaps.h"

#define FAMILY "codebuddy2api_event_gap_seconds"

void gaps_report(const struct gaps *gaps, struct gaps *told, struct reporter *reporter)
{
    static const char *const names[GAP_BOUNDS + 1] = {
#define G(ms, text) FAMILY "_bucket{le=\"" text "\"}",
        GAP_LIST(G)
#undef G
            FAMILY "_bucket{le=\"+Inf\"}"};
    uint64_t added = 0; /* a bucket holds what is in those below it, too */
    for (size_t i = 0; i <= GAP_BOUNDS; i++) {
        added += gaps->counts[i] - told->counts[i];
        reporter_count(reporter, names[i], added);
    }
    reporter_count(reporter, FAMILY "_count", added);
    reporter_count_micro(reporter, FAMILY "_sum", (gaps->sum_ms - told->sum_ms) * 1000);
    *told = *gaps;
}
