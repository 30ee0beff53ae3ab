/* SPDX-License-Identifier: MIT */
#include "proto/settings_table.h"

#include <inttypes.h>

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

const struct setting setting_rows[] = {
#define TEXT(field, name, value, live, help, zh)                                                             \
    {name, SETTING_TEXT, offsetof(struct settings, field), value, 0, 0, "", "", live, help, zh},
#define SECRET(field, name, help, zh)                                                                        \
    {name, SETTING_SECRET, offsetof(struct settings, field), "", 0, 0, "", "", false, help, zh},
#define NUMBER(field, name, value, min, max, unit, live, help, zh)                                           \
    {                                                                                                        \
        name,                                                                                                \
        SETTING_NUMBER,                                                                                      \
        offsetof(struct settings, field),                                                                    \
        STRINGIFY(value),                                                                                    \
        min,                                                                                                 \
        max,                                                                                                 \
        unit,                                                                                                \
        "",                                                                                                  \
        live,                                                                                                \
        help,                                                                                                \
        zh},
#define FLAG(field, name, value, live, help, zh)                                                             \
    {name, SETTING_FLAG, offsetof(struct settings, field), #value, 0, 0, "", "", live, help, zh},
#define CHOICE(field, name, value, choices, live, help, zh)                                                  \
    {name, SETTING_CHOICE, offsetof(struct settings, field), value, 0, 0, "", choices, live, help, zh},
    SETTINGS_LIST(TEXT, SECRET, NUMBER, FLAG, CHOICE)
#undef TEXT
#undef SECRET
#undef NUMBER
#undef FLAG
#undef CHOICE
};

_Static_assert(sizeof setting_rows / sizeof *setting_rows == SETTING_COUNT, "a row for each");
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

int setting_append_value(struct buffer *out, const struct settings *settings, const struct setting *row)
{
    const void *field = (const char *)settings + row->offset;
    switch (row->kind) {
    case SETTING_TEXT:
    case SETTING_CHOICE:
        return buffer_append_span(out, span_str(*(char *const *)field));
    case SETTING_NUMBER:
        return buffer_printf(out, "%" PRId64, *(const int64_t *)field);
    case SETTING_FLAG:
        return buffer_append_span(out, *(const bool *)field ? SPAN("true") : SPAN("false"));
    case SETTING_SECRET:
        break;
    }
    return 0;
}

const char *setting_source_word(enum setting_source source)
{
    static const char *const words[] = {[SETTING_FROM_DEFAULT] = "default",
                                        [SETTING_FROM_DOTENV] = ".env",
                                        [SETTING_FROM_ENVIRONMENT] = "environment",
                                        [SETTING_FROM_RUN_TIME] = "run time"};
    return words[source];
}
