/* SPDX-License-Identifier: MIT */
/* follow - keeps a process as credd says it should be: its own connection to credd, FOLLOW whenever that is
 * up, and each STATE taken over. Never blocks.
 *
 * STATE's body: {"settings":{"CODEBUDDY_X":text}, and, for gateways only, "keys":[{"id","sha256",
 * "expires_at"}], "session_key":hex}. A STATE whose settings this process cannot take (another version, or
 * it disagrees with its own environment) is logged and its settings left out; the rest counts all the same:
 * a revoked key must die. While credd is away the last STATE holds. */
#ifndef PROTO_FOLLOW_H
#define PROTO_FOLLOW_H

#include "proto/link.h"
#include "proto/live.h"

struct follow;

/* Borrows `live` and context. `taken` (may be NULL) is called on the loop once `live` was brought up to date;
 * it borrows `state`. Returns owned; NULL on failure (logged). */
struct follow *follow_new(struct service *service, struct live *live,
                          void (*taken)(void *context, const json_t *state), void *context);
void follow_free(struct follow **follow); /* NULL-safe */
/* Its link, for its counters. Borrowed. */
const struct link *follow_link(const struct follow *follow);

#endif
