/* SPDX-License-Identifier: MIT */
#include "credd/lease_refusal.h"

#include <assert.h>
#include <stdio.h>

static void fill(struct lease_refusal *refusal, enum failure failure, uint32_t retry_after_s,
                 const char *message)
{
    refusal->failure = failure;
    refusal->retry_after_s = retry_after_s;
    snprintf(refusal->message, sizeof refusal->message, "%s", message);
}

void lease_refusal_overloaded(struct lease_refusal *refusal)
{
    fill(refusal, FAILURE_OVERLOADED, 1, "Every usable credential serves as many requests as it may.");
}

static void fill_cooling(struct lease_refusal *refusal, const struct rotation_choice *choice, int64_t now_ms)
{
    int64_t wait_s = (choice->return_ms - now_ms + 999) / 1000;
    const char *what = "Every usable credential cools down for this model, or has used up its credits";
    if (!choice->is_cooling)
        what = "The credits of every usable credential are used up";
    else if (!choice->is_exhausted)
        what = "Every usable credential is cooling down for this model";
    refusal->failure = FAILURE_RATE_LIMITED;
    refusal->retry_after_s = wait_s < 1 ? 1 : (uint32_t)wait_s;
    snprintf(refusal->message, sizeof refusal->message, "%s; the first is back in %u s.", what,
             refusal->retry_after_s);
}

static bool is_there(const struct vault *vault, uint64_t id)
{
    for (size_t i = 0; i < vault_count(vault); i++)
        if (credential_id_value(span_str(vault_at(vault, i)->id)) == id)
            return true;
    return false;
}

/* Of credentials none of which is usable. */
static const char *why_none(const struct rotation *rotation, const struct moment *moment)
{
    bool seen[CREDENTIAL_STATE_COUNT] = {false};
    for (size_t i = 0; i < rotation_size(rotation); i++) {
        struct rotation_view view;
        rotation_look(rotation, i, moment, &view);
        seen[view.state] = true;
    }
    if (!seen[CREDENTIAL_EXPIRED] && !seen[CREDENTIAL_NEEDS_LOGIN])
        return "No credential is usable: each is disabled.";
    if (!seen[CREDENTIAL_EXPIRED] && !seen[CREDENTIAL_DISABLED])
        return "No credential is usable: each needs a new login.";
    if (!seen[CREDENTIAL_NEEDS_LOGIN] && !seen[CREDENTIAL_DISABLED])
        return "No credential is usable: each is expired.";
    return "No credential is usable: each is expired, disabled or needs a login.";
}

void lease_refusal_of(enum rotation_answer answer, const struct rotation_wish *wish,
                      const struct rotation_choice *choice, const struct vault *vault,
                      const struct rotation *rotation, const struct moment *moment,
                      struct lease_refusal *refusal)
{
    assert(answer != ROTATION_GRANTED && answer != ROTATION_BUSY);
    if (answer == ROTATION_COOLING)
        fill_cooling(refusal, choice, moment->now_ms);
    else if (answer == ROTATION_NOT_SERVED)
        fill(refusal, FAILURE_MODEL_NOT_FOUND, 0, "No upstream in use serves this model.");
    else if (answer == ROTATION_TRIED)
        fill(refusal, FAILURE_NO_CREDENTIAL, 0,
             wish->only ? "The upstream refused the credential." : "Every usable credential was tried.");
    else if (wish->only && !is_there(vault, wish->only))
        fill(refusal, FAILURE_NOT_FOUND, 0, "There is no such credential.");
    else if (wish->only)
        fill(refusal, FAILURE_NO_CREDENTIAL, 0, "The credential's file cannot be used; the list says why.");
    else if (vault_count(vault) == 0)
        fill(refusal, FAILURE_NO_CREDENTIAL, 0, "No credential is configured.");
    else
        fill(refusal, FAILURE_NO_CREDENTIAL, 0, why_none(rotation, moment));
}
