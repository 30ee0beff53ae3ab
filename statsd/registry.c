/* SPDX-License-Identifier: MIT */
#include "statsd/registry.h"
#include "proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

enum {
    MAX_NUMBERS_PER_SOURCE = 8000, /* as many as a reporter has */
    MAX_SUMS = 20000,
    MAX_SOURCES = 4096,
    IDENTITY_BYTES = 320,
    SOURCE_KEPT_MS = 24 * 3600 * 1000, /* a day: longer than any network or statsd is away */
    MICRO = 1000000,
    REPLACED_KEPT_MS = 60 * 1000 /* a younger life of the process is here: it will not come back */
};

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

/* Copies three texts behind one another; returns the bytes used. */
static size_t pack(char *into, const char **a, const char **b, const char **c)
{
    const char **texts[] = {a, b, c};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(*texts[i]) + 1;
        memcpy(into + at, *texts[i], length);
        *texts[i] = into + at;
        at += length;
    }
    return at;
}

/* ---- sums ---- */

static void sum_free(struct registry *registry, struct sum *sum)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(registry->sums, sum);
    free(sum->metric);
    free(sum);
}

static struct sum *sum_find(const struct registry *registry, const char *role, const char *process,
                            const char *name)
{
    char key[512];
    struct sum *sum = NULL;
    if (strlen(role) + strlen(process) + strlen(name) + 3 > sizeof key)
        return NULL;
    size_t key_bytes = pack(key, &role, &process, &name);
    HASH_FIND(hh, registry->sums, key, key_bytes, sum);
    return sum;
}

/* Takes `metric` if it makes a sum. NULL: over the limit or out of memory, `metric` stays the caller's. */
static struct sum *sum_make(struct registry *registry, const char *role, const char *process,
                            const char *name, struct metric *metric)
{
    size_t text_bytes = strlen(role) + strlen(process) + strlen(name) + 3;
    if (HASH_COUNT(registry->sums) >= MAX_SUMS)
        return NULL;
    struct sum *sum = calloc(1, sizeof *sum + text_bytes);
    if (!sum)
        return NULL;
    sum->role = role;
    sum->process = process;
    sum->name = name;
    sum->text_bytes = pack(sum->text, &sum->role, &sum->process, &sum->name);
    HASH_ADD_KEYPTR(hh, registry->sums, sum->text, sum->text_bytes, sum);
    if (!sum->hh.tbl) {
        free(sum);
        return NULL;
    }
    sum->metric = metric;
    return sum;
}

static void sum_add(struct sum *sum, int64_t delta_micro, int64_t now_wall_ms)
{
    if (__builtin_add_overflow(sum->value_micro, delta_micro, &sum->value_micro))
        sum->value_micro = INT64_MAX;
    sum->seen_wall_ms = now_wall_ms;
    sum->dirty = true;
}

/* ---- sources ---- */

static struct number *number_find(const struct source *source, struct span name)
{
    struct number *number = NULL;
    if (name.length == 0)
        return NULL;
    HASH_FIND(hh, source->numbers, name.data, name.length, number);
    return number;
}

static struct number *number_make(struct source *source, struct span name, enum gauge_kind kind)
{
    if (HASH_COUNT(source->numbers) >= MAX_NUMBERS_PER_SOURCE)
        return NULL;
    struct number *number = calloc(1, sizeof *number + name.length + 1);
    if (!number)
        return NULL;
    number->kind = kind;
    number->name_bytes = name.length;
    memcpy(number->name, name.data, name.length);
    HASH_ADD_KEYPTR(hh, source->numbers, number->name, number->name_bytes, number);
    if (!number->hh.tbl) {
        free(number);
        return NULL;
    }
    return number;
}

static void number_free(struct source *source, struct number *number)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(source->numbers, number);
    free(number->metric);
    free(number);
}

/* `identity` is that of a source: it tells the process. */
static struct source *source_make(struct registry *registry, const char *role, const char *identity)
{
    char process[IDENTITY_BYTES];
    snprintf(process, sizeof process, "%.*s", (int)strcspn(identity, " "), identity);
    if (HASH_COUNT(registry->sources) >= MAX_SOURCES)
        return NULL;
    struct source *source = calloc(1, sizeof *source + strlen(role) + strlen(process) + strlen(identity) + 3);
    if (!source)
        return NULL;
    source->role = role;
    source->process = process;
    source->identity = identity;
    pack(source->text, &source->role, &source->process, &source->identity);
    HASH_ADD_KEYPTR(hh, registry->sources, source->identity, strlen(source->identity), source);
    if (!source->hh.tbl) {
        free(source);
        return NULL;
    }
    return source;
}

static struct source *source_find(const struct registry *registry, const char *identity)
{
    struct source *source = NULL;
    size_t length = strlen(identity);
    HASH_FIND(hh, registry->sources, identity, length, source);
    return source;
}

static void source_free(struct registry *registry, struct source *source)
{
    struct number *number, *next;
    HASH_ITER (hh, source->numbers, number, next) {
        number_free(source, number);
    }
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(registry->sources, source);
    free(source);
}

struct source *registry_open_source(struct registry *registry, const char *role, const char *process,
                                    uint32_t pid, int64_t started_wall_ms)
{
    char identity[IDENTITY_BYTES];
    snprintf(identity, sizeof identity, "%s %" PRIu32 " %" PRId64, process, pid, started_wall_ms);
    struct source *source = source_find(registry, identity);
    if (!source)
        source = source_make(registry, role, identity);
    if (!source)
        return NULL;
    source->connections++;
    source->pid = pid;
    source->started_wall_ms = started_wall_ms;
    return source;
}

struct source *registry_open_witness(struct registry *registry, const char *role, const char *process,
                                     uint32_t pid, int64_t started_wall_ms)
{
    struct source *source = registry_open_source(registry, role, process, pid, started_wall_ms);
    if (source)
        source->is_witness = true;
    return source;
}

void registry_source_has_no_witness(struct source *source)
{
    source->counts_lives = true;
}

void registry_close_source(struct registry *registry, struct source **source_pointer, int64_t now_wall_ms)
{
    struct source *source = *source_pointer;
    *source_pointer = NULL;
    (void)registry;
    if (!source)
        return;
    assert(source->connections > 0);
    source->seen_wall_ms = now_wall_ms;
    if (--source->connections > 0)
        return;
    struct number *number, *next;
    HASH_ITER (hh, source->numbers, number, next) {
        if (number->kind == GAUGE_NOW)
            number_free(source, number);
    }
}

/* True if a younger life of the same process is connected: then this one's gauges are not shown. */
static bool is_replaced(const struct registry *registry, const struct source *source)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (other != source && other->connections > 0 && !other->is_witness &&
            other->started_wall_ms > source->started_wall_ms &&
            strcmp(other->process, source->process) == 0 && strcmp(other->role, source->role) == 0)
            return true;
    return false;
}

/* ---- reports ---- */

/* Which process a counter of the source is summed for: none, if for its role. */
static const char *sum_process(const struct source *source, const char *name)
{
    return metric_is_per_process(name) ? source->process : "";
}

/* The first time a source says this name: parse it, and find or make its sum. */
static int number_begin(struct registry *registry, struct source *source, struct span name,
                        enum gauge_kind kind, struct number **out)
{
    struct metric *metric = metric_parse(name, kind);
    if (!metric)
        return ERR_INVALID;
    struct number *number = number_make(source, name, kind);
    if (!number) {
        free(metric);
        return ERR_BUSY;
    }
    *out = number;
    if (kind == GAUGE_NOW) {
        number->metric = metric;
        return 0;
    }
    const char *process = sum_process(source, number->name);
    number->sum = sum_find(registry, source->role, process, number->name);
    if (number->sum) {
        free(metric);
        return 0;
    }
    number->sum = sum_make(registry, source->role, process, number->name, metric);
    if (number->sum)
        return 0;
    free(metric);
    number_free(source, number);
    return ERR_BUSY;
}

static int report(struct registry *registry, struct source *source, struct span name, enum gauge_kind kind,
                  int64_t value_micro, int64_t now_wall_ms)
{
    struct number *number = number_find(source, name);
    int error = number ? 0 : number_begin(registry, source, name, kind, &number);
    if (error < 0)
        return error;
    if (number->kind != kind || (kind == GAUGE_COUNTER && value_micro < 0))
        return ERR_INVALID;
    if (kind == GAUGE_COUNTER) {
        /* A total that fell began anew within one process: all of it is new. */
        int64_t before_micro = value_micro >= number->value_micro ? number->value_micro : 0;
        if (value_micro != number->value_micro || !number->sum->was_saved) {
            sum_add(number->sum, value_micro - before_micro, now_wall_ms);
            number->dirty = true;
        }
    }
    number->value_micro = value_micro;
    return 0;
}

int registry_report(struct registry *registry, struct source *source, struct span name, enum gauge_kind kind,
                    int64_t value_micro, int64_t now_wall_ms)
{
    int error = report(registry, source, name, kind, value_micro, now_wall_ms);
    if (error < 0)
        registry->refused_count++;
    return error;
}

void registry_drop_gauge(struct source *source, struct span name)
{
    struct number *number = number_find(source, name);
    if (number && number->kind == GAUGE_NOW)
        number_free(source, number);
}

uint64_t registry_refused_count(const struct registry *registry)
{
    return registry->refused_count;
}

static bool is_same_process(const struct source *a, const struct source *b)
{
    return strcmp(a->process, b->process) == 0 && strcmp(a->role, b->role) == 0;
}

static bool has_earlier_life(const struct registry *registry, const struct source *source)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (other != source && !other->is_witness && other->connections == 0 &&
            is_same_process(other, source))
            return true;
    return false;
}

void registry_count_lives(struct registry *registry, int64_t now_wall_ms)
{
    for (struct source *source = registry->sources; source; source = source->hh.next) {
        if (!source->counts_lives || source->connections == 0 || number_find(source, SPAN(REGISTRY_RESTARTS)))
            continue;
        int64_t restarts = has_earlier_life(registry, source) ? 1 : 0;
        registry_report(registry, source, SPAN(REGISTRY_RESTARTS), GAUGE_COUNTER, restarts * MICRO,
                        now_wall_ms);
    }
}

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
    struct sum *sum = sum_find(registry, row->role, sum_process(source, row->name), row->name);
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
            gone_ms > SOURCE_KEPT_MS || (gone_ms > REPLACED_KEPT_MS && is_replaced(registry, source));
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

/* ---- reading ---- */

/* What a witness says is not shown if the process says it itself. */
static bool is_said_firsthand(const struct registry *registry, const struct source *witness,
                              const struct number *number)
{
    for (const struct source *source = registry->sources; source; source = source->hh.next)
        if (!source->is_witness && source->connections > 0 && is_same_process(source, witness) &&
            number_find(source, span_of(number->name, number->name_bytes)))
            return true;
    return false;
}

static int each_gauge(const struct registry *registry, const struct source *source,
                      int (*each)(void *context, const struct registry_sample *sample), void *context)
{
    int error = 0;
    if (source->connections == 0 || (!source->is_witness && is_replaced(registry, source)))
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
        if (other->is_witness && other->connections > 0 && is_same_process(source, other))
            return other;
    return NULL;
}

static bool has_firsthand(const struct registry *registry, const struct source *witness)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (!other->is_witness && other->connections > 0 && is_same_process(other, witness))
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
            .is_replaced = !source->is_witness && is_replaced(registry, source),
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
    *count = sum ? sum->value_micro / 1000000 : 0;
    return sum;
}

/* ---- life ---- */

struct registry *registry_new(void)
{
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry)
        counter_rows_init(&registry->forgotten);
    return registry;
}

void registry_free(struct registry **registry)
{
    struct source *source, *next_source;
    struct sum *sum, *next_sum;
    if (!*registry)
        return;
    HASH_ITER (hh, (*registry)->sources, source, next_source) {
        source_free(*registry, source);
    }
    HASH_ITER (hh, (*registry)->sums, sum, next_sum) {
        sum_free(*registry, sum);
    }
    counter_rows_fini(&(*registry)->forgotten);
    free(*registry);
    *registry = NULL;
}
