/* SPDX-License-Identifier: MIT */
/* ledger_schema - the tables of usage.db, their versions, and the ways from each version to the next. Blocks
 * on disk. */
#ifndef STATSD_LEDGER_SCHEMA_H
#define STATSD_LEDGER_SCHEMA_H

#include <sqlite3.h>
#include <stdint.h>

/* The number that `PRAGMA user_version` holds in a ledger of this program. */
extern const int ledger_schema_version;

/* Sets the connection's pragmas (each explained in the source). 0 or an SQLite error code. */
int ledger_schema_configure(sqlite3 *db);
/* Brings an empty or older ledger to `version` (tests pass older ones; else ledger_schema_version), one
 * transaction per step; `now_wall_ms` is when counting begins if this makes the ledger. SQLITE_OK, an SQLite
 * error code, or SQLITE_SCHEMA if the file is of a newer program. */
int ledger_schema_migrate(sqlite3 *db, int version, int64_t now_wall_ms);

#endif
