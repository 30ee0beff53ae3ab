/* SPDX-License-Identifier: MIT */
/* HTTP/1.1 chunked transfer coding, decoded piece by piece (RFC 9112, 7.1). Pure: no memory, no I/O.
 * Shared by the stand-in (requests) and the load generator (responses). */
#ifndef UPSTREAM_CHUNKED_H
#define UPSTREAM_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "tests/upstream/buffer.h"

enum chunked_state {
    CHUNKED_SIZE,        /* hex digits of a chunk's size */
    CHUNKED_EXTENSION,   /* after them, up to the line feed */
    CHUNKED_DATA,        /* in the chunk */
    CHUNKED_DATA_END,    /* the line end after a chunk */
    CHUNKED_TRAILER,     /* at the start of a line after the last chunk */
    CHUNKED_TRAILER_LINE /* inside a trailer field */
};

/* A plain value; all zero is ready for a new body. */
struct chunked {
    enum chunked_state state;
    uint64_t left_bytes;
    unsigned digits;
};

enum chunked_result {
    CHUNKED_MORE = 0, /* all consumed, the body goes on */
    CHUNKED_PIECE,    /* *piece holds body bytes, borrowed from data; call again with the rest */
    CHUNKED_END,      /* the body is over; bytes after *consumed belong to the next message */
    CHUNKED_BAD       /* not chunked coding */
};

/* Takes the next step through data. *consumed says how much of it is done with. */
enum chunked_result chunked_decode(struct chunked *chunked, const char *data, size_t size_bytes,
                                   size_t *consumed, struct span *piece);

#endif
