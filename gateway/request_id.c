/* SPDX-License-Identifier: MIT */
#include "gateway/request_id.h"

#include <inttypes.h>
#include <stdio.h>

#include <sodium.h>

void request_id_make(char id[REQUEST_ID_BYTES], int64_t wall_ms, const unsigned char random[10])
{
    snprintf(id, 13, "%012" PRIx64, (uint64_t)wall_ms & 0xffffffffffff);
    sodium_bin2hex(id + 12, REQUEST_ID_BYTES - 12, random, 10);
}
