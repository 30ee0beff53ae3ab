/* SPDX-License-Identifier: MIT */
#include "proto/turn_budget.h"

void turn_budget_begin(struct turn_budget *budget)
{
    budget->turn++;
    budget->taken_bytes = 0;
}

static size_t rest_of(size_t limit_bytes, size_t taken_bytes)
{
    return taken_bytes < limit_bytes ? limit_bytes - taken_bytes : 0;
}

size_t turn_budget_left(const struct turn_budget *budget, const struct turn_share *share)
{
    size_t taken_bytes = share->turn == budget->turn ? share->taken_bytes : 0;
    size_t own_bytes = rest_of(budget->limits.share_bytes, taken_bytes);
    size_t all_bytes = rest_of(budget->limits.turn_bytes, budget->taken_bytes);
    size_t least_bytes = rest_of(budget->limits.least_bytes, taken_bytes);
    size_t left_bytes = own_bytes < all_bytes ? own_bytes : all_bytes;
    return left_bytes > least_bytes ? left_bytes : least_bytes;
}

void turn_budget_note(struct turn_budget *budget, struct turn_share *share, size_t bytes)
{
    if (share->turn != budget->turn)
        *share = (struct turn_share){.turn = budget->turn};
    share->taken_bytes += bytes;
    budget->taken_bytes += bytes;
}

bool turn_budget_take(struct turn_budget *budget, struct turn_share *share, size_t bytes)
{
    if (turn_budget_left(budget, share) == 0)
        return false;
    turn_budget_note(budget, share, bytes);
    return true;
}
