/* SPDX-License-Identifier: MIT */
/* writer - brings what the inbox and the registry gathered into the ledger, on a thread of libuv's pool, so
 * that a slow disk never stops the loop. One job at a time.
 *
 *   CLOSED    -> open the ledger                       (at once, or after a back-off)
 *   IDLE      -> 50 ms after the first event, or at 1,000 events: commit; with one a second at most also the
 *                counters; counters alone every 5 s
 *                between two commits also a step of tidying (tidy.h), if one is due
 *   WORKING   -> done: acknowledge, merge the sums, IDLE; failed: WAITING; corrupt and set aside: CLOSED
 *   WAITING   -> 100 ms, doubling to 5 s, then the same again. Nothing is acknowledged meanwhile
 *
 * A failure is logged once as ERROR (ledger_failing), its end as INFO. Owned by the hub; lives on the loop.
 */
#ifndef STATSD_WRITER_H
#define STATSD_WRITER_H

#include "statsd/inbox.h"
#include "statsd/ledger.h"
#include "statsd/registry.h"

#include <uv.h>

struct writer;

struct writer_handlers {
    /* Everything that this peer sent up to `sequence` is durable. */
    void (*acknowledge)(void *owner, void *peer, uint64_t sequence);
    /* A job ended and nothing is left to do, or it failed. */
    void (*rested)(void *owner);
};

struct writer_counters {
    uint64_t commits, failures, events, repeats;
    int64_t last_commit_us;
};

/* Copies the retention; borrows registry, handlers and owner. Returns owned, NULL when out of memory. */
struct writer *writer_new(uv_loop_t *loop, const char *directory, const struct retention *retention,
                          struct registry *registry, const struct writer_handlers *handlers, void *owner);
/* Opens the ledger now, blocking: for the start. 0; ERR_VERSION and ERR_BUSY (another program's ledger: do
 * not start); any other failure is logged, and tried again on the loop. */
int writer_open(struct writer *writer);
/* No callback comes after this; a job that runs is waited for by the loop's last run, which frees. NULL-safe.
 */
void writer_free(struct writer **writer);

struct inbox *writer_inbox(struct writer *writer); /* to add senders and events; then call wake */
const struct totals *
writer_totals(const struct writer *writer); /* what is durable; valid until the next turn */
void writer_wake(struct writer *writer);    /* there may be something to commit */
/* Commits all there is, counters too, without waiting for company. */
void writer_flush(struct writer *writer);
/* Nothing gathered, sealed or under way. */
bool writer_is_idle(const struct writer *writer);
int64_t writer_backlog_count(const struct writer *writer); /* events without sums by time yet */
bool writer_is_failing(const struct writer *writer);
const struct writer_counters *writer_counters(const struct writer *writer);
unsigned writer_set_aside_count(const struct writer *writer);

#endif
