/* SPDX-License-Identifier: MIT */
/* office - who may call and with what settings: API keys (keys.h), run-time settings (run_settings.h) and the
 * key that admin sessions are signed with (session.key in the data directory); the methods `keys.*` and
 * `settings.*` that change them (README.md), and the STATE that tells the other processes.
 *
 * Changes are made one after the other: planned, written on libuv's pool, and in effect, told to the others
 * and answered once they are durable. Owned by main; desk connects it to the others. Never blocks. */
#ifndef CREDD_OFFICE_H
#define CREDD_OFFICE_H

#include "credd/calls.h"
#include "credd/keys.h"
#include "proto/live.h"

#include <uv.h>

struct office;

/* Reads what `directory` keeps, and lays the run-time settings over `live`. Borrows both. Returns owned; NULL
 * on failure (logged): `*error` is ERR_CONFIG when a file there cannot be understood. */
struct office *office_open(const char *directory, struct live *live, int *error);
/* Writes down what office_save would (blocks for it). No key may be in use. NULL-safe. */
void office_close(struct office **office);

/* Answers `keys.*` and `settings.*` from now on, writing on the pool of `loop`. `changed` is called on the
 * loop after each change of what office_append_state says. 0 or ERR_NOMEM. */
int office_serve(struct office *office, uv_loop_t *loop, struct calls *calls, void (*changed)(void *context),
                 void *context);
/* Whether a change is on its way to the disk. */
bool office_is_busy(const struct office *office);
/* Finishes the write under way (blocks for it), and answers all who wait. Before the calls are freed. */
void office_stop(struct office *office);
/* Writes down what is news of the keys' use: what counts for requests per minute at each call, when each was
 * last used at every 60th. Call once a second. */
void office_save(struct office *office);
/* The keys, for their limits. Borrowed. */
struct keys *office_keys(struct office *office);

/* Of the present state: never 0, larger after each change and each restart. */
uint64_t office_version(const struct office *office);
/* Appends STATE's body (proto/follow.h); keys and the session key are for gateways only: wipe it then. 0 or
 * ERR_NOMEM. */
int office_append_state(const struct office *office, bool for_gateway, struct buffer *body);

#endif
