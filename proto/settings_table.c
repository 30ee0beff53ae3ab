/* SPDX-License-Identifier: MIT */
#include "proto/settings_table.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

const struct setting setting_rows[] = {
#define TEXT(field, name, value, live, help)                                                                 \
    {name, SETTING_TEXT, offsetof(struct settings, field), value, 0, 0, "", "", live, help},
#define SECRET(field, name, help)                                                                            \
    {name, SETTING_SECRET, offsetof(struct settings, field), "", 0, 0, "", "", false, help},
#define NUMBER(field, name, value, min, max, unit, live, help)                                               \
    {name, SETTING_NUMBER, offsetof(struct settings, field), STRINGIFY(value), min, max, unit, "", live,     \
     help},
#define FLAG(field, name, value, live, help)                                                                 \
    {name, SETTING_FLAG, offsetof(struct settings, field), #value, 0, 0, "", "", live, help},
#define CHOICE(field, name, value, choices, live, help)                                                      \
    {name, SETTING_CHOICE, offsetof(struct settings, field), value, 0, 0, "", choices, live, help},
    SETTINGS_LIST(TEXT, SECRET, NUMBER, FLAG, CHOICE)
#undef TEXT
#undef SECRET
#undef NUMBER
#undef FLAG
#undef CHOICE
};

const size_t setting_row_count = sizeof setting_rows / sizeof *setting_rows;

const struct setting *setting_find(struct span name, bool *is_file)
{
    static const struct span suffix = {"_FILE", 5};
    *is_file = false;
    if (!span_starts_with(name, SPAN(SETTINGS_PREFIX)))
        return NULL;
    struct span rest = span_of(name.data + strlen(SETTINGS_PREFIX), name.length - strlen(SETTINGS_PREFIX));
    for (size_t i = 0; i < setting_row_count; i++)
        if (span_equals(rest, span_str(setting_rows[i].name)))
            return &setting_rows[i];
    if (rest.length <= suffix.length ||
        !span_equals(span_of(rest.data + rest.length - suffix.length, suffix.length), suffix))
        return NULL;
    struct span stem = span_of(rest.data, rest.length - suffix.length);
    for (size_t i = 0; i < setting_row_count; i++)
        if (setting_rows[i].kind == SETTING_SECRET && span_equals(stem, span_str(setting_rows[i].name))) {
            *is_file = true;
            return &setting_rows[i];
        }
    return NULL;
}
