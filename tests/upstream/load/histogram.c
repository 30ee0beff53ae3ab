/* SPDX-License-Identifier: MIT */
#include "tests/upstream/load/histogram.h"

#define SUB_COUNT (1 << HISTOGRAM_SUB_BITS)

/* Below 64 each value has its bucket; above, each power of two is split into 64. */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift, index;

    if (value < SUB_COUNT)
        return (unsigned)value;
    shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    index = (shift + 1) * SUB_COUNT + (unsigned)(value >> shift) - SUB_COUNT;
    return index < HISTOGRAM_BUCKET_COUNT ? index : HISTOGRAM_BUCKET_COUNT - 1;
}

static int64_t bucket_end(unsigned index)
{
    unsigned shift = index / SUB_COUNT;

    if (shift == 0)
        return index;
    return (int64_t)((((uint64_t)index % SUB_COUNT + SUB_COUNT + 1) << (shift - 1)) - 1);
}

void histogram_add(struct histogram *histogram, int64_t time_us)
{
    if (time_us < 0)
        time_us = 0;
    histogram->buckets[bucket_of((uint64_t)time_us)]++;
    histogram->count++;
    histogram->sum_us += time_us;
    if (time_us > histogram->max_us)
        histogram->max_us = time_us;
}

int64_t histogram_permille_us(const struct histogram *histogram, unsigned permille)
{
    uint64_t wanted = (histogram->count * permille + 999) / 1000, seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKET_COUNT && histogram->count; i++) {
        int64_t end = bucket_end(i);

        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0)
            return end < histogram->max_us ? end : histogram->max_us;
    }
    return 0;
}

int64_t histogram_mean_us(const struct histogram *histogram)
{
    return histogram->count ? histogram->sum_us / (int64_t)histogram->count : 0;
}
