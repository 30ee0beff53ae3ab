/* SPDX-License-Identifier: MIT */
/* supervisor_watch - asks the supervisor once a second how its processes do, over its own socket in the run
 * directory (deploy/supervisor/control.h, `status`), and hands the answer to `supervised`.
 *
 * Only a supervised statsd does: in containers there is nobody to ask. An answer that does not come within 3
 * s is given up; then the supervisor is shown as down until one comes. On the loop; never blocks. */
#ifndef STATSD_SUPERVISOR_WATCH_H
#define STATSD_SUPERVISOR_WATCH_H

#include "statsd/registry.h"

#include <uv.h>

struct supervisor_watch;

/* Borrows the registry. Returns owned, NULL when out of memory. */
struct supervisor_watch *supervisor_watch_new(uv_loop_t *loop, const char *run_dir,
                                              struct registry *registry);
/* The memory goes once the loop has closed the handles; the registry is not touched after this. NULL-safe. */
void supervisor_watch_free(struct supervisor_watch **watch);

#endif
