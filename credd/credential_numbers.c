/* SPDX-License-Identifier: MIT */
#include "credd/credential_numbers.h"
#include "credd/refresher.h"
#include "credd/vault.h"
#include "proto/log.h"

#include <stdio.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM        1
#define uthash_nonfatal_oom(row) ((row)->is_lost = true)
#include <uthash.h>

#define FAMILY "codebuddy2api_credential_"

enum { NAME_BYTES = 129, MICRO = 1000000 };

/* A credential as it was last told. */
struct row {
    char id[CREDENTIAL_ID_BYTES];
    enum credential_state state;
    bool is_off;                                          /* a person's switch made it disabled */
    int64_t in_flight, expires_s, refresh_due_s, until_s; /* 0: not told */
    uint64_t uses;
    bool was_told;
    unsigned round; /* in which it was last there */
    bool is_lost;   /* could not be put into the table */
    UT_hash_handle hh;
};

struct credential_numbers {
    const struct number_sink *sink;
    struct row *table; /* by id */
    unsigned round;
    bool was_full;
};

struct credential_numbers *credential_numbers_new(const struct number_sink *sink)
{
    struct credential_numbers *numbers = calloc(1, sizeof *numbers);
    if (numbers)
        numbers->sink = sink;
    return numbers;
}

static void forget(struct credential_numbers *numbers, struct row *row)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(numbers->table, row);
    free(row);
}

void credential_numbers_free(struct credential_numbers **numbers)
{
    while (*numbers && (*numbers)->table)
        forget(*numbers, (*numbers)->table); /* as above. NOLINT(clang-analyzer-unix.Malloc) */
    free(*numbers);
    *numbers = NULL;
}

/* ---- names ---- */

static void name_of(char name[NAME_BYTES], const char *what, const struct row *row)
{
    snprintf(name, NAME_BYTES, FAMILY "%s{credential=\"%s\"}", what, row->id);
}

static void state_name_of(char name[NAME_BYTES], const struct row *row)
{
    const char *reason = row->state != CREDENTIAL_DISABLED ? ""
                         : row->is_off                     ? ",reason=\"person\""
                                                           : ",reason=\"risk_control\"";
    snprintf(name, NAME_BYTES, FAMILY "state{credential=\"%s\",state=\"%s\"%s}", row->id,
             credential_state_word(row->state), reason);
}

static void tell(const struct credential_numbers *numbers, const char *what, const struct row *row,
                 int64_t value)
{
    char name[NAME_BYTES];
    name_of(name, what, row);
    numbers->sink->gauge(numbers->sink->owner, name, value * MICRO);
}

static void drop(const struct credential_numbers *numbers, const char *what, const struct row *row)
{
    char name[NAME_BYTES];
    name_of(name, what, row);
    numbers->sink->drop_gauge(numbers->sink->owner, name);
}

static void drop_state(const struct credential_numbers *numbers, const struct row *row)
{
    char name[NAME_BYTES];
    state_name_of(name, row);
    numbers->sink->drop_gauge(numbers->sink->owner, name);
}

/* ---- rows ---- */

static struct row *find_or_add(struct credential_numbers *numbers, const char *id, uint64_t uses)
{
    struct row *row = NULL;
    HASH_FIND_STR(numbers->table, id, row);
    if (row)
        return row;
    row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    snprintf(row->id, sizeof row->id, "%s", id);
    row->uses = uses; /* earlier ones were counted by an earlier process */
    HASH_ADD_STR(numbers->table, id, row);
    if (!row->is_lost)
        return row;
    free(row);
    return NULL;
}

static void take_state(const struct credential_numbers *numbers, struct row *row,
                       const struct rotation_view *view)
{
    char name[NAME_BYTES];
    if (row->was_told && row->state == view->state && row->is_off == view->is_off)
        return;
    if (row->was_told)
        drop_state(numbers, row);
    row->state = view->state;
    row->is_off = view->is_off;
    state_name_of(name, row);
    numbers->sink->gauge(numbers->sink->owner, name, MICRO);
}

/* A time that may be unknown. */
static void take_time(const struct credential_numbers *numbers, const char *what, struct row *row,
                      int64_t *told_s, int64_t now_s)
{
    if (*told_s == now_s)
        return;
    *told_s = now_s;
    if (now_s != 0)
        tell(numbers, what, row, now_s);
    else
        drop(numbers, what, row);
}

static void take_uses(const struct credential_numbers *numbers, struct row *row, uint64_t uses)
{
    char name[NAME_BYTES];
    name_of(name, "uses_total", row);
    if (!row->was_told || uses > row->uses)
        numbers->sink->count(numbers->sink->owner, name, uses > row->uses ? uses - row->uses : 0);
    row->uses = uses;
}

/* 0: it cannot be refreshed, or has no known end. */
static int64_t refresh_due_s(const struct credential *credential)
{
    if (credential->problem[0] || secret_is_empty(&credential->file.refresh_token))
        return 0;
    int64_t due_ms = refresh_due_wall_ms(&credential->file);
    return due_ms == INT64_MAX ? 0 : due_ms / 1000;
}

static void take(struct credential_numbers *numbers, const struct rotation_view *view,
                 const struct moment *moment)
{
    const struct credential *credential = view->subject;
    struct row *row = find_or_add(numbers, credential->id, view->uses);
    if (!row)
        return; /* out of memory: the next report tries again */
    int64_t until_ms = view->until_ms ? view->until_ms - moment->now_ms + moment->wall_ms : 0;
    row->round = numbers->round;
    take_state(numbers, row, view);
    if (!row->was_told || row->in_flight != view->in_flight)
        tell(numbers, "in_flight", row, view->in_flight);
    row->in_flight = view->in_flight;
    take_time(numbers, "expires_timestamp_seconds", row, &row->expires_s,
              credential->file.expires_wall_ms / 1000);
    take_time(numbers, "refresh_due_timestamp_seconds", row, &row->refresh_due_s, refresh_due_s(credential));
    take_time(numbers, "until_timestamp_seconds", row, &row->until_s, until_ms / 1000);
    take_uses(numbers, row, view->uses);
    row->was_told = true;
}

static void forget_those_gone(struct credential_numbers *numbers)
{
    struct row *row, *next;
    HASH_ITER (hh, numbers->table, row, next) {
        if (row->round == numbers->round)
            continue;
        drop_state(numbers, row);
        drop(numbers, "in_flight", row);
        drop(numbers, "expires_timestamp_seconds", row);
        drop(numbers, "refresh_due_timestamp_seconds", row);
        drop(numbers, "until_timestamp_seconds", row);
        forget(numbers, row);
    }
}

void credential_numbers_report(struct credential_numbers *numbers, const struct rotation *rotation,
                               const struct moment *moment)
{
    bool is_full = rotation_size(rotation) > CREDENTIAL_NUMBERS_MAX;
    size_t count = is_full ? CREDENTIAL_NUMBERS_MAX : rotation_size(rotation);
    if (is_full && !numbers->was_full)
        log_warning(NULL, "credential_metrics_limited", LOG_INT("credentials", rotation_size(rotation)),
                    LOG_INT("limit", CREDENTIAL_NUMBERS_MAX));
    numbers->was_full = is_full;
    numbers->round++;
    for (size_t i = 0; i < count; i++) {
        struct rotation_view view;
        rotation_look(rotation, i, moment, &view);
        take(numbers, &view, moment);
    }
    forget_those_gone(numbers);
}
