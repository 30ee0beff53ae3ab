/* SPDX-License-Identifier: MIT */
/* live_feed - GET /api/live: the admin page's event stream. One of each event at the start, then those that
 * changed. Owned by the gateway; never blocks.
 *
 * Statsd and credd are asked once a second for all listeners together (live_poll.h), and not at all while
 * nobody listens. A listener owns one buffer with what is being written; what changes meanwhile is only
 * marked, and told as it is then: one that does not read costs one copy of each event (and is cut after
 * CODEBUDDY_BODY_TIMEOUT_S). At most LIVE_MAX_LISTENERS; more get 503. It ends when the session does, or when
 * the gateway drains: an EventSource comes again by itself. */
#ifndef GATEWAY_LIVE_FEED_H
#define GATEWAY_LIVE_FEED_H

#include "gateway/gateway.h"

enum { LIVE_MAX_LISTENERS = 32 };

struct live_feed;

/* Borrows the gateway, whose service, completions and rpcs must be there. Returns owned, NULL when out of
 * memory. */
struct live_feed *live_feed_new(struct gateway *gateway);
/* No listener may be left. NULL-safe. */
void live_feed_free(struct live_feed **feed);
/* Ends every stream cleanly, as soon as what is being written is written; new ones are refused. */
void live_feed_end(struct live_feed *feed);
void live_feed_abort_all(struct live_feed *feed); /* NULL-safe */

#endif
