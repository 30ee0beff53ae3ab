/* SPDX-License-Identifier: MIT */
/* health - how this gateway does, and why. Pure but for health_gather.
 *
 * unhealthy: requests fail. degraded: they work, but something is missing (usage waits, nobody can log in, or
 * we are stopping). */
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include "gateway/gateway.h"
#include "proto/bytes.h"

struct health {
    size_t workers, accepting; /* upstream-workers: connected; ready for requests */
    bool has_statsd, has_credd, is_draining;
    bool is_ledger_failing;     /* as far as was asked */
    int64_t usable_credentials; /* -1: was not asked */
};

/* What the gateway itself knows. */
void health_gather(const struct gateway *gateway, struct health *health);
const char *health_status(const struct health *health); /* static */
/* Appends {"status","reasons":[{"code","message"}],"ready"}: ready if a completion could be served. 0 or
 * ERR_NOMEM. */
int health_append_json(struct buffer *out, const struct health *health);

#endif
