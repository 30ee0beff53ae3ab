/* SPDX-License-Identifier: MIT */
/* settings_table - the rows of SETTINGS_LIST as data, for those who walk over all settings: proto's
 * own modules, and the settings API. */
#ifndef PROTO_SETTINGS_TABLE_H
#define PROTO_SETTINGS_TABLE_H

#include "proto/settings.h"

#define SETTINGS_PREFIX "CODEBUDDY_"

enum setting_kind { SETTING_TEXT, SETTING_SECRET, SETTING_NUMBER, SETTING_FLAG, SETTING_CHOICE };

struct setting {
    const char *name; /* without the prefix */
    enum setting_kind kind;
    size_t offset; /* of the field in struct settings */
    const char *default_text;
    int64_t min, max;
    const char *unit;    /* of a number; "" if it has none */
    const char *choices; /* of a choice: "A|B" */
    bool live;
    const char *help, *help_zh;
};

extern const struct setting setting_rows[]; /* by enum setting_index */
extern const size_t setting_row_count;

/* The row of a full CODEBUDDY_* name, NULL if unknown. `is_file`: the name was that of a secret plus _FILE.
 */
const struct setting *setting_find(struct span name, bool *is_file);
/* Appends the value as settings_set takes it; nothing of a secret. 0 or ERR_NOMEM. */
int setting_append_value(struct buffer *out, const struct settings *settings, const struct setting *row);
/* default, .env, environment, run time. Static. */
const char *setting_source_word(enum setting_source source);

#endif
