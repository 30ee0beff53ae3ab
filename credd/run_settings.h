/* SPDX-License-Identifier: MIT */
/* run_settings - what was set at run time: kept in settings.json of the data directory (durable_file.h), laid
 * over this process's own settings (proto/live.h), and told to the others in STATE.
 *
 * A value set here beats the environment of every process that follows credd, until it is unset. Values,
 * defaults and sources that are shown are those of credd's own environment. Who owns it writes the file, off
 * the loop (office.h). */
#ifndef CREDD_RUN_SETTINGS_H
#define CREDD_RUN_SETTINGS_H

#include "credd/key_rules.h"
#include "proto/live.h"

#define RUN_SETTINGS_FILE "settings.json"

enum { RUN_SETTING_MAX_BYTES = 64 << 10 /* of a value: all of them fit one STATE */ };

struct run_settings;

/* Reads what is kept and lays it over `live`. Borrows both. Returns owned; NULL on failure (logged):
 * `*error` is ERR_CONFIG when a kept value cannot be understood or is no longer valid. */
struct run_settings *run_settings_open(const char *directory, struct live *live, int *error);
void run_settings_close(struct run_settings **settings); /* NULL-safe */

/* Plans `changes`: texts, numbers or booleans by full name; null unsets; an empty password is passed over, as
 * a form sends it. `actor` is shown as who set it. Appends the text that RUN_SETTINGS_FILE is to have;
 * nothing else changes until run_settings_settle, and nothing else may be planned. 0; ERR_INVALID with
 * `problem`; ERR_NOMEM. */
int run_settings_plan(struct run_settings *settings, const json_t *changes, const char *actor,
                      int64_t wall_ms, struct field_problem *problem, struct buffer *document);
/* Whether settings are what whoever wants to change them takes them for. `expected`: values by full name, as
 * run_settings_describe shows them; NULL: nothing is. 0; ERR_EXISTS if one has another value by now, or
 * ERR_INVALID if a name is no setting's, with `problem`; ERR_NOMEM. */
int run_settings_expect(const struct run_settings *settings, const json_t *expected,
                        struct field_problem *problem);
/* The planned text is durable: it is in effect in `live` from now on. Or it is not: nothing has changed. 0 or
 * ERR_NOMEM (then it comes with the next start). */
int run_settings_settle(struct run_settings *settings, bool is_durable);
/* {NAME: {value, default, source, needs_restart, kind, unit, min, max, choices, label: {en, zh}, set_by,
 * set_at}} of every setting; a secret's value is null. Returns owned, NULL when out of memory. */
json_t *run_settings_describe(const struct run_settings *settings);
/* {NAME: text} of what is set at run time. Returns owned, NULL when out of memory. */
json_t *run_settings_values(const struct run_settings *settings);

#endif
