/* SPDX-License-Identifier: MIT */
#include "credd/run_settings.h"
#include "credd/durable_file.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/settings_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX_BYTES = 1 << 20 };

struct run_settings {
    const char *directory;
    struct live *live;
    json_t *stored;  /* {NAME: {value, set_by, set_at}} */
    json_t *planned; /* the same, being written; NULL: nothing is */
};

static json_t *values_of(const json_t *stored)
{
    const char *name;
    json_t *entry, *members = (json_t *)(uintptr_t)stored; /* jansson's iteration takes no const */
    json_t *values = json_object();
    json_object_foreach (members, name, entry) {
        if (values && json_object_set(values, name, json_object_get(entry, "value")) < 0) {
            json_decref(values);
            values = NULL;
        }
    }
    return values;
}

/* Brings `live` to what is stored there. */
static int apply(struct run_settings *settings, const json_t *stored, struct live_problem *problem)
{
    json_t *values = values_of(stored);
    int error = values ? live_set(settings->live, values, problem) : ERR_NOMEM;
    json_decref(values);
    return error;
}

/* ---- the file ---- */

static int append_document(const json_t *stored, struct buffer *document)
{
    json_t *root = json_pack("{s:i, s:O}", "version", 1, "settings", stored);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    int error = text ? buffer_append(document, text, strlen(text)) : ERR_NOMEM;
    json_decref(root);
    free(text);
    return error;
}

static bool is_ours(const json_t *document)
{
    const char *name;
    json_t *entry, *stored = json_object_get(document, "settings");
    bool is_whole = json_integer_value(json_object_get(document, "version")) == 1 && json_is_object(stored);
    json_object_foreach (stored, name, entry) {
        is_whole = is_whole && json_is_string(json_object_get(entry, "value"));
    }
    return is_whole;
}

static int load(struct run_settings *settings, struct live_problem *problem)
{
    struct buffer text = {0};
    problem->text = "is not what credd writes";
    int error = durable_directory_prepare(settings->directory);
    if (error == 0)
        error = durable_file_read(settings->directory, RUN_SETTINGS_FILE, FILE_MAX_BYTES, &text);
    if (error == ERR_NOT_FOUND) {
        settings->stored = json_object();
        return settings->stored ? 0 : ERR_NOMEM;
    }
    if (error == 0) {
        json_t *document = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
        if (is_ours(document))
            settings->stored = json_incref(json_object_get(document, "settings"));
        json_decref(document);
        error = settings->stored ? apply(settings, settings->stored, problem) : ERR_INVALID;
    }
    buffer_fini(&text);
    return error;
}

struct run_settings *run_settings_open(const char *directory, struct live *live, int *error)
{
    struct live_problem problem = {.name = ""};
    struct run_settings *settings = calloc(1, sizeof *settings);
    *error = ERR_NOMEM;
    if (settings) {
        settings->directory = directory;
        settings->live = live;
        *error = load(settings, &problem);
    }
    if (*error == 0)
        return settings;
    log_error(NULL, "cannot_read_settings", LOG_STR("directory", directory),
              LOG_STR("file", RUN_SETTINGS_FILE), LOG_STR("name", problem.name),
              LOG_STR("problem", *error == ERR_INVALID ? problem.text : error_text(*error)));
    if (*error == ERR_INVALID || *error == ERR_TOO_LARGE)
        *error = ERR_CONFIG;
    run_settings_close(&settings);
    return NULL;
}

void run_settings_close(struct run_settings **settings)
{
    if (*settings) {
        json_decref((*settings)->stored);
        json_decref((*settings)->planned);
    }
    free(*settings);
    *settings = NULL;
}

/* ---- changes ---- */

/* The text of a value that came as JSON, NULL when it is none (or memory is out: then too). */
static json_t *text_of(const json_t *value)
{
    char number[32];
    if (json_is_string(value) && json_string_length(value) <= RUN_SETTING_MAX_BYTES)
        return json_stringn(json_string_value(value), json_string_length(value));
    if (json_is_boolean(value))
        return json_string(json_is_true(value) ? "true" : "false");
    if (!json_is_integer(value))
        return NULL;
    snprintf(number, sizeof number, "%" PRId64, (int64_t)json_integer_value(value));
    return json_string(number);
}

static bool is_empty_password(const char *name, const json_t *value)
{
    return strcmp(name, SETTINGS_PREFIX "PASSWORD") == 0 && json_is_string(value) &&
           json_string_length(value) == 0;
}

static int change_one(json_t *next, const char *name, const json_t *value, const char *actor, int64_t wall_ms,
                      struct field_problem *problem)
{
    bool is_file;
    if (is_empty_password(name, value))
        return 0;
    if (json_is_null(value)) {
        const struct setting *row = setting_find(span_str(name), &is_file);
        if (!row || is_file)
            return field_problem_set(problem, name, "is not a setting");
        json_object_del(next, name);
        return 0;
    }
    json_t *text = text_of(value);
    if (!text)
        return field_problem_set(problem, name,
                                 "must be a text of at most 64 KiB, a whole number, a boolean, or null");
    json_t *entry =
        json_pack("{s:o, s:s, s:I}", "value", text, "set_by", actor, "set_at", (json_int_t)(wall_ms / 1000));
    return json_object_set_new(next, name, entry) < 0 ? ERR_NOMEM : 0;
}

/* As live_set would judge it. */
static int check(const struct run_settings *settings, const json_t *stored, struct field_problem *problem)
{
    struct live_problem refused;
    json_t *values = values_of(stored);
    int error = values ? live_check(settings->live, values, &refused) : ERR_NOMEM;
    json_decref(values);
    return error == ERR_INVALID ? field_problem_set(problem, refused.name, refused.text) : error;
}

int run_settings_plan(struct run_settings *settings, const json_t *changes, const char *actor,
                      int64_t wall_ms, struct field_problem *problem, struct buffer *document)
{
    const char *name;
    json_t *value, *members = (json_t *)(uintptr_t)changes, *next = json_copy(settings->stored);
    int error = next ? 0 : ERR_NOMEM;
    assert(!settings->planned);
    json_object_foreach (members, name, value) {
        if (error == 0)
            error = change_one(next, name, value, actor, wall_ms, problem);
    }
    error = error ? error : check(settings, next, problem);
    error = error ? error : append_document(next, document);
    if (error < 0)
        json_decref(next);
    else
        settings->planned = next;
    return error;
}

int run_settings_settle(struct run_settings *settings, bool is_durable)
{
    struct live_problem refused;
    json_t *planned = settings->planned;
    settings->planned = NULL;
    if (!is_durable) {
        json_decref(planned);
        return 0;
    }
    json_decref(settings->stored);
    settings->stored = planned;
    return apply(settings, planned, &refused);
}

/* ---- what others are shown ---- */

static json_t *typed(const struct setting *row, struct span text)
{
    uint64_t number = 0;
    if (row->kind == SETTING_SECRET)
        return json_null();
    if (row->kind == SETTING_NUMBER && span_to_u64(text, &number))
        return json_integer((json_int_t)number);
    if (row->kind == SETTING_FLAG)
        return json_boolean(span_equals(text, SPAN("true")));
    return json_stringn(text.data ? text.data : "", text.length);
}

static json_t *list_of_choices(const char *choices)
{
    json_t *list = json_array();
    while (*choices) {
        size_t length = strcspn(choices, "|");
        json_array_append_new(list, json_stringn(choices, length));
        choices += length + (choices[length] == '|');
    }
    return list;
}

/* What is always the same of a setting. */
static json_t *describe_row(const struct setting *row)
{
    static const char *const kinds[] = {[SETTING_TEXT] = "text",
                                        [SETTING_SECRET] = "secret",
                                        [SETTING_NUMBER] = "number",
                                        [SETTING_FLAG] = "flag",
                                        [SETTING_CHOICE] = "choice"};
    json_t *object = json_pack("{s:o, s:b, s:s, s:{s:s, s:s}}", "default",
                               typed(row, span_str(row->default_text)), "needs_restart", !row->live, "kind",
                               kinds[row->kind], "label", "en", row->help, "zh", row->help_zh);
    int error = object ? 0 : ERR_NOMEM;
    if (error == 0 && row->kind == SETTING_NUMBER)
        error = json_object_set_new(object, "unit", json_string(row->unit)) < 0 ||
                json_object_set_new(object, "min", json_integer(row->min)) < 0 ||
                json_object_set_new(object, "max", json_integer(row->max)) < 0;
    if (error == 0 && row->kind == SETTING_CHOICE)
        error = json_object_set_new(object, "choices", list_of_choices(row->choices)) < 0;
    if (error == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* Returns owned, NULL when out of memory. */
static json_t *show_value(const struct run_settings *settings, const struct setting *row)
{
    struct buffer text = {0};
    int error = setting_append_value(&text, live_settings(settings->live), row);
    json_t *value = error == 0 ? typed(row, buffer_span(&text)) : NULL;
    buffer_fini(&text);
    return value;
}

static json_t *describe_setting(const struct run_settings *settings, size_t i, const char *name)
{
    const struct setting *row = &setting_rows[i];
    const struct settings *now = live_settings(settings->live);
    const json_t *entry = json_object_get(settings->stored, name);
    json_t *object = describe_row(row);
    const char *source = setting_source_word(now->sources[i]);
    bool is_whole = object && json_object_set_new(object, "value", show_value(settings, row)) == 0 &&
                    json_object_set_new(object, "source", json_string(source)) == 0;
    if (is_whole && entry)
        is_whole = json_object_set(object, "set_by", json_object_get(entry, "set_by")) == 0 &&
                   json_object_set(object, "set_at", json_object_get(entry, "set_at")) == 0;
    if (is_whole)
        return object;
    json_decref(object);
    return NULL;
}

int run_settings_expect(const struct run_settings *settings, const json_t *expected,
                        struct field_problem *problem)
{
    const char *name;
    bool is_file;
    int error = 0;
    json_t *value, *members = (json_t *)(uintptr_t)expected; /* jansson's iteration takes no const */
    json_object_foreach (members, name, value) {
        const struct setting *row = setting_find(span_str(name), &is_file);
        if (!row || is_file)
            return field_problem_set(problem, name, "is not a setting");
        json_t *shown = show_value(settings, row);
        if (!shown)
            error = ERR_NOMEM;
        else if (!json_equal(shown, value))
            error = ERR_EXISTS;
        json_decref(shown);
        if (error == ERR_EXISTS)
            (void)field_problem_set(problem, name, "has another value by now: nothing was changed");
        if (error < 0)
            return error;
    }
    return 0;
}

json_t *run_settings_describe(const struct run_settings *settings)
{
    json_t *all = json_object();
    for (size_t i = 0; i < setting_row_count && all; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", SETTINGS_PREFIX, setting_rows[i].name);
        if (json_object_set_new(all, name, describe_setting(settings, i, name)) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

json_t *run_settings_values(const struct run_settings *settings)
{
    return values_of(settings->stored);
}
