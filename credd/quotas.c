/* SPDX-License-Identifier: MIT */
#include "credd/quotas.h"
#include "credd/upstream_answer.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM           1
#define uthash_nonfatal_oom(record) ((record)->is_lost = true)
#include <uthash.h>

#define PERSONAL_PATH   "/v2/billing/meter/get-user-resource"
#define ENTERPRISE_PATH "/v2/billing/meter/get-enterprise-user-usage"

/* One credential that was asked for. */
struct record {
    struct quotas *home;
    uint32_t number;
    uint64_t generation; /* of the token that was asked with */
    struct quota quota;
    bool is_known;
    bool is_enterprise; /* the question under way is */
    bool is_wanted;     /* once, exhausted or not */
    bool is_exhausted;  /* at the last tick */
    bool has_mark;
    int64_t until_ms;   /* when it returns, as we saw or set it: another one is another exhaustion */
    int64_t mark_micro; /* the least that was left since it is exhausted */
    int64_t asked_ms;   /* the last time; 0: never */
    bool is_lost;       /* could not be put into the table */
    UT_hash_handle hh;
};

struct quotas {
    struct quotas_parts parts;
    struct record *table;
    struct http_call *call; /* the one question */
    struct record *asking;  /* whose */
};

static struct record *record_find(const struct quotas *quotas, uint32_t number)
{
    struct record *record = NULL;
    HASH_FIND(hh, quotas->table, &number, sizeof number, record);
    return record;
}

/* NULL: out of memory; the next tick tries again. */
static struct record *record_find_or_add(struct quotas *quotas, uint32_t number)
{
    struct record *record = record_find(quotas, number);
    if (record)
        return record;
    record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->home = quotas;
    record->number = number;
    HASH_ADD(hh, quotas->table, number, sizeof record->number, record);
    if (record->is_lost) {
        free(record);
        return NULL;
    }
    return record;
}

static void record_free(struct record *record)
{
    /* The analyzer does not see that this also moves the head. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(record->home->table, record);
    free(record);
}

const struct quota *quotas_find(const struct quotas *quotas, const struct credential *credential)
{
    const struct record *record = record_find(quotas, credential->number);
    bool is_of_this_token = record && record->is_known && record->generation == credential->token_generation;
    return is_of_this_token ? &record->quota : NULL;
}

void quotas_want(struct quotas *quotas, uint32_t number)
{
    struct record *record =
        vault_find(quotas->parts.vault, number) ? record_find_or_add(quotas, number) : NULL;
    if (record)
        record->is_wanted = true;
}

/* ---- the answer ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When it is to return, given what was answered (`is_known`, `quota`): the rules of quotas.h. */
static int64_t decide_until(struct record *record, const struct moment *moment)
{
    const struct quota *quota = &record->quota;
    int64_t usual_ms = moment->now_ms + record->home->parts.settings->credential_exhausted_s * 1000;
    if (!record->is_known)
        return least(record->until_ms, usual_ms);
    if (record->has_mark) {
        bool has_more = quota->remaining_micro > record->mark_micro;
        record->mark_micro = least(record->mark_micro, quota->remaining_micro);
        return has_more ? moment->now_ms : record->until_ms;
    }
    record->has_mark = true;
    record->mark_micro = quota->remaining_micro;
    if (quota->remaining_micro > 0 || quota->resets_wall_ms == 0)
        return least(record->until_ms, usual_ms);
    return moment->now_ms + least(quota->resets_wall_ms - moment->wall_ms, QUOTA_UNTIL_MAX_MS);
}

static void move_return(struct record *record, const struct credential *credential)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    if (!record->is_exhausted)
        return;
    int64_t until_ms = decide_until(record, &moment);
    /* False if it was enabled, or exhausted anew, while we asked. */
    if (!rotation_move_return(record->home->parts.rotation, record->number, record->until_ms, until_ms))
        return;
    record->until_ms = until_ms;
    if (until_ms <= moment.now_ms)
        log_info(NULL, "quota_refilled", LOG_STR("credential", credential->id),
                 LOG_STR("file", credential->filename));
}

static void on_answer(void *context, const struct http_answer *http)
{
    struct record *record = context;
    struct quotas *quotas = record->home;
    const struct credential *credential = vault_find(quotas->parts.vault, record->number);
    struct upstream_answer answer;
    quotas->call = NULL;
    quotas->asking = NULL;
    if (!credential || credential->token_generation != record->generation)
        return; /* about a token that is no longer there */
    const struct quota_clock clock = {.wall_ms = clock_wall_ms(),
                                      .ahead_s = site_clock_ahead_s(credential->site)};
    upstream_answer_read(http, &answer);
    int error = answer.meaning != UPSTREAM_OK ? ERR_IO
                : record->is_enterprise       ? quota_read_enterprise(answer.data, &clock, &record->quota)
                                              : quota_read_personal(answer.data, &clock, &record->quota);
    record->is_known = error == 0;
    if (error < 0)
        log_warning(NULL, "quota_unknown", LOG_STR("credential", credential->id),
                    LOG_STR("why", error == ERR_INVALID ? "not understood" : answer.words));
    move_return(record, credential);
    upstream_answer_fini(&answer);
}

/* ---- the question ---- */

static void record_ask(struct record *record, const struct credential *credential, int64_t now_ms)
{
    struct quotas *quotas = record->home;
    const char *enterprise = credential->file.enterprise_id;
    record->is_enterprise = enterprise && *enterprise;
    const struct http_question question = {.base_url = span_str(site_base_url(credential->site)),
                                           .path = record->is_enterprise ? ENTERPRISE_PATH : PERSONAL_PATH,
                                           .body = "{}",
                                           .lines = buffer_span(&credential->headers),
                                           .more_lines = "",
                                           .token = secret_span(&credential->file.token)};
    quotas->call = http_call_start(quotas->parts.http, &question, on_answer, record);
    if (!quotas->call)
        return; /* out of memory: the next tick tries again */
    quotas->asking = record;
    record->asked_ms = now_ms;
    record->generation = credential->token_generation;
    record->is_wanted = false;
}

/* Takes down what the rotation says of one credential. */
static void look(struct quotas *quotas, const struct rotation_view *view)
{
    const struct credential *credential = view->subject;
    struct record *record = view->state == CREDENTIAL_EXHAUSTED
                                ? record_find_or_add(quotas, credential->number)
                                : record_find(quotas, credential->number);
    if (!record)
        return;
    bool was_exhausted = record->is_exhausted;
    record->is_exhausted = view->state == CREDENTIAL_EXHAUSTED;
    if (was_exhausted && !record->is_exhausted)
        record->is_wanted = true; /* what does it come back with? */
    if (!record->is_exhausted || (was_exhausted && view->until_ms == record->until_ms))
        return;
    record->until_ms = view->until_ms;
    record->has_mark = false;
}

static bool is_due(const struct record *record, int64_t now_ms)
{
    int64_t pause_ms = record->is_wanted ? QUOTA_LEAST_MS : QUOTA_AGAIN_MS;
    return (record->is_wanted || record->is_exhausted) &&
           (record->asked_ms == 0 || now_ms - record->asked_ms >= pause_ms);
}

/* Of those that are due the one that waits longest. Forgets those that are gone. */
static struct record *choose_due(struct quotas *quotas, int64_t now_ms)
{
    struct record *record, *next, *first = NULL;
    HASH_ITER (hh, quotas->table, record, next) {
        const struct credential *credential = vault_find(quotas->parts.vault, record->number);
        if (!credential)
            record_free(record);
        else if (!credential->problem[0] && is_due(record, now_ms) &&
                 (!first || record->asked_ms < first->asked_ms))
            first = record;
    }
    return first;
}

void quotas_tick(struct quotas *quotas)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    if (quotas->call)
        return;
    for (size_t i = 0; i < rotation_size(quotas->parts.rotation); i++) {
        struct rotation_view view;
        rotation_look(quotas->parts.rotation, i, &moment, &view);
        look(quotas, &view);
    }
    struct record *record = choose_due(quotas, moment.now_ms);
    if (record)
        record_ask(record, vault_find(quotas->parts.vault, record->number), moment.now_ms);
}

/* ---- life ---- */

struct quotas *quotas_new(const struct quotas_parts *parts)
{
    struct quotas *quotas = calloc(1, sizeof *quotas);
    if (quotas)
        quotas->parts = *parts;
    return quotas;
}

void quotas_free(struct quotas **quotas)
{
    if (!*quotas)
        return;
    http_call_cancel(&(*quotas)->call);
    while ((*quotas)->table) {
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        record_free((*quotas)->table);
    }
    free(*quotas);
    *quotas = NULL;
}
