/* SPDX-License-Identifier: MIT */
#include "proto/spare_memory.h"

#include <malloc.h>

enum {
    BEATS = 5,             /* a second each: shorter than that is between two waves of a load */
    WORTH_BYTES = 1 << 20, /* less is not worth the page faults of getting it again */
    WORTH_SHARE = 16       /* … nor is less than this part of what is in use */
};

bool spare_memory_beat(struct spare_memory *spare, size_t free_bytes, size_t used_bytes)
{
    if (spare->beats == 0 || free_bytes < spare->least_free_bytes)
        spare->least_free_bytes = free_bytes;
    if (++spare->beats < BEATS)
        return false;
    spare->beats = 0;
    return spare->least_free_bytes >= WORTH_BYTES && spare->least_free_bytes >= used_bytes / WORTH_SHARE;
}

void spare_memory_tend(struct spare_memory *spare)
{
    struct mallinfo2 info = mallinfo2();

    if (spare_memory_beat(spare, info.fordblks, info.uordblks + info.hblkhd))
        malloc_trim(0);
}
