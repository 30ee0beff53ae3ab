/* SPDX-License-Identifier: MIT */
#include "credd/rotation.h"
#include "credd/rotation_private.h"
#include "proto/error.h"

#include <assert.h>
#include <stdlib.h>

const char *credential_state_word(enum credential_state state)
{
    static const char *const words[] = {
#define CS(name, word) word,
        CREDENTIAL_STATE_LIST(CS)
#undef CS
    };
    return (size_t)state < sizeof words / sizeof words[0] ? words[state] : "unknown";
}

struct rotation *rotation_new(const struct rotation_rules *rules, const unsigned char seed[16])
{
    struct rotation *rotation = calloc(1, sizeof *rotation);
    if (!rotation)
        return NULL;
    rotation->rules = *rules;
    rotation->affinity = affinity_new(seed);
    if (!rotation->affinity)
        rotation_free(&rotation);
    return rotation;
}

static void forget(struct rotation *rotation, struct candidate *candidate)
{
    /* The analyzer does not see that this also moves the head. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(rotation->table, candidate);
    candidate_fini(candidate);
    free(candidate);
}

void rotation_free(struct rotation **rotation)
{
    if (!*rotation)
        return;
    while ((*rotation)->table)
        forget(*rotation, (*rotation)->table);
    affinity_free(&(*rotation)->affinity);
    free((*rotation)->order);
    free(*rotation);
    *rotation = NULL;
}

void rotation_set_rules(struct rotation *rotation, const struct rotation_rules *rules)
{
    rotation->rules = *rules;
}

struct candidate *rotation_find(const struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = NULL;
    HASH_FIND(hh, rotation->table, &number, sizeof number, candidate);
    return candidate;
}

/* The candidate of that number, made if there is none. NULL: out of memory. */
static struct candidate *find_or_add(struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (candidate)
        return candidate;
    candidate = calloc(1, sizeof *candidate);
    if (!candidate)
        return NULL;
    candidate->is_new = true;
    candidate->is_gone = true;
    candidate->fact.number = number;
    HASH_ADD(hh, rotation->table, fact.number, sizeof candidate->fact.number, candidate);
    if (candidate->is_lost) {
        free(candidate);
        return NULL;
    }
    return candidate;
}

static void undo_new(struct rotation *rotation)
{
    struct candidate *candidate, *next;
    HASH_ITER (hh, rotation->table, candidate, next) {
        if (candidate->is_new)
            forget(rotation, candidate);
    }
}

/* Where the rotation goes on: with the current one, or if it went with the first after it that stayed. */
static void move_current(struct rotation *rotation)
{
    for (size_t k = 0; k < rotation->count; k++) {
        const struct candidate *candidate = rotation->order[(rotation->current + k) % rotation->count];
        if (!candidate->is_gone) {
            rotation->current = candidate->position;
            rotation->served = k == 0 ? rotation->served : 0;
            return;
        }
    }
    rotation->current = 0;
    rotation->served = 0;
}

static void take_order(struct rotation *rotation, struct candidate **order, const struct rotation_fact *facts,
                       size_t count)
{
    struct candidate *candidate, *next;
    HASH_ITER (hh, rotation->table, candidate, next) {
        candidate->is_gone = true;
        candidate->is_new = false;
    }
    for (size_t i = 0; i < count; i++) {
        order[i]->is_gone = false;
        order[i]->position = i;
        candidate_update(order[i], &facts[i]);
    }
    rotation->changes++;
    move_current(rotation);
    free(rotation->order);
    rotation->order = order;
    rotation->count = count;
    HASH_ITER (hh, rotation->table, candidate, next) {
        if (candidate->is_gone && candidate->in_flight == 0)
            forget(rotation, candidate);
    }
}

int rotation_sync(struct rotation *rotation, const struct rotation_fact *facts, size_t count)
{
    struct candidate **order = calloc(count + 1, sizeof(struct candidate *));
    if (!order)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        order[i] = find_or_add(rotation, facts[i].number);
        if (!order[i]) {
            undo_new(rotation);
            free(order);
            return ERR_NOMEM;
        }
    }
    take_order(rotation, order, facts, count);
    return 0;
}

void rotation_clear(struct rotation *rotation)
{
    take_order(rotation, NULL, NULL, 0);
}

bool rotation_adopt(struct rotation *rotation, uint32_t number, uint64_t *generation)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (!candidate)
        return false;
    candidate->in_flight++;
    *generation = candidate->fact.generation;
    return true;
}

void rotation_end(struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = rotation_find(rotation, number);
    assert(candidate && candidate->in_flight > 0);
    candidate->in_flight--;
    if (candidate->is_gone && candidate->in_flight == 0)
        forget(rotation, candidate);
}

bool rotation_report(struct rotation *rotation, const struct rotation_report *report,
                     const struct moment *moment, struct rotation_view *view)
{
    struct candidate *candidate = rotation_find(rotation, report->number);
    struct span model;
    if (!candidate || candidate->is_gone)
        return false;
    if (report->outcome == OUTCOME_MODEL_NOT_SERVED)
        site_marks_add(&rotation->marks, candidate->fact.site, report->model, moment->now_ms);
    if (!candidate_report(candidate, report, rotation->rules.exhausted_ms, moment->now_ms, &model))
        return false;
    rotation->changes++;
    candidate_look(candidate, moment, view);
    if (view->state == CREDENTIAL_COOLING) { /* of several, the one that is new */
        view->model = model;
        view->until_ms = candidate_cools_until(candidate, model, moment->now_ms);
    }
    return true;
}

/* ---- refreshing ---- */

void rotation_set_refreshing(struct rotation *rotation, uint32_t number, bool is_refreshing)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (candidate)
        candidate->is_refreshing = is_refreshing;
}

void rotation_expect_refreshed(struct rotation *rotation, uint32_t number, int64_t now_ms)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (!candidate)
        return;
    candidate->expects_refreshed = true;
    candidate->refreshed_ms = now_ms;
}

bool rotation_condemn(struct rotation *rotation, uint32_t number, struct span reason)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (!candidate || candidate->is_gone || !candidate_condemn(candidate, reason))
        return false;
    rotation->changes++;
    return true;
}

bool rotation_move_return(struct rotation *rotation, uint32_t number, int64_t seen_ms, int64_t until_ms)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (!candidate || candidate->is_gone || !candidate_move_return(candidate, seen_ms, until_ms))
        return false;
    rotation->changes++;
    return true;
}

/* ---- what a person decides ---- */

void rotation_pin(struct rotation *rotation, uint32_t number)
{
    rotation->pinned = number;
    rotation->changes++;
}

uint32_t rotation_pinned(const struct rotation *rotation)
{
    const struct candidate *candidate = rotation->pinned ? rotation_find(rotation, rotation->pinned) : NULL;
    return candidate && !candidate->is_gone ? rotation->pinned : 0;
}

void rotation_set_auto(struct rotation *rotation, bool is_auto)
{
    rotation->is_off = !is_auto;
    rotation->changes++;
}

bool rotation_is_auto(const struct rotation *rotation)
{
    return !rotation->is_off;
}

bool rotation_switch(struct rotation *rotation, uint32_t number, bool is_on, struct span reason)
{
    struct candidate *candidate = rotation_find(rotation, number);
    if (!candidate || candidate->is_gone)
        return false;
    candidate_switch(candidate, is_on, reason);
    rotation->changes++;
    return true;
}

/* ---- what outlives the process ---- */

void rotation_recall(const struct rotation *rotation, size_t i, struct rotation_memory *memory)
{
    candidate_recall(rotation->order[i], memory);
}

int rotation_restore(struct rotation *rotation, uint32_t number, const struct rotation_memory *memory,
                     int64_t now_ms)
{
    struct candidate *candidate = rotation_find(rotation, number);
    return candidate && !candidate->is_gone ? candidate_restore(candidate, memory, now_ms) : ERR_NOT_FOUND;
}

struct rotation_turn rotation_turn(const struct rotation *rotation)
{
    return (struct rotation_turn){.current =
                                      rotation->count ? rotation->order[rotation->current]->fact.number : 0,
                                  .served = rotation->served,
                                  .pinned = rotation->pinned,
                                  .is_auto = !rotation->is_off};
}

void rotation_set_turn(struct rotation *rotation, const struct rotation_turn *turn)
{
    const struct candidate *current = turn->current ? rotation_find(rotation, turn->current) : NULL;
    if (current && !current->is_gone) {
        rotation->current = current->position;
        rotation->served = turn->served;
    }
    rotation->pinned = turn->pinned;
    rotation->is_off = !turn->is_auto;
}

uint64_t rotation_change_count(const struct rotation *rotation)
{
    return rotation->changes;
}

size_t rotation_size(const struct rotation *rotation)
{
    return rotation->count;
}

void rotation_look(const struct rotation *rotation, size_t i, const struct moment *moment,
                   struct rotation_view *view)
{
    candidate_look(rotation->order[i], moment, view);
}
