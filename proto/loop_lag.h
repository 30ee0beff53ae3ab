/* SPDX-License-Identifier: MIT */
/* loop_lag - how long a loop kept others waiting: the longest turn, or lateness of a timer, of the last
 * LOOP_LAG_BEATS to twice as many beats, so that who looks every LOOP_LAG_BEATS misses none. Pure. */
#ifndef PROTO_LOOP_LAG_H
#define PROTO_LOOP_LAG_H

#include <stdint.h>

enum { LOOP_LAG_BEATS = 15 };

struct loop_lag {                  /* all zero: none yet */
    int64_t max_ms, former_max_ms; /* of this and of the last LOOP_LAG_BEATS */
    unsigned beats;
};

static inline void loop_lag_note(struct loop_lag *lag, int64_t lag_ms)
{
    if (lag_ms > lag->max_ms)
        lag->max_ms = lag_ms;
}

static inline int64_t loop_lag_ms(const struct loop_lag *lag)
{
    return lag->max_ms > lag->former_max_ms ? lag->max_ms : lag->former_max_ms;
}

/* A beat is over. */
static inline void loop_lag_beat(struct loop_lag *lag)
{
    if (++lag->beats % LOOP_LAG_BEATS != 0)
        return;
    lag->former_max_ms = lag->max_ms;
    lag->max_ms = 0;
}

#endif
