/* SPDX-License-Identifier: MIT */
/* What outlives statsd: sums are collected for a commit, loaded at the next start, and forgotten some day. */
#include "statsd/registry_private.h"
#include "proto/error.h"

#include <stdlib.h>

enum {
    SOURCE_KEPT_MS = 24 * 3600 * 1000, /* a day: longer than any network or statsd is away */
    REPLACED_KEPT_MS = 60 * 1000       /* a younger life of the process is here: it will not come back */
};

/* ---- keeping ---- */

static int collect_sum(struct sum *sum, struct counter_rows *rows)
{
    struct counter_row row = {.kind = COUNTER_TOTAL,
                              .role = sum->role,
                              .process = sum->process,
                              .name = sum->name,
                              .value_micro = sum->value_micro,
                              .seen_wall_ms = sum->seen_wall_ms};
    int error = counter_rows_add(rows, &row);
    if (error < 0)
        return error;
    sum->collected_micro = sum->value_micro;
    sum->dirty = false;
    sum->in_commit = true;
    return 0;
}

static int collect_number(const struct source *source, struct number *number, struct counter_rows *rows)
{
    struct counter_row row = {.kind = COUNTER_SOURCE,
                              .role = source->role,
                              .process = source->identity,
                              .name = number->name,
                              .value_micro = number->value_micro,
                              .seen_wall_ms = number->sum->seen_wall_ms};
    int error = counter_rows_add(rows, &row);
    if (error < 0)
        return error;
    number->dirty = false;
    number->in_commit = true;
    return 0;
}

int registry_collect(struct registry *registry, struct counter_rows *rows)
{
    int error = 0;
    counter_rows_move(rows, &registry->forgotten);
    for (struct sum *sum = registry->sums; sum && error == 0; sum = sum->hh.next)
        if (sum->dirty)
            error = collect_sum(sum, rows);
    for (struct source *source = registry->sources; source; source = source->hh.next)
        for (struct number *number = source->numbers; number && error == 0; number = number->hh.next)
            if (number->dirty)
                error = collect_number(source, number, rows);
    if (error < 0) { /* half a collection would save a sum without its sources */
        counter_rows_fini(rows);
        registry_settle(registry, false);
    }
    return error;
}

void registry_settle(struct registry *registry, bool saved)
{
    for (struct sum *sum = registry->sums; sum; sum = sum->hh.next) {
        if (!sum->in_commit)
            continue;
        sum->in_commit = false;
        if (saved) {
            sum->saved_micro = sum->collected_micro;
            sum->was_saved = true;
        } else {
            sum->dirty = true;
        }
    }
    for (struct source *source = registry->sources; source; source = source->hh.next)
        for (struct number *number = source->numbers; number; number = number->hh.next) {
            if (number->in_commit && !saved)
                number->dirty = true;
            number->in_commit = false;
        }
}

void registry_mark_unsaved(struct registry *registry)
{
    for (struct sum *sum = registry->sums; sum; sum = sum->hh.next)
        sum->dirty = true;
    for (struct source *source = registry->sources; source; source = source->hh.next)
        for (struct number *number = source->numbers; number; number = number->hh.next)
            number->dirty = number->kind == GAUGE_COUNTER;
}

void registry_show_unsaved(struct registry *registry, bool show)
{
    registry->show_unsaved = show;
}

/* ---- loading ---- */

static int load_sum(struct registry *registry, const struct counter_row *row)
{
    struct sum *sum = sum_find(registry, row->role, row->process, row->name);
    if (!sum) {
        struct metric *metric = metric_parse(span_str(row->name), GAUGE_COUNTER);
        if (!metric)
            return 0; /* a name that this version does not take */
        sum = sum_make(registry, row->role, row->process, row->name, metric);
        if (!sum) {
            free(metric);
            return ERR_NOMEM;
        }
    }
    sum_add(sum, row->value_micro, row->seen_wall_ms);
    sum->saved_micro = row->value_micro;
    sum->was_saved = true;
    return 0;
}

/* What a source had reported in the earlier run is part of the loaded sum. If it has reported again already,
 * that was counted twice until now; if it will, this is what it starts from. */
static int load_source(struct registry *registry, const struct counter_row *row)
{
    struct source *source = source_find(registry, row->process);
    struct span name = span_str(row->name);
    struct number *number = source ? number_find(source, name) : NULL;
    if (number && number->kind == GAUGE_COUNTER) {
        number->sum->value_micro -= row->value_micro;
        return 0;
    }
    if (!source)
        source = source_make(registry, row->role, row->process);
    if (!source)
        return ERR_NOMEM;
    if (row->seen_wall_ms > source->seen_wall_ms)
        source->seen_wall_ms = row->seen_wall_ms;
    struct sum *sum = sum_find(registry, row->role, source_sum_process(source, row->name), row->name);
    if (!sum)
        return 0; /* a name that this version does not take */
    number = number_make(source, name, GAUGE_COUNTER);
    if (!number)
        return ERR_NOMEM;
    number->sum = sum;
    number->value_micro = row->value_micro;
    return 0;
}

int registry_load(struct registry *registry, const struct counter_rows *rows)
{
    int error = 0;
    for (const struct counter_row *row = rows->first; row && error == 0; row = row->next)
        if (row->kind == COUNTER_TOTAL)
            error = load_sum(registry, row);
    for (const struct counter_row *row = rows->first; row && error == 0; row = row->next)
        if (row->kind == COUNTER_SOURCE)
            error = load_source(registry, row);
    return error;
}

/* ---- forgetting ---- */

static int forget_row(struct registry *registry, enum counter_row_kind kind, const char *role,
                      const char *process, const char *name)
{
    struct counter_row row = {.kind = kind, .gone = true, .role = role, .process = process, .name = name};
    return counter_rows_add(&registry->forgotten, &row);
}

/* The rows are deleted with the next commit; if that fails they are loaded, and forgotten again, some day. */
static int source_forget(struct registry *registry, struct source *source)
{
    for (struct number *number = source->numbers; number; number = number->hh.next)
        if (forget_row(registry, COUNTER_SOURCE, source->role, source->identity, number->name) < 0)
            return ERR_NOMEM;
    source_free(registry, source);
    return 0;
}

static bool has_source(const struct registry *registry, const struct sum *sum)
{
    for (const struct source *source = registry->sources; source; source = source->hh.next)
        /* The analyzer does not know that HASH_DEL takes what is freed from here.
         * NOLINTNEXTLINE(clang-analyzer-*) */
        if (strcmp(source->process, sum->process) == 0 && strcmp(source->role, sum->role) == 0)
            return true;
    return false;
}

void registry_sweep(struct registry *registry, int64_t now_wall_ms)
{
    struct source *source, *next_source;
    struct sum *sum, *next_sum;
    HASH_ITER (hh, registry->sources, source, next_source) {
        int64_t gone_ms = now_wall_ms - source->seen_wall_ms;
        bool is_old =
            gone_ms > SOURCE_KEPT_MS || (gone_ms > REPLACED_KEPT_MS && source_is_replaced(registry, source));
        if (source->connections == 0 && is_old && source_forget(registry, source) < 0)
            return;
    }
    HASH_ITER (hh, registry->sums, sum, next_sum) {
        if (!sum->process[0] || has_source(registry, sum))
            continue;
        if (forget_row(registry, COUNTER_TOTAL, sum->role, sum->process, sum->name) < 0)
            return;
        sum_free(registry, sum);
    }
}
