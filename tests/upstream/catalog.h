/* SPDX-License-Identifier: MIT */
/* Which scenario a chat request gets, and the scripts made so far.
 *
 * A request's scenario is, in this order: a rule for its bearer token (and model), its model name if that
 * is a scenario text, "model not served" if a list of served models is set, else the default. Scripts are
 * kept, so that a scenario's second request costs a look-up. Single thread. */
#ifndef UPSTREAM_CATALOG_H
#define UPSTREAM_CATALOG_H

#include <jansson.h>

#include "tests/upstream/sse_script.h"

struct catalog;

struct catalog_request {
    struct span token;
    struct span model; /* decoded; empty if the body has none */
    struct span echo;
    struct span request_id;
    int64_t wall_s;
};

struct catalog *catalog_new(void);
void catalog_free(struct catalog **catalog);
/* Back to the start: no rules, no models, default "s:chunks", no failure counted, no script kept. */
void catalog_reset(struct catalog *catalog);

/* False and *why (returns owned) if text is no scenario. */
bool catalog_set_default(struct catalog *catalog, struct span text, char **why);
/* Requests with token (empty: any) for model (empty: any) get scenario text, times times (0: for ever).
 * The newest matching rule counts. An empty text removes the rules for this token and model. */
bool catalog_set_rule(struct catalog *catalog, struct span token, struct span model, struct span text,
                      int64_t times, char **why);
/* Borrows an array of names; one that ends in '*' is a prefix. Empty: every model is served. */
void catalog_set_models(struct catalog *catalog, const json_t *models);
/* The served models, borrowed. */
const json_t *catalog_models(const struct catalog *catalog);

/* Returns owned: the script for request. *text is the scenario's text, borrowed until the next reset or
 * rule. NULL and *why (returns owned) if the model name is a scenario text that is wrong. */
struct script *catalog_find_script(struct catalog *catalog, const struct catalog_request *request,
                                   const char **text, char **why);
/* The next catalog_find_script for this request will want its echo. */
bool catalog_wants_echo(const struct catalog *catalog, struct span model);
/* Returns owned: rules, default, scripts kept. */
json_t *catalog_to_json(const struct catalog *catalog);

#endif
