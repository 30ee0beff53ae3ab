/* SPDX-License-Identifier: MIT */
/* rulebook - what requests are checked and changed by, as the settings are at one time. A request keeps the
 * one that it began with; when the settings change, the next request gets another. Counted: never blocks. */
#ifndef UPSTREAM_WORKER_RULEBOOK_H
#define UPSTREAM_WORKER_RULEBOOK_H

#include "proto/settings.h"
#include "upstream-worker/replacements.h"
#include "upstream-worker/request_body.h"

struct rulebook {
    unsigned holders;
    struct request_options options; /* points into the rest */
    struct replacements replacements;
    char *models, *prefix, *system_text;
};

/* Copies what it needs. Returns owned, held once; NULL when out of memory or with bad replacements (logged).
 */
struct rulebook *rulebook_new(const struct settings *settings);
/* Holds it once more, and returns it. */
struct rulebook *rulebook_hold(struct rulebook *rulebook);
/* Freed by the last. NULL-safe. */
void rulebook_drop(struct rulebook **rulebook);

#endif
