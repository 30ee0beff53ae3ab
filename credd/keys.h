/* SPDX-License-Identifier: MIT */
/* keys - the API keys: who made which, what each may do, and how much of that it does right now.
 *
 * A key is `cb-` and 43 base64url characters (32 random bytes), shown once; kept is its SHA-256, in
 * keys.json of the data directory (durable_file.h). Gateways compare hashes (keys_state); the limits hold
 * here, where every LEASE passes: models, requests in any 60 s (counted in seconds), requests in flight.
 * Time and randomness are passed in.
 *
 * What is not durable: requests in flight, which a restarted credd learns again from RENEW. Those begun in
 * the last 60 s are kept in key_paces.json, of keys with a limit for them, to the second: a credd that is
 * killed forgets those of its last second. Last use is kept to the minute. */
#ifndef CREDD_KEYS_H
#define CREDD_KEYS_H

#include "credd/key_rules.h"
#include "credd/rotation.h"
#include "proto/failure.h"
#include "proto/key_number.h"
#include "proto/message.h"

#define KEYS_FILE      "keys.json"
#define KEY_PACES_FILE "key_paces.json"

enum {
    KEYS_MAX = 1000,
    KEYS_FILE_MAX_BYTES = 800 << 10,    /* so that the list fits one REPLY */
    KEY_PACES_FILE_MAX_BYTES = 4 << 20, /* 1,000 keys, 60 seconds each */
    KEY_TEXT_BYTES = 47,                /* `cb-`, 43 characters, NUL */
    KEYS_RANDOM_BYTES = 40,
};

struct keys;
struct key;

/* Reads keys.json of `directory` (borrowed); a missing one is empty. Returns owned; NULL on failure (logged):
 * `*error` is ERR_CONFIG when the file cannot be understood; it is left alone then. Who owns it
 * writes the file, off the loop (office.h). */
struct keys *keys_open(const char *directory, int *error);
/* None may be in use. NULL-safe. */
void keys_close(struct keys **keys);

/* Changes are planned, written, settled, one at a time. Each plan appends the text that KEYS_FILE is to have;
 * nothing else changes until keys_settle. */

/* A key of `rules` (a JSON object, key_rules.h). `text` is the key itself: wipe it. Returns owned its
 * description as in keys_list; NULL with `*error`: ERR_INVALID (`problem`), ERR_TOO_LARGE (as many as there
 * may be), ERR_NOMEM. */
json_t *keys_plan_create(struct keys *keys, const json_t *rules,
                         const unsigned char random[KEYS_RANDOM_BYTES], int64_t wall_ms,
                         char text[KEY_TEXT_BYTES], struct field_problem *problem, int *error,
                         struct buffer *document);
/* That there is no such key. 0, ERR_NOT_FOUND, ERR_NOMEM. */
int keys_plan_revoke(struct keys *keys, struct span id, struct buffer *document);
/* When keys were last used. 0, ERR_NOT_FOUND (that is written already), ERR_NOMEM. */
int keys_plan_uses(struct keys *keys, struct buffer *document);
/* The planned text is durable: from now on it is so. Or it is not: nothing has changed. 0 or ERR_NOMEM (a new
 * key counts from the next start only). */
int keys_settle(struct keys *keys, bool is_durable);
/* [{id, name, models, rpm, max_in_flight, expires_at, created_at, last_used_at, in_flight, is_expired}],
 * oldest first; times in s, null for none. Returns owned, NULL when out of memory. */
json_t *keys_list(const struct keys *keys, int64_t wall_ms);
/* [{id, sha256, expires_at}] for gateways. Returns owned, NULL when out of memory. */
json_t *keys_state(const struct keys *keys);
size_t keys_count(const struct keys *keys);

/* Whether the asker of `lease` may have one: FAILURE_NONE with `*key` (NULL for one who has no limits, the
 * password), to be given back with keys_end; or why not, for which `message` and `*retry_after_s` are set
 * (`message`: static). A LEASE that excludes credentials goes on with a request that was counted. */
enum failure keys_begin(struct keys *keys, const struct msg_lease *lease, const struct moment *moment,
                        struct key **key, const char **message, uint32_t *retry_after_s);
/* A request in flight that an earlier incarnation let in, over the limit too. NULL if there is no such key
 * (any more), or for number 0. Pair with keys_end. */
struct key *keys_adopt(struct keys *keys, uint64_t number);
void keys_end(struct keys *keys, struct key *key); /* NULL-safe */

/* What limited keys began in the last 60 s, as KEY_PACES_FILE is to have it; beside the changes above, and
 * settled by itself: if it is not durable, it is news again. 0, ERR_NOT_FOUND (that is written already),
 * ERR_NOMEM. */
int keys_plan_paces(struct keys *keys, const struct moment *moment, struct buffer *document);
void keys_settle_paces(struct keys *keys, bool is_durable);
/* Takes KEY_PACES_FILE's text at a start. 0, or ERR_INVALID: what is not understood counts as nothing. */
int keys_restore_paces(struct keys *keys, struct span text, const struct moment *moment);

#endif
