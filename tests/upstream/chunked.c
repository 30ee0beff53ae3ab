/* SPDX-License-Identifier: MIT */
#include "tests/upstream/chunked.h"

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

/* One byte of framing. Returns CHUNKED_MORE, CHUNKED_END or CHUNKED_BAD. */
static enum chunked_result chunked_step(struct chunked *chunked, char byte)
{
    int digit;

    switch (chunked->state) {
    case CHUNKED_SIZE:
        digit = hex_digit(byte);
        if (digit < 0) {
            if (chunked->digits == 0 || (byte != '\r' && byte != '\n' && byte != ';' && byte != ' '))
                return CHUNKED_BAD;
            chunked->state = CHUNKED_EXTENSION;
            return chunked_step(chunked, byte);
        }
        if (++chunked->digits > 15)
            return CHUNKED_BAD;
        chunked->left_bytes = chunked->left_bytes * 16 + (uint64_t)digit;
        return CHUNKED_MORE;
    case CHUNKED_EXTENSION:
        if (byte == '\n')
            chunked->state = chunked->left_bytes ? CHUNKED_DATA : CHUNKED_TRAILER;
        return CHUNKED_MORE;
    case CHUNKED_DATA_END:
        if (byte == '\r')
            return CHUNKED_MORE;
        if (byte != '\n')
            return CHUNKED_BAD;
        *chunked = (struct chunked){.state = CHUNKED_SIZE};
        return CHUNKED_MORE;
    case CHUNKED_TRAILER:
        if (byte == '\n')
            return CHUNKED_END;
        if (byte != '\r')
            chunked->state = CHUNKED_TRAILER_LINE;
        return CHUNKED_MORE;
    case CHUNKED_TRAILER_LINE:
        if (byte == '\n')
            chunked->state = CHUNKED_TRAILER;
        return CHUNKED_MORE;
    case CHUNKED_DATA:
        break; /* chunked_decode handles whole runs of it */
    }
    return CHUNKED_BAD;
}

enum chunked_result chunked_decode(struct chunked *chunked, const char *data, size_t size_bytes,
                                   size_t *consumed, struct span *piece)
{
    size_t at = 0;

    while (at < size_bytes) {
        enum chunked_result result;

        if (chunked->state == CHUNKED_DATA) {
            size_t take = size_bytes - at;

            if (take > chunked->left_bytes)
                take = (size_t)chunked->left_bytes;
            chunked->left_bytes -= take;
            if (chunked->left_bytes == 0)
                chunked->state = CHUNKED_DATA_END;
            *piece = (struct span){data + at, take};
            *consumed = at + take;
            return CHUNKED_PIECE;
        }
        result = chunked_step(chunked, data[at++]);
        if (result != CHUNKED_MORE) {
            *consumed = at;
            return result;
        }
    }
    *consumed = at;
    return CHUNKED_MORE;
}
