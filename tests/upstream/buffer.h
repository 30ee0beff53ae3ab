/* SPDX-License-Identifier: MIT */
/* Growing bytes and borrowed spans, for the stand-in upstream and its load generator.
 *
 * Both are test programs: running out of memory ends them with a message, so nothing here fails. What a
 * peer can size is bounded by the callers. Does not block. */
#ifndef UPSTREAM_BUFFER_H
#define UPSTREAM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A plain value; all zero is an empty buffer. data is not NUL-terminated. */
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
};

/* Bytes that belong to somebody else. */
struct span {
    const char *data;
    size_t size;
};

/* Frees the bytes and leaves an empty buffer. */
void buffer_fini(struct buffer *buffer);
/* Forgets the bytes, keeps the memory. */
void buffer_clear(struct buffer *buffer);
/* Makes room for extra_bytes more. */
void buffer_reserve(struct buffer *buffer, size_t extra_bytes);
void buffer_append(struct buffer *buffer, const void *data, size_t size_bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_fill(struct buffer *buffer, char byte, size_t count);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes the first size_bytes bytes. */
void buffer_drop_front(struct buffer *buffer, size_t size_bytes);

/* malloc / calloc / strndup that end the program instead of failing. Return owned. */
void *memory_new(size_t size_bytes);
void *memory_new_zero(size_t count, size_t size_bytes);
char *memory_copy_text(const char *text, size_t size_bytes);
/* realloc, likewise; takes old. */
void *memory_resize(void *old, size_t count, size_t size_bytes);

/* span of a NUL-terminated text. */
struct span span_of(const char *text);
bool span_equal(struct span span, const char *text);
bool span_equal_nocase(struct span span, const char *text);
bool span_has_prefix(struct span span, const char *prefix);
/* Copies span into out as text, cut to capacity - 1 bytes. */
void span_copy(struct span span, char *out, size_t capacity);
/* Reads a whole decimal number of at most 18 digits. False: it is none. */
bool span_to_number(struct span span, int64_t *number);

#endif
