/* SPDX-License-Identifier: MIT */
/* tidy - the ledger kept in shape, in steps so small that a commit never waits long for one: rollups for
 * events that an older program wrote, then what is too old is deleted. Each step runs inside the caller's
 * transaction. Blocks on disk; owned by the ledger. Functions return SQLite codes. */
#ifndef STATSD_TIDY_H
#define STATSD_TIDY_H

#include "statsd/rollup.h"

/* How long things are kept. */
struct retention {
    int64_t events_days;  /* 0: for ever */
    int64_t minutes_days; /* hours are kept for ever */
};

/* One step; `*more`: there is more to do at once. rollup_flush is done. */
int tidy_step(sqlite3 *db, struct rollup *rollup, const struct retention *retention, int64_t now_wall_ms,
              bool *more);

/* What a reader must know of the ledger's shape, from any connection. */
struct tidy_state {
    int64_t minutes_since_s; /* of earlier times there are only sums by the hour */
    int64_t backlog_id;      /* events up to this id have no sums yet; 0: all have */
};
int tidy_read_state(sqlite3 *db, struct tidy_state *state);
/* How many events have no sums yet (ids are numbers of arrival: those that are gone between others count). */
int tidy_count_backlog(sqlite3 *db, const struct tidy_state *state, int64_t *count);

#endif
