/* SPDX-License-Identifier: MIT */
#include "proto/live.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/settings_table.h"

#include <stdlib.h>

struct live {
    const struct settings *start;
    struct settings now;
};

struct live *live_new(const struct settings *start)
{
    struct live *live = calloc(1, sizeof *live);
    if (!live)
        return NULL;
    live->start = start;
    if (settings_copy(&live->now, start) < 0)
        live_free(&live);
    return live;
}

void live_free(struct live **live)
{
    if (*live)
        settings_fini(&(*live)->now);
    free(*live);
    *live = NULL;
}

const struct settings *live_settings(const struct live *live)
{
    return &live->now;
}

static int refuse(struct live_problem *problem, struct span name, const char *text)
{
    size_t length = name.length < sizeof problem->name ? name.length : sizeof problem->name - 1;
    while (length > 0 && !span_is_utf8(span_of(name.data, length)))
        length--; /* do not cut a character in half */
    if (length > 0)
        memcpy(problem->name, name.data, length);
    problem->name[length] = '\0';
    problem->text = text;
    return ERR_INVALID;
}

static int set_one(struct settings *settings, struct span name, const json_t *value,
                   struct live_problem *problem)
{
    bool is_file;
    const char *reason;
    const struct setting *row = setting_find(name, &is_file);
    if (!row || is_file)
        return refuse(problem, name, "is not a setting");
    if (!row->live)
        return refuse(problem, name,
                      "cannot change at run time: set it in the environment or .env and restart");
    if (!json_is_string(value))
        return refuse(problem, name, "must be a text");
    int error =
        settings_set(settings, name, span_of(json_string_value(value), json_string_length(value)), &reason);
    if (error == ERR_NOMEM)
        return error;
    if (error < 0)
        return refuse(problem, name, reason);
    settings->sources[row - setting_rows] = SETTING_FROM_RUN_TIME;
    return 0;
}

/* The others are the same in both; their texts must stay where they are. */
static void exchange_live_ones(struct settings *a, struct settings *b)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        void *in_a = (char *)a + row->offset, *in_b = (char *)b + row->offset;
        size_t size = row->kind == SETTING_NUMBER ? sizeof(int64_t)
                      : row->kind == SETTING_FLAG ? sizeof(bool)
                                                  : sizeof(char *);
        char kept[sizeof(int64_t)];
        if (!row->live) /* no secret is */
            continue;
        a->sources[i] = b->sources[i];
        memcpy(kept, in_a, size);
        memcpy(in_a, in_b, size);
        memcpy(in_b, kept, size);
    }
}

/* Makes `next` what it would be with these values. Pair with settings_fini, on failure too. */
static int try_values(struct settings *next, const struct live *live, const json_t *values,
                      struct live_problem *problem)
{
    const char *name, *reason;
    json_t *value, *members = (json_t *)(uintptr_t)values; /* jansson's iteration takes no const */
    int error = settings_copy(next, live->start);
    json_object_foreach (members, name, value) {
        if (error == 0)
            error = set_one(next, span_str(name), value, problem);
    }
    if (error == 0 && settings_check(next, &reason) < 0)
        error = refuse(problem, SPAN(""), reason);
    return error;
}

int live_set(struct live *live, const json_t *values, struct live_problem *problem)
{
    struct settings next;
    int error = try_values(&next, live, values, problem);
    if (error == 0) {
        exchange_live_ones(&live->now, &next);
        log_set_level(log_level_of(live->now.log_level));
    }
    settings_fini(&next);
    return error;
}

int live_check(const struct live *live, const json_t *values, struct live_problem *problem)
{
    struct settings next;
    int error = try_values(&next, live, values, problem);
    settings_fini(&next);
    return error;
}
