/* SPDX-License-Identifier: MIT */
/* worker - all of the process's requests: the gateways' link, who belongs to which gateway, the turn's work,
 * the tick, the drain. */
#ifndef UPSTREAM_WORKER_WORKER_H
#define UPSTREAM_WORKER_WORKER_H

#include "proto/follow.h"
#include "proto/reporter.h"

struct worker;

/* Connects to gateways and credd, and follows it: `live` changes as it says. Borrows all; curl_global_init
 * must have been called. Returns owned; NULL on failure (logged). */
struct worker *worker_new(struct service *service, struct live *live, struct reporter *reporter);
/* Requests that still run are given up. NULL-safe. */
void worker_free(struct worker **worker);

#endif
