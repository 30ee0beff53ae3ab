/* SPDX-License-Identifier: MIT */
/* readiness - could a completion be served now? A gateway is connected, one of them has a ready worker, a
 * worker has credd on its line, credd is connected and has a usable credential: by the processes' connections
 * and gauges. A process that hangs counts as gone after 3 s (proto/link.h). Pure. */
#ifndef STATSD_READINESS_H
#define STATSD_READINESS_H

#include "statsd/registry.h"

/* What it looks at, besides who is connected. */
#define READINESS_WORKERS_GAUGE     "codebuddy2api_workers_ready"      /* of gateways */
#define READINESS_CREDD_GAUGE       "codebuddy2api_worker_credd_up"    /* of workers */
#define READINESS_CREDENTIALS_GAUGE "codebuddy2api_credentials_usable" /* of credd */

/* Appends {"status":"ready"|"not_ready","reasons":[…],"ledger":"ok"|"failing"} and sets `ready`. A failing
 * ledger is told, but completions are served without it. 0 or ERR_NOMEM. */
int readiness_write(struct buffer *out, const struct registry *registry, bool ledger_failing, bool *ready);

#endif
