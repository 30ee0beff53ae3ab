/* SPDX-License-Identifier: MIT */
/* logins - logging in at the upstream on behalf of a person: auth.start, auth.poll, auth.cancel (README.md).
 * Owned by desk; never blocks.
 *
 * A login is known to the outside by a random number of ours; the upstream's state and the tokens never leave
 * here. At most LOGINS_MAX are open, for LOGIN_LIFE_MS each. Of each:
 *
 *     STARTING → OPEN     the upstream gave a state and a URL that is fit to send a person to
 *              → gone     it did not
 *     OPEN     → ASKING   polled
 *     ASKING   → OPEN     not done yet, or trouble on the way
 *              → SAVING   done: there are tokens
 *              → gone     refused for good
 *     SAVING   → gone     the credential's file is there: a login is used once
 *              → HOLDING  it could not be written: the next poll tries again
 *     HOLDING  → SAVING   polled
 *
 * Any of them is gone when cancelled or over. */
#ifndef CREDD_LOGINS_H
#define CREDD_LOGINS_H

#include "credd/calls.h"
#include "credd/file_maker.h"
#include "credd/http_call.h"

enum { LOGINS_MAX = 3, LOGIN_LIFE_MS = 30 * 60 * 1000, LOGIN_INTERVAL_S = 5 };

struct logins;
struct logins_parts {
    const struct sites *sites;
    struct file_maker *maker;
    struct http_calls *http;
    void (*rescan)(void *owner); /* the files changed: looks at them at once */
    void *owner;
};

/* Borrows all parts. Adds the methods to `calls`. Returns owned, NULL when out of memory. */
struct logins *logins_new(struct calls *calls, const struct logins_parts *parts);
/* The file_maker must be gone; who waits is answered. NULL-safe. */
void logins_free(struct logins **logins);

/* Whether a person may be sent to this URL: absolute, https, a host, no user name, nothing unprintable. Pure.
 */
bool login_url_is_fit(const char *url);

#endif
