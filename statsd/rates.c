/* SPDX-License-Identifier: MIT */
#include "statsd/rates.h"

void rate_add(struct rate *rate, int64_t value, int64_t now_ms)
{
    if (rate->count > 0 && value < rate->looks[(rate->count - 1) % RATE_LOOKS].value)
        rate->count = 0;
    rate->looks[rate->count % RATE_LOOKS].value = value;
    rate->looks[rate->count % RATE_LOOKS].at_ms = now_ms;
    rate->count++;
}

int64_t rate_per_s_milli(const struct rate *rate)
{
    if (rate->count < 2)
        return 0;
    size_t last = (rate->count - 1) % RATE_LOOKS;
    size_t first = rate->count <= RATE_LOOKS ? 0 : rate->count % RATE_LOOKS;
    int64_t took_ms = rate->looks[last].at_ms - rate->looks[first].at_ms;
    int64_t grew = rate->looks[last].value - rate->looks[first].value;
    if (took_ms <= 0 || grew > INT64_MAX / 1000000)
        return 0;
    return grew * 1000000 / took_ms;
}
