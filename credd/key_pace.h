/* SPDX-License-Identifier: MIT */
/* key_pace - how many requests an API key began in each of the last 60 seconds, for its limit per minute. A
 * plain value, all zero at first; pure. Seconds are monotonic, but in what outlives the process: there they
 * are since 1970. */
#ifndef CREDD_KEY_PACE_H
#define CREDD_KEY_PACE_H

#include "credd/rotation.h"

#include <jansson.h>

enum { KEY_PACE_S = 60 };

struct key_pace {
    struct {
        int64_t second, count;
    } begun[KEY_PACE_S]; /* by second modulo 60 */
};

void key_pace_note(struct key_pace *pace, const struct moment *moment);
/* In the 60 seconds that end now; `*free_in_s`: how long until the oldest of them no longer counts. */
int64_t key_pace_count(const struct key_pace *pace, const struct moment *moment, int64_t *free_in_s);
/* [[second, count], …] of those that count; empty when none does. Returns owned, NULL when out of memory. */
json_t *key_pace_describe(const struct key_pace *pace, const struct moment *moment);
/* Adds what was described at another moment, before a restart; what is over by now, or still to come by the
 * present clock, is left out. 0, or ERR_INVALID (some of it may be added). */
int key_pace_restore(struct key_pace *pace, const json_t *described, const struct moment *moment);

#endif
