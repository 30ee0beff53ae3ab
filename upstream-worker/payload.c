/* SPDX-License-Identifier: MIT */
#include "upstream-worker/payload.h"

#include "proto/error.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 16 };

void payload_fini(struct payload *payload)
{
    free(payload->pieces);
    *payload = (struct payload){0};
}

int payload_add(struct payload *payload, struct span piece)
{
    if (piece.length == 0)
        return 0;
    if (payload->count == payload->capacity) {
        size_t capacity = payload->capacity ? payload->capacity * 2 : FIRST_CAPACITY;
        struct span *pieces = reallocarray(payload->pieces, capacity, sizeof *pieces);
        if (!pieces)
            return ERR_NOMEM;
        payload->pieces = pieces;
        payload->capacity = capacity;
    }
    payload->pieces[payload->count++] = piece;
    payload->length += piece.length;
    return 0;
}

size_t payload_read(const struct payload *payload, struct payload_cursor *cursor, char *out, size_t capacity)
{
    size_t done = 0;
    while (done < capacity && cursor->piece < payload->count) {
        struct span piece = payload->pieces[cursor->piece];
        size_t length = piece.length - cursor->offset;
        if (length > capacity - done)
            length = capacity - done;
        memcpy(out + done, piece.data + cursor->offset, length);
        done += length;
        cursor->offset += length;
        if (cursor->offset == piece.length)
            *cursor = (struct payload_cursor){cursor->piece + 1, 0};
    }
    return done;
}

bool payload_seek(const struct payload *payload, struct payload_cursor *cursor, size_t position)
{
    if (position > payload->length)
        return false;
    *cursor = (struct payload_cursor){0};
    while (cursor->piece < payload->count && position >= payload->pieces[cursor->piece].length)
        position -= payload->pieces[cursor->piece++].length;
    cursor->offset = position;
    return true;
}

int payload_flatten(const struct payload *payload, struct buffer *out)
{
    int error = buffer_reserve(out, payload->length);
    for (size_t i = 0; i < payload->count && error == 0; i++)
        error = buffer_append_span(out, payload->pieces[i]);
    return error;
}
