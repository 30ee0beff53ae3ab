/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_ids.h"

#include <string.h>

#include <sodium.h>

enum { ID_RANDOM_BYTES = 16 };

void request_ids_init(struct request_ids *ids, void (*draw)(void *bytes, size_t length))
{
    *ids = (struct request_ids){.draw = draw ? draw : randombytes_buf};
    ids->used = sizeof ids->pool; /* draw at first use */
}

static const uint8_t *request_ids_take(struct request_ids *ids)
{
    if (sizeof ids->pool - ids->used < ID_RANDOM_BYTES) {
        ids->draw(ids->pool, sizeof ids->pool);
        ids->used = 0;
    }
    const uint8_t *bytes = ids->pool + ids->used;
    ids->used += ID_RANDOM_BYTES;
    return bytes;
}

static void hex_write(char *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void request_ids_make_hex(struct request_ids *ids, char out[ID_HEX_BYTES + 1])
{
    hex_write(out, request_ids_take(ids), ID_RANDOM_BYTES);
    out[ID_HEX_BYTES] = '\0';
}

void request_ids_make_span(struct request_ids *ids, char out[ID_SPAN_BYTES + 1])
{
    hex_write(out, request_ids_take(ids), ID_SPAN_BYTES / 2);
    out[ID_SPAN_BYTES] = '\0';
    if (strspn(out, "0") == ID_SPAN_BYTES)
        out[ID_SPAN_BYTES - 1] = '1';
}

void request_ids_make_uuid(struct request_ids *ids, char out[ID_UUID_BYTES + 1])
{
    static const struct {
        uint8_t at, first, count;
    } groups[] = {{0, 0, 4}, {9, 4, 2}, {14, 6, 2}, {19, 8, 2}, {24, 10, 6}};
    uint8_t bytes[ID_RANDOM_BYTES];
    memcpy(bytes, request_ids_take(ids), sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40); /* version 4 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80); /* variant */
    memset(out, '-', ID_UUID_BYTES);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        hex_write(out + groups[i].at, bytes + groups[i].first, groups[i].count);
    out[ID_UUID_BYTES] = '\0';
}
