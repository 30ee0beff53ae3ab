/* SPDX-License-Identifier: MIT */
#include "statsd/arguments.h"
#include "proto/failure.h"

json_t *arguments_read(struct span body)
{
    if (body.length == 0)
        return json_object();
    json_t *root = json_loadb(body.data, body.length, JSON_REJECT_DUPLICATES, NULL);
    json_t *arguments = json_object_get(root, "arguments");
    json_t *taken = !json_is_object(root)       ? NULL
                    : !arguments                ? json_object()
                    : json_is_object(arguments) ? json_incref(arguments)
                                                : NULL;
    json_decref(root);
    return taken;
}

static bool is_known(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

bool arguments_are_known(const json_t *arguments, const char *const *names, struct problem *problem)
{
    /* json_object_foreach wants a json_t it might change. */
    for (void *at = json_object_iter((json_t *)(uintptr_t)arguments); at;
         at = json_object_iter_next((json_t *)(uintptr_t)arguments, at)) {
        const char *name = json_object_iter_key(at);
        if (!is_known(name, names)) {
            *problem = (struct problem){name, "There is no such parameter."};
            return false;
        }
        if (!json_is_string(json_object_iter_value(at))) {
            *problem = (struct problem){name, "It must be a text."};
            return false;
        }
    }
    return true;
}

struct span arguments_get(const json_t *arguments, const char *name)
{
    const json_t *value = json_object_get(arguments, name);
    return value ? span_of(json_string_value(value), json_string_length(value)) : span_of(NULL, 0);
}

bool arguments_get_number(const json_t *arguments, const char *name, int64_t least, int64_t most,
                          int64_t *value, struct problem *problem)
{
    uint64_t number;
    struct span text = arguments_get(arguments, name);
    if (!text.data)
        return true;
    if (!span_to_u64(text, &number)) {
        *problem = (struct problem){name, "It must be a whole number."};
        return false;
    }
    if (number < (uint64_t)least || number > (uint64_t)most) {
        *problem = (struct problem){name, "It is out of bounds."};
        return false;
    }
    *value = (int64_t)number;
    return true;
}

int problem_append_json(struct buffer *out, const struct problem *problem)
{
    return failure_append_json(out, FAILURE_BAD_FIELD, span_str(problem->message), SPAN(""), SPAN(""),
                               span_str(problem->field));
}
