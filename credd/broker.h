/* SPDX-License-Identifier: MIT */
/* broker - lends the vault's credentials: leases, who waits for one, and when both end. Knows no sockets and
 * no clock: desk.h connects it to the workers. Never blocks.
 *
 * A lease is a credential in use by one request. It ends with RELEASE, or LEASE_TTL_MS after its grant or
 * last RENEW. Its number has the credential's number in the upper 32 bits, so a restarted broker, which
 * knows no lease, learns each live one, and whose it is, from the first RENEW that names it: workers send one
 * as soon as they are connected. A worker that is lost keeps its leases for their life: it may only have
 * reconnected.
 *
 * A request that was refused as UNAUTHORIZED excludes that credential when it asks again. Once, that is not
 * held against a credential whose token has changed since, or is being refreshed.
 *
 * When every credential that could serve is at its limit a LEASE waits, first come first served, until one
 * ends or the asker's patience does. Waiters are forgotten when their worker goes. */
#ifndef CREDD_BROKER_H
#define CREDD_BROKER_H

#include "credd/rotation.h"
#include "credd/vault.h"
#include "proto/failure.h"
#include "proto/message.h"

enum {
    LEASE_TTL_MS = 10000,
    BROKER_MAX_LEASES = 1 << 21, /* some 150 bytes each */
    BROKER_MAX_WAITERS = 10000,
    BROKER_MAX_WAIT_MS = 60000,
    BROKER_WAIT_TICK_MS = 100, /* while any wait: cooling times that end are noticed this soon */
};

/* How answers leave. `worker` and `ticket` are what broker_lease was given. */
struct broker_answers {
    int (*grant)(void *owner, void *worker, uint64_t request, const struct msg_grant *grant);
    void (*refuse)(void *owner, void *worker, uint64_t request, const struct msg_refuse *refuse);
    /* What broker_lease began is over: refused, forgotten, or its lease has ended. Not for a NULL ticket. */
    void (*ended)(void *owner, void *ticket);
    /* A lease was learned from RENEW that the API key of this number (key_number.h; 0: none) has: its ticket,
     * or NULL. */
    void *(*adopted)(void *owner, uint64_t key);
};

struct broker;
/* Borrows vault, answers and owner. `seed`: 20 random bytes. Returns owned, NULL when out of memory. */
struct broker *broker_new(const struct vault *vault, const struct rotation_rules *rules,
                          const struct broker_answers *answers, void *owner, const unsigned char seed[20]);
void broker_free(struct broker **broker); /* answers nobody */
/* Call after vault_scan returned true, before anything else. Out of memory (logged): the old credentials are
 * withdrawn, and true is returned: call it again soon. */
bool broker_sync(struct broker *broker, const struct moment *moment);

/* Each may answer others too, that waited. `ticket` (may be NULL) comes back with answers->ended, once. */
void broker_lease(struct broker *broker, void *worker, uint64_t request, const struct msg_lease *lease,
                  void *ticket, const struct moment *moment);
/* 0 or ERR_INVALID (nothing was renewed). */
int broker_renew(struct broker *broker, const struct msg_renew *renew, const struct moment *moment);
void broker_release(struct broker *broker, const struct msg_release *release, const struct moment *moment);
void broker_forget_worker(struct broker *broker, const void *worker);
/* Serves those that wait, as far as it goes. Once per turn is enough. */
void broker_pump(struct broker *broker, const struct moment *moment);
/* Ends what is over, then pumps. */
void broker_tick(struct broker *broker, const struct moment *moment);
/* When broker_tick is needed next; INT64_MAX: not before the next call. */
int64_t broker_next_due_ms(const struct broker *broker, int64_t now_ms);

struct broker_counters {
    uint64_t granted;
    uint64_t refused[FAILURE_COUNT];
    uint64_t released[OUTCOME_COUNT];
    uint64_t expired;         /* leases that ended by themselves */
    uint64_t adopted;         /* learned from RENEW */
    uint64_t released_unlent; /* RELEASE of a lease that is not known (any more) */
};
const struct broker_counters *broker_counters(const struct broker *broker);
size_t broker_lease_count(const struct broker *broker);
size_t broker_waiter_count(const struct broker *broker);
/* For gauges and the admin API; who changes it calls broker_pump before the turn ends. */
struct rotation *broker_rotation(const struct broker *broker);

#endif
