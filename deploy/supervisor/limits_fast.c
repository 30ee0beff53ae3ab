/* SPDX-License-Identifier: MIT */
/* The same supervisor in a hurry, for whole_test.c: fake children that hang are found in a second. */
#include "deploy/supervisor/supervise.h"

const struct supervise_limits supervise_limits_default = {
    .start_ms = 1000,
    .silence_ms = 1000,
    .abort_grace_ms = 200,
    .drain_ms = 500,
    .backoff_first_ms = 50,
    .backoff_most_ms = 400,
    .healthy_ms = 60000, /* no fake lives that long: failures add up */
};
