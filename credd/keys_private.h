/* SPDX-License-Identifier: MIT */
/* keys_private - what keys.c (which keys there are, and their file) and key_use.c (what they do right now)
 * share. */
#ifndef CREDD_KEYS_PRIVATE_H
#define CREDD_KEYS_PRIVATE_H

#include "credd/key_pace.h"
#include "credd/keys.h"

#include <sodium.h>

#define HASH_NONFATAL_OOM        1
#define uthash_nonfatal_oom(key) ((key)->is_lost = true)
#include <uthash.h>

enum { KEY_HASH_HEX_BYTES = 2 * crypto_hash_sha256_BYTES + 1 };

struct key {
    char id[KEY_ID_BYTES];
    char sha256[KEY_HASH_HEX_BYTES];
    struct key_rules rules;
    int64_t created_at_s, last_used_at_s;
    uint64_t in_flight;
    struct key_pace pace;
    bool is_lost;    /* could not be put into the table */
    bool is_revoked; /* out of the table; freed when its last request ends */
    UT_hash_handle hh;
};

struct keys {
    const char *directory;
    struct key *table; /* by id, in order of making */
    bool is_use_news;  /* a last use is not written down */
    bool is_pace_news; /* a request that counts per minute is not */
    /* The change that is being written: at most one of these. */
    struct key *added;   /* not in the table yet */
    struct key *removed; /* still there */
    bool are_uses;
};

/* NULL: there is none. */
struct key *keys_find(const struct keys *keys, struct span id);
void key_free(struct key *key);

#endif
