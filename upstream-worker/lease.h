/* SPDX-License-Identifier: MIT */
/* lease - this worker's side of borrowing credentials from credd: asking, renewing, giving back.
 *
 * A `struct lease` is one credential on loan, or the wish for one; it is embedded in whoever uses it.
 *
 *     state    | granted  | refused | credd away | LEASE_WAIT_MS over | lease_give_back
 *     NONE     |          |         |            |                    |
 *     ASKING   | → HELD   | → NONE  | waits      | → NONE, refused    | → NONE (a late grant: back at once)
 *     HELD     |          |         | kept       |                    | → NONE, RELEASE is sent
 *
 * When credd comes back every lease held is renewed (so a restarted credd learns of it, and of whose it is)
 * and every question is asked again. Leases are renewed each third of their life, all in one message.
 * Callbacks run on the loop, never inside lease_ask. */
#ifndef UPSTREAM_WORKER_LEASE_H
#define UPSTREAM_WORKER_LEASE_H

#include "proto/link.h"
#include "proto/outcome.h"

enum { LEASE_WAIT_MS = 5000 /* for credd's answer, also while credd is away (design.md) */ };

enum lease_state { LEASE_NONE, LEASE_ASKING, LEASE_HELD };

struct lease;

struct lease_handlers {
    /* `grant` (with the token) is valid during the call only. */
    void (*granted)(void *owner, struct lease *lease, const struct msg_grant *grant);
    /* Also called with FAILURE_UNAVAILABLE when no answer came in time. */
    void (*refused)(void *owner, struct lease *lease, const struct msg_refuse *refuse);
};

/* Members are the module's own; `state` may be read. All zero is LEASE_NONE. */
struct lease {
    enum lease_state state;
    uint64_t ticket; /* our number of the question */
    uint64_t number; /* credd's number of the lease */
    uint64_t key;    /* key_number of who asked */
    int64_t give_up_ms;
    struct msg_lease ask;
    const struct lease_handlers *handlers;
    void *owner;
    struct lease *prev, *next; /* in the list of its state */
};

struct leases;

/* Connects to credd. Returns owned; NULL on failure (logged). */
struct leases *leases_new(struct service *service, const char *credd_endpoint);
/* Every lease must be NONE. NULL-safe. */
void leases_free(struct leases **leases);

/* Asks for a credential; `lease` must be NONE. Borrows the spans of `ask` until the answer; `now_ms` is the
 * loop's time (uv_now). */
void lease_ask(struct leases *leases, struct lease *lease, const struct msg_lease *ask,
               const struct lease_handlers *handlers, void *owner, int64_t now_ms);
/* Ends a lease or a question in any state. `release` says how it went (its lease number is filled in here).
 */
void lease_give_back(struct leases *leases, struct lease *lease, struct msg_release release);
/* Refuses the questions whose time is over. Call every few 100 ms. */
void leases_tick(struct leases *leases, int64_t now_ms);
size_t leases_held_count(const struct leases *leases);
const struct link *leases_link(const struct leases *leases); /* for its counters */

#endif
