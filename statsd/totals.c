/* SPDX-License-Identifier: MIT */
#include "statsd/totals.h"
#include "proto/error.h"
#include "proto/outcome.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

enum { LABEL_MAX_BYTES = 255 };

const uint32_t totals_duration_bounds_ms[] = {100,   250,   500,   1000,   2500,   5000,   10000,
                                              20000, 30000, 60000, 120000, 300000, 600000, 1800000};
const size_t totals_duration_bound_count =
    sizeof totals_duration_bounds_ms / sizeof totals_duration_bounds_ms[0];
const uint32_t totals_first_bounds_ms[] = {50,   100,  250,   500,   1000,  2000,  3000,
                                           5000, 7500, 10000, 20000, 30000, 60000, 300000};
const size_t totals_first_bound_count = sizeof totals_first_bounds_ms / sizeof totals_first_bounds_ms[0];

struct total {
    UT_hash_handle hh;
    int64_t value;
    size_t label_bytes;
    char key[]; /* one byte of family, then the label */
};

struct totals {
    const struct totals *base;
    struct total *table;
    size_t label_count[TOTAL_FAMILY_COUNT];
};

static const struct {
    const char *word;
    size_t limit;
} families[TOTAL_FAMILY_COUNT] = {
#define T(name, word, limit) [name] = {(word), (limit)},
    TOTAL_LIST(T)
#undef T
};

const char *total_family_word(enum total_family family)
{
    assert(family < TOTAL_FAMILY_COUNT);
    return families[family].word;
}

bool total_family_of(struct span word, enum total_family *family)
{
    for (unsigned i = 0; i < TOTAL_FAMILY_COUNT; i++)
        if (span_equals(word, span_str(families[i].word))) {
            *family = (enum total_family)i;
            return true;
        }
    return false;
}

struct totals *totals_new(const struct totals *base)
{
    struct totals *totals = calloc(1, sizeof *totals);
    if (totals)
        totals->base = base;
    return totals;
}

void totals_clear(struct totals *totals)
{
    struct total *total = totals->table;
    HASH_CLEAR(hh, totals->table); /* the elements stay, and stay chained */
    while (total) {
        struct total *next = total->hh.next;
        free(total);
        total = next;
    }
    memset(totals->label_count, 0, sizeof totals->label_count);
}

void totals_free(struct totals **totals)
{
    if (!*totals)
        return;
    totals_clear(*totals);
    free(*totals);
    *totals = NULL;
}

static size_t key_make(char *key, enum total_family family, struct span label)
{
    key[0] = (char)family;
    if (label.length > 0)
        memcpy(key + 1, label.data, label.length);
    return label.length + 1;
}

static struct total *total_find(const struct totals *totals, enum total_family family, struct span label)
{
    char key[1 + LABEL_MAX_BYTES];
    struct total *total = NULL;
    if (label.length > LABEL_MAX_BYTES)
        return NULL;
    size_t key_bytes = key_make(key, family, label);
    HASH_FIND(hh, totals->table, key, key_bytes, total);
    return total;
}

static bool is_new_and_over_the_limit(const struct totals *totals, enum total_family family)
{
    size_t known = totals->label_count[family] + (totals->base ? totals->base->label_count[family] : 0);
    return known >= families[family].limit;
}

/* The number of a label, made if need be; NULL when out of memory. A label that would be one too many becomes
 * `other`, which is always allowed. */
static struct total *total_for(struct totals *totals, enum total_family family, struct span label)
{
    if (label.length > LABEL_MAX_BYTES)
        label.length = LABEL_MAX_BYTES;
    struct total *total = total_find(totals, family, label);
    if (total)
        return total;
    bool in_base = totals->base && total_find(totals->base, family, label);
    if (!in_base && is_new_and_over_the_limit(totals, family) && !span_equals(label, SPAN(TOTALS_OTHER)))
        return total_for(totals, family, SPAN(TOTALS_OTHER));
    total = calloc(1, sizeof *total + label.length + 1);
    if (!total)
        return NULL;
    total->label_bytes = label.length;
    size_t key_bytes = key_make(total->key, family, label);
    HASH_ADD_KEYPTR(hh, totals->table, total->key, key_bytes, total);
    if (!total->hh.tbl) {
        free(total);
        return NULL;
    }
    if (!in_base && !span_equals(label, SPAN(TOTALS_OTHER)))
        totals->label_count[family]++;
    return total;
}

int totals_add(struct totals *totals, enum total_family family, struct span label, int64_t value)
{
    assert(value >= 0);
    struct total *total = total_for(totals, family, label);
    if (!total)
        return ERR_NOMEM;
    if (__builtin_add_overflow(total->value, value, &total->value))
        total->value = INT64_MAX;
    return 0;
}

int64_t totals_clamp_tokens(uint64_t tokens)
{
    return tokens > (uint64_t)TOTALS_MAX_TOKENS ? TOTALS_MAX_TOKENS : (int64_t)tokens;
}

int64_t totals_clamp_credit(int64_t credit_micro)
{
    if (credit_micro < 0)
        return 0;
    return credit_micro > TOTALS_MAX_CREDIT_MICRO ? TOTALS_MAX_CREDIT_MICRO : credit_micro;
}

bool totals_event_is_error(const struct msg_event *event)
{
    if (event->outcome == OUTCOME_CANCELLED || event->status == 499)
        return false;
    return event->outcome != OUTCOME_OK || event->status >= 400;
}

static int add_histogram(struct totals *totals, enum total_family buckets, enum total_family sum,
                         const uint32_t *bounds_ms, size_t bound_count, uint32_t value_ms)
{
    char label[16] = "inf";
    for (size_t i = 0; i < bound_count; i++)
        if (value_ms <= bounds_ms[i]) {
            snprintf(label, sizeof label, "%" PRIu32, bounds_ms[i]);
            break;
        }
    int error = totals_add(totals, buckets, span_str(label), 1);
    return error < 0 ? error : totals_add(totals, sum, SPAN(""), value_ms);
}

static int add_request(struct totals *totals, const struct msg_event *event)
{
    char label[64];
    unsigned status = event->status >= 100 && event->status <= 599 ? event->status : 0;
    snprintf(label, sizeof label, "%u %s %s", status, outcome_word(event->outcome),
             event->stream ? "stream" : "plain");
    int error = totals_add(totals, TOTAL_REQUESTS, span_str(label), 1);
    if (error == 0 && totals_event_is_error(event))
        error = totals_add(totals, TOTAL_ERRORS, SPAN(""), 1);
    if (error == 0 && event->model.length > 0)
        error = totals_add(totals, TOTAL_MODEL, event->model, 1);
    if (error == 0 && event->credential_id.length > 0)
        error = totals_add(totals, TOTAL_CREDENTIAL, event->credential_id, 1);
    if (error == 0 && event->attempts > 1)
        error = totals_add(totals, TOTAL_RETRIES, SPAN(""), event->attempts - 1);
    if (error == 0 && event->moves > 0)
        error = totals_add(totals, TOTAL_MOVES, SPAN(""), event->moves);
    return error;
}

static int add_usage(struct totals *totals, const struct msg_event *event)
{
    const struct {
        struct span kind;
        uint64_t tokens;
    } tokens[] = {{SPAN("prompt"), event->prompt_tokens},
                  {SPAN("completion"), event->completion_tokens},
                  {SPAN("cached"), event->cached_tokens},
                  {SPAN("reasoning"), event->reasoning_tokens}};
    int error = 0;
    for (size_t i = 0; error == 0 && i < sizeof tokens / sizeof tokens[0]; i++)
        if (tokens[i].tokens > 0)
            error = totals_add(totals, TOTAL_TOKENS, tokens[i].kind, totals_clamp_tokens(tokens[i].tokens));
    int64_t credit_micro = totals_clamp_credit(event->credit_micro);
    if (error == 0 && credit_micro > 0)
        error = totals_add(totals, TOTAL_CREDIT, SPAN(""), credit_micro);
    return error;
}

int totals_add_event(struct totals *totals, const struct msg_event *event)
{
    int error = add_request(totals, event);
    if (error == 0)
        error = add_usage(totals, event);
    if (error == 0)
        error = add_histogram(totals, TOTAL_DURATION, TOTAL_DURATION_SUM, totals_duration_bounds_ms,
                              totals_duration_bound_count, event->duration_ms);
    if (error == 0 && event->stream && event->first_event_ms > 0)
        error = add_histogram(totals, TOTAL_FIRST, TOTAL_FIRST_SUM, totals_first_bounds_ms,
                              totals_first_bound_count, event->first_event_ms);
    return error;
}

static struct span total_label(const struct total *total)
{
    return span_of(total->key + 1, total->label_bytes);
}

static enum total_family total_family(const struct total *total)
{
    return (enum total_family)total->key[0];
}

int totals_merge(struct totals *into, const struct totals *from)
{
    for (const struct total *total = from->table; total; total = total->hh.next) {
        int error = totals_add(into, total_family(total), total_label(total), total->value);
        if (error < 0)
            return error;
    }
    return 0;
}

int64_t totals_get(const struct totals *totals, enum total_family family, struct span label)
{
    const struct total *total = total_find(totals, family, label);
    return total ? total->value : 0;
}

int64_t totals_sum(const struct totals *totals, enum total_family family)
{
    int64_t sum = 0;
    for (const struct total *total = totals->table; total; total = total->hh.next)
        if (total_family(total) == family && __builtin_add_overflow(sum, total->value, &sum))
            return INT64_MAX;
    return sum;
}

bool totals_is_empty(const struct totals *totals)
{
    return totals->table == NULL;
}

static int total_compare(const void *left, const void *right)
{
    const struct total *a = *(const struct total *const *)left, *b = *(const struct total *const *)right;
    size_t shorter = a->label_bytes < b->label_bytes ? a->label_bytes : b->label_bytes;
    int order = memcmp(a->key + 1, b->key + 1, shorter);
    return order != 0 ? order : (a->label_bytes > b->label_bytes) - (a->label_bytes < b->label_bytes);
}

int totals_each(const struct totals *totals, enum total_family family,
                int (*each)(void *context, struct span label, int64_t value), void *context)
{
    size_t count = 0, capacity = HASH_COUNT(totals->table);
    const struct total **sorted = calloc(capacity ? capacity : 1, sizeof(const struct total *));
    if (!sorted)
        return ERR_NOMEM;
    for (const struct total *total = totals->table; total; total = total->hh.next)
        if (total_family(total) == family)
            sorted[count++] = total;
    qsort(sorted, count, sizeof(const struct total *), total_compare);
    int error = 0;
    for (size_t i = 0; i < count && error >= 0; i++)
        error = each(context, total_label(sorted[i]), sorted[i]->value);
    free(sorted);
    return error;
}
