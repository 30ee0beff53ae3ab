/* SPDX-License-Identifier: MIT */
#include "tests/upstream/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void memory_must(const void *memory)
{
    if (memory)
        return;
    fputs("out of memory\n", stderr);
    abort();
}

void *memory_new(size_t size_bytes)
{
    void *memory = malloc(size_bytes ? size_bytes : 1);

    memory_must(memory);
    return memory;
}

void *memory_new_zero(size_t count, size_t size_bytes)
{
    void *memory = calloc(count ? count : 1, size_bytes ? size_bytes : 1);

    memory_must(memory);
    return memory;
}

void *memory_resize(void *old, size_t count, size_t size_bytes)
{
    void *memory = reallocarray(old, count ? count : 1, size_bytes);

    memory_must(memory);
    return memory;
}

char *memory_copy_text(const char *text, size_t size_bytes)
{
    char *copy = memory_new(size_bytes + 1);

    if (size_bytes)
        memcpy(copy, text, size_bytes);
    copy[size_bytes] = '\0';
    return copy;
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
}

void buffer_reserve(struct buffer *buffer, size_t extra_bytes)
{
    size_t wanted = buffer->size + extra_bytes;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;

    if (wanted <= buffer->capacity)
        return;
    while (capacity < wanted)
        capacity *= 2;
    buffer->data = memory_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size_bytes)
{
    if (size_bytes == 0)
        return;
    buffer_reserve(buffer, size_bytes);
    memcpy(buffer->data + buffer->size, data, size_bytes);
    buffer->size += size_bytes;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_fill(struct buffer *buffer, char byte, size_t count)
{
    if (count == 0)
        return;
    buffer_reserve(buffer, count);
    memset(buffer->data + buffer->size, byte, count);
    buffer->size += count;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    int size;

    buffer_reserve(buffer, 256);
    va_start(args, format);
    size = vsnprintf(buffer->data + buffer->size, buffer->capacity - buffer->size, format, args);
    va_end(args);
    if (size < 0)
        return;
    if ((size_t)size >= buffer->capacity - buffer->size) {
        buffer_reserve(buffer, (size_t)size + 1);
        va_start(args, format);
        vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, args);
        va_end(args);
    }
    buffer->size += (size_t)size;
}

void buffer_drop_front(struct buffer *buffer, size_t size_bytes)
{
    if (size_bytes == 0)
        return;
    buffer->size -= size_bytes;
    memmove(buffer->data, buffer->data + size_bytes, buffer->size);
}

struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

bool span_equal(struct span span, const char *text)
{
    return strlen(text) == span.size && memcmp(span.data, text, span.size) == 0;
}

bool span_equal_nocase(struct span span, const char *text)
{
    return strlen(text) == span.size && strncasecmp(span.data, text, span.size) == 0;
}

bool span_has_prefix(struct span span, const char *prefix)
{
    size_t size = strlen(prefix);

    return span.size >= size && memcmp(span.data, prefix, size) == 0;
}

void span_copy(struct span span, char *out, size_t capacity)
{
    size_t size = span.size < capacity - 1 ? span.size : capacity - 1;

    if (size)
        memcpy(out, span.data, size);
    out[size] = '\0';
}

bool span_to_number(struct span span, int64_t *number)
{
    int64_t value = 0;

    if (span.size == 0 || span.size > 18)
        return false;
    for (size_t i = 0; i < span.size; i++) {
        if (span.data[i] < '0' || span.data[i] > '9')
            return false;
        value = value * 10 + (span.data[i] - '0');
    }
    *number = value;
    return true;
}
