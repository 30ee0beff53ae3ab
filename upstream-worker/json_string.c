/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_string.h"

#include "proto/error.h"

static unsigned hex_value(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static size_t utf8_encode(unsigned code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* Decodes the escape at *at (a backslash) into `out`; moves *at past it. Returns the bytes written, 1 to 4.
 */
static size_t decode_escape(struct span raw, size_t *at, char *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char name = raw.data[*at + 1];
    if (name != 'u') {
        const char *found = strchr(names, name);
        out[0] = values[found - names];
        *at += 2;
        return 1;
    }
    unsigned code = hex_value(raw.data + *at + 2);
    *at += 6;
    if (code >= 0xDC00 && code <= 0xDFFF)
        return utf8_encode(0xFFFD, out);
    if (code < 0xD800 || code > 0xDBFF)
        return utf8_encode(code, out);
    if (raw.length - *at >= 6 && raw.data[*at] == '\\' && raw.data[*at + 1] == 'u') {
        unsigned low = hex_value(raw.data + *at + 2);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *at += 6;
            return utf8_encode(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), out);
        }
    }
    return utf8_encode(0xFFFD, out);
}

int json_string_unescape(struct span raw, struct buffer *out)
{
    size_t at = 0, start_length = out->length;
    while (at < raw.length) {
        const char *backslash = memchr(raw.data + at, '\\', raw.length - at);
        size_t plain = backslash ? (size_t)(backslash - raw.data) - at : raw.length - at;
        char decoded[4];
        int error = buffer_append(out, raw.data + at, plain);
        at += plain;
        if (error == 0 && backslash) {
            size_t length = decode_escape(raw, &at, decoded);
            error = buffer_append(out, decoded, length);
        }
        if (error < 0) {
            out->length = start_length;
            return error;
        }
    }
    return 0;
}

/* Decodes one escape or one plain byte at *at; moves *at. Returns the bytes written, 1 to 4. */
static size_t decode_next(struct span raw, size_t *at, char *out)
{
    if (raw.data[*at] == '\\')
        return decode_escape(raw, at, out);
    *out = raw.data[(*at)++];
    return 1;
}

bool json_string_copy(struct span raw, char *out, size_t capacity)
{
    size_t at = 0, length = 0;
    while (at < raw.length) {
        char decoded[4];
        size_t more = decode_next(raw, &at, decoded);
        if (more >= capacity - length || decoded[0] == '\0') {
            out[0] = '\0';
            return false;
        }
        memcpy(out + length, decoded, more);
        length += more;
    }
    out[length] = '\0';
    return true;
}

bool json_string_equals(struct span raw, struct span text)
{
    size_t at = 0, matched = 0;
    while (at < raw.length) {
        char decoded[4];
        size_t length = decode_next(raw, &at, decoded);
        if (text.length - matched < length || memcmp(text.data + matched, decoded, length) != 0)
            return false;
        matched += length;
    }
    return matched == text.length;
}

int json_string_repair_utf8(struct span text, struct buffer *out)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t good = 0, i = 0; /* [good, i) is valid and not yet copied */
    int error = 0;
    while (i < text.length && error == 0) {
        size_t length = utf8_sequence_length(at + i, text.length - i);
        if (length > 0) {
            i += length;
            continue;
        }
        error = buffer_append(out, at + good, i - good);
        if (error == 0)
            error = buffer_append(out, "\xEF\xBF\xBD", 3);
        good = ++i;
    }
    return error < 0 ? error : buffer_append(out, at + good, text.length - good);
}
