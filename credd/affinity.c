/* SPDX-License-Identifier: MIT */
#include "credd/affinity.h"

#include <sodium.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->is_lost = true)
#include <uthash.h>
#include <utlist.h>

struct bond {
    uint64_t conversation; /* SipHash of the id: two that collide share a credential, which is harmless */
    int64_t used_ms;
    uint32_t number;
    bool is_lost; /* could not be put into the table */
    struct bond *prev, *next;
    UT_hash_handle hh;
};

struct affinity {
    unsigned char key[crypto_shorthash_KEYBYTES];
    struct bond *table;
    struct bond *oldest; /* list in order of use */
};

_Static_assert(crypto_shorthash_KEYBYTES == 16, "the seed is the key");

struct affinity *affinity_new(const unsigned char seed[16])
{
    struct affinity *affinity = calloc(1, sizeof *affinity);
    if (affinity)
        memcpy(affinity->key, seed, sizeof affinity->key);
    return affinity;
}

static void bond_forget(struct affinity *affinity, struct bond *bond)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(affinity->table, bond);
    DL_DELETE(affinity->oldest, bond);
    free(bond);
}

void affinity_free(struct affinity **affinity)
{
    if (!*affinity)
        return;
    while ((*affinity)->oldest)
        bond_forget(*affinity, (*affinity)->oldest);
    free(*affinity);
    *affinity = NULL;
}

static struct bond *find_bond(const struct affinity *affinity, struct span conversation, uint64_t *hash)
{
    unsigned char out[crypto_shorthash_BYTES];
    struct bond *bond = NULL;
    crypto_shorthash(out, (const unsigned char *)conversation.data, conversation.length, affinity->key);
    memcpy(hash, out, sizeof *hash);
    HASH_FIND(hh, affinity->table, hash, sizeof *hash, bond);
    return bond;
}

uint32_t affinity_find(const struct affinity *affinity, struct span conversation, int64_t now_ms)
{
    uint64_t hash;
    const struct bond *bond = find_bond(affinity, conversation, &hash);
    return bond && now_ms - bond->used_ms < AFFINITY_TTL_MS ? bond->number : 0;
}

static void forget_old(struct affinity *affinity, int64_t now_ms)
{
    while (affinity->oldest && (now_ms - affinity->oldest->used_ms >= AFFINITY_TTL_MS ||
                                HASH_COUNT(affinity->table) > AFFINITY_MAX_COUNT))
        bond_forget(affinity, affinity->oldest);
}

void affinity_bind(struct affinity *affinity, struct span conversation, uint32_t number, int64_t now_ms)
{
    uint64_t hash;
    struct bond *bond = find_bond(affinity, conversation, &hash);
    if (bond) {
        DL_DELETE(affinity->oldest, bond);
    } else {
        bond = calloc(1, sizeof *bond);
        if (!bond)
            return;
        bond->conversation = hash;
        HASH_ADD(hh, affinity->table, conversation, sizeof bond->conversation, bond);
        if (bond->is_lost) {
            free(bond);
            return;
        }
    }
    bond->number = number;
    bond->used_ms = now_ms;
    DL_APPEND(affinity->oldest, bond);
    forget_old(affinity, now_ms);
}

size_t affinity_count(const struct affinity *affinity)
{
    return HASH_COUNT(affinity->table);
}
