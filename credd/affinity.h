/* SPDX-License-Identifier: MIT */
/* affinity - which credential a conversation used last, for an hour: the upstream's prompt cache is per
 * account. Pure; time passed in. Bounded: beyond AFFINITY_MAX_COUNT the longest unused is forgotten. */
#ifndef CREDD_AFFINITY_H
#define CREDD_AFFINITY_H

#include "proto/bytes.h"

enum {
    AFFINITY_TTL_MS = 3600 * 1000,
    AFFINITY_MAX_COUNT = 100000, /* about 12 MB */
};

struct affinity;
/* `seed`: 16 random bytes that key the hash of conversation ids, which clients choose. NULL: no memory. */
struct affinity *affinity_new(const unsigned char seed[16]);
void affinity_free(struct affinity **affinity);
/* The credential's number, 0 if there is none. */
uint32_t affinity_find(const struct affinity *affinity, struct span conversation, int64_t now_ms);
/* Remembers, or renews. Out of memory: forgotten, which costs a cache miss upstream and nothing else. */
void affinity_bind(struct affinity *affinity, struct span conversation, uint32_t number, int64_t now_ms);
size_t affinity_count(const struct affinity *affinity);

#endif
