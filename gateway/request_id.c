/* SPDX-License-Identifier: MIT */
#include "gateway/request_id.h"

#include <sodium.h>

static bool is_acceptable(struct span id)
{
    for (size_t i = 0; i < id.length; i++) {
        char c = id.data[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alnum && c != '.' && c != '_' && c != '-')
            return false;
    }
    return id.length > 0 && id.length < REQUEST_ID_BYTES;
}

void request_id_choose(char id[REQUEST_ID_BYTES], struct span wanted, const unsigned char random[16])
{
    if (is_acceptable(wanted)) {
        memcpy(id, wanted.data, wanted.length);
        id[wanted.length] = '\0';
        return;
    }
    sodium_bin2hex(id, 33, random, 16);
}
