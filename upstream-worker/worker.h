/* SPDX-License-Identifier: MIT */
/* worker - all of the process's requests: the gateways' link, who belongs to which gateway, the turn's work,
 * the tick, the drain. */
#ifndef UPSTREAM_WORKER_WORKER_H
#define UPSTREAM_WORKER_WORKER_H

#include "proto/reporter.h"

struct worker;

/* Connects to gateways and credd. Borrows all; curl_global_init must have been called. Returns owned; NULL on
 * failure (logged). */
struct worker *worker_new(struct service *service, const struct settings *settings,
                          struct reporter *reporter);
/* Requests that still run are given up. NULL-safe. */
void worker_free(struct worker **worker);

#endif
