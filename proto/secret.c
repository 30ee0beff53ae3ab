/* SPDX-License-Identifier: MIT */
#include "proto/secret.h"
#include "proto/error.h"

#include <sodium.h>
#include <stdlib.h>

int secret_set(struct secret *secret, struct span text)
{
    char *copy = span_dup(text);
    if (!copy)
        return ERR_NOMEM;
    secret_fini(secret);
    secret->data = copy;
    secret->length = text.length;
    return 0;
}

void secret_fini(struct secret *secret)
{
    if (secret->data)
        sodium_memzero(secret->data, secret->length);
    free(secret->data);
    *secret = (struct secret){0};
}

bool secret_equals(const struct secret *secret, struct span candidate)
{
    unsigned char a[crypto_generichash_BYTES], b[crypto_generichash_BYTES];
    crypto_generichash(a, sizeof a, (const unsigned char *)secret->data, secret->length, NULL, 0);
    crypto_generichash(b, sizeof b, (const unsigned char *)candidate.data, candidate.length, NULL, 0);
    bool equal = sodium_memcmp(a, b, sizeof a) == 0;
    sodium_memzero(a, sizeof a);
    sodium_memzero(b, sizeof b);
    return equal;
}

void buffer_fini_secret(struct buffer *buffer)
{
    if (buffer->data)
        sodium_memzero(buffer->data, buffer->capacity);
    buffer_fini(buffer);
}
