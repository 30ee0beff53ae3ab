/* SPDX-License-Identifier: MIT */
/* requests - GET /api/requests: the ledger's events, newest begun first, a page at a time (README.md,
 * "Questions"). Blocks on disk: for the reader's thread.
 *
 * Without a filter it walks the events from the newest. With one, the rollups say in which hours and minutes
 * the label asked for was used at all, and only those are walked: a rare one is found among millions without
 * an index for each filter, which would double what a commit costs. At most REQUESTS_MAX_LOOKS rows are
 * looked at for one page, and, where they come from a slow disk, no more after its time is over: then it is
 * handed over as it is, short or empty, with where to go on. */
#ifndef STATSD_REQUESTS_H
#define STATSD_REQUESTS_H

#include "statsd/arguments.h"
#include "statsd/tidy.h"

enum {
    REQUESTS_MAX_LOOKS = 10000, /* some 10 ms from memory */
    REQUESTS_FREE_LOOKS = 1000, /* so many at least, however long they take */
    REQUESTS_PAGE_MS = 20       /* the time of a page that comes from a disk */
};

/* How long a page may take. It is over when REQUESTS_PAGE_MS are, if the calling thread had to wait for a
 * disk meanwhile: where all is in memory REQUESTS_MAX_LOOKS is the bound, and a busy machine makes no page
 * short. */
struct requests_patience {
    int64_t until_ms, disk_reads;
};
void requests_patience_begin(struct requests_patience *patience);
bool requests_patience_is_over(const void *patience);

struct requests_question {
    int64_t limit;
    int64_t before_wall_ms, before_id;    /* rows before this (start, id) */
    struct span filters[DIMENSION_COUNT]; /* data NULL: none; borrow from the arguments */
    int64_t status, outcome;              /* of the filters; -1: none */
    /* The asker's to set: requests_patience_is_over, or a test's; NULL: never over. */
    bool (*is_over)(const void *patience);
    const void *patience;
};

/* False: `problem` says. */
bool requests_read_question(const json_t *arguments, struct requests_question *question,
                            struct problem *problem);
/* Appends {"requests":[…],"next_before":…}. An SQLite code. */
int requests_append_answer(sqlite3 *db, const struct requests_question *question,
                           const struct tidy_state *state, struct buffer *out);

#endif
