/* SPDX-License-Identifier: MIT */
/* keyword_rules - the operator's replacements on system messages (upstream.md 4): applied in order, each to
 * the result of the one before, to every occurrence from left to right. */
#ifndef UPSTREAM_WORKER_KEYWORD_RULES_H
#define UPSTREAM_WORKER_KEYWORD_RULES_H

#include "proto/bytes.h"

struct keyword_rule {
    struct span from; /* not empty; UTF-8 */
    struct span to;   /* may be empty */
};

struct keyword_rules {
    const struct keyword_rule *rules;
    size_t count;
    size_t limit_bytes; /* of the text that results */
};

/* Replaces the content of `text` by what the rules make of it. 1: it changed; 0: nothing matched;
 * ERR_TOO_LARGE; ERR_NOMEM (then `text` may be half done). `spare` is scratch. */
int keyword_rules_apply(const struct keyword_rules *rules, struct buffer *text, struct buffer *spare);

#endif
