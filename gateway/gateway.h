/* SPDX-License-Identifier: MIT */
/* gateway - the parts of this service, and nothing else: made in order of need, freed in reverse. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "proto/reporter.h"
#include "proto/service.h"

struct gateway {
    struct service *service;
    const struct settings *settings; /* the live ones */
    struct reporter *reporter;       /* to statsd: usage, counters, gauges */
    struct metrics *metrics;
    struct auth *auth;
    struct rpc *statsd, *credd; /* questions to them */
    struct assets *assets;      /* the admin page; NULL: it was not built */
    struct live *live;
    struct follow *follow; /* credd, for settings, keys and sessions */
    struct completions *completions;
    struct live_feed *live_feed; /* what the admin page shows as it changes */
    struct front *front;         /* HTTP: it uses all of the above */
};

/* Returns owned, not yet accepting connections before the service runs; NULL on failure (logged). */
struct gateway *gateway_new(struct service *service);
void gateway_free(struct gateway **gateway);

#endif
