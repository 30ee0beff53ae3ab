/* SPDX-License-Identifier: MIT */
/* totals - what all finished requests add up to: counts by label, tokens, credit, histograms. Plain sums that
 * only grow; pure, no I/O.
 *
 * Three uses: the totals in memory (what /metrics and `stats` show), the delta of one batch (made while it is
 * committed, merged after), and what a start reads from the ledger. Labels are bounded: past a family's
 * limit a new label is counted under `other`. Numbers saturate instead of wrapping. A single event cannot
 * spoil a sum: tokens and credit are bounded per event (see TOTALS_MAX_…), what is above is an upstream's
 * lie.
 *
 * Not thread-safe, except: any number of threads may read one that nobody changes. */
#ifndef STATSD_TOTALS_H
#define STATSD_TOTALS_H

#include "proto/message.h"

/* T(NAME, word in the ledger, labels at most) - words are on disk: never change one. */
#define TOTAL_LIST(T)                                                                                        \
    T(TOTAL_REQUESTS, "requests", 1000)     /* "STATUS OUTCOME stream|plain" */                              \
    T(TOTAL_ERRORS, "errors", 1)            /* neither ok nor cancelled, or a status from 400 */             \
    T(TOTAL_MODEL, "model", 200)            /* requests by model */                                          \
    T(TOTAL_CREDENTIAL, "credential", 1000) /* requests by credential id */                                  \
    T(TOTAL_TOKENS, "tokens", 8)            /* "prompt", "completion", "cached", "reasoning" */              \
    T(TOTAL_CREDIT, "credit_micro", 1)      /* millionths */                                                 \
    T(TOTAL_RETRIES, "retries", 1)          /* upstream attempts after the first */                          \
    T(TOTAL_MOVES, "moves", 1)              /* moves from dead workers */                                    \
    T(TOTAL_DURATION, "duration_ms_le", 64) /* requests by duration: the bucket's upper bound in ms */       \
    T(TOTAL_DURATION_SUM, "duration_ms", 1) /* ms */                                                         \
    T(TOTAL_FIRST, "first_event_ms_le", 64) /* streams by time to first event, as TOTAL_DURATION */          \
    T(TOTAL_FIRST_SUM, "first_event_ms", 1) /* ms */                                                         \
    T(TOTAL_SINCE, "since_wall_ms", 1)      /* when counting began, ms since 1970 */

enum total_family {
#define T(name, word, limit) name,
    TOTAL_LIST(T)
#undef T
        TOTAL_FAMILY_COUNT
};

#define TOTALS_MAX_TOKENS       INT64_C(1000000000)    /* per event and kind */
#define TOTALS_MAX_CREDIT_MICRO INT64_C(1000000000000) /* per event: a million credits */
#define TOTALS_OTHER            "other"

/* Upper bounds of the histograms in ms, ascending; language models take from tenths of a second to minutes.
 * The last bucket, +Inf, is the label "inf". Bounds may change between versions: stored buckets keep theirs.
 */
extern const uint32_t totals_duration_bounds_ms[];
extern const size_t totals_duration_bound_count;
extern const uint32_t totals_first_bounds_ms[];
extern const size_t totals_first_bound_count;

struct totals;

/* `base` (borrowed, may be NULL): a delta's later owner; labels known there are not folded here, and new ones
 * are folded as they will have to be. It must not change while the delta is filled. Returns owned, NULL when
 * out of memory. */
struct totals *totals_new(const struct totals *base);
void totals_free(struct totals **totals); /* NULL-safe */
void totals_clear(struct totals *totals); /* back to empty; keeps its base */

/* Counts one event. 0 or ERR_NOMEM (then it may be half counted: throw the delta away). */
int totals_add_event(struct totals *totals, const struct msg_event *event);
/* Adds `value` (not negative) to one number. 0 or ERR_NOMEM. */
int totals_add(struct totals *totals, enum total_family family, struct span label, int64_t value);
/* Adds all of `from`. 0 or ERR_NOMEM (then `into` has part of it: load it again from the ledger). */
int totals_merge(struct totals *into, const struct totals *from);

int64_t totals_get(const struct totals *totals, enum total_family family, struct span label); /* 0: unknown */
int64_t totals_sum(const struct totals *totals, enum total_family family);
bool totals_is_empty(const struct totals *totals);
/* Calls `each` for every number of a family, sorted by label (bytes). A negative return stops and is
 * returned; ERR_NOMEM. */
int totals_each(const struct totals *totals, enum total_family family,
                int (*each)(void *context, struct span label, int64_t value), void *context);

const char *total_family_word(enum total_family family);           /* static */
bool total_family_of(struct span word, enum total_family *family); /* false: unknown */
/* True if the event is an error in the sense of TOTAL_ERRORS. */
bool totals_event_is_error(const struct msg_event *event);
/* The counters that the ledger and the totals take from an event: never negative, within the bounds. */
int64_t totals_clamp_tokens(uint64_t tokens);
int64_t totals_clamp_credit(int64_t credit_micro);

#endif
