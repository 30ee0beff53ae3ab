/* SPDX-License-Identifier: MIT */
#include "credd/rotation_private.h"

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
    if (site_marks_has(&rotation->marks, candidate->fact.site, wish->model, moment->now_ms))
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
    struct candidate *candidate = number ? rotation_find(rotation, number) : NULL;
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
    struct candidate *candidate = rotation->pinned ? rotation_find(rotation, rotation->pinned) : NULL;
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
