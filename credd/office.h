/* SPDX-License-Identifier: MIT */
/* office - who may call and with what settings: API keys (keys.h), run-time settings (run_settings.h) and the
 * key that admin sessions are signed with (session.key in the data directory); the methods `keys.*` and
 * `settings.*` that change them (README.md), and the STATE that tells the other processes.
 *
 * Owned by main; desk connects it to the others. Blocks for an fsync on a change. */
#ifndef CREDD_OFFICE_H
#define CREDD_OFFICE_H

#include "credd/calls.h"
#include "credd/keys.h"
#include "proto/live.h"

struct office;

/* Reads what `directory` keeps, and lays the run-time settings over `live`. Borrows both. Returns owned; NULL
 * on failure (logged): `*error` is ERR_CONFIG when a file there cannot be understood. */
struct office *office_open(const char *directory, struct live *live, int *error);
/* Writes down when keys were last used. No key may be in use. NULL-safe. */
void office_close(struct office **office);

/* Answers `keys.*` and `settings.*` from now on. `changed` is called on the loop after each change of what
 * office_append_state says. 0 or ERR_NOMEM. */
int office_serve(struct office *office, struct calls *calls, void (*changed)(void *context), void *context);
/* The keys, for their limits. Borrowed. */
struct keys *office_keys(struct office *office);

/* Of the present state: never 0, larger after each change and each restart. */
uint64_t office_version(const struct office *office);
/* Appends STATE's body (proto/follow.h); keys and the session key are for gateways only: wipe it then. 0 or
 * ERR_NOMEM. */
int office_append_state(const struct office *office, bool for_gateway, struct buffer *body);

#endif
