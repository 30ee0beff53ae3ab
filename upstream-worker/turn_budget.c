/* SPDX-License-Identifier: MIT */
#include "upstream-worker/turn_budget.h"

void turn_budget_begin(struct turn_budget *budget)
{
    budget->turn++;
    budget->taken_bytes = 0;
}

bool turn_budget_take(struct turn_budget *budget, struct turn_share *share, size_t bytes)
{
    if (share->turn != budget->turn)
        *share = (struct turn_share){.turn = budget->turn};
    if (share->taken_bytes >= TURN_SHARE_BYTES ||
        (share->taken_bytes >= TURN_LEAST_BYTES && budget->taken_bytes >= TURN_BYTES))
        return false;
    share->taken_bytes += bytes;
    budget->taken_bytes += bytes;
    return true;
}
