/* SPDX-License-Identifier: MIT */
/* auth - who may call (http-api.md, 1). Owned by the front; never blocks; reads no clock.
 *
 *   proof                                  | is                  | opens
 *   Authorization: Bearer, or x-api-key    | the password        | everything
 *                                          | an API key          | the model API
 *   the session cookie of POST /api/login  | a login             | everything, from pages of our own origin
 *
 * API keys and the key that signs sessions come with credd's STATE; until the first, keys and cookies are
 * answered UNAVAILABLE and nobody can log in. */
#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include "gateway/head.h"
#include "gateway/key_ring.h"
#include "gateway/session.h"
#include "proto/failure.h"

#include <sys/socket.h>

enum audience { AUDIENCE_ANYONE, AUDIENCE_CLIENT, AUDIENCE_ADMIN };

struct caller {
    char key_id[KEY_ID_MAX_BYTES + 1]; /* of an API key, or `password`; "" for one who proved nothing */
    bool is_admin;
    bool has_session; /* by cookie */
};

/* When and where from a request comes. */
struct auth_moment {
    const struct sockaddr *address;
    int64_t now_ms, wall_ms;
};

struct auth;

/* Borrows the password for its life. `random`: 16 bytes. Returns owned, NULL when out of memory. */
struct auth *auth_new(const struct secret *password, const unsigned char random[16]);
void auth_free(struct auth **auth);
/* Takes `keys` and `session_key` of a STATE: what it does not name is refused from now on. */
void auth_take_state(struct auth *auth, const json_t *state);
/* Decides whether the sender of `head` belongs to the audience. FAILURE_NONE, with `*caller` filled;
 * UNAUTHENTICATED, INVALID_API_KEY, FORBIDDEN, CROSS_SITE; or TOO_MANY_ATTEMPTS, UNAVAILABLE with
 * `*retry_after_s`. A wrong proof is counted against the address: ask once per request. */
enum failure auth_check(struct auth *auth, enum audience audience, const struct head *head,
                        const struct auth_moment *moment, struct caller *caller, uint32_t *retry_after_s);
/* Until when the session of head's cookie is good, in s since 1970; 0: it has none that is. UNAVAILABLE, with
 * `*retry_after_s`, while credd has not said the key that signs. */
enum failure auth_find_session(const struct auth *auth, const struct head *head, int64_t wall_ms,
                               int64_t *until_s, uint32_t *retry_after_s);
/* Whether a session that was let in is still one: its time may be over, or the key or password new. */
bool auth_session_holds(const struct auth *auth, struct span token, int64_t wall_ms);
/* Whether a page of another origin made a browser send this: Sec-Fetch-Site says so, or Origin names another
 * host than Host. `needs_proof`: also when neither is there to say it did not. */
bool auth_is_cross_site(const struct head *head, bool needs_proof);
/* Trades the password for a session's token, with `random` of SESSION_RANDOM_BYTES. As auth_check;
 * UNAVAILABLE while credd has not said the key that signs. */
enum failure auth_log_in(struct auth *auth, struct span password, const struct auth_moment *moment,
                         const unsigned char *random, char token[SESSION_TOKEN_BYTES],
                         uint32_t *retry_after_s);

#endif
