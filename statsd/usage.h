/* SPDX-License-Identifier: MIT */
/* usage - GET /api/usage: the rollups as series over time (README.md, "Questions"). Blocks on disk: for the
 * reader's thread.
 *
 * Steps that are whole hours are read from usage_hours, others from usage_minutes. */
#ifndef STATSD_USAGE_H
#define STATSD_USAGE_H

#include "statsd/arguments.h"
#include "statsd/rollup.h"

enum { USAGE_MAX_POINTS = 2000, USAGE_MAX_SERIES = 50 };

/* What is asked. */
struct usage_question {
    int64_t from_s, to_s, step_s; /* points: [from + i * step, + step), to is the end of the last */
    size_t point_count;
    enum dimension by;
    bool by_hour; /* from usage_hours */
    bool is_csv;
};

/* One cell of the answer. */
struct usage_point {
    int64_t sums[ROLLUP_SUM_COUNT];
    int64_t first_p95_ms; /* -1: no stream had a first event */
};

struct usage_series {
    char *name;
    int64_t label;
    struct usage_point total;
    struct usage_point *points;          /* point_count of them */
    struct histogram first, first_total; /* of the point that is being read; of all */
};

struct usage_answer {
    struct usage_series *series[USAGE_MAX_SERIES]; /* most requests first */
    size_t count;
    int64_t missing_events; /* not in it yet: their sums are still to be made (tidy.h) */
};

/* Fills `question`. `minutes_since_s`: before it there are no minutes. False: `problem` says. */
bool usage_read_question(const json_t *arguments, int64_t now_wall_ms, int64_t minutes_since_s,
                         struct usage_question *question, struct problem *problem);
/* Reads the answer; an SQLite code. Pair with usage_answer_fini, on failure too. */
int usage_read_answer(sqlite3 *db, const struct usage_question *question, struct usage_answer *answer);
void usage_answer_fini(struct usage_answer *answer);
/* Appends it as JSON or CSV. 0 or ERR_NOMEM. */
int usage_write_answer(struct buffer *out, const struct usage_question *question,
                       const struct usage_answer *answer);

/* Appends {"p50":n,"p95":n} of the times to first event in the last five minutes, or null. An SQLite code. */
int usage_append_first_event(sqlite3 *db, int64_t now_wall_ms, struct buffer *out);

#endif
