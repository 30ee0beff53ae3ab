/* SPDX-License-Identifier: MIT */
/* key_rules - what an API key may do, as its maker said it, in JSON and in memory. Pure.
 *
 * {"name":"ci","models":["gpt-5"],"rpm":60,"max_in_flight":4,"expires_at":1893456000}: only the name is
 * required; what is absent or null is not limited. */
#ifndef CREDD_KEY_RULES_H
#define CREDD_KEY_RULES_H

#include "proto/bytes.h"

#include <jansson.h>

enum {
    KEY_NAME_MAX_BYTES = 64,
    KEY_MAX_MODELS = 50,
    KEY_MODEL_MAX_BYTES = 128, /* as in LEASE */
    KEY_MAX_RPM = 1000000,
    KEY_MAX_IN_FLIGHT = 1000000,
};

struct key_rules {
    json_t *name;          /* string */
    json_t *models;        /* array of strings; NULL: all */
    int64_t rpm;           /* requests begun in any 60 s; 0: not limited */
    int64_t max_in_flight; /* 0: not limited */
    int64_t expires_at_s;  /* since 1970; 0: never */
};

/* Why JSON from outside was not taken: the member, and what is wrong with it (static text). */
struct field_problem {
    char field[64];
    const char *text;
};
/* Fills `problem`; a field that is too long or no UTF-8 is cut. Returns ERR_INVALID. */
int field_problem_set(struct field_problem *problem, const char *field, const char *text);

/* Reads the members above and no other. 0; ERR_INVALID with `problem`. Pair with key_rules_fini, on failure
 * too. */
int key_rules_read(struct key_rules *rules, const json_t *object, struct field_problem *problem);
void key_rules_fini(struct key_rules *rules);
/* Adds the members above to `object`, null for what is not limited. 0 or ERR_NOMEM. */
int key_rules_write(const struct key_rules *rules, json_t *object);
bool key_rules_allow_model(const struct key_rules *rules, struct span model);

#endif
