/* SPDX-License-Identifier: MIT */
/* query - the parameters of a request's target, read strictly: each one known, once, and well formed. Pure.
 */
#ifndef GATEWAY_QUERY_H
#define GATEWAY_QUERY_H

#include "proto/bytes.h"

#include <jansson.h>

enum { QUERY_NAME_MAX_BYTES = 64, QUERY_VALUE_MAX_BYTES = 256 };

struct query_problem {
    char name[QUERY_NAME_MAX_BYTES + 1]; /* the parameter at fault, as far as it could be read */
    const char *message;                 /* static */
};

/* Adds the parameters of `query` (application/x-www-form-urlencoded) to `into`, an object, as texts. `known`:
 * the names there are, spaces between. 0; ERR_INVALID with `problem`; ERR_NOMEM. */
int query_read(struct span query, const char *known, json_t *into, struct query_problem *problem);

#endif
