/* SPDX-License-Identifier: MIT */
/* A timer wheel with ticks of one millisecond: 10,000 slow streams mean 200,000 timers a second, each
 * added and fired in constant time, and all that fall into one tick cost one wake-up.
 *
 * Pure: the time is passed in (monotonic microseconds). A timer never fires early; it fires at most one
 * tick late plus what the caller is late. Timers are embedded in their owners (borrowed while added). */
#ifndef UPSTREAM_WHEEL_H
#define UPSTREAM_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_US    1000
#define WHEEL_SLOT_COUNT 4096 /* power of two; longer waits go round more than once */

/* All zero: not added. */
struct wheel_timer {
    struct wheel_timer *prev, *next; /* utlist's */
    int64_t tick;
    bool added;
};

struct wheel {
    struct wheel_timer *slots[WHEEL_SLOT_COUNT];
    uint64_t used[WHEEL_SLOT_COUNT / 64]; /* a bit per slot that holds timers */
    int64_t tick;                         /* every timer of this tick and before has fired */
    unsigned count;
};

void wheel_init(struct wheel *wheel, int64_t now_us);
/* Adds timer, which must not be added, to fire at due_us (at once if that is past). */
void wheel_add(struct wheel *wheel, struct wheel_timer *timer, int64_t due_us);
/* Removes timer if it is added. */
void wheel_remove(struct wheel *wheel, struct wheel_timer *timer);
/* Takes out and returns one timer that is due at now_us, NULL when there is none left. */
struct wheel_timer *wheel_take_due(struct wheel *wheel, int64_t now_us);
/* Microseconds from now_us until wheel_take_due may have something; -1: no timer at all. Looks one turn
 * of the wheel ahead, so it may be early for long waits, never late. */
int64_t wheel_until_next_us(const struct wheel *wheel, int64_t now_us);

#endif
