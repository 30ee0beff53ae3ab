/* SPDX-License-Identifier: MIT */
/* Times in microseconds, counted in buckets that are at most 1/64 wide: fixed memory, no sorting. Pure. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS     6
#define HISTOGRAM_BUCKET_COUNT (40 * (1 << HISTOGRAM_SUB_BITS))

/* All zero: empty. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
    uint64_t count;
    int64_t sum_us, max_us;
};

/* Negative times count as 0. */
void histogram_add(struct histogram *histogram, int64_t time_us);
/* The time that permille of the values do not exceed, rounded up to its bucket's end; 0 if empty. */
int64_t histogram_permille_us(const struct histogram *histogram, unsigned permille);
int64_t histogram_mean_us(const struct histogram *histogram);

#endif
