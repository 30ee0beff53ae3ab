/* SPDX-License-Identifier: MIT */
/* stats - what the gateway asks statsd for (CALL), answered from the totals in memory. Pure.
 *
 * `stats` is GET /api/stats (http-api.md, 3): {"model_usage":{name:count},"credential_usage":{id:count},
 * "totals":{"requests","errors","prompt_tokens","completion_tokens","cached_tokens","reasoning_tokens","credit"},
 * "since":seconds since 1970}. Credit is an exact decimal. */
#ifndef STATSD_STATS_H
#define STATSD_STATS_H

#include "statsd/totals.h"

/* Appends the answer. 0 or ERR_NOMEM. */
int stats_append(struct buffer *out, const struct totals *totals);
/* Appends its "totals" and in them "cancelled" too: for the live feed. 0 or ERR_NOMEM. */
int stats_append_live(struct buffer *out, const struct totals *totals);

#endif
