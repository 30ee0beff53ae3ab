/* SPDX-License-Identifier: MIT */
#include "credd/rotation.h"
#include "credd/affinity.h"
#include "credd/candidate.h"
#include "proto/error.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_MARKS = 64 };

/* A site that does not serve a model. */
struct mark {
    int64_t until_ms;
    uint32_t site;
    char model[ROTATION_MODEL_MAX_BYTES + 1];
};

struct rotation {
    struct rotation_rules rules;
    struct affinity *affinity;
    struct candidate *table;  /* by number, those gone but in flight included */
    struct candidate **order; /* those there are */
    size_t count;
    size_t current;  /* in order; 0 when it is empty */
    int64_t served;  /* grants in a row by the current one */
    uint32_t pinned; /* number; 0: none */
    bool is_off;     /* automatic rotation is */
    uint64_t changes;
    struct mark marks[MAX_MARKS];
    size_t mark_count;
};

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

static struct candidate *find(const struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = NULL;
    HASH_FIND(hh, rotation->table, &number, sizeof number, candidate);
    return candidate;
}

/* The candidate of that number, made if there is none. NULL: out of memory. */
static struct candidate *find_or_add(struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = find(rotation, number);
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

static bool site_refuses(const struct rotation *rotation, uint32_t site, struct span model, int64_t now_ms)
{
    for (size_t i = 0; i < rotation->mark_count; i++) {
        const struct mark *mark = &rotation->marks[i];
        if (mark->site == site && mark->until_ms > now_ms && span_equals(span_str(mark->model), model))
            return true;
    }
    return false;
}

static void mark_site(struct rotation *rotation, uint32_t site, struct span model, int64_t now_ms)
{
    struct mark *mark = rotation->marks;
    for (size_t i = 0; i < rotation->mark_count; i++) { /* the same again, or the first to end */
        if (rotation->marks[i].site == site && span_equals(span_str(rotation->marks[i].model), model)) {
            mark = &rotation->marks[i];
            break;
        }
        if (rotation->marks[i].until_ms < mark->until_ms)
            mark = &rotation->marks[i];
    }
    bool is_same =
        rotation->mark_count > 0 && mark->site == site && span_equals(span_str(mark->model), model);
    if (!is_same && rotation->mark_count < MAX_MARKS)
        mark = &rotation->marks[rotation->mark_count++];
    size_t length = model.length < ROTATION_MODEL_MAX_BYTES ? model.length : ROTATION_MODEL_MAX_BYTES;
    if (length > 0)
        memcpy(mark->model, model.data, length);
    mark->model[length] = '\0';
    mark->site = site;
    mark->until_ms = now_ms + ROTATION_NOT_SERVED_MS;
}

/* How a candidate stands to one wish. */
enum standing { USABLE, FULL, COOLING, EXHAUSTED, NOT_SERVED, TRIED, OUT, STANDING_COUNT };

static bool is_excluded(const struct rotation_wish *wish, uint64_t id)
{
    for (size_t i = 0; i < wish->excluded_count; i++)
        if (wish->excluded[i] == id)
            return true;
    return false;
}

static enum standing stand(const struct rotation *rotation, const struct candidate *candidate,
                           const struct rotation_wish *wish, const struct moment *moment, int64_t *until_ms)
{
    enum credential_state state = candidate_state(candidate, moment);
    *until_ms = INT64_MAX;
    if (state == CREDENTIAL_EXHAUSTED) {
        *until_ms = candidate->exhausted_until_ms;
        return EXHAUSTED;
    }
    if (state == CREDENTIAL_EXPIRED && candidate->is_refreshing)
        return FULL; /* soon it serves again */
    if (state != CREDENTIAL_READY)
        return OUT;
    if (site_refuses(rotation, candidate->fact.site, wish->model, moment->now_ms))
        return NOT_SERVED;
    int64_t cools_until_ms = candidate_cools_until(candidate, wish->model, moment->now_ms);
    if (cools_until_ms > 0) {
        *until_ms = cools_until_ms;
        return COOLING;
    }
    if (is_excluded(wish, candidate->fact.id))
        return TRIED;
    return candidate->in_flight >= rotation->rules.max_in_flight ? FULL : USABLE;
}

static enum rotation_answer answer_without(const bool seen[STANDING_COUNT], struct rotation_choice *choice)
{
    if (seen[FULL])
        return ROTATION_BUSY;
    if (seen[COOLING] || seen[EXHAUSTED]) {
        choice->is_cooling = seen[COOLING];
        choice->is_exhausted = seen[EXHAUSTED];
        return ROTATION_COOLING;
    }
    if (seen[TRIED])
        return ROTATION_TRIED;
    return seen[NOT_SERVED] ? ROTATION_NOT_SERVED : ROTATION_NONE;
}

static bool turn_is_over(const struct rotation *rotation)
{
    return !rotation->is_off && rotation->rules.rotation_count > 0 &&
           rotation->served >= rotation->rules.rotation_count;
}

/* The current one while its turn lasts, else the next that can serve. NULL: none, and `answer` says why. */
static struct candidate *next_usable(struct rotation *rotation, const struct rotation_wish *wish,
                                     const struct moment *moment, struct rotation_choice *choice,
                                     enum rotation_answer *answer)
{
    bool seen[STANDING_COUNT] = {false};
    bool is_over = turn_is_over(rotation);
    for (size_t k = 0; k < rotation->count; k++) {
        struct candidate *candidate =
            rotation->order[(rotation->current + (is_over ? 1 : 0) + k) % rotation->count];
        int64_t until_ms;
        enum standing standing = stand(rotation, candidate, wish, moment, &until_ms);
        if (standing == USABLE) {
            bool goes_on = candidate->position == rotation->current && !is_over;
            rotation->served = goes_on ? rotation->served + 1 : 1;
            rotation->current = candidate->position;
            return candidate;
        }
        seen[standing] = true;
        if (until_ms < choice->return_ms)
            choice->return_ms = until_ms;
    }
    *answer = answer_without(seen, choice);
    return NULL;
}

static enum rotation_answer grant(struct candidate *candidate, struct rotation_choice *choice)
{
    candidate->in_flight++;
    candidate->uses++;
    *choice = (struct rotation_choice){.number = candidate->fact.number,
                                       .generation = candidate->fact.generation,
                                       .subject = candidate->fact.subject,
                                       .return_ms = INT64_MAX};
    return ROTATION_GRANTED;
}

/* The conversation's, else the one whose turn it is. */
static enum rotation_answer choose_by_turn(struct rotation *rotation, const struct rotation_wish *wish,
                                           const struct moment *moment, struct rotation_choice *choice)
{
    bool talks = wish->conversation.length > 0, keeps = false;
    uint32_t number = talks ? affinity_find(rotation->affinity, wish->conversation, moment->now_ms) : 0;
    struct candidate *candidate = number ? find(rotation, number) : NULL;
    if (candidate && !candidate->is_gone) {
        int64_t until_ms;
        enum standing standing = stand(rotation, candidate, wish, moment, &until_ms);
        if (standing == USABLE) { /* outside the turns: they stay fair for those that have no choice yet */
            affinity_bind(rotation->affinity, wish->conversation, number, moment->now_ms);
            return grant(candidate, choice);
        }
        keeps = standing == FULL; /* ready, only busy: the next request of the conversation goes back to it */
    }
    enum rotation_answer answer = ROTATION_NONE;
    candidate = next_usable(rotation, wish, moment, choice, &answer);
    if (!candidate)
        return answer;
    if (talks && !keeps)
        affinity_bind(rotation->affinity, wish->conversation, candidate->fact.number, moment->now_ms);
    return grant(candidate, choice);
}

static struct candidate *find_id(const struct rotation *rotation, uint64_t id)
{
    for (size_t i = 0; i < rotation->count; i++)
        if (rotation->order[i]->fact.id == id)
            return rotation->order[i];
    return NULL;
}

/* For a person who wants to know: states, turns and bonds do not matter. */
static enum rotation_answer choose_only(struct rotation *rotation, const struct rotation_wish *wish,
                                        struct rotation_choice *choice)
{
    struct candidate *candidate = find_id(rotation, wish->only);
    if (!candidate || !candidate->has_token)
        return ROTATION_NONE;
    if (is_excluded(wish, wish->only))
        return ROTATION_TRIED;
    return candidate->in_flight >= rotation->rules.max_in_flight ? ROTATION_BUSY : grant(candidate, choice);
}

/* The pinned one, if it can serve; NULL else. */
static struct candidate *pinned_usable(const struct rotation *rotation, const struct rotation_wish *wish,
                                       const struct moment *moment)
{
    struct candidate *candidate = rotation->pinned ? find(rotation, rotation->pinned) : NULL;
    int64_t until_ms;
    bool usable =
        candidate && !candidate->is_gone && stand(rotation, candidate, wish, moment, &until_ms) == USABLE;
    return usable ? candidate : NULL;
}

enum rotation_answer rotation_choose(struct rotation *rotation, const struct rotation_wish *wish,
                                     const struct moment *moment, struct rotation_choice *choice)
{
    *choice = (struct rotation_choice){.return_ms = INT64_MAX};
    if (wish->only)
        return choose_only(rotation, wish, choice);
    struct candidate *pinned = pinned_usable(rotation, wish, moment);
    return pinned ? grant(pinned, choice) : choose_by_turn(rotation, wish, moment, choice);
}
bool rotation_adopt(struct rotation *rotation, uint32_t number, uint64_t *generation)
{
    struct candidate *candidate = find(rotation, number);
    if (!candidate)
        return false;
    candidate->in_flight++;
    *generation = candidate->fact.generation;
    return true;
}

void rotation_end(struct rotation *rotation, uint32_t number)
{
    struct candidate *candidate = find(rotation, number);
    assert(candidate && candidate->in_flight > 0);
    candidate->in_flight--;
    if (candidate->is_gone && candidate->in_flight == 0)
        forget(rotation, candidate);
}

bool rotation_report(struct rotation *rotation, const struct rotation_report *report,
                     const struct moment *moment, struct rotation_view *view)
{
    struct candidate *candidate = find(rotation, report->number);
    struct span model;
    if (!candidate || candidate->is_gone)
        return false;
    if (report->outcome == OUTCOME_MODEL_NOT_SERVED)
        mark_site(rotation, candidate->fact.site, report->model, moment->now_ms);
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
    struct candidate *candidate = find(rotation, number);
    if (candidate)
        candidate->is_refreshing = is_refreshing;
}

void rotation_expect_refreshed(struct rotation *rotation, uint32_t number, int64_t now_ms)
{
    struct candidate *candidate = find(rotation, number);
    if (!candidate)
        return;
    candidate->expects_refreshed = true;
    candidate->refreshed_ms = now_ms;
}

bool rotation_condemn(struct rotation *rotation, uint32_t number, struct span reason)
{
    struct candidate *candidate = find(rotation, number);
    if (!candidate || candidate->is_gone || !candidate_condemn(candidate, reason))
        return false;
    rotation->changes++;
    return true;
}

bool rotation_move_return(struct rotation *rotation, uint32_t number, int64_t seen_ms, int64_t until_ms)
{
    struct candidate *candidate = find(rotation, number);
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
    const struct candidate *candidate = rotation->pinned ? find(rotation, rotation->pinned) : NULL;
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
    struct candidate *candidate = find(rotation, number);
    if (!candidate || candidate->is_gone)
        return false;
    candidate_switch(candidate, is_on, reason);
    rotation->changes++;
    return true;
}

size_t rotation_next(const struct rotation *rotation, const struct moment *moment, int64_t *served)
{
    const struct rotation_wish any = {.model = SPAN("")};
    const struct candidate *pinned = pinned_usable(rotation, &any, moment);
    size_t start = rotation->current + (turn_is_over(rotation) ? 1 : 0);
    *served = 0;
    if (pinned)
        return pinned->position;
    for (size_t k = 0; k < rotation->count; k++) {
        size_t i = (start + k) % rotation->count;
        int64_t until_ms;
        enum standing standing = stand(rotation, rotation->order[i], &any, moment, &until_ms);
        if (standing != USABLE && (standing != FULL || rotation->order[i]->is_refreshing))
            continue;
        *served = k == 0 && !turn_is_over(rotation) ? rotation->served : 0;
        return i;
    }
    return SIZE_MAX;
}

/* ---- what outlives the process ---- */

void rotation_recall(const struct rotation *rotation, size_t i, struct rotation_memory *memory)
{
    candidate_recall(rotation->order[i], memory);
}

int rotation_restore(struct rotation *rotation, uint32_t number, const struct rotation_memory *memory,
                     int64_t now_ms)
{
    struct candidate *candidate = find(rotation, number);
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
    const struct candidate *current = turn->current ? find(rotation, turn->current) : NULL;
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
