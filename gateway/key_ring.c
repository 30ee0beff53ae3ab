/* SPDX-License-Identifier: MIT */
#include "gateway/key_ring.h"

#include <sodium.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->is_lost = true)
#include <uthash.h>

struct entry {
    unsigned char sha256[crypto_hash_sha256_BYTES];
    char id[KEY_ID_MAX_BYTES + 1];
    int64_t expires_at_s; /* 0: never */
    bool is_lost;         /* could not be put into the table */
    UT_hash_handle hh;
};

struct key_ring {
    struct entry *table; /* by hash: who could steer it to a place would have to know a key */
};

static struct entry *entry_new(const json_t *key)
{
    const char *id = json_string_value(json_object_get(key, "id"));
    const json_t *hash = json_object_get(key, "sha256");
    size_t length = 0;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry || !id || strlen(id) > KEY_ID_MAX_BYTES || !json_is_string(hash) ||
        sodium_hex2bin(entry->sha256, sizeof entry->sha256, json_string_value(hash), json_string_length(hash),
                       NULL, &length, NULL) != 0 ||
        length != sizeof entry->sha256) {
        free(entry);
        return NULL;
    }
    memcpy(entry->id, id, strlen(id) + 1);
    entry->expires_at_s = json_integer_value(json_object_get(key, "expires_at"));
    return entry;
}

static void add(struct key_ring *ring, struct entry *entry)
{
    struct entry *same = NULL;
    HASH_FIND(hh, ring->table, entry->sha256, sizeof entry->sha256, same);
    if (!same)
        HASH_ADD_KEYPTR(hh, ring->table, entry->sha256, sizeof entry->sha256, entry);
    if (same || entry->is_lost)
        free(entry);
}

struct key_ring *key_ring_new(const json_t *keys)
{
    size_t i;
    json_t *key;
    struct key_ring *ring = calloc(1, sizeof *ring);
    json_array_foreach (keys, i, key) {
        struct entry *entry = ring ? entry_new(key) : NULL;
        if (entry)
            add(ring, entry);
    }
    return ring;
}

void key_ring_free(struct key_ring **ring_pointer)
{
    struct key_ring *ring = *ring_pointer;
    *ring_pointer = NULL;
    if (!ring)
        return;
    for (struct entry *next, *entry = ring->table; entry; entry = next) {
        next = entry->hh.next;
        /* The analyzer does not know that what is in a table has the table. */
        /* NOLINTNEXTLINE(clang-analyzer-*) */
        HASH_DEL(ring->table, entry);
        free(entry);
    }
    free(ring);
}

const char *key_ring_find(const struct key_ring *ring, struct span text, int64_t wall_ms)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct entry *entry = NULL;
    crypto_hash_sha256(hash, (const unsigned char *)text.data, text.length);
    HASH_FIND(hh, ring->table, hash, sizeof hash, entry);
    if (!entry || (entry->expires_at_s && entry->expires_at_s <= wall_ms / 1000))
        return NULL;
    return entry->id;
}
