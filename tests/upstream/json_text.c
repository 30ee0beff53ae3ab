/* SPDX-License-Identifier: MIT */
#include "tests/upstream/json_text.h"

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Reads the character at text.data; the text is ours, so it is valid UTF-8. */
static uint32_t read_character(struct span text, size_t *size)
{
    unsigned char first = (unsigned char)text.data[0];
    uint32_t value = first;

    *size = 1;
    if (first >= 0xf0)
        value = first & 0x07;
    else if (first >= 0xe0)
        value = first & 0x0f;
    else if (first >= 0xc0)
        value = first & 0x1f;
    while (*size < text.size && is_continuation(text.data[*size])) {
        value = value << 6 | ((unsigned char)text.data[*size] & 0x3f);
        ++*size;
    }
    return value;
}

static void append_escaped(struct buffer *out, uint32_t value)
{
    if (value >= 0x10000) {
        value -= 0x10000;
        buffer_printf(out, "\\u%04x\\u%04x", 0xd800 + (value >> 10), 0xdc00 + (value & 0x3ff));
        return;
    }
    buffer_printf(out, "\\u%04x", value);
}

void json_text_append(struct buffer *out, struct span text, bool ascii)
{
    buffer_append(out, "\"", 1);
    while (text.size) {
        size_t size;
        uint32_t value = read_character(text, &size);

        if (value == '"' || value == '\\') {
            buffer_append(out, "\\", 1);
            buffer_append(out, text.data, 1);
        } else if (value == '\n') {
            buffer_append(out, "\\n", 2);
        } else if (value == '\t') {
            buffer_append(out, "\\t", 2);
        } else if (value < 0x20 || (ascii && value >= 0x80)) {
            append_escaped(out, value);
        } else {
            buffer_append(out, text.data, size);
        }
        text = (struct span){text.data + size, text.size - size};
    }
    buffer_append(out, "\"", 1);
}

size_t json_text_cut(struct span text, size_t limit)
{
    if (limit >= text.size)
        return text.size;
    while (limit > 0 && is_continuation(text.data[limit]))
        limit--;
    return limit;
}
