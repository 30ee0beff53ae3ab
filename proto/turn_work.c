/* SPDX-License-Identifier: MIT */
#include "proto/turn_work.h"

#include <stdlib.h>
#include <utlist.h>

enum { MAX_ROUNDS = 3 };

struct deferred {
    void (*run)(void *context);
    void *context;
    struct deferred *next;
};

struct turn_hook {
    bool (*run)(void *context);
    void *context;
    bool removed; /* freed by the next end of turn: it may be running now */
    struct turn_hook *prev, *next;
};

void turn_work_init(struct turn_work *work)
{
    *work = (struct turn_work){.last = &work->first};
}

static bool run_hooks(struct turn_work *work)
{
    bool more = false;
    struct turn_hook *hook, *next;
    DL_FOREACH_SAFE (work->hooks, hook, next) {
        if (!hook->removed && hook->run(hook->context))
            more = true;
    }
    DL_FOREACH_SAFE (work->hooks, hook, next) {
        if (hook->removed) {
            DL_DELETE(work->hooks, hook);
            free(hook);
        }
    }
    return more;
}

/* Runs what was deferred before now; what that defers is for the next round. */
static bool run_deferred(struct turn_work *work)
{
    struct deferred *deferred = work->first;
    bool any = deferred != NULL;
    work->first = NULL;
    work->last = &work->first;
    while (deferred) {
        struct deferred *next = deferred->next;
        deferred->run(deferred->context);
        free(deferred);
        deferred = next;
    }
    return any;
}

bool turn_work_run(struct turn_work *work)
{
    bool more;
    int rounds = 0;
    do { /* deferred work may send, and so may what one hook received: links flush after it, in this turn */
        work->again = false;
        more = run_hooks(work);
    } while (run_deferred(work) || (work->again && ++rounds < MAX_ROUNDS));
    return more || work->again;
}

void turn_work_finish(struct turn_work *work)
{
    while (run_deferred(work))
        ;
    run_hooks(work);
}

void turn_work_defer(struct turn_work *work, void (*run)(void *context), void *context)
{
    struct deferred *deferred = malloc(sizeof *deferred);
    if (!deferred)
        abort(); /* a free that is forgotten, or done too early, would be worse */
    *deferred = (struct deferred){run, context, NULL};
    *work->last = deferred;
    work->last = &deferred->next;
}

struct turn_hook *turn_work_add_hook(struct turn_work *work, bool (*run)(void *context), void *context)
{
    struct turn_hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return NULL;
    hook->run = run;
    hook->context = context;
    DL_APPEND(work->hooks, hook);
    return hook;
}

void turn_work_remove_hook(struct turn_hook **hook)
{
    if (*hook)
        (*hook)->removed = true;
    *hook = NULL;
}

void turn_work_again(struct turn_work *work)
{
    work->again = true;
}
