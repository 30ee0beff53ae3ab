/* SPDX-License-Identifier: MIT */
#include "credd/curl_wipe.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void free_wiped(void *block)
{
    if (block)
        sodium_memzero(block, malloc_usable_size(block));
    free(block);
}

/* realloc(3) would leave a copy where the block was. */
static void *realloc_wiped(void *block, size_t size)
{
    size_t had = block ? malloc_usable_size(block) : 0;
    void *moved = malloc(size);
    if (!moved)
        return NULL;
    if (block)
        memcpy(moved, block, had < size ? had : size);
    free_wiped(block);
    return moved;
}

CURLcode curl_wipe_init(void)
{
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free_wiped, realloc_wiped, strdup, calloc);
}
