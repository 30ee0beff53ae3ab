/* SPDX-License-Identifier: MIT */
/* rollup - what requests add up to by minute and by hour, in the ledger's tables usage_minutes and
 * usage_hours: one row for each (dimension, time, label). The dimensions are the questions that are asked:
 * all requests, or those of one model, credential, key, status or outcome. (One row for each combination
 * would be nearly one for each request.)
 *
 * A request counts in the minute in which it began. Sums saturate. Labels are bounded by dimension; past
 * that a new one is counted under `other`. Everything runs inside the caller's transaction, in which the
 * events themselves are written, so that neither is ever there without the other. Owned by the ledger.
 * Functions return SQLite codes (SQLITE_NOMEM also for our own memory). */
#ifndef STATSD_ROLLUP_H
#define STATSD_ROLLUP_H

#include "proto/message.h"
#include "statsd/histogram.h"

#include <sqlite3.h>

/* D(NAME, value, word, labels at most) - values are on disk. The words are those of `by=`. */
#define DIMENSION_LIST(D)                                                                                    \
    D(DIMENSION_ALL, 0, "all", 1)                                                                            \
    D(DIMENSION_MODEL, 1, "model", 200)                                                                      \
    D(DIMENSION_CREDENTIAL, 2, "credential", 1000)                                                           \
    D(DIMENSION_KEY, 3, "key", 1000)                                                                         \
    D(DIMENSION_STATUS, 4, "status", 600)                                                                    \
    D(DIMENSION_OUTCOME, 5, "outcome", 20)

enum dimension {
#define D(name, value, word, limit) name = (value),
    DIMENSION_LIST(D)
#undef D
        DIMENSION_COUNT
};
extern const char *const dimension_words[DIMENSION_COUNT];

/* S(NAME, column) - what is added up; columns of both tables, in this order after the key. */
#define ROLLUP_SUM_LIST(S)                                                                                   \
    S(SUM_REQUESTS, "requests")                                                                              \
    S(SUM_ERRORS, "errors")                                                                                  \
    S(SUM_CANCELLED, "cancelled")                                                                            \
    S(SUM_PROMPT, "prompt_tokens")                                                                           \
    S(SUM_COMPLETION, "completion_tokens")                                                                   \
    S(SUM_CACHED, "cached_tokens")                                                                           \
    S(SUM_REASONING, "reasoning_tokens")                                                                     \
    S(SUM_CREDIT, "credit_micro")                                                                            \
    S(SUM_DURATION, "duration_ms")                                                                           \
    S(SUM_FIRST_COUNT, "first_event_count") /* streams that had one */                                       \
    S(SUM_FIRST, "first_event_ms")

enum rollup_sum {
#define S(name, column) name,
    ROLLUP_SUM_LIST(S)
#undef S
        ROLLUP_SUM_COUNT
};

/* The CREATE statements of labels, usage_minutes and usage_hours. */
extern const char rollup_create_sql[];

struct rollup;

/* Prepares its statements on `db` (borrowed) and reads the labels. NULL: `*code` says why. Returns owned. */
struct rollup *rollup_open(sqlite3 *db, int *code);
void rollup_close(struct rollup **rollup); /* before its database; NULL-safe */
/* Counts one event. Nothing before `minutes_since_s` gets a row by the minute (0: everything does). */
int rollup_add(struct rollup *rollup, const struct msg_event *event, int64_t minutes_since_s);
/* Writes what was counted: the last thing before COMMIT. */
int rollup_flush(struct rollup *rollup);
/* Forgets what was counted and not committed: after ROLLBACK. */
int rollup_rollback(struct rollup *rollup);

/* The label under which events with this text are counted, read from `db` (any connection): its number in
 * `*label`, or 0 if there is none. */
int rollup_find_label(sqlite3 *db, enum dimension dimension, struct span text, int64_t *label);

#endif
