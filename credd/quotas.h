/* SPDX-License-Identifier: MIT */
/* quotas - asks the upstream what is left of the credits of those that ran out, so that they return when
 * there are new ones. Owned by desk; on the loop, never in the way of a lease.
 *
 * Asked for are the exhausted, at once and then every QUOTA_AGAIN_MS; one that came back, once; and any that
 * a person tests, refreshes or enables, a QUOTA_LEAST_MS after the last time at the earliest. One question at
 * a time in all.
 *
 * The 14018 is believed before the numbers. What the first look finds is the mark: none left, and the end of
 * the cycle known → exhausted until then, QUOTA_UNTIL_MAX_MS at most; else CODEBUDDY_CREDENTIAL_EXHAUSTED_S
 * as without a quota. More than the mark at a later look → it returns now. No answer, or one that is not
 * understood → CODEBUDDY_CREDENTIAL_EXHAUSTED_S from now at most. So numbers that are wrong cost at most one
 * request a day and one return in two looks. */
#ifndef CREDD_QUOTAS_H
#define CREDD_QUOTAS_H

#include "credd/broker.h"
#include "credd/http_call.h"
#include "credd/quota.h"

enum {
    QUOTA_AGAIN_MS = 10 * 60 * 1000,
    QUOTA_LEAST_MS = 60 * 1000,
    QUOTA_UNTIL_MAX_MS = 24 * 3600 * 1000, /* as for a rate limit */
};

struct quotas;
struct quotas_parts {
    const struct vault *vault;
    struct rotation *rotation;
    struct http_calls *http;
    const struct settings *settings; /* live: ssl_verify and credential_exhausted_s */
};

/* Borrows all parts. Returns owned, NULL when out of memory. */
struct quotas *quotas_new(const struct quotas_parts *parts);
/* NULL-safe. */
void quotas_free(struct quotas **quotas);
/* Starts what is due. Call once a second. */
void quotas_tick(struct quotas *quotas);
/* A person wants to know. */
void quotas_want(struct quotas *quotas, uint32_t number);
/* What was last said of the account of this very token; NULL: not known. */
const struct quota *quotas_find(const struct quotas *quotas, const struct credential *credential);

#endif
