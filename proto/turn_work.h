/* SPDX-License-Identifier: MIT */
/* turn_work - what runs at the end of each turn of a service's loop: hooks, each time, and what was deferred,
 * once. Knows no loop. Internal to service; what it promises to others is said in service.h. */
#ifndef PROTO_TURN_WORK_H
#define PROTO_TURN_WORK_H

#include <stdbool.h>

struct turn_hook;
struct deferred;

struct turn_work {
    struct turn_hook *hooks;
    struct deferred *first, **last; /* in order of calls */
    bool again;                     /* a hook has made work for another that may have run already */
};

void turn_work_init(struct turn_work *work);
/* Runs it all. Returns true if there is more to do at once: the loop must not sleep. */
bool turn_work_run(struct turn_work *work);
/* Runs deferred work until none is left, then the hooks once; frees those that were removed. */
void turn_work_finish(struct turn_work *work);

/* As service_defer, service_at_turn_end, service_remove_hook and service_turn_again. */
void turn_work_defer(struct turn_work *work, void (*run)(void *context), void *context);
struct turn_hook *turn_work_add_hook(struct turn_work *work, bool (*run)(void *context), void *context);
void turn_work_remove_hook(struct turn_hook **hook);
void turn_work_again(struct turn_work *work);

#endif
