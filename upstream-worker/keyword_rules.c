/* SPDX-License-Identifier: MIT */
#include "upstream-worker/keyword_rules.h"

#include "proto/error.h"

/* Writes `text` with the rule applied to `out` (cleared). 1: it matched; 0: it did not, and `out` means
 * nothing. */
static int apply_rule(const struct keyword_rule *rule, size_t limit_bytes, struct span text,
                      struct buffer *out)
{
    int error = 0;
    if (text.length == 0 || rule->from.length == 0)
        return 0;
    const char *at = text.data, *end = text.data + text.length;
    const char *found = memmem(at, text.length, rule->from.data, rule->from.length);
    if (!found)
        return 0;
    buffer_clear(out);
    while (found && error == 0) {
        error = buffer_append(out, at, (size_t)(found - at));
        if (error == 0)
            error = buffer_append_span(out, rule->to);
        if (error == 0 && out->length > limit_bytes)
            error = ERR_TOO_LARGE;
        at = found + rule->from.length;
        found = memmem(at, (size_t)(end - at), rule->from.data, rule->from.length);
    }
    if (error == 0)
        error = buffer_append(out, at, (size_t)(end - at));
    if (error == 0 && out->length > limit_bytes)
        error = ERR_TOO_LARGE;
    return error < 0 ? error : 1;
}

int keyword_rules_apply(const struct keyword_rules *rules, struct buffer *text, struct buffer *spare)
{
    int has_changed = 0;
    for (size_t i = 0; i < rules->count; i++) {
        int result = apply_rule(&rules->rules[i], rules->limit_bytes, buffer_span(text), spare);
        if (result < 0)
            return result;
        if (result == 0)
            continue;
        struct buffer swapped = *text;
        *text = *spare;
        *spare = swapped;
        has_changed = 1;
    }
    return has_changed;
}
