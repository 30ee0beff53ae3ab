/* SPDX-License-Identifier: MIT */
#include "statsd/processes.h"
#include "proto/error.h"
#include "statsd/decimal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MICRO = 1000000, MICRO_OF_MS = 1000 };

struct list {
    struct registry_process *items;
    size_t count, capacity;
};

static int add(void *context, const struct registry_process *process)
{
    struct list *list = context;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct registry_process *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return ERR_NOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *process;
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct registry_process *a = left, *b = right;
    int order = strcmp(a->role, b->role);
    if (order == 0)
        order = strcmp(a->process, b->process);
    return order != 0 ? order
                      : (a->started_wall_ms > b->started_wall_ms) - (a->started_wall_ms < b->started_wall_ms);
}

/* `,"name":value` in units of `unit` millionths (0: as it is), or null. */
static int put_number(struct buffer *out, const struct registry_process *process, const char *name,
                      const char *metric, int64_t unit)
{
    int64_t value_micro;
    int error = buffer_printf(out, ",\"%s\":", name);
    if (error < 0)
        return error;
    if (!registry_process_number(process, metric, &value_micro))
        return buffer_append_span(out, SPAN("null"));
    return unit == 0 ? decimal_append_micro(out, value_micro) : decimal_append(out, value_micro / unit);
}

static int put_text(struct buffer *out, const char *name, struct span text)
{
    int error = buffer_printf(out, "\"%s\":", name);
    if (error == 0)
        error = buffer_append_json_string(out, text);
    return error < 0 ? error : buffer_append_char(out, ',');
}

static int put_names(struct buffer *out, const struct registry_process *process)
{
    struct span name = span_str(process->process), host = SPAN("");
    const char *at = memchr(name.data, '@', name.length);
    const char *state = process->is_replaced ? "draining" : process->state[0] ? process->state : "ready";
    if (at) {
        host = span_of(at + 1, name.length - (size_t)(at + 1 - name.data));
        name.length = (size_t)(at - name.data);
    }
    int error = put_text(out, "role", span_str(process->role));
    if (error == 0)
        error = put_text(out, "name", name);
    if (error == 0)
        error = put_text(out, "host", host);
    return error < 0 ? error : put_text(out, "state", span_str(state));
}

static int put_life(struct buffer *out, const struct registry_process *process)
{
    int64_t restarts, started_wall_ms = process->started_wall_ms;
    int error = process->is_down
                    ? buffer_append_span(out, SPAN("\"pid\":null,\"up_since\":null"))
                    : buffer_printf(out, "\"pid\":%" PRIu32 ",\"up_since\":%" PRId64 ".%03" PRId64,
                                    process->pid, started_wall_ms / 1000, started_wall_ms % 1000);
    if (error < 0)
        return error;
    return registry_process_restarts(process, &restarts)
               ? buffer_printf(out, ",\"restarts\":%" PRId64, restarts)
               : buffer_append_span(out, SPAN(",\"restarts\":null"));
}

static int put_process(struct buffer *out, const struct registry_process *process)
{
    static const struct {
        const char *name, *metric;
        int64_t unit;
    } numbers[] = {{"streams", "codebuddy2api_streams", MICRO},
                   {"rss_bytes", "codebuddy2api_process_resident_memory_bytes", MICRO},
                   {"cpu_seconds", "codebuddy2api_process_cpu_seconds_total", 0},
                   {"loop_lag_ms", "codebuddy2api_process_loop_lag_seconds", MICRO_OF_MS},
                   {"open_files", "codebuddy2api_process_open_fds", MICRO}};
    int error = buffer_append_char(out, '{');
    if (error == 0)
        error = put_names(out, process);
    if (error == 0)
        error = put_life(out, process);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && error == 0; i++)
        error = put_number(out, process, numbers[i].name, numbers[i].metric, numbers[i].unit);
    return error < 0 ? error : buffer_append_char(out, '}');
}

int processes_append(struct buffer *out, const struct registry *registry)
{
    struct list list = {0};
    int error = registry_each_process(registry, add, &list);
    if (list.count > 0)
        qsort(list.items, list.count, sizeof list.items[0], compare);
    if (error == 0)
        error = buffer_append_char(out, '[');
    for (size_t i = 0; i < list.count && error == 0; i++) {
        error = i > 0 ? buffer_append_char(out, ',') : 0;
        if (error == 0)
            error = put_process(out, &list.items[i]);
    }
    free(list.items);
    return error < 0 ? error : buffer_append_char(out, ']');
}
