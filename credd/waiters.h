/* SPDX-License-Identifier: MIT */
/* waiters - the queue of LEASEs that found every credential busy. First come, first served. Part of broker.
 */
#ifndef CREDD_WAITERS_H
#define CREDD_WAITERS_H

#include "credd/rotation.h"

enum { WAITER_MAX_EXCLUDED = 128 }; /* LEASE's exclude list holds 120 ids at most */

struct waiter {
    void *worker;
    uint64_t request;
    uint64_t request_hash; /* of the request's id, the same each time it asks */
    void *ticket;          /* broker_lease's */
    int64_t deadline_ms;
    struct rotation_wish wish; /* in the queue: points into the waiter's own memory */
    struct waiter *prev, *next;
};

struct waiters {
    struct waiter *list;
    size_t count;
};

/* Appends a copy. 0 or ERR_NOMEM. */
int waiters_append(struct waiters *waiters, const struct waiter *waiter);
void waiters_remove(struct waiters *waiters, struct waiter *waiter); /* frees it */
static inline size_t waiters_count(const struct waiters *waiters)
{
    return waiters->count;
}
static inline struct waiter *waiters_first(const struct waiters *waiters)
{
    return waiters->list;
}
static inline struct waiter *waiters_next(const struct waiter *waiter)
{
    return waiter->next;
}

#endif
