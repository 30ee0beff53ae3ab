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
    uv_timer_t *opening;         /* runs until the front is open; NULL afterwards */
    bool has_state;              /* credd was heard */
};

/* Returns owned; NULL on failure (logged). It takes connections in, and says ready, once a worker is there
 * and credd has said what the keys are, or after 700 ms: what came before waits in the listening socket,
 * where the gateway that this one replaces may still take it. */
struct gateway *gateway_new(struct service *service);
/* To be called when a worker became ready for requests. */
void gateway_worker_available(struct gateway *gateway);
void gateway_free(struct gateway **gateway);

#endif
