/* SPDX-License-Identifier: MIT */
/* arguments - what a CALL asks with: {"arguments":{name:text}}, as the gateway read it from a query. Pure. */
#ifndef STATSD_ARGUMENTS_H
#define STATSD_ARGUMENTS_H

#include "proto/bytes.h"

#include <jansson.h>

/* Why a question is not answered. `field` empty: none is. Static texts, but `field` may borrow from the
 * arguments. */
struct problem {
    const char *field, *message;
};

/* The arguments of a CALL's body; an empty body and one without any give an empty object. Returns owned;
 * NULL: not JSON as described, or out of memory. */
json_t *arguments_read(struct span body);
/* True if each name is one of `names` (NULL-terminated) and each value a text; else fills `problem`. */
bool arguments_are_known(const json_t *arguments, const char *const *names, struct problem *problem);
/* The text of an argument; data NULL: not given. Borrows. */
struct span arguments_get(const json_t *arguments, const char *name);
/* A whole number from `least` to `most`; `*value` is left alone if it is not given. False: `problem` says. */
bool arguments_get_number(const json_t *arguments, const char *name, int64_t least, int64_t most,
                          int64_t *value, struct problem *problem);
/* Appends the 422 for a problem. 0 or ERR_NOMEM. */
int problem_append_json(struct buffer *out, const struct problem *problem);

#endif
