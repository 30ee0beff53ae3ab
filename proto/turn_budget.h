/* SPDX-License-Identifier: MIT */
/* turn_budget - how many bytes one turn of a loop may take in from those who send. Pure.
 *
 * libuv and libcurl read on as long as there is something to read: a few who send faster than it is handled
 * would make turns so long that everybody else waits, and that peers take the process for hung. So whoever
 * reads asks here, and puts off to the next turn what is too much for this one.
 *
 * Each sender may always take a little, so that none starves beside others and slow ones, who have less, are
 * never put off: a turn is turn_bytes + senders × least_bytes at most. */
#ifndef PROTO_TURN_BUDGET_H
#define PROTO_TURN_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct turn_limits {
    size_t turn_bytes;  /* of all together */
    size_t share_bytes; /* of one */
    size_t least_bytes; /* of one, whatever the others took; at most a share */
};

/* Zero but for the limits: the first turn. */
struct turn_budget {
    struct turn_limits limits;
    uint64_t turn;
    size_t taken_bytes;
};

/* What one sender took in `turn`. Zeroed: nothing. */
struct turn_share {
    uint64_t turn;
    size_t taken_bytes;
};

void turn_budget_begin(struct turn_budget *budget); /* the next turn */
/* How many bytes this one may still take in this turn. 0: wait for the next one. */
size_t turn_budget_left(const struct turn_budget *budget, const struct turn_share *share);
/* It took so many; may be more than were left. */
void turn_budget_note(struct turn_budget *budget, struct turn_share *share, size_t bytes);
/* Takes `bytes`, which cannot be split, if any are left; false: none taken, wait for the next turn. */
bool turn_budget_take(struct turn_budget *budget, struct turn_share *share, size_t bytes);

#endif
