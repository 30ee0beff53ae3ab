/* SPDX-License-Identifier: MIT */
/* bytes - a borrowed run of bytes (span) and a growing one that owns its memory (buffer). Nothing blocks.
 *
 * A span borrows: it is valid as long as what it points into. It need not end in NUL. {NULL, 0} is empty.
 * A buffer is embedded: buffer_init (or all zero), then buffer_fini. On ERR_NOMEM its content is unchanged.
 */
#ifndef PROTO_BYTES_H
#define PROTO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *data;
    size_t length;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *data, size_t length)
{
    return (struct span){data, length};
}
/* Borrows a NUL-terminated string; NULL is the empty span. */
static inline struct span span_str(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}
static inline bool span_equals(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
bool span_equals_ignoring_case(struct span a, struct span b); /* ASCII only */
bool span_starts_with(struct span text, struct span prefix);
/* Returns owned a NUL-terminated copy, NULL when out of memory. */
char *span_dup(struct span text);
/* True if the bytes are valid UTF-8 (no overlong forms, no surrogates, up to U+10FFFF). */
bool span_is_utf8(struct span text);
/* Length of the valid UTF-8 sequence at `at`, 1 to 4; 0 if the `left` bytes there (at least one) do not begin
 * with one. */
size_t utf8_sequence_length(const unsigned char *at, size_t left);
/* True if the bytes could be a header value: no CR, LF, NUL or other control character (tab is refused too).
 */
bool span_is_header_safe(struct span text);
/* Parses decimal digits only (no sign, no space); false on anything else or on overflow. */
bool span_to_u64(struct span text, uint64_t *value);
/* The number that 16 lower-case hex digits write; 0 for anything else. */
uint64_t span_hex16_value(struct span text);

struct buffer {
    char *data;
    size_t length;
    size_t capacity;
    bool is_secret; /* set before the first secret byte: memory that is given up is wiped (secret.h) */
};

static inline void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}
void buffer_fini(struct buffer *buffer); /* frees and zeroes, is_secret too; the buffer may be used again */
static inline struct span buffer_span(const struct buffer *buffer)
{
    return (struct span){buffer->data, buffer->length};
}
static inline void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
}
/* Makes room for `extra_bytes` more. Capacity doubles, so that appending is linear. 0 or ERR_NOMEM. */
int buffer_reserve(struct buffer *buffer, size_t extra_bytes);
int buffer_append(struct buffer *buffer, const void *data, size_t length);
static inline int buffer_append_span(struct buffer *buffer, struct span span)
{
    return buffer_append(buffer, span.data, span.length);
}
int buffer_append_char(struct buffer *buffer, char c);
/* Appends formatted text, without a NUL. */
int buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends `text` as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD, so that the result always is
 * JSON. */
int buffer_append_json_string(struct buffer *buffer, struct span text);
/* Drops the first `length` bytes (moves the rest down). */
void buffer_consume(struct buffer *buffer, size_t length);

#endif
