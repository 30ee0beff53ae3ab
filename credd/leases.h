/* SPDX-License-Identifier: MIT */
/* leases - the leases that live: found by number, and in the order in which they end. Part of broker, which
 * says what a lease is. Pure: time is passed in. */
#ifndef CREDD_LEASES_H
#define CREDD_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(lease) ((lease)->is_lost = true)
#include <uthash.h>

struct lease {
    uint64_t number;
    uint64_t generation; /* of the token that was lent */
    void *ticket;        /* of who asked; NULL: none */
    uint64_t request;    /* hash of the request's id; 0: not known */
    int64_t expires_ms;
    bool is_lost; /* could not be put into the table */
    struct lease *prev, *next;
    UT_hash_handle hh;
};

struct leases { /* all zero: none */
    struct lease *table;
    struct lease *soonest; /* list by expires_ms: all live equally long, so the newest is last */
};

/* The number of the credential that it lends. */
static inline uint32_t lease_credential(uint64_t number)
{
    return (uint32_t)(number >> 32);
}

/* A new one of that number, which none may have; it lives LEASE_TTL_MS (broker.h). NULL: there are
 * BROKER_MAX_LEASES already, or out of memory. */
struct lease *leases_add(struct leases *leases, uint64_t number, uint64_t generation, int64_t now_ms);
struct lease *leases_find(const struct leases *leases, uint64_t number); /* NULL: there is none */
/* Lives LEASE_TTL_MS from now on. */
void leases_renew(struct leases *leases, struct lease *lease, int64_t now_ms);
void leases_remove(struct leases *leases, struct lease *lease); /* frees it */
size_t leases_count(const struct leases *leases);
/* The one that ends first; NULL: there is none. */
static inline struct lease *leases_soonest(const struct leases *leases)
{
    return leases->soonest;
}

#endif
