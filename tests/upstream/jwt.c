/* SPDX-License-Identifier: MIT */
#include "tests/upstream/jwt.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX_BYTES 8192

static void append_base64url(struct buffer *out, const void *data, size_t size_bytes)
{
    size_t room = sodium_base64_ENCODED_LEN(size_bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

    buffer_reserve(out, room);
    sodium_bin2base64(out->data + out->size, room, data, size_bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->size += room - 1; /* without the NUL */
}

char *jwt_make(const json_t *payload, uint64_t serial)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"standin\"}";
    unsigned char signature[SHA256_DIGEST_LENGTH];
    char *text = json_dumps(payload, JSON_COMPACT);
    struct buffer token = {0};

    append_base64url(&token, header, sizeof(header) - 1);
    buffer_append(&token, ".", 1);
    append_base64url(&token, text ? text : "{}", text ? strlen(text) : 2);
    free(text);
    SHA256((const unsigned char *)&serial, sizeof(serial), signature);
    buffer_append(&token, ".", 1);
    append_base64url(&token, signature, sizeof(signature));
    buffer_append(&token, "", 1);
    return token.data;
}

json_t *jwt_read_payload(struct span token)
{
    const char *first = memchr(token.data, '.', token.size);
    const char *second = first ? memchr(first + 1, '.', token.size - (size_t)(first + 1 - token.data)) : NULL;
    unsigned char payload[TOKEN_MAX_BYTES];
    size_t size;

    if (!second || token.size > TOKEN_MAX_BYTES)
        return NULL;
    if (sodium_base642bin(payload, sizeof(payload), first + 1, (size_t)(second - first - 1), NULL, &size,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return NULL;
    return json_loadb((const char *)payload, size, 0, NULL);
}
