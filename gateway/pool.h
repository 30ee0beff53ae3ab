/* SPDX-License-Identifier: MIT */
/* pool - the workers that said HELLO to this gateway: who is there, who takes requests, who has how many.
 * Owned by completions; never blocks. */
#ifndef GATEWAY_POOL_H
#define GATEWAY_POOL_H

#include "proto/link.h"

struct completion;
struct pool;

struct worker {
    struct peer *peer;
    bool is_accepting;           /* READY said so */
    unsigned in_flight;          /* requests that this gateway gave it and that are not over */
    struct completion *assigned; /* completions' list of them */
    struct worker *prev, *next;
};

/* Each is called on the loop. */
struct pool_events {
    void (*available)(void *owner);                   /* a worker became ready for requests */
    void (*lost)(void *owner, struct worker *worker); /* it is gone, and its memory too when this returns */
    void (*frame)(void *owner, struct worker *worker, const struct frame *frame, const void *message);
};

/* Binds settings' gateway_bind, by default gateway-INSTANCE.sock in the run directory. Borrows events and
 * owner. Returns owned; NULL on failure (logged). */
struct pool *pool_new(struct service *service, const struct pool_events *events, void *owner);
/* Its link, for its counters. Borrowed. */
const struct link *pool_link(const struct pool *pool);
/* Calls lost() for each worker. NULL-safe. */
void pool_free(struct pool **pool);
/* The accepting worker with the fewest requests in flight, of equals the one that waited longest; `except`
 * (may be NULL) only if there is no other. NULL when nobody accepts. */
struct worker *pool_pick(struct pool *pool, const struct worker *except);
size_t pool_worker_count(const struct pool *pool);
size_t pool_accepting_count(const struct pool *pool);

#endif
