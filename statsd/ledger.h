/* SPDX-License-Identifier: MIT */
/* ledger - every finished request once, in SQLite: DATA_DIR/statsd/usage.db (proto/data_directory.h),
 * 0600.
 *
 * Exactly once: an event is known by its request id; one that comes again is ignored and not counted. What
 * ledger_commit returned 0 for survives a killed process and a power cut (see ledger_schema.c).
 *
 * A file that is not, or no longer, a readable database is set aside as usage.db.corrupt-<UTC time> with its
 * -wal and -shm, never deleted, and a new one is begun that goes on with the sums in memory. Any other
 * trouble (full disk, read-only, no permission) changes nothing: the same call may succeed later. One process
 * at a time: a lock on usage.lock is held while the ledger is open.
 *
 * Every function blocks on disk: statsd calls open and commit on a thread of the pool, one at a time. Owned
 * by the writer. */
#ifndef STATSD_LEDGER_H
#define STATSD_LEDGER_H

#include "statsd/counter_rows.h"
#include "statsd/tidy.h"
#include "statsd/totals.h"

struct ledger;

/* No I/O yet. Copies the directory's name. Returns owned, NULL when out of memory. */
struct ledger *ledger_new(const char *directory);
void ledger_free(struct ledger **ledger); /* closes; NULL-safe */

/* Opens, or makes, or migrates; no-op if open. Fills `totals` and `counters` with what the ledger holds. If
 * the ledger is new (first start, or the old one set aside) and `seed` is not NULL, it begins with those
 * sums. 0; ERR_VERSION (made by a newer program), ERR_BUSY (another statsd has it), ERR_INVALID (corrupt, and
 * could not be set aside), ERR_IO, ERR_NOMEM. */
int ledger_open(struct ledger *ledger, int64_t now_wall_ms, const struct totals *seed, struct totals *totals,
                struct counter_rows *counters);
bool ledger_is_open(const struct ledger *ledger);
void ledger_close(struct ledger *ledger);

/* One transaction: the events of `train` (EVENT frames back to back) that are new, their sums (by minute and
 * hour too), and `counters`. `delta` (empty, made on the totals in memory) gets what was added. On failure
 * nothing was written and `delta` is to be thrown away. 0; ERR_INVALID (corrupt: set aside and closed, open
 * it again), ERR_IO, ERR_NOMEM.
 */
int ledger_commit(struct ledger *ledger, struct span train, const struct counter_rows *counters,
                  struct totals *delta);

/* One small step of tidying (tidy.h) in a transaction of its own; `*more`: another one is due. As
 * ledger_commit. */
int ledger_tidy(struct ledger *ledger, const struct retention *retention, int64_t now_wall_ms, bool *more);

/* Bytes that SQLite holds in this process: the page caches of the writer and of the reader, which fill as the
 * ledger grows and then stay (ledger_schema.c, reader.c), and what a question needs. From any thread. */
int64_t ledger_memory_bytes(void);

/* Events that have no sums by minute and hour yet, as the last ledger_open or ledger_tidy left it. */
int64_t ledger_backlog_count(const struct ledger *ledger);

/* Events in the ledger, by one query. Negative on failure. For tests and tools. */
int64_t ledger_count_events(struct ledger *ledger);
/* Why the last call failed: SQLite's or the system's words. Valid until the next call. */
const char *ledger_problem(const struct ledger *ledger);
const char *ledger_path(const struct ledger *ledger);
/* Files set aside since ledger_new. */
unsigned ledger_set_aside_count(const struct ledger *ledger);
/* Lets the file grow to this many pages only, as a full disk would. For tests. */
void ledger_limit_pages(struct ledger *ledger, int64_t page_count);

#endif
