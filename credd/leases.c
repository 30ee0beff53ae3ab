/* SPDX-License-Identifier: MIT */
#include "credd/leases.h"
#include "credd/broker.h"

#include <stdlib.h>
#include <utlist.h>

struct lease *leases_add(struct leases *leases, uint64_t number, uint64_t generation, int64_t now_ms)
{
    struct lease *lease = leases_count(leases) < BROKER_MAX_LEASES ? calloc(1, sizeof *lease) : NULL;
    if (!lease)
        return NULL;
    lease->number = number;
    lease->generation = generation;
    lease->expires_ms = now_ms + LEASE_TTL_MS;
    HASH_ADD(hh, leases->table, number, sizeof lease->number, lease);
    if (lease->is_lost) {
        free(lease);
        return NULL;
    }
    DL_APPEND(leases->soonest, lease);
    return lease;
}

struct lease *leases_find(const struct leases *leases, uint64_t number)
{
    struct lease *lease = NULL;
    HASH_FIND(hh, leases->table, &number, sizeof number, lease);
    return lease;
}

void leases_renew(struct leases *leases, struct lease *lease, int64_t now_ms)
{
    lease->expires_ms = now_ms + LEASE_TTL_MS;
    DL_DELETE(leases->soonest, lease);
    DL_APPEND(leases->soonest, lease);
}

void leases_remove(struct leases *leases, struct lease *lease)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(leases->table, lease);
    DL_DELETE(leases->soonest, lease);
    free(lease);
}

size_t leases_count(const struct leases *leases)
{
    return HASH_COUNT(leases->table);
}
