/* SPDX-License-Identifier: MIT */
/* What is shown of the reported numbers, and of the processes that report. */
#include "statsd/registry_private.h"

#include <stdio.h>

enum { MICRO = 1000000 };

/* ---- reading ---- */

/* What a witness says is not shown if the process says it itself. */
static bool is_said_firsthand(const struct registry *registry, const struct source *witness,
                              const struct number *number)
{
    for (const struct source *source = registry->sources; source; source = source->hh.next)
        if (!source->is_witness && source->connections > 0 && source_is_same_process(source, witness) &&
            number_find(source, span_of(number->name, number->name_bytes)))
            return true;
    return false;
}

static int each_gauge(const struct registry *registry, const struct source *source,
                      int (*each)(void *context, const struct registry_sample *sample), void *context)
{
    int error = 0;
    if (source->connections == 0 || (!source->is_witness && source_is_replaced(registry, source)))
        return 0;
    for (const struct number *number = source->numbers; number && error >= 0; number = number->hh.next) {
        struct registry_sample sample = {number->metric, source->role, source->process, number->value_micro};
        if (number->kind == GAUGE_NOW && !(source->is_witness && is_said_firsthand(registry, source, number)))
            error = each(context, &sample);
    }
    return error;
}

int registry_each(const struct registry *registry,
                  int (*each)(void *context, const struct registry_sample *sample), void *context)
{
    int error = 0;
    for (const struct sum *sum = registry->sums; sum && error >= 0; sum = sum->hh.next) {
        int64_t value_micro = registry->show_unsaved ? sum->value_micro : sum->saved_micro;
        struct registry_sample sample = {sum->metric, sum->role, sum->process, value_micro};
        if (sum->was_saved || registry->show_unsaved)
            error = each(context, &sample);
    }
    for (const struct source *source = registry->sources; source && error >= 0; source = source->hh.next)
        error = each_gauge(registry, source, each, context);
    return error;
}

size_t registry_connected_count(const struct registry *registry, const char *role)
{
    size_t count = 0;
    for (const struct source *source = registry->sources; source; source = source->hh.next)
        count += source->connections > 0 && !source->is_witness && strcmp(source->role, role) == 0;
    return count;
}

bool registry_read_gauge(const struct registry *registry, const char *role, const char *name,
                         int64_t *value_micro)
{
    bool found = false;
    *value_micro = 0;
    for (const struct source *source = registry->sources; source; source = source->hh.next) {
        if (source->connections == 0 || source->is_witness || strcmp(source->role, role) != 0)
            continue;
        const struct number *number = number_find(source, span_str(name));
        if (!number || number->kind != GAUGE_NOW)
            continue;
        found = true;
        if (__builtin_add_overflow(*value_micro, number->value_micro, value_micro))
            *value_micro = INT64_MAX;
    }
    return found;
}

bool registry_read_counter(const struct registry *registry, const char *role, const char *name,
                           int64_t *value_micro)
{
    const struct sum *sum = sum_find(registry, role, "", name);
    *value_micro = sum ? sum->value_micro : 0;
    return sum;
}

static const struct source *find_witness(const struct registry *registry, const struct source *source)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (other->is_witness && other->connections > 0 && source_is_same_process(source, other))
            return other;
    return NULL;
}

static bool has_firsthand(const struct registry *registry, const struct source *witness)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (!other->is_witness && other->connections > 0 && source_is_same_process(other, witness))
            return true;
    return false;
}

/* The label of the one state that a witness tells. */
static void copy_state(const struct source *witness, char state[REGISTRY_STATE_BYTES])
{
    struct span begin = SPAN("codebuddy2api_process_state{state=\"");
    for (const struct number *number = witness ? witness->numbers : NULL; number; number = number->hh.next)
        if (span_starts_with(span_of(number->name, number->name_bytes), begin))
            snprintf(state, REGISTRY_STATE_BYTES, "%.*s", (int)strcspn(number->name + begin.length, "\""),
                     number->name + begin.length);
}

int registry_each_process(const struct registry *registry,
                          int (*each)(void *context, const struct registry_process *process), void *context)
{
    int error = 0;
    for (const struct source *source = registry->sources; source && error >= 0; source = source->hh.next) {
        if (source->connections == 0 || (source->is_witness && has_firsthand(registry, source)))
            continue;
        struct registry_process process = {
            .role = source->role,
            .process = source->process,
            .pid = source->pid,
            .started_wall_ms = source->started_wall_ms,
            .is_replaced = !source->is_witness && source_is_replaced(registry, source),
            .registry = registry,
            .source = source,
        };
        copy_state(source->is_witness ? source : find_witness(registry, source), process.state);
        /* A witness tells its own start, and of the others only that they are down. */
        process.is_down =
            source->is_witness && !number_find(source, SPAN("codebuddy2api_process_start_time_seconds"));
        error = each(context, &process);
    }
    return error;
}

bool registry_process_number(const struct registry_process *process, const char *name, int64_t *value_micro)
{
    const struct number *number = number_find(process->source, span_str(name));
    *value_micro = number ? number->value_micro : 0;
    return number;
}

bool registry_process_restarts(const struct registry_process *process, int64_t *count)
{
    const struct sum *sum = sum_find(process->registry, process->role, process->process, REGISTRY_RESTARTS);
    *count = sum ? sum->value_micro / MICRO : 0;
    return sum;
}
