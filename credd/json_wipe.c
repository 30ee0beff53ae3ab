/* SPDX-License-Identifier: MIT */
#include "credd/json_wipe.h"

#include <jansson.h>
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>

static bool ran_out;

static void *malloc_noted(size_t size)
{
    void *block = malloc(size);
    if (!block)
        ran_out = true;
    return block;
}

static void free_wiped(void *block)
{
    if (block)
        sodium_memzero(block, malloc_usable_size(block));
    free(block);
}

void json_wipe_install(void)
{
    json_set_alloc_funcs(malloc_noted,
                         free_wiped); /* jansson grows its buffers with these two, never realloc */
}

bool json_wipe_ran_out(void)
{
    bool was = ran_out;
    ran_out = false;
    return was;
}
