/* SPDX-License-Identifier: MIT */
/* spare_memory - gives memory that is not needed any more back to the kernel. glibc keeps what was freed for
 * the next use, unless it lies at the top of the heap; after a load that is over it would be kept for good.
 * What was free at each of the last beats was not needed by them all: it is given back (malloc_trim), once it
 * is worth the trouble. Embedded; for the thread that runs the loop. Costs some 10 µs a beat. */
#ifndef PROTO_SPARE_MEMORY_H
#define PROTO_SPARE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct spare_memory {
    size_t least_free_bytes; /* at any of the beats so far */
    unsigned beats;
};

/* To be called once a second with what the allocator holds: free, and in use. True if the free should be
 * given back now. */
bool spare_memory_beat(struct spare_memory *spare, size_t free_bytes, size_t used_bytes);
/* The same about this process, and done. */
void spare_memory_tend(struct spare_memory *spare);

#endif
