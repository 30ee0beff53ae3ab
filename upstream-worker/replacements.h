/* SPDX-License-Identifier: MIT */
/* replacements - the operator's keyword rules, from CODEBUDDY_REPLACEMENTS. */
#ifndef UPSTREAM_WORKER_REPLACEMENTS_H
#define UPSTREAM_WORKER_REPLACEMENTS_H

#include "upstream-worker/keyword_rules.h"

struct json_t;

/* Embedded; all zero has no rules. */
struct replacements {
    struct keyword_rule *rules; /* their texts lie in `document` */
    size_t count;
    struct json_t *document;
};

/* `text`: a JSON list of {"from": not empty, "to"}; "" is none. 0, ERR_INVALID, ERR_NOMEM. */
int replacements_load(struct replacements *replacements, const char *text);
void replacements_fini(struct replacements *replacements);

#endif
