/* SPDX-License-Identifier: MIT */
/* totals_store - totals in the ledger's table: read, added to, or computed from the events. Each runs inside
 * the caller's transaction and returns an SQLite code (SQLITE_NOMEM also for our own memory). */
#ifndef STATSD_TOTALS_STORE_H
#define STATSD_TOTALS_STORE_H

#include "statsd/totals.h"

#include <sqlite3.h>

int totals_store_load(sqlite3 *db, struct totals *totals);
/* Adds every number of `totals` to its row. */
int totals_store_add(sqlite3 *db, const struct totals *totals);
/* Counts all events anew. Since when: the oldest event's start, or `now_wall_ms` if there is none. */
int totals_store_compute(sqlite3 *db, struct totals *totals, int64_t now_wall_ms);

#endif
