/* SPDX-License-Identifier: MIT */
/* refresher - new tokens for old: ahead of their end, when one was refused, and when a person asks. Owned by
 * desk; never blocks but to read one small file.
 *
 * A credential with a refresh token is due a day before it expires, or half its life if that is shorter, and
 * at once when it is `expired`; not when it is disabled or needs a login. One refresh per credential at a
 * time, REFRESH_AT_ONCE in all. Of each:
 *
 *     IDLE     → ASKING   due, or asked for, and not backing off
 *     ASKING   → WRITING  the upstream gave a token
 *              → IDLE     12153: needs_login; other trouble: backing off; the file went: forgotten
 *     WRITING  → IDLE     durable: only now the token is used; or the file went, or has another token: ours
 *                         is dropped, a person's decision wins
 *              → WRITING  it could not be written: the token is kept, and tried again after a back-off
 *
 * The back-off doubles from REFRESH_BACKOFF_MS to REFRESH_BACKOFF_MAX_MS. */
#ifndef CREDD_REFRESHER_H
#define CREDD_REFRESHER_H

#include "credd/broker.h"
#include "credd/calls.h"
#include "credd/file_maker.h"
#include "credd/http_call.h"
#include "credd/quotas.h"

enum {
    REFRESH_AHEAD_MS = 24 * 3600 * 1000,
    REFRESH_AT_ONCE = 8,
    REFRESH_BACKOFF_MS = 5000,
    REFRESH_BACKOFF_MAX_MS = 10 * 60 * 1000,
};

struct refresher;
struct refresher_parts {
    const struct sites *sites;
    const struct vault *vault;
    struct broker *broker;
    struct file_maker *maker;
    struct http_calls *http;
    struct quotas *quotas;
    void (*rescan)(void *owner); /* the files changed: looks at them at once */
    void *owner;
};
struct refresher_counters {
    uint64_t refreshed, failed, needs_login;
};

/* Borrows all parts. Adds `credentials.refresh` to `calls`. Returns owned, NULL when out of memory. */
struct refresher *refresher_new(struct calls *calls, const struct refresher_parts *parts);
/* The file_maker must be gone; who waits is answered. NULL-safe. */
void refresher_free(struct refresher **refresher);
/* Starts what is due. Call once a second, and at once after an UNAUTHORIZED. */
void refresher_tick(struct refresher *refresher);
/* Whether a token is on its way that would be lost with the process. */
bool refresher_is_busy(const struct refresher *refresher);
const struct refresher_counters *refresher_counters(const struct refresher *refresher);

/* When a token should be refreshed; INT64_MAX if it has no known end. Pure. */
int64_t refresh_due_wall_ms(const struct credential_file *file);

#endif
