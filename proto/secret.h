/* SPDX-License-Identifier: MIT */
/* secret - bytes that must not be seen: passwords, tokens, keys. Wiped on free, never formatted.
 *
 * Embedded: all zero is the empty secret. Memory is libsodium's guarded only where it pays: these are plain
 * heap blocks that are wiped (sodium_memzero) before they are freed or replaced. */
#ifndef PROTO_SECRET_H
#define PROTO_SECRET_H

#include "proto/bytes.h"

struct secret {
    char *data; /* NUL-terminated for C APIs; NULL when empty */
    size_t length;
};

/* Replaces the secret by a copy of `text`, wiping the old one. 0 or ERR_NOMEM (then the old one stays). */
int secret_set(struct secret *secret, struct span text);
void secret_fini(struct secret *secret); /* wipes, frees, zeroes */
static inline bool secret_is_empty(const struct secret *secret)
{
    return secret->length == 0;
}
static inline struct span secret_span(const struct secret *secret)
{
    return (struct span){secret->data, secret->length};
}
/* Compares in a time that depends on neither content nor the point of difference (both are hashed first). */
bool secret_equals(const struct secret *secret, struct span candidate);
/* Wipes and frees a buffer that held secrets. */
void buffer_fini_secret(struct buffer *buffer);

#endif
