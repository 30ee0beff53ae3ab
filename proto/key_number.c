/* SPDX-License-Identifier: MIT */
#include "proto/key_number.h"

#include <inttypes.h>
#include <stdio.h>

static const char prefix[] = "key_";

uint64_t key_number(struct span id)
{
    uint64_t number = 0;
    if (id.length != KEY_ID_BYTES - 1 || memcmp(id.data, prefix, sizeof prefix - 1) != 0)
        return 0;
    for (size_t i = sizeof prefix - 1; i < id.length; i++) {
        char c = id.data[i];
        if (c >= '0' && c <= '9')
            number = number << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            number = number << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return number;
}

void key_id_write(uint64_t number, char id[KEY_ID_BYTES])
{
    snprintf(id, KEY_ID_BYTES, "%s%016" PRIx64, prefix, number);
}
