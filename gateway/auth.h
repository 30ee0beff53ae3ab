/* SPDX-License-Identifier: MIT */
/* auth - who may call (http-api.md, 1). Owned by the front; never blocks; reads no clock.
 *
 * There is one proof so far, the password: it opens everything. API keys will be another row of the same
 * decision: a `struct caller` with its own key id and `is_admin` false, found in the snapshot that credd
 * sends (FOLLOW, STATE); the routes already say what an admin must be for. */
#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include "gateway/head.h"
#include "proto/failure.h"
#include "proto/secret.h"

#include <sys/socket.h>

enum audience { AUDIENCE_ANYONE, AUDIENCE_CLIENT, AUDIENCE_ADMIN };

struct caller {
    const char *key_id; /* `password`; NULL for a caller who proved nothing */
    bool is_admin;
};

struct auth;

/* Borrows the password for its life. `random`: 16 bytes. Returns owned, NULL when out of memory. */
struct auth *auth_new(const struct secret *password, const unsigned char random[16]);
void auth_free(struct auth **auth);
/* Decides whether the sender of `head` belongs to the audience. FAILURE_NONE, with `*caller` filled;
 * UNAUTHENTICATED, INVALID_API_KEY, FORBIDDEN; or TOO_MANY_ATTEMPTS with `*retry_after_s`. A wrong proof is
 * counted against the address: ask once per request. */
enum failure auth_check(struct auth *auth, enum audience audience, const struct head *head,
                        const struct sockaddr *address, int64_t now_ms, struct caller *caller,
                        uint32_t *retry_after_s);

#endif
