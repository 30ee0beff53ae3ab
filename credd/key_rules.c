/* SPDX-License-Identifier: MIT */
#include "credd/key_rules.h"
#include "proto/error.h"

#include <stdio.h>

static const int64_t MAX_WALL_S = INT64_C(253402300799); /* the end of the year 9999 */

int field_problem_set(struct field_problem *problem, const char *field, const char *text)
{
    size_t length = strlen(field), size = sizeof problem->field - 1;
    if (length > size)
        length = size;
    while (length > 0 && !span_is_utf8(span_of(field, length)))
        length--;
    memcpy(problem->field, field, length);
    problem->field[length] = '\0';
    problem->text = text;
    return ERR_INVALID;
}

static bool is_text(const json_t *value, size_t max_bytes)
{
    size_t length = json_string_length(value);
    return json_is_string(value) && length > 0 && length <= max_bytes &&
           span_is_header_safe(span_of(json_string_value(value), length));
}

static int read_number(const json_t *object, const char *name, int64_t max, int64_t *to,
                       struct field_problem *problem)
{
    const json_t *value = json_object_get(object, name);
    *to = 0;
    if (!value || json_is_null(value))
        return 0;
    *to = json_integer_value(value);
    if (!json_is_integer(value) || *to < 1 || *to > max)
        return field_problem_set(problem, name, "must be a whole number above 0 within bounds, or null");
    return 0;
}

static int read_models(struct key_rules *rules, json_t *models, struct field_problem *problem)
{
    static const char text[] = "must be a list of 1 to 50 model names, or null";
    size_t i;
    json_t *model;
    if (!models || json_is_null(models))
        return 0;
    if (!json_is_array(models) || json_array_size(models) < 1 || json_array_size(models) > KEY_MAX_MODELS)
        return field_problem_set(problem, "models", text);
    json_array_foreach (models, i, model) {
        if (!is_text(model, KEY_MODEL_MAX_BYTES))
            return field_problem_set(problem, "models", text);
    }
    rules->models = json_incref(models);
    return 0;
}

static int check_names(const json_t *object, struct field_problem *problem)
{
    static const char *const names[] = {"name", "models", "rpm", "max_in_flight", "expires_at"};
    const char *name;
    json_t *value, *members = json_incref((json_t *)(uintptr_t)object);
    int error = 0;
    json_object_foreach (members, name, value) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            is_known = is_known || strcmp(name, names[i]) == 0;
        if (!is_known && error == 0)
            error = field_problem_set(problem, name, "is not a field of a key");
    }
    json_decref(members);
    return error;
}

int key_rules_read(struct key_rules *rules, const json_t *object, struct field_problem *problem)
{
    *rules = (struct key_rules){0};
    int error = check_names(object, problem);
    if (error < 0)
        return error;
    json_t *name = json_object_get(object, "name");
    if (!is_text(name, KEY_NAME_MAX_BYTES))
        return field_problem_set(problem, "name", "must be a text of 1 to 64 bytes");
    rules->name = json_incref(name);
    error = read_models(rules, json_object_get(object, "models"), problem);
    if (error == 0)
        error = read_number(object, "rpm", KEY_MAX_RPM, &rules->rpm, problem);
    if (error == 0)
        error = read_number(object, "max_in_flight", KEY_MAX_IN_FLIGHT, &rules->max_in_flight, problem);
    if (error == 0)
        error = read_number(object, "expires_at", MAX_WALL_S, &rules->expires_at_s, problem);
    return error;
}

void key_rules_fini(struct key_rules *rules)
{
    json_decref(rules->name);
    json_decref(rules->models);
    *rules = (struct key_rules){0};
}

static json_t *number_or_null(int64_t number)
{
    return number ? json_integer(number) : json_null();
}

int key_rules_write(const struct key_rules *rules, json_t *object)
{
    json_t *models = rules->models ? json_incref(rules->models) : json_null();
    if (json_object_set(object, "name", rules->name) < 0 ||
        json_object_set_new(object, "models", models) < 0 ||
        json_object_set_new(object, "rpm", number_or_null(rules->rpm)) < 0 ||
        json_object_set_new(object, "max_in_flight", number_or_null(rules->max_in_flight)) < 0 ||
        json_object_set_new(object, "expires_at", number_or_null(rules->expires_at_s)) < 0)
        return ERR_NOMEM;
    return 0;
}

bool key_rules_allow_model(const struct key_rules *rules, struct span model)
{
    size_t i;
    json_t *allowed;
    if (!rules->models)
        return true;
    json_array_foreach (rules->models, i, allowed) {
        if (span_equals(model, span_of(json_string_value(allowed), json_string_length(allowed))))
            return true;
    }
    return false;
}
