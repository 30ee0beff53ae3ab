/* SPDX-License-Identifier: MIT */
/* model_lists - what the upstream offers for the credentials in use: models.list (README.md). Each site in
 * use is asked with one of its ready credentials, at most every MODELS_LIFE_MS (after trouble
 * MODELS_AGAIN_MS), one question at a time per site; its last list stays while it is in trouble. Owned by
 * desk; never blocks. */
#ifndef CREDD_MODEL_LISTS_H
#define CREDD_MODEL_LISTS_H

#include "credd/broker.h"
#include "credd/calls.h"
#include "credd/http_call.h"

#include <jansson.h>

enum {
    MODELS_LIFE_MS = 10 * 60 * 1000,
    MODELS_AGAIN_MS = 30 * 1000,
    MODELS_MAX = 2000, /* of one site */
    MODEL_ID_MAX_BYTES = 128
};

struct model_lists;
struct model_lists_parts {
    struct broker *broker;
    struct http_calls *http;
    const struct settings *settings; /* live */
};

/* Borrows all parts. Adds the method to `calls`. Returns owned, NULL when out of memory. */
struct model_lists *model_lists_new(struct calls *calls, const struct model_lists_parts *parts);
/* Who waits is answered. NULL-safe. */
void model_lists_free(struct model_lists **lists);

/* The ids that the answer's data offers: those of the agent `cli` that are not disabled; without such an
 * agent, all that are not. Odd ones are left out. Returns an owned array, NULL when out of memory. Pure. */
json_t *model_lists_read(const json_t *data);
/* The answer to the client: the configured list (comma separated), then those of each array that are not in
 * it yet. Returns owned, NULL when out of memory. Pure. */
json_t *model_lists_merge(const char *configured, const json_t *const *arrays, size_t count,
                          int64_t created_s);

#endif
