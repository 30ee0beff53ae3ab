/* SPDX-License-Identifier: MIT */
#include "statsd/histogram.h"
#include "proto/error.h"

enum {
    STEP_BITS = 3, /* eight buckets to a power of two */
    STEPS = 1 << STEP_BITS,
    LONGEST_MS = (1 << 22) - 1
};

static unsigned bucket_of(uint32_t value_ms)
{
    if (value_ms > LONGEST_MS)
        value_ms = LONGEST_MS;
    if (value_ms < STEPS)
        return value_ms;
    unsigned shift = 31 - (unsigned)__builtin_clz(value_ms) - STEP_BITS;
    return STEPS * (shift + 1) + ((value_ms >> shift) & (STEPS - 1));
}

/* The least value in a bucket, and how many values it takes. */
static int64_t bucket_begin(unsigned bucket, int64_t *width)
{
    if (bucket < STEPS) {
        *width = 1;
        return bucket;
    }
    unsigned shift = bucket / STEPS - 1;
    *width = INT64_C(1) << shift;
    return (int64_t)(STEPS + bucket % STEPS) << shift;
}

static void add_count(struct histogram *histogram, unsigned bucket, uint32_t count)
{
    if (__builtin_add_overflow(histogram->counts[bucket], count, &histogram->counts[bucket]))
        histogram->counts[bucket] = UINT32_MAX;
}

void histogram_add(struct histogram *histogram, uint32_t value_ms)
{
    add_count(histogram, bucket_of(value_ms), 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) /* without a branch: the compiler does several at once */
        into->counts[i] =
            UINT32_MAX - into->counts[i] < from->counts[i] ? UINT32_MAX : into->counts[i] + from->counts[i];
}

int64_t histogram_percentile(const struct histogram *histogram, unsigned percent)
{
    uint64_t total = 0, before = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += histogram->counts[i];
    uint64_t rank = (total * percent + 99) / 100; /* the first value of at least this rank */
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = histogram->counts[i];
        if (count > 0 && before + count >= rank) { /* as if the bucket's values lay at even distances */
            int64_t width, begin = bucket_begin(i, &width);
            return begin + (int64_t)((2 * (rank - before) - 1) * (uint64_t)width / (2 * count));
        }
        before += count;
    }
    return -1;
}

size_t histogram_encode(const struct histogram *histogram, unsigned char out[HISTOGRAM_MAX_BYTES])
{
    size_t length = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint32_t count = histogram->counts[i];
        if (count == 0)
            continue;
        out[length++] = (unsigned char)i;
        for (; count >= 0x80; count >>= 7)
            out[length++] = (unsigned char)(count | 0x80);
        out[length++] = (unsigned char)count;
    }
    return length;
}

int histogram_add_encoded(struct histogram *histogram, struct span text)
{
    const unsigned char *at = (const unsigned char *)text.data, *end = at + text.length;
    while (at < end) {
        unsigned bucket = *at++;
        uint64_t count = 0;
        for (unsigned shift = 0;; shift += 7) {
            if (at == end || shift > 28)
                return ERR_INVALID;
            count |= (uint64_t)(*at & 0x7F) << shift;
            if (!(*at++ & 0x80))
                break;
        }
        if (bucket >= HISTOGRAM_BUCKETS || count > UINT32_MAX)
            return ERR_INVALID;
        add_count(histogram, bucket, (uint32_t)count);
    }
    return 0;
}
