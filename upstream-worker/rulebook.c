/* SPDX-License-Identifier: MIT */
#include "upstream-worker/rulebook.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>

static struct span first_in_list(const char *list)
{
    size_t length = strcspn(list, ",");
    struct span first = span_of(list, length);
    while (first.length > 0 && first.data[0] == ' ')
        first = span_of(first.data + 1, first.length - 1);
    while (first.length > 0 && first.data[first.length - 1] == ' ')
        first.length--;
    return first;
}

static int fill(struct rulebook *rulebook, const struct settings *settings)
{
    rulebook->models = span_dup(span_str(settings->models));
    rulebook->prefix = span_dup(span_str(settings->model_prefix));
    rulebook->system_text = span_dup(span_str(settings->system_message));
    if (!rulebook->models || !rulebook->prefix || !rulebook->system_text)
        return ERR_NOMEM;
    int error = replacements_load(&rulebook->replacements, settings->replacements);
    if (error < 0)
        return error;
    rulebook->options = (struct request_options){
        .default_model = first_in_list(rulebook->models),
        .model_prefix = span_str(rulebook->prefix),
        .system_text = span_str(rulebook->system_text),
        .rules = rulebook->replacements.rules,
        .rule_count = rulebook->replacements.count,
    };
    return 0;
}

struct rulebook *rulebook_new(const struct settings *settings)
{
    struct rulebook *rulebook = calloc(1, sizeof *rulebook);
    int error = ERR_NOMEM;
    if (rulebook) {
        rulebook->holders = 1;
        error = fill(rulebook, settings);
    }
    if (error == 0)
        return rulebook;
    if (error == ERR_INVALID)
        log_error(NULL, "bad_setting", LOG_STR("name", "CODEBUDDY_REPLACEMENTS"));
    else
        log_error(NULL, "out_of_memory");
    rulebook_drop(&rulebook);
    return NULL;
}

struct rulebook *rulebook_hold(struct rulebook *rulebook)
{
    rulebook->holders++;
    return rulebook;
}

void rulebook_drop(struct rulebook **rulebook_at)
{
    struct rulebook *rulebook = *rulebook_at;
    *rulebook_at = NULL;
    if (!rulebook)
        return;
    assert(rulebook->holders > 0);
    if (--rulebook->holders > 0)
        return;
    replacements_fini(&rulebook->replacements);
    free(rulebook->models);
    free(rulebook->prefix);
    free(rulebook->system_text);
    free(rulebook);
}
