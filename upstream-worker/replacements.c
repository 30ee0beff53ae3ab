/* SPDX-License-Identifier: MIT */
#include "upstream-worker/replacements.h"
#include "proto/error.h"

#include <stdlib.h>

#include <jansson.h>

static int rule_read(const json_t *object, struct keyword_rule *rule)
{
    const json_t *from = json_object_get(object, "from"), *to = json_object_get(object, "to");
    if (!json_is_string(from) || !json_is_string(to) || json_string_length(from) == 0)
        return ERR_INVALID;
    rule->from = span_of(json_string_value(from), json_string_length(from));
    rule->to = span_of(json_string_value(to), json_string_length(to));
    return 0;
}

int replacements_load(struct replacements *replacements, const char *text)
{
    *replacements = (struct replacements){0};
    if (!*text)
        return 0;
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    size_t count = json_array_size(document);
    int error = json_is_array(document) ? 0 : ERR_INVALID;
    replacements->document = document;
    replacements->rules = calloc(count + 1, sizeof *replacements->rules);
    if (!replacements->rules)
        error = ERR_NOMEM;
    for (size_t i = 0; error == 0 && i < count; i++)
        error = rule_read(json_array_get(document, i), &replacements->rules[i]);
    if (error == 0)
        replacements->count = count;
    else
        replacements_fini(replacements);
    return error;
}

void replacements_fini(struct replacements *replacements)
{
    free(replacements->rules);
    json_decref(replacements->document);
    *replacements = (struct replacements){0};
}
