/* SPDX-License-Identifier: MIT */
/* run_settings - what was set at run time: kept in settings.json of the data directory (durable_file.h), laid
 * over this process's own settings (proto/live.h), and told to the others in STATE.
 *
 * A value set here beats the environment of every process that follows credd, until it is unset. Values,
 * defaults and sources that are shown are those of credd's own environment. Blocks for an fsync on a change.
 */
#ifndef CREDD_RUN_SETTINGS_H
#define CREDD_RUN_SETTINGS_H

#include "credd/key_rules.h"
#include "proto/live.h"

enum { RUN_SETTING_MAX_BYTES = 64 << 10 /* of a value: all of them fit one STATE */ };

struct run_settings;

/* Reads what is kept and lays it over `live`. Borrows both. Returns owned; NULL on failure (logged):
 * `*error` is ERR_CONFIG when a kept value cannot be understood or is no longer valid. */
struct run_settings *run_settings_open(const char *directory, struct live *live, int *error);
void run_settings_close(struct run_settings **settings); /* NULL-safe */

/* Takes `changes`: texts, numbers or booleans by full name; null unsets; an empty password is passed over, as
 * a form sends it. All or nothing, durable, in effect in `live`. `actor` is shown as who set it. 0;
 * ERR_INVALID with `problem`; ERR_IO, ERR_NOMEM. */
int run_settings_change(struct run_settings *settings, const json_t *changes, const char *actor,
                        int64_t wall_ms, struct field_problem *problem);
/* {NAME: {value, default, source, needs_restart, kind, unit, min, max, choices, label: {en, zh}, set_by,
 * set_at}} of every setting; a secret's value is null. Returns owned, NULL when out of memory. */
json_t *run_settings_describe(const struct run_settings *settings);
/* {NAME: text} of what is set at run time. Returns owned, NULL when out of memory. */
json_t *run_settings_values(const struct run_settings *settings);

#endif
