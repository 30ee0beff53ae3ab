/* SPDX-License-Identifier: MIT */
/* turn_budget - how many bytes of the upstreams one turn of the loop may take in.
 *
 * libcurl reads on as long as there is something to read, up to a hundred buffers a call: a few upstreams
 * that send faster than their events are handled would make turns so long that peers take the process for
 * hung. Every byte asks here, and is put off to the next turn if this one has enough.
 *
 * Each transfer may always take a little (its first buffer), so that none starves beside others and slow
 * streams, which have less, are never put off: a turn is TURN_BYTES + running transfers × TURN_LEAST_BYTES at
 * most. */
#ifndef UPSTREAM_WORKER_TURN_BUDGET_H
#define UPSTREAM_WORKER_TURN_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TURN_BYTES = 256 << 10,      /* all together: 1,300 events or 2 ms */
    TURN_SHARE_BYTES = 64 << 10, /* one of them */
    TURN_LEAST_BYTES = 8 << 10   /* one of them, whatever the others took */
};

/* Zeroed: the first turn. */
struct turn_budget {
    uint64_t turn;
    size_t taken_bytes;
};

/* What one transfer took in `turn`. Zeroed: nothing. */
struct turn_share {
    uint64_t turn;
    size_t taken_bytes;
};

void turn_budget_begin(struct turn_budget *budget); /* the next turn */
/* Takes `bytes` (one buffer of libcurl's, 16 KiB at most), or none: false, wait for the next turn. */
bool turn_budget_take(struct turn_budget *budget, struct turn_share *share, size_t bytes);

#endif
