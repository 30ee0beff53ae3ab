/* SPDX-License-Identifier: MIT */
/* state_store - keeps the rotation's memory in DATA_DIR/credd/credentials_state.json: states with reason and
 * time, cooling models, pin, rotation on or off, whose turn it is. Never tokens (state_text.h).
 *
 * A change is written within STATE_SPACING_MS, turns and uses within STATE_TURNS_MS; a killed credd loses no
 * more. Writing happens off the loop, one write at a time, and leaves the old file or the new one. A file
 * that cannot be understood is put aside as credentials_state.json.bad. Owned by desk. */
#ifndef CREDD_STATE_STORE_H
#define CREDD_STATE_STORE_H

#include "credd/rotation.h"
#include "credd/vault.h"

enum {
    STATE_SPACING_MS = 100, /* between two writes: a storm of 429 must not become one of fsyncs */
    STATE_TURNS_MS = 5000,
};

struct state_store;
/* Makes the directory, and puts back what its file says; the first time, what manager_state.json in the
 * credentials directory says. Call after the rotation's first sync. Borrows all. Returns owned, NULL on
 * failure (logged). */
struct state_store *state_store_open(uv_loop_t *loop, const char *directory, const struct vault *vault,
                                     struct rotation *rotation, const struct moment *moment);
/* Writes what is not written yet (blocks for it), and calls those that wait for it. NULL-safe. */
void state_store_close(struct state_store **store);
/* Starts a write if one is due. Call at the end of a turn and once a second. */
void state_store_tick(struct state_store *store);
/* Writes now; `done` is called once on the loop, not in here, when it is durable or failed (logged: the next
 * tick tries again). 0 or ERR_NOMEM (then it is not called). */
int state_store_save(struct state_store *store, void (*done)(void *context, int error), void *context);

#endif
