/* SPDX-License-Identifier: MIT */
/* live_poll - what the live feed tells, asked of statsd and credd a round at a time, as events of
 * text/event-stream. Owned by the live feed; never blocks. */
#ifndef GATEWAY_LIVE_POLL_H
#define GATEWAY_LIVE_POLL_H

#include "gateway/gateway.h"
#include "proto/bytes.h"

/* E(NAME, word) */
#define LIVE_EVENT_LIST(E)                                                                                   \
    E(LIVE_HEALTH, "health")                                                                                 \
    E(LIVE_STATS, "stats")                                                                                   \
    E(LIVE_PROCESSES, "processes")                                                                           \
    E(LIVE_CREDENTIALS, "credentials")                                                                       \
    E(LIVE_REQUESTS, "requests")

enum live_event {
#define E(name, word) name,
    LIVE_EVENT_LIST(E)
#undef E
        LIVE_EVENT_COUNT
};

struct live_poll;

/* `changed` is called for each event whose content became another, also within live_poll_round. Borrows the
 * gateway, whose service, completions and rpcs must be there. Returns owned, NULL when out of memory. */
struct live_poll *live_poll_new(struct gateway *gateway, void (*changed)(void *owner, enum live_event event),
                                void *owner);
void live_poll_free(struct live_poll **poll); /* NULL-safe */
/* Asks for everything; what is still being asked is not asked again. */
void live_poll_round(struct live_poll *poll);
/* Nobody listens: asks no more, and forgets all. */
void live_poll_forget(struct live_poll *poll);
/* The event as it is sent, `event: …` and `data: …`; empty before it is known. Valid until it changes. */
struct span live_poll_text(const struct live_poll *poll, enum live_event event);

#endif
