/* SPDX-License-Identifier: MIT */
/* chunks - watches a chunked body (RFC 9112, 7.1) go by, byte by byte, and says where it ends. Pure.
 *
 * h2o decodes; this module decides whether the framing is beyond doubt, before h2o sees the bytes: sizes in
 * plain hex, CRLF and nothing else at line ends, extensions and trailers small (they are dropped). */
#ifndef GATEWAY_CHUNKS_H
#define GATEWAY_CHUNKS_H

#include "proto/bytes.h"

enum {
    CHUNKS_MAX_SIZE_DIGITS = 8,       /* chunks of up to 4 GiB: the body's limit is checked elsewhere */
    CHUNKS_MAX_EXTENSION_BYTES = 256, /* per chunk */
    CHUNKS_MAX_TRAILER_BYTES = 8192,
    CHUNKS_MAX_OVERHEAD =
        64 /* framing may be this many times the data (plus a constant): 1-byte chunks pass */
};

enum chunks_state {
    CHUNKS_SIZE,      /* hex digits; none yet or more */
    CHUNKS_EXTENSION, /* after the size, up to CR */
    CHUNKS_SIZE_LF,
    CHUNKS_DATA,
    CHUNKS_DATA_CR,
    CHUNKS_DATA_LF,
    CHUNKS_TRAILER_START, /* at the beginning of a trailer line */
    CHUNKS_TRAILER,
    CHUNKS_TRAILER_LF,
    CHUNKS_END_LF,
    CHUNKS_DONE
};

/* All zero is a body that has not begun. */
struct chunks {
    enum chunks_state state;
    unsigned digits;
    uint64_t left;        /* of the current chunk's data, bytes */
    uint64_t data_bytes;  /* announced so far: what the decoded body will at least be */
    uint64_t frame_bytes; /* of sizes, extensions and line ends so far */
    size_t line_bytes;    /* of the extension or of all trailers so far */
};

/* Follows `text`. 1: the body ended within it, `*used` bytes are the body's; 0: it goes on; ERR_INVALID. */
int chunks_follow(struct chunks *chunks, struct span text, size_t *used);

#endif
