/* SPDX-License-Identifier: MIT */
/* live - the settings as they are now: those this process started with, and over them what was set at run
 * time. Pure; never blocks.
 *
 * Users keep the pointer that live_settings returns: it stays the same, what is live changes behind it. A
 * text that is live may be freed by any later turn: copy what is needed for longer. */
#ifndef PROTO_LIVE_H
#define PROTO_LIVE_H

#include "proto/settings.h"

#include <jansson.h>

struct live;

/* Borrows `start` for its life. Returns owned, NULL when out of memory. */
struct live *live_new(const struct settings *start);
void live_free(struct live **live); /* NULL-safe */
const struct settings *live_settings(const struct live *live);

/* Why values were not taken: the setting at fault (empty: all of them together) and static text. */
struct live_problem {
    char name[64];
    const char *text;
};

/* Makes `values`, an object of texts by full CODEBUDDY_* name, all that is set at run time: what it does not
 * name is as it was at the start. Adapts the log's level. 0; ERR_INVALID with `problem` (a name that is none,
 * a setting that cannot change at run time, a bad value); ERR_NOMEM. On failure nothing has changed. */
int live_set(struct live *live, const json_t *values, struct live_problem *problem);
/* Whether live_set would take them; changes nothing. Its errors. */
int live_check(const struct live *live, const json_t *values, struct live_problem *problem);

#endif
