/* SPDX-License-Identifier: MIT */
#include "gateway/chunks.h"
#include "proto/error.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The size is known once its line is over. */
static void begin_chunk(struct chunks *chunks)
{
    chunks->data_bytes += chunks->left;
    chunks->state = chunks->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_START;
    chunks->digits = 0;
    chunks->line_bytes = 0;
}

static int follow_size(struct chunks *chunks, char c)
{
    int value = hex_value(c);
    if (value >= 0) {
        if (chunks->digits == 0)
            chunks->left = 0;
        chunks->left = chunks->left * 16 + (unsigned)value;
        return ++chunks->digits <= CHUNKS_MAX_SIZE_DIGITS ? 0 : ERR_INVALID;
    }
    if (chunks->digits == 0 || (c != '\r' && c != ';'))
        return ERR_INVALID;
    chunks->state = c == '\r' ? CHUNKS_SIZE_LF : CHUNKS_EXTENSION;
    return 0;
}

/* A line of no meaning to us: anything printable up to CR, within its limit. */
static int follow_line(struct chunks *chunks, char c, size_t limit, enum chunks_state after)
{
    if (c == '\r') {
        chunks->state = after;
        return 0;
    }
    if ((unsigned char)c < ' ' && c != '\t')
        return ERR_INVALID;
    return ++chunks->line_bytes <= limit ? 0 : ERR_INVALID;
}

static int expect(struct chunks *chunks, char c, char wanted, enum chunks_state after)
{
    chunks->state = after;
    return c == wanted ? 0 : ERR_INVALID;
}

/* One byte that is not chunk data. */
static int follow_byte(struct chunks *chunks, char c)
{
    int error;
    switch (chunks->state) {
    case CHUNKS_SIZE:
        return follow_size(chunks, c);
    case CHUNKS_EXTENSION:
        return follow_line(chunks, c, CHUNKS_MAX_EXTENSION_BYTES, CHUNKS_SIZE_LF);
    case CHUNKS_SIZE_LF:
        error = expect(chunks, c, '\n', CHUNKS_SIZE);
        begin_chunk(chunks);
        return error;
    case CHUNKS_DATA_CR:
        return expect(chunks, c, '\r', CHUNKS_DATA_LF);
    case CHUNKS_DATA_LF:
        return expect(chunks, c, '\n', CHUNKS_SIZE);
    case CHUNKS_TRAILER_START:
        chunks->state = CHUNKS_TRAILER;
        return follow_line(chunks, c, CHUNKS_MAX_TRAILER_BYTES, CHUNKS_END_LF);
    case CHUNKS_TRAILER:
        return follow_line(chunks, c, CHUNKS_MAX_TRAILER_BYTES, CHUNKS_TRAILER_LF);
    case CHUNKS_TRAILER_LF:
        return expect(chunks, c, '\n', CHUNKS_TRAILER_START);
    case CHUNKS_END_LF:
        return expect(chunks, c, '\n', CHUNKS_DONE);
    case CHUNKS_DATA:
    case CHUNKS_DONE:
        break;
    }
    return ERR_INVALID;
}

int chunks_follow(struct chunks *chunks, struct span text, size_t *used)
{
    size_t i = 0;
    while (i < text.length && chunks->state != CHUNKS_DONE) {
        if (chunks->state == CHUNKS_DATA) {
            uint64_t count = text.length - i < chunks->left ? text.length - i : chunks->left;
            i += (size_t)count;
            chunks->left -= count;
            if (chunks->left == 0)
                chunks->state = CHUNKS_DATA_CR;
            continue;
        }
        if (follow_byte(chunks, text.data[i++]) < 0)
            return ERR_INVALID;
        chunks->frame_bytes++;
    }
    *used = i;
    if (chunks->frame_bytes / CHUNKS_MAX_OVERHEAD > chunks->data_bytes + CHUNKS_MAX_TRAILER_BYTES)
        return ERR_INVALID;
    return chunks->state == CHUNKS_DONE;
}
