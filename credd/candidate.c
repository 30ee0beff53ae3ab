/* SPDX-License-Identifier: MIT */
#include "credd/candidate.h"
#include "proto/error.h"

#include <stdlib.h>

void candidate_fini(struct candidate *candidate)
{
    free(candidate->coolings);
    candidate->coolings = NULL;
    candidate->cooling_count = 0;
}

static void take_new_token(struct candidate *candidate)
{
    bool is_cured = candidate->verdict == CREDENTIAL_EXPIRED || candidate->verdict == CREDENTIAL_NEEDS_LOGIN;
    if (!candidate->expects_refreshed) { /* a person's: perhaps another account's */
        candidate_fini(candidate);
        candidate->refreshed_ms = 0;
        is_cured = true;
    }
    candidate->expects_refreshed = false;
    if (!is_cured)
        return;
    candidate->verdict = CREDENTIAL_READY;
    if (!candidate->is_off)
        candidate->reason[0] = '\0';
}

void candidate_update(struct candidate *candidate, const struct rotation_fact *fact)
{
    /* Generation 0 is a file that is broken for the moment: what the last token earned is kept for it. */
    bool is_new_token = fact->generation != 0 && fact->generation != candidate->fact.generation;
    uint64_t last_generation = candidate->fact.generation;
    if (is_new_token)
        take_new_token(candidate);
    candidate->has_token = fact->generation != 0;
    candidate->fact = *fact;
    if (!candidate->has_token)
        candidate->fact.generation = last_generation;
}

static bool is_past(const struct candidate *candidate, int64_t wall_ms)
{
    int64_t expires_ms = candidate->fact.expires_wall_ms;
    return expires_ms != 0 && wall_ms + ROTATION_EARLY_MS >= expires_ms;
}

enum credential_state candidate_state(const struct candidate *candidate, const struct moment *moment)
{
    if (candidate->is_off)
        return CREDENTIAL_DISABLED;
    switch (candidate->verdict) {
    case CREDENTIAL_EXPIRED:
    case CREDENTIAL_NEEDS_LOGIN:
    case CREDENTIAL_DISABLED:
        return candidate->verdict;
    case CREDENTIAL_READY:
    case CREDENTIAL_EXHAUSTED:
    case CREDENTIAL_COOLING:
    case CREDENTIAL_STATE_COUNT:
        break;
    }
    if (!candidate->has_token)
        return CREDENTIAL_NEEDS_LOGIN;
    if (is_past(candidate, moment->wall_ms))
        return CREDENTIAL_EXPIRED;
    if (candidate->verdict == CREDENTIAL_EXHAUSTED && candidate->exhausted_until_ms > moment->now_ms)
        return CREDENTIAL_EXHAUSTED;
    return CREDENTIAL_READY;
}

static struct cooling *find_cooling(const struct candidate *candidate, struct span model)
{
    for (size_t i = 0; i < candidate->cooling_count; i++)
        if (span_equals(span_str(candidate->coolings[i].model), model))
            return &candidate->coolings[i];
    return NULL;
}

int64_t candidate_cools_until(const struct candidate *candidate, struct span model, int64_t now_ms)
{
    const struct cooling *cooling = find_cooling(candidate, model);
    return cooling && cooling->until_ms > now_ms ? cooling->until_ms : 0;
}

static void drop_ended(struct candidate *candidate, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < candidate->cooling_count; i++)
        if (candidate->coolings[i].until_ms > now_ms)
            candidate->coolings[kept++] = candidate->coolings[i];
    candidate->cooling_count = kept;
}

/* Room for one more: a new element, or at the limit the one that would end first. NULL: out of memory. */
static struct cooling *add_cooling(struct candidate *candidate)
{
    if (candidate->cooling_count == ROTATION_MAX_MODELS) {
        struct cooling *first = candidate->coolings;
        for (size_t i = 1; i < candidate->cooling_count; i++)
            if (candidate->coolings[i].until_ms < first->until_ms)
                first = &candidate->coolings[i];
        return first;
    }
    struct cooling *grown =
        realloc(candidate->coolings, (candidate->cooling_count + 1) * sizeof *candidate->coolings);
    if (!grown)
        return NULL;
    candidate->coolings = grown;
    return &grown[candidate->cooling_count++];
}

static void copy_clipped(char *to, size_t max_bytes, struct span text)
{
    size_t length = text.length < max_bytes ? text.length : max_bytes;
    if (length > 0)
        memcpy(to, text.data, length);
    to[length] = '\0';
}

/* Returns true if the model was not cooling before. */
static bool cool(struct candidate *candidate, struct span model, uint32_t retry_after_s, int64_t now_ms)
{
    int64_t length_ms = retry_after_s > 0 ? (int64_t)retry_after_s * 1000 : ROTATION_COOL_DEFAULT_MS;
    int64_t until_ms = now_ms + (length_ms < ROTATION_COOL_MAX_MS ? length_ms : ROTATION_COOL_MAX_MS);
    drop_ended(candidate, now_ms);
    struct cooling *cooling = find_cooling(candidate, model);
    bool is_new = !cooling;
    if (!is_new && cooling->until_ms >= until_ms)
        return false;
    if (is_new && !(cooling = add_cooling(candidate)))
        return false; /* out of memory: the next 429 says it again */
    if (is_new)
        copy_clipped(cooling->model, ROTATION_MODEL_MAX_BYTES, model);
    cooling->until_ms = until_ms;
    return is_new;
}

/* A worse verdict replaces a better one. Returns true if it did. */
static bool judge(struct candidate *candidate, enum credential_state verdict)
{
    _Static_assert(CREDENTIAL_READY < CREDENTIAL_EXHAUSTED && CREDENTIAL_EXHAUSTED < CREDENTIAL_EXPIRED &&
                       CREDENTIAL_EXPIRED < CREDENTIAL_NEEDS_LOGIN &&
                       CREDENTIAL_NEEDS_LOGIN < CREDENTIAL_DISABLED,
                   "states are ordered from good to bad");
    if (candidate->verdict >= verdict)
        return false;
    candidate->verdict = verdict;
    return true;
}

static bool exhaust(struct candidate *candidate, int64_t exhausted_ms, int64_t now_ms)
{
    bool is_new = candidate->verdict == CREDENTIAL_EXHAUSTED && candidate->exhausted_until_ms <= now_ms;
    is_new |= judge(candidate, CREDENTIAL_EXHAUSTED);
    if (candidate->verdict == CREDENTIAL_EXHAUSTED)
        candidate->exhausted_until_ms = now_ms + exhausted_ms;
    return is_new;
}

bool candidate_report(struct candidate *candidate, const struct rotation_report *report, int64_t exhausted_ms,
                      int64_t now_ms, struct span *model)
{
    bool is_known = report->generation != 0, changed = false;
    *model = span_of(NULL, 0);
    if (is_known && report->generation != candidate->fact.generation)
        return false; /* about a token that is no longer there */
    if (report->outcome == OUTCOME_RATE_LIMITED) {
        *model = report->model;
        changed = cool(candidate, report->model, report->retry_after_s, now_ms);
    } else if (report->outcome == OUTCOME_EXHAUSTED) {
        changed = exhaust(candidate, exhausted_ms, now_ms);
    } else if (report->outcome == OUTCOME_UNAUTHORIZED && is_known) {
        bool is_fresh = candidate->refreshed_ms != 0 && now_ms - candidate->refreshed_ms < ROTATION_FRESH_MS;
        bool can_help = candidate->fact.can_refresh && !is_fresh;
        changed = judge(candidate, can_help ? CREDENTIAL_EXPIRED : CREDENTIAL_NEEDS_LOGIN);
    } else if (report->outcome == OUTCOME_RISK_CONTROL) {
        changed = judge(candidate, CREDENTIAL_DISABLED);
    }
    if (changed && !candidate->is_off)
        copy_clipped(candidate->reason, ROTATION_REASON_MAX_BYTES, report->reason);
    return changed;
}

bool candidate_condemn(struct candidate *candidate, struct span reason)
{
    if (!judge(candidate, CREDENTIAL_NEEDS_LOGIN))
        return false;
    if (!candidate->is_off)
        copy_clipped(candidate->reason, ROTATION_REASON_MAX_BYTES, reason);
    return true;
}

bool candidate_move_return(struct candidate *candidate, int64_t seen_ms, int64_t until_ms)
{
    if (candidate->verdict != CREDENTIAL_EXHAUSTED || candidate->exhausted_until_ms != seen_ms)
        return false;
    candidate->exhausted_until_ms = until_ms;
    return true;
}

void candidate_switch(struct candidate *candidate, bool is_on, struct span reason)
{
    candidate->is_off = !is_on;
    copy_clipped(candidate->reason, ROTATION_REASON_MAX_BYTES, is_on ? span_of(NULL, 0) : reason);
    if (!is_on)
        return;
    candidate->cooling_count = 0;
    if (candidate->verdict == CREDENTIAL_EXHAUSTED || candidate->verdict == CREDENTIAL_DISABLED)
        candidate->verdict = CREDENTIAL_READY;
}

void candidate_recall(const struct candidate *candidate, struct rotation_memory *memory)
{
    *memory = (struct rotation_memory){.generation = candidate->fact.generation,
                                       .verdict = candidate->verdict,
                                       .is_off = candidate->is_off,
                                       .exhausted_until_ms = candidate->exhausted_until_ms,
                                       .reason = span_str(candidate->reason),
                                       .uses = candidate->uses,
                                       .cooling_count = candidate->cooling_count};
    for (size_t i = 0; i < candidate->cooling_count; i++)
        memory->coolings[i] = (struct rotation_cooling){span_str(candidate->coolings[i].model),
                                                        candidate->coolings[i].until_ms};
}

int candidate_restore(struct candidate *candidate, const struct rotation_memory *memory, int64_t now_ms)
{
    bool is_over =
        memory->verdict == CREDENTIAL_EXHAUSTED && memory->exhausted_until_ms <= now_ms && !memory->is_off;
    candidate->verdict = is_over ? CREDENTIAL_READY : memory->verdict;
    candidate->exhausted_until_ms = memory->exhausted_until_ms;
    candidate->is_off = memory->is_off;
    candidate->uses = memory->uses;
    copy_clipped(candidate->reason, ROTATION_REASON_MAX_BYTES, is_over ? span_of(NULL, 0) : memory->reason);
    candidate->cooling_count = 0;
    for (size_t i = 0; i < memory->cooling_count; i++) {
        const struct rotation_cooling *kept = &memory->coolings[i];
        if (kept->until_ms <= now_ms)
            continue;
        struct cooling *cooling = add_cooling(candidate);
        if (!cooling)
            return ERR_NOMEM;
        copy_clipped(cooling->model, ROTATION_MODEL_MAX_BYTES, kept->model);
        cooling->until_ms = kept->until_ms;
    }
    return 0;
}

void candidate_look(const struct candidate *candidate, const struct moment *moment,
                    struct rotation_view *view)
{
    *view = (struct rotation_view){.state = candidate_state(candidate, moment),
                                   .reason = span_str(candidate->reason),
                                   .in_flight = candidate->in_flight,
                                   .uses = candidate->uses,
                                   .is_off = candidate->is_off,
                                   .subject = candidate->fact.subject};
    if (view->state == CREDENTIAL_EXHAUSTED)
        view->until_ms = candidate->exhausted_until_ms;
    for (size_t i = 0; view->state <= CREDENTIAL_COOLING && i < candidate->cooling_count; i++)
        if (candidate->coolings[i].until_ms > moment->now_ms &&
            candidate->coolings[i].until_ms > view->until_ms) {
            view->state = CREDENTIAL_COOLING;
            view->until_ms = candidate->coolings[i].until_ms;
            view->model = span_str(candidate->coolings[i].model);
        }
    if (view->state == CREDENTIAL_READY)
        view->reason = span_of(NULL, 0);
}
