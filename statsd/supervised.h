/* SPDX-License-Identifier: MIT */
/* supervised - what the supervisor knows of the processes that it holds up, as numbers in the registry:
 * restarts, hangs, state, up while they are down; and its own usage. Pure but for the registry:
 * supervisor_watch.c fetches the text.
 *
 * The text is the supervisor's answer to `status` (deploy/supervisor/control.h), one JSON object; members
 * that are missing or odd are left out. */
#ifndef STATSD_SUPERVISED_H
#define STATSD_SUPERVISED_H

#include "statsd/registry.h"

struct supervised;

/* Borrows the registry and, for its life, `host` (as process_name_own_host). Returns owned, NULL when out of
 * memory. */
struct supervised *supervised_new(struct registry *registry, const char *host);
/* Closes its sources. NULL-safe. */
void supervised_free(struct supervised **supervised);
/* Takes over an answer. 0; ERR_INVALID (not such an object: nothing changed), ERR_NOMEM (part of it is
 * missing until the next). */
int supervised_take(struct supervised *supervised, struct span answer, int64_t now_wall_ms);
/* It does not answer: it is shown as down, the others as they were. */
void supervised_miss(struct supervised *supervised, int64_t now_wall_ms);

#endif
