/* SPDX-License-Identifier: MIT */
/* The far end's accounts: logins, token refresh, the models list and the two quota calls
 * (upstream.md, 2, 6 and 7). How each behaves is set by control: options (one JSON object, see
 * README.md), and answers that replace a call's own for some time. Single thread. */
#ifndef UPSTREAM_ACCOUNT_H
#define UPSTREAM_ACCOUNT_H

#include <jansson.h>

#include "tests/upstream/server.h"

enum account_call {
    CALL_START,
    CALL_POLL,
    CALL_ACCOUNT,
    CALL_REFRESH,
    CALL_MODELS,
    CALL_QUOTA_PERSONAL,
    CALL_QUOTA_ENTERPRISE,
    CALL_COUNT
};

struct account;

struct account_input {
    const struct server_request *request; /* borrowed */
    const json_t *models;                 /* what the models call offers; borrowed */
    int64_t wall_s;
};

struct account *account_new(void);
void account_free(struct account **account);
void account_reset(struct account *account);

/* Returns owned: the answer to a call. */
struct script *account_answer(struct account *account, enum account_call call,
                              const struct account_input *input);
/* True if chat may be asked with token: always, unless the option known_only is set. */
bool account_knows_token(const struct account *account, struct span token);
/* Logins done and refreshes done, as counters. */
void account_use_stats(struct account *account, struct stats *stats);

/* Merges options; borrows. False and *why (borrowed, for ever or until the next call) if one is unknown
 * or of another type. */
bool account_set_options(struct account *account, json_t *options, const char **why);
/* {"call","status"?,"code"?,"msg"?,"body"?,"html"?,"times"?,"delay_ms"?,"retry_after"?}; with only
 * "call" the call answers as usual again. */
bool account_set_answer(struct account *account, const json_t *answer, const char **why);
/* Returns owned. */
json_t *account_to_json(const struct account *account);

#endif
