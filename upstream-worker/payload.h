/* SPDX-License-Identifier: MIT */
/* payload - a body put together from borrowed pieces, so that 24 MB are sent without being copied. Nothing
 * blocks. */
#ifndef UPSTREAM_WORKER_PAYLOAD_H
#define UPSTREAM_WORKER_PAYLOAD_H

#include "proto/bytes.h"

/* Embedded; all zero is empty. */
struct payload {
    struct span *pieces;
    size_t count, capacity;
    size_t length; /* of all pieces together */
};

void payload_fini(struct payload *payload);
/* Borrows the piece for the payload's life; an empty one is skipped. 0 or ERR_NOMEM. */
int payload_add(struct payload *payload, struct span piece);

/* Where a reader is. All zero is the beginning, so rewinding is zeroing. */
struct payload_cursor {
    size_t piece, offset;
};
/* Copies up to `capacity` bytes and moves the cursor; returns how many, 0 at the end. */
size_t payload_read(const struct payload *payload, struct payload_cursor *cursor, char *out, size_t capacity);
/* Moves the cursor to an absolute position. False if it is past the end. */
bool payload_seek(const struct payload *payload, struct payload_cursor *cursor, size_t position);
/* Appends the whole to `out`; for small ones. 0 or ERR_NOMEM. */
int payload_flatten(const struct payload *payload, struct buffer *out);

#endif
