/* SPDX-License-Identifier: MIT */
/* histogram - how many values fell where, in so few and so small counters that one fits into every row of the
 * rollups, and that any number of rows can be added up. Pure.
 *
 * Eight buckets to each power of two, from 1 ms to 70 minutes (what is longer counts as that): a bucket is
 * at most an eighth of its lower bound wide, so a quantile is at most 7 % off. On disk only buckets that
 * have something, as pairs: the bucket's number (one byte, ascending) and its count (base 128, low digits
 * first). The bounds and this form are on disk: they never change. */
#ifndef STATSD_HISTOGRAM_H
#define STATSD_HISTOGRAM_H

#include "proto/bytes.h"

enum { HISTOGRAM_BUCKETS = 160, HISTOGRAM_MAX_BYTES = HISTOGRAM_BUCKETS * 6 };

struct histogram {
    uint32_t counts[HISTOGRAM_BUCKETS]; /* saturating */
};

void histogram_add(struct histogram *histogram, uint32_t value_ms);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value below which a share of `percent` (1 to 100) of the values lies, ms; -1 if there are none. */
int64_t histogram_percentile(const struct histogram *histogram, unsigned percent);
/* Writes the form on disk; returns its bytes. */
size_t histogram_encode(const struct histogram *histogram, unsigned char out[HISTOGRAM_MAX_BYTES]);
/* Adds what `text` holds. 0, or ERR_INVALID (not of our making; part of it may have been added). */
int histogram_add_encoded(struct histogram *histogram, struct span text);

#endif
