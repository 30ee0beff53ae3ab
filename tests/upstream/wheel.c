/* SPDX-License-Identifier: MIT */
#include "tests/upstream/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <utlist.h>

static unsigned slot_of(int64_t tick)
{
    return (unsigned)((uint64_t)tick & (WHEEL_SLOT_COUNT - 1));
}

void wheel_init(struct wheel *wheel, int64_t now_us)
{
    memset(wheel, 0, sizeof(*wheel));
    wheel->tick = now_us / WHEEL_TICK_US;
}

void wheel_add(struct wheel *wheel, struct wheel_timer *timer, int64_t due_us)
{
    int64_t tick = (due_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US;
    unsigned slot;

    assert(!timer->added);
    if (tick <= wheel->tick) /* past ticks are not looked at again */
        tick = wheel->tick + 1;
    slot = slot_of(tick);
    timer->tick = tick;
    timer->added = true;
    DL_APPEND(wheel->slots[slot], timer);
    wheel->used[slot / 64] |= UINT64_C(1) << (slot % 64);
    wheel->count++;
}

void wheel_remove(struct wheel *wheel, struct wheel_timer *timer)
{
    unsigned slot;

    if (!timer->added)
        return;
    slot = slot_of(timer->tick);
    DL_DELETE(wheel->slots[slot], timer);
    if (!wheel->slots[slot])
        wheel->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    timer->added = false;
    wheel->count--;
}

struct wheel_timer *wheel_take_due(struct wheel *wheel, int64_t now_us)
{
    int64_t now_tick = now_us / WHEEL_TICK_US;

    while (wheel->tick < now_tick) {
        struct wheel_timer *timer;

        if (wheel->count == 0) {
            wheel->tick = now_tick;
            return NULL;
        }
        DL_FOREACH (wheel->slots[slot_of(wheel->tick + 1)], timer) {
            if (timer->tick > wheel->tick + 1)
                continue; /* a later turn of the wheel */
            wheel_remove(wheel, timer);
            return timer;
        }
        wheel->tick++;
    }
    return NULL;
}

int64_t wheel_until_next_us(const struct wheel *wheel, int64_t now_us)
{
    int64_t tick = wheel->tick + 1;
    int64_t end = tick + WHEEL_SLOT_COUNT;
    int64_t wait_us;

    if (wheel->count == 0)
        return -1;
    while (tick < end) {
        unsigned slot = slot_of(tick);
        uint64_t word = wheel->used[slot / 64] >> (slot % 64);

        if (word) {
            tick += __builtin_ctzll(word);
            break;
        }
        tick += 64 - slot % 64;
    }
    wait_us = tick * WHEEL_TICK_US - now_us;
    return wait_us > 0 ? wait_us : 0;
}
