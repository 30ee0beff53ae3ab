/* SPDX-License-Identifier: MIT */
/* rates - how fast a growing number grew in the last ten seconds, from one look a second. Pure. */
#ifndef STATSD_RATES_H
#define STATSD_RATES_H

#include <stddef.h>
#include <stdint.h>

enum { RATE_LOOKS = 11 };

/* Embedded; all zero to begin with. */
struct rate {
    struct {
        int64_t value, at_ms;
    } looks[RATE_LOOKS];
    size_t count; /* looks ever taken */
};

/* One look; a value that fell begins anew. */
void rate_add(struct rate *rate, int64_t value, int64_t now_ms);
/* Growth per second, in thousandths; 0 before the second look. */
int64_t rate_per_s_milli(const struct rate *rate);

#endif
