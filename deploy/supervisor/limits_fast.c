/* SPDX-License-Identifier: MIT */
/* The same supervisor in a hurry, for whole_test.c: fake children that hang are found in two seconds, which a
 * busy machine does not reach by accident. */
#include "deploy/supervisor/supervise.h"

const struct supervise_limits supervise_limits_default = {
    .start_ms = 2000,
    .silence_ms = 2000,
    .starved_most_ms = 6000,
    .starved_look_ms = 100,
    .abort_grace_ms = 200,
    .drain_ms = 2000,
    .backoff_first_ms = 50,
    .backoff_most_ms = 400,
    .healthy_ms = 60000, /* no fake lives that long: failures add up */
};
