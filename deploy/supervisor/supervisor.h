/* SPDX-License-Identifier: MIT */
/* supervisor - the process that holds up the others: its loop and signals, the tree, the control socket.
 *
 * SIGTERM, SIGINT, `stop`: ordered drain; a second one: all are killed at once. Either way the exit status
 * is 0. SIGHUP, `reload`: the settings are checked first, and bad ones change nothing. A terminal that closes
 * (SIGHUP with the terminal gone) is a stop. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "deploy/supervisor/rundir.h"

#include "proto/settings.h"

struct supervisor;

/* Makes the data and credential directories, binds the API's and the ops port, opens the control socket.
 * Borrows settings for its life, takes rundir. Failures are logged. 0 and `supervisor` is owned; ERR_CONFIG,
 * ERR_IO, ERR_NOMEM. */
int supervisor_new(const struct settings *settings, struct rundir *rundir, struct supervisor **supervisor);
/* Starts the tree; returns the exit status when all of it is gone. */
int supervisor_run(struct supervisor *supervisor);
/* Gives the run directory's locks back before those who wait for a stop hear of it. NULL-safe. */
void supervisor_free(struct supervisor **supervisor);

#endif
