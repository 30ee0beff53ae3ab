/* SPDX-License-Identifier: MIT */
#include "proto/bytes.h"
#include "proto/error.h"

#include <assert.h>
#include <stdarg.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { SMALLEST_CAPACITY = 256 };

bool span_equals_ignoring_case(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || strncasecmp(a.data, b.data, a.length) == 0);
}

bool span_starts_with(struct span text, struct span prefix)
{
    return text.length >= prefix.length &&
           (prefix.length == 0 || memcmp(text.data, prefix.data, prefix.length) == 0);
}

char *span_dup(struct span text)
{
    char *copy = malloc(text.length + 1);
    if (!copy)
        return NULL;
    if (text.length > 0)
        memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    return copy;
}

/* Table 3-7 of the Unicode standard. */
size_t utf8_sequence_length(const unsigned char *at, size_t left)
{
    unsigned char lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < length)
        return 0;
    unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte: no overlong, no surrogate */
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

bool span_is_utf8(struct span text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t i = 0;
    while (i < text.length) {
        uint64_t word;
        if (text.length - i >= sizeof word) { /* eight ASCII bytes at a time: most text is */
            memcpy(&word, at + i, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t length = utf8_sequence_length(at + i, text.length - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

bool span_is_header_safe(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7F)
            return false;
    }
    return true;
}

bool span_to_u64(struct span text, uint64_t *value)
{
    uint64_t result = 0;
    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c < '0' || c > '9')
            return false;
        if (__builtin_mul_overflow(result, (uint64_t)10, &result) ||
            __builtin_add_overflow(result, (uint64_t)(c - '0'), &result))
            return false;
    }
    *value = result;
    return true;
}

uint64_t span_hex16_value(struct span text)
{
    uint64_t value = 0;
    if (text.length != 16)
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return value;
}

/* What realloc(3) does, but for the copy that it may leave behind. */
static char *move_secret(const struct buffer *buffer, size_t capacity)
{
    char *data = malloc(capacity);
    if (!data || !buffer->data)
        return data;
    memcpy(data, buffer->data, buffer->length);
    sodium_memzero(buffer->data, buffer->capacity);
    free(buffer->data);
    return data;
}

void buffer_fini(struct buffer *buffer)
{
    if (buffer->is_secret && buffer->data)
        sodium_memzero(buffer->data, buffer->capacity);
    free(buffer->data);
    *buffer = (struct buffer){0};
}

int buffer_reserve(struct buffer *buffer, size_t extra_bytes)
{
    size_t need;
    if (__builtin_add_overflow(buffer->length, extra_bytes, &need))
        return ERR_NOMEM;
    if (need <= buffer->capacity)
        return 0;
    size_t capacity = buffer->capacity ? buffer->capacity : SMALLEST_CAPACITY;
    while (capacity < need)
        if (__builtin_mul_overflow(capacity, (size_t)2, &capacity))
            return ERR_NOMEM;
    char *data = buffer->is_secret ? move_secret(buffer, capacity) : realloc(buffer->data, capacity);
    if (!data)
        return ERR_NOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    int error = buffer_reserve(buffer, length);
    if (error < 0)
        return error;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    return 0;
}

int buffer_append_char(struct buffer *buffer, char c)
{
    return buffer_append(buffer, &c, 1);
}

int buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    int error = length < 0 ? ERR_INVALID : buffer_reserve(buffer, (size_t)length + 1);
    if (error == 0) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    return error;
}

static int buffer_append_json_escape(struct buffer *buffer, unsigned char c)
{
    static const char short_escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_escapes; i += 2)
        if ((unsigned char)short_escapes[i] == c) {
            char escape[2] = {'\\', short_escapes[i + 1]};
            return buffer_append(buffer, escape, 2);
        }
    return buffer_printf(buffer, "\\u%04x", c);
}

int buffer_append_json_string(struct buffer *buffer, struct span text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t start_length = buffer->length;
    int error = buffer_reserve(buffer, text.length + 2);
    if (error == 0)
        error = buffer_append_char(buffer, '"');
    size_t i = 0;
    while (error == 0 && i < text.length) {
        size_t length = utf8_sequence_length(at + i, text.length - i);
        if (length == 0) {
            error = buffer_append(buffer, "\xEF\xBF\xBD", 3);
            length = 1;
        } else if (at[i] < 0x20 || at[i] == '"' || at[i] == '\\') {
            error = buffer_append_json_escape(buffer, at[i]);
        } else {
            error = buffer_append(buffer, at + i, length);
        }
        i += length;
    }
    if (error == 0)
        error = buffer_append_char(buffer, '"');
    if (error < 0)
        buffer->length = start_length;
    return error;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    assert(length <= buffer->length);
    if (length > 0 && length < buffer->length)
        memmove(buffer->data, buffer->data + length, buffer->length - length);
    buffer->length -= length;
}
