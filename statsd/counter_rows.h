/* SPDX-License-Identifier: MIT */
/* counter_rows - counters of other processes on their way between the registry and the ledger: plain copies,
 * so that a commit on another thread shares nothing with the loop. */
#ifndef STATSD_COUNTER_ROWS_H
#define STATSD_COUNTER_ROWS_H

#include "proto/bytes.h"

enum counter_row_kind {
    COUNTER_TOTAL = 0, /* what /metrics shows: summed over all processes that ever were */
    COUNTER_SOURCE = 1 /* the last value that one process reported, so that it is not added twice */
};

struct counter_row {
    struct counter_row *next;
    enum counter_row_kind kind;
    bool gone; /* delete it */
    const char *role, *process, *name;
    int64_t value_micro;
    int64_t seen_wall_ms;
    char text[]; /* what the three point into */
};

struct counter_rows {
    struct counter_row *first, **last;
    size_t count;
};

void counter_rows_init(struct counter_rows *rows);
void counter_rows_fini(struct counter_rows *rows);
/* Appends a copy; `like`'s next and text are ignored. 0 or ERR_NOMEM. */
int counter_rows_add(struct counter_rows *rows, const struct counter_row *like);
/* Moves all of `from` to the end of `into`. */
void counter_rows_move(struct counter_rows *into, struct counter_rows *from);

#endif
