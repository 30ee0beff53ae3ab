/* SPDX-License-Identifier: MIT */
/* The times of design.md, "The supervisor". Linked into the daemon only: the whole-process test links
 * limits_fast.c in its place, so that nothing at run time has to be able to change them. */
#include "deploy/supervisor/supervise.h"

const struct supervise_limits supervise_limits_default = {
    .start_ms = 30000,        /* the slowest start is statsd with a large ledger: seconds */
    .silence_ms = 10000,      /* ten heartbeats */
    .starved_most_ms = 60000, /* a machine that is stuck for longer is past our help */
    .starved_look_ms = 1000,
    .abort_grace_ms = 2000,   /* to write a core */
    .drain_ms = 5000,         /* on top of CODEBUDDY_DRAIN_S, at which a child ends by itself */
    .backoff_first_ms = 100,  /* well under a client's patience */
    .backoff_most_ms = 30000, /* a broken child costs two starts a minute */
    .healthy_ms = 10000,
};
