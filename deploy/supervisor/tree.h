/* SPDX-License-Identifier: MIT */
/* tree - the family: statsd, credd, gateways, upstream-workers, each kept alive by its own table
 * (supervise.h). This is where the table's actions meet processes, signals, the clock and the log.
 *
 * Start: all at once; links reconnect, so nobody needs to wait for anybody.
 * Stop: gateways, then workers, then credd, then statsd, each group once the one before is gone, all within
 * the drain time; a group whose turn comes late still gets two seconds.
 * Reload: one after another, statsd, credd, gateways, workers, each ready before the next is touched. A
 * gateway or worker is replaced by a second one that must be ready before the first drains: two gateways
 * accept from one listening socket, and workers look for both. credd and statsd bind a fixed path in the run
 * directory and are replaced in place, and so is a gateway whose address for workers was set.
 * The first that fails ends the reload; what was not reached runs on as it was.
 *
 * Member names are role-instance. A second one has the instance number plus SERVICE_SECOND_INSTANCE, the next
 * again the plain one, as both are known to others by name or address while they overlap. One loop; nothing
 * blocks. */
#ifndef SUPERVISOR_TREE_H
#define SUPERVISOR_TREE_H

#include "deploy/supervisor/supervise.h"

#include <jansson.h>
#include <uv.h>

struct tree;

struct tree_options {      /* borrows all, for the tree's life */
    const char *directory; /* of the children's programs */
    int gateways_count, workers_count;
    bool gateways_overlap;                          /* a second gateway finds an address of its own */
    int http_fd, ops_fd;                            /* listening sockets */
    int lock_fd;                                    /* rundir_tree_fd */
    const char *const *variables;                   /* set for every child: NULL-terminated NAME=VALUE */
    struct supervise_limits limits;                 /* drain_ms complete */
    void (*on_change)(void *context);               /* a process may have changed its state */
    void (*on_ready)(void *context);                /* once, when all are ready for the first time */
    void (*on_reloaded)(void *context, bool whole); /* once per tree_reload that returned 0 */
    void (*on_gone)(void *context);                 /* once, when a stop is over */
    void *context;
};

/* Returns owned, NULL when out of memory (logged). Nothing runs yet. */
struct tree *tree_new(uv_loop_t *loop, const struct tree_options *options);
/* When nothing runs any more, or nothing was started. The loop must turn once more for its handles.
 * NULL-safe. */
void tree_free(struct tree **tree);

void tree_start(struct tree *tree);
/* 0, or ERR_BUSY: a reload or a stop is under way. */
int tree_reload(struct tree *tree);
/* Ordered and with a drain; `at_once`: SIGKILL to all. Idempotent; the second may follow the first. */
void tree_stop(struct tree *tree, bool at_once);
bool tree_is_stopping(const struct tree *tree);
bool tree_is_reloading(const struct tree *tree);
/* All are ready (those that a reload adds or retires aside). */
bool tree_is_ready(const struct tree *tree);
/* No deadline of a process is over by more than `slack_ms`: what was due was done. */
bool tree_is_tended(const struct tree *tree, int64_t slack_ms);
/* A process that was started and whose end has not been told yet. */
bool tree_has_process(const struct tree *tree, int pid);
/* "6 of 6 processes ready", "5 of 6 processes ready; credd-0 is backing off", into `text`. */
void tree_summarize(const struct tree *tree, char *text, size_t size);
/* For `status`: a list of objects, one per process: name, role, instance, state, pid (0: none), in_state_ms,
 * up_ms (since ready), restarts, last_exit (null: never), retry_in_ms, rss_bytes, silent_ms (since its last
 * line), retiring, numbers. Returns owned, NULL when out of memory. */
json_t *tree_describe(const struct tree *tree);

#endif
