/* SPDX-License-Identifier: MIT */
#include "statsd/registry_private.h"
#include "proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_NUMBERS_PER_SOURCE = 8000, /* as many as a reporter has */
    MAX_SUMS = 20000,
    MAX_SOURCES = 4096,
    IDENTITY_BYTES = 320,
    MICRO = 1000000
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

void sum_free(struct registry *registry, struct sum *sum)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(registry->sums, sum);
    free(sum->metric);
    free(sum);
}

struct sum *sum_find(const struct registry *registry, const char *role, const char *process, const char *name)
{
    char key[512];
    struct sum *sum = NULL;
    if (strlen(role) + strlen(process) + strlen(name) + 3 > sizeof key)
        return NULL;
    size_t key_bytes = pack(key, &role, &process, &name);
    HASH_FIND(hh, registry->sums, key, key_bytes, sum);
    return sum;
}

struct sum *sum_make(struct registry *registry, const char *role, const char *process, const char *name,
                     struct metric *metric)
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

void sum_add(struct sum *sum, int64_t delta_micro, int64_t now_wall_ms)
{
    if (__builtin_add_overflow(sum->value_micro, delta_micro, &sum->value_micro))
        sum->value_micro = INT64_MAX;
    sum->seen_wall_ms = now_wall_ms;
    sum->dirty = true;
}

/* ---- sources ---- */

struct number *number_find(const struct source *source, struct span name)
{
    struct number *number = NULL;
    if (name.length == 0)
        return NULL;
    HASH_FIND(hh, source->numbers, name.data, name.length, number);
    return number;
}

struct number *number_make(struct source *source, struct span name, enum gauge_kind kind)
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

struct source *source_make(struct registry *registry, const char *role, const char *identity)
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

struct source *source_find(const struct registry *registry, const char *identity)
{
    struct source *source = NULL;
    size_t length = strlen(identity);
    HASH_FIND(hh, registry->sources, identity, length, source);
    return source;
}

void source_free(struct registry *registry, struct source *source)
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

bool source_is_replaced(const struct registry *registry, const struct source *source)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (other != source && other->connections > 0 && !other->is_witness &&
            other->started_wall_ms > source->started_wall_ms && source_is_same_process(other, source))
            return true;
    return false;
}

/* ---- reports ---- */

const char *source_sum_process(const struct source *source, const char *name)
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
    const char *process = source_sum_process(source, number->name);
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

bool source_is_same_process(const struct source *a, const struct source *b)
{
    return strcmp(a->process, b->process) == 0 && strcmp(a->role, b->role) == 0;
}

static bool has_earlier_life(const struct registry *registry, const struct source *source)
{
    for (const struct source *other = registry->sources; other; other = other->hh.next)
        if (other != source && !other->is_witness && other->connections == 0 &&
            source_is_same_process(other, source))
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
