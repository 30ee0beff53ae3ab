/* SPDX-License-Identifier: MIT */
#include "credd/credential_id.h"

#include <sodium.h>
#include <string.h>

enum { ID_DIGITS = CREDENTIAL_ID_BYTES - 1 };

void credential_id_of(const char *filename, char id[CREDENTIAL_ID_BYTES], uint32_t *number)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)filename, strlen(filename), NULL, 0);
    sodium_bin2hex(id, CREDENTIAL_ID_BYTES, hash, ID_DIGITS / 2);
    *number = (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

uint64_t credential_id_value(struct span id)
{
    return span_hex16_value(id);
}

size_t credential_ids_parse(struct span list, uint64_t *values, size_t max)
{
    size_t count = 0;
    while (list.length > 0 && count < max) {
        const char *comma = memchr(list.data, ',', list.length);
        size_t length = comma ? (size_t)(comma - list.data) : list.length;
        uint64_t value = credential_id_value(span_of(list.data, length));
        if (value != 0)
            values[count++] = value;
        size_t skip = comma ? length + 1 : length;
        list = span_of(list.data + skip, list.length - skip);
    }
    return count;
}
