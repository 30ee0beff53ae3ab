/* SPDX-License-Identifier: MIT */
#include "proto/key_number.h"

#include <inttypes.h>
#include <stdio.h>

static const char prefix[] = "key_";

uint64_t key_number(struct span id)
{
    size_t length = sizeof prefix - 1;
    if (id.length != KEY_ID_BYTES - 1 || memcmp(id.data, prefix, length) != 0)
        return 0;
    return span_hex16_value(span_of(id.data + length, id.length - length));
}

void key_id_write(uint64_t number, char id[KEY_ID_BYTES])
{
    snprintf(id, KEY_ID_BYTES, "%s%016" PRIx64, prefix, number);
}
