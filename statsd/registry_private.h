/* SPDX-License-Identifier: MIT */
/* What the three files of the registry share: registry.c takes reports, registry_keep.c makes sums last,
 * registry_read.c shows. Nobody else includes this. */
#ifndef STATSD_REGISTRY_PRIVATE_H
#define STATSD_REGISTRY_PRIVATE_H

#include "statsd/registry.h"

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

/* A counter summed over sources. `text`: role NUL process NUL name NUL; the key is all of it. */
struct sum {
    UT_hash_handle hh;
    struct metric *metric;
    int64_t value_micro;     /* now */
    int64_t collected_micro; /* in the commit under way */
    int64_t saved_micro;     /* durable: what is shown */
    int64_t seen_wall_ms;
    bool dirty, in_commit, was_saved;
    size_t text_bytes;
    const char *role, *process, *name;
    char text[];
};

/* One number of one source: a gauge's value, or the last total of a counter and the sum it is part of. */
struct number {
    UT_hash_handle hh;
    enum gauge_kind kind;
    struct metric *metric; /* a gauge's own; NULL for a counter */
    struct sum *sum;       /* a counter's */
    int64_t value_micro;
    bool dirty, in_commit;
    size_t name_bytes;
    char name[];
};

struct source {
    UT_hash_handle hh; /* by identity */
    unsigned connections;
    bool is_witness, counts_lives;
    uint32_t pid;
    int64_t started_wall_ms, seen_wall_ms;
    struct number *numbers;
    const char *role, *process, *identity; /* identity: process, pid and start, spaces between */
    char text[];
};

struct registry {
    struct sum *sums;
    struct source *sources;
    struct counter_rows forgotten; /* rows to delete with the next commit */
    uint64_t refused_count;
    bool show_unsaved;
};

/* ---- registry.c ---- */

struct sum *sum_find(const struct registry *registry, const char *role, const char *process,
                     const char *name);
/* Takes `metric` if it makes a sum. NULL: over the limit or out of memory, `metric` stays the caller's. */
struct sum *sum_make(struct registry *registry, const char *role, const char *process, const char *name,
                     struct metric *metric);
void sum_add(struct sum *sum, int64_t delta_micro, int64_t now_wall_ms);
void sum_free(struct registry *registry, struct sum *sum);

struct number *number_find(const struct source *source, struct span name); /* NULL: none */
/* NULL: over the limit or out of memory. */
struct number *number_make(struct source *source, struct span name, enum gauge_kind kind);

struct source *source_find(const struct registry *registry, const char *identity); /* NULL: none */
/* `identity` is that of a source: it tells the process. NULL: over the limit or out of memory. */
struct source *source_make(struct registry *registry, const char *role, const char *identity);
void source_free(struct registry *registry, struct source *source);
bool source_is_same_process(const struct source *a, const struct source *b);
/* True if a younger life of the same process is connected: then this one's gauges are not shown. */
bool source_is_replaced(const struct registry *registry, const struct source *source);
/* Which process a counter of the source is summed for: none, if for its role. */
const char *source_sum_process(const struct source *source, const char *name);

#endif
