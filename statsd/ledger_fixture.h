/* SPDX-License-Identifier: MIT */
/* ledger_fixture - a ledger in a directory of its own, and events for it. For tests. */
#ifndef STATSD_LEDGER_FIXTURE_H
#define STATSD_LEDGER_FIXTURE_H

#include "statsd/ledger.h"

struct ledger_fixture {
    char directory[64], path[80];
    struct ledger *ledger;
    struct totals *totals;
    struct counter_rows counters;
    sqlite3 *db; /* a connection that reads */
};

#define FIXTURE_NOW_MS INT64_C(1764000000000) /* a whole hour */

/* Makes directory and ledger; cmocka's setup and teardown. */
int ledger_fixture_setup(void **state);
int ledger_fixture_teardown(void **state);
/* Makes the directory only, for a file that is there before the ledger. */
int ledger_fixture_setup_closed(void **state);
void ledger_fixture_open(struct ledger_fixture *fixture);
void ledger_fixture_reopen(struct ledger_fixture *fixture);

/* The n-th of a sequence of events that is always the same: 12 models, 5 credentials, 9 keys, over three
 * hours up to FIXTURE_NOW_MS, some failed, some left. Texts live in `texts`. */
struct fixture_texts {
    char id[32], model[16], credential[16], key[16];
};
void ledger_fixture_event(unsigned number, struct msg_event *event, struct fixture_texts *texts);
/* Commits one. 0 or as ledger_commit. */
int ledger_fixture_commit(struct ledger_fixture *fixture, const struct msg_event *event);
/* Commits the events first … last of the sequence in one transaction. */
int ledger_fixture_commit_range(struct ledger_fixture *fixture, unsigned first, unsigned last);
/* The one number that a query gives. */
int64_t ledger_fixture_number(struct ledger_fixture *fixture, const char *sql);
void ledger_fixture_run(struct ledger_fixture *fixture, const char *sql);
/* Asserts that the sums by minute (from `minutes_since_s` on) and by hour are those of the events. */
void ledger_fixture_expect_sums(struct ledger_fixture *fixture, int64_t minutes_since_s);

#endif
