/* SPDX-License-Identifier: MIT */
/* request_edits - what is to be replaced in a body, and the payload that results. Part of request_body;
 * nothing else includes this. Nothing blocks. */
#ifndef UPSTREAM_WORKER_REQUEST_EDITS_H
#define UPSTREAM_WORKER_REQUEST_EDITS_H

#include "proto/bytes.h"
#include "upstream-worker/payload.h"
#include "upstream-worker/request_scan.h"

/* body[start, end) gives way to text[offset, offset + length). */
struct edit {
    struct byte_range range;
    size_t offset, length;
};

/* Embedded; all zero is empty. */
struct request_edits {
    struct edit *edits;
    size_t count, capacity;
    struct buffer text; /* all replacements, one after another */
};

void request_edits_fini(struct request_edits *edits);
/* Notes that `range` gives way to what was appended to edits->text since it was `text_start` long; an empty
 * range inserts. Ranges never overlap. 0 or ERR_NOMEM. */
int request_edits_add(struct request_edits *edits, struct byte_range range, size_t text_start);
/* The same, appending `text`. */
int request_edits_replace(struct request_edits *edits, struct byte_range range, struct span text);
/* Makes the payload: the body with all edits; if moved.end is not 0, the message `moved` in front of the
 * message `first`, and the text between `previous_end` and it gone. It borrows body and edits. 0 or
 * ERR_NOMEM. */
int request_edits_build(struct request_edits *edits, struct span body, struct byte_range first,
                        struct byte_range moved, size_t previous_end, struct payload *payload);

#endif
