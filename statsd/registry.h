/* SPDX-License-Identifier: MIT */
/* registry - the numbers that processes report: gauges while the process is connected, counters for ever.
 *
 * A counter arrives as a process's total since its own start and is added up by role (families
 * `codebuddy2api_process_…`: by process too), so that it never goes back, whichever process restarts. To hold
 * that over statsd's own restart, sums are saved together with the last value of each source they contain;
 * and what is shown is what was saved, unless saving fails (registry_show_unsaved).
 *
 *   source: one life of one process (name@host:pid and start). connected → gone, remembered for a day in case
 *   it was only the connection or statsd that broke → forgotten.
 *   process: name@host. Of two connected sources of one process (a replaced and its successor) the younger
 * one's gauges are shown.
 *   witness: a source that tells of a process in its stead (the supervisor: restarts, state). Its gauges give
 * way to those that the process reports itself, and nobody counts as connected for its sake.
 *
 * Bounds: 8,000 numbers per source, 20,000 sums, 4,096 sources. Pure but for memory; owned by the hub. */
#ifndef STATSD_REGISTRY_H
#define STATSD_REGISTRY_H

#include "statsd/counter_rows.h"
#include "statsd/metric.h"

struct registry;
struct source;

struct registry *registry_new(void); /* returns owned, NULL when out of memory */
void registry_free(struct registry **registry);

/* A process has connected. `process`: name@host, without a space; with `pid` and start it names one life. If
 * that was seen before, it goes on where it was. Returns borrowed, valid until closed; NULL when out of
 * memory or over the limit. */
struct source *registry_open_source(struct registry *registry, const char *role, const char *process,
                                    uint32_t pid, int64_t started_wall_ms);
/* As registry_open_source, of a witness; `pid` and start are those of who tells. */
struct source *registry_open_witness(struct registry *registry, const char *role, const char *process,
                                     uint32_t pid, int64_t started_wall_ms);
/* Nobody tells how often this process is restarted: count the lives that are seen here (below). */
void registry_source_has_no_witness(struct source *source);
/* It is gone: its gauges go, its counters stay. NULL-safe. */
void registry_close_source(struct registry *registry, struct source **source, int64_t now_wall_ms);
/* One number. 0, ERR_INVALID (name not accepted, or of another kind than before), ERR_BUSY (over a limit),
 * ERR_NOMEM; all but 0 are counted. */
int registry_report(struct registry *registry, struct source *source, struct span name, enum gauge_kind kind,
                    int64_t value_micro, int64_t now_wall_ms);
/* A gauge is told no more. Nothing happens if there is none of that name. */
void registry_drop_gauge(struct source *source, struct span name);
/* Reports REGISTRY_RESTARTS, 1 or 0, for each connected life that nobody else tells it of: 1 if an earlier
 * one of the process is known. Call once a second, but only once the ledger's counters are loaded. */
void registry_count_lives(struct registry *registry, int64_t now_wall_ms);
#define REGISTRY_RESTARTS "codebuddy2api_process_restarts_total"
uint64_t registry_refused_count(const struct registry *registry);

/* ---- keeping: collect → commit → settle, one at a time ---- */

/* Appends what changed since the last settled collect. 0 or ERR_NOMEM (nothing is lost: collect again). */
int registry_collect(struct registry *registry, struct counter_rows *rows);
/* What was collected last is durable (or not: then it is collected again). */
void registry_settle(struct registry *registry, bool saved);
/* Takes what an earlier run saved; may come after the first reports. 0 or ERR_NOMEM. */
int registry_load(struct registry *registry, const struct counter_rows *rows);
/* All is to be saved again: the ledger is a new one. */
void registry_mark_unsaved(struct registry *registry);
/* Forgets sources gone for a day or replaced for a minute, and the sums of processes without any. Call once a
 * minute. */
void registry_sweep(struct registry *registry, int64_t now_wall_ms);
/* While nothing can be saved: show sums as they are, at the risk that a crash sets them back. */
void registry_show_unsaved(struct registry *registry, bool show);

/* ---- reading ---- */

struct registry_sample {
    const struct metric *metric;
    const char *role;    /* not empty */
    const char *process; /* empty for a role's sum */
    int64_t value_micro;
};
/* Every number to be shown, in no order. A negative return of `each` stops and is returned. */
int registry_each(const struct registry *registry,
                  int (*each)(void *context, const struct registry_sample *sample), void *context);
size_t registry_connected_count(const struct registry *registry, const char *role);
/* Sum over the connected processes of a role of the gauge with exactly this name. False: none reports it. */
bool registry_read_gauge(const struct registry *registry, const char *role, const char *name,
                         int64_t *value_micro);
/* The same of a counter: the sum over all processes of the role, dead ones included. */
bool registry_read_counter(const struct registry *registry, const char *role, const char *name,
                           int64_t *value_micro);

enum { REGISTRY_STATE_BYTES = 24 };

/* A process that is connected, or that a witness knows. Valid until the next report. */
struct registry_process {
    const char *role, *process; /* process: name@host */
    uint32_t pid;
    int64_t started_wall_ms;
    bool is_replaced;                 /* its successor is here: it drains */
    bool is_down;                     /* so a witness says: pid and start are none */
    char state[REGISTRY_STATE_BYTES]; /* the witness's word; "": there is none */
    const struct registry *registry;
    const struct source *source;
};
/* Each of them once, in no order. A negative return of `each` stops and is returned. */
int registry_each_process(const struct registry *registry,
                          int (*each)(void *context, const struct registry_process *process), void *context);
/* What it last reported by exactly this name. False: nothing. */
bool registry_process_number(const struct registry_process *process, const char *name, int64_t *value_micro);
/* How often it was restarted, over all its lives. False: nobody says. */
bool registry_process_restarts(const struct registry_process *process, int64_t *count);

#endif
