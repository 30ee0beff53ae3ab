/* SPDX-License-Identifier: MIT */
/* processes - GET /api/processes: what is known of each connected process, from the registry. Pure. */
#ifndef STATSD_PROCESSES_H
#define STATSD_PROCESSES_H

#include "proto/bytes.h"
#include "statsd/registry.h"

/* Appends the array, sorted by role and name. 0 or ERR_NOMEM. */
int processes_append(struct buffer *out, const struct registry *registry);

#endif
