/* SPDX-License-Identifier: MIT */
/* Checks the body of one answer: counts SSE events, and follows the numbered texts of the stand-in (`t0 `,
 * `t1 ` ... in "content"), so that loss, doubling and reordering show. A plain completion is checked by the
 * same numbers. Pure; keeps the bytes of an unfinished line, or of a plain body. */
#ifndef LOAD_STREAM_CHECK_H
#define LOAD_STREAM_CHECK_H

#include "tests/upstream/buffer.h"

struct stream_check {
    bool plain;       /* one JSON body, no events */
    bool done;        /* `data: [DONE]` came, and nothing after it */
    bool error_event; /* an event with an error */
    bool too_large;   /* a line or plain body over the limit */
    uint32_t events;  /* data lines, [DONE] not counted */
    uint32_t tokens;  /* numbered texts in the right place */
    uint32_t wrong;   /* numbered texts in the wrong place */
    uint32_t next;    /* number that should come next */
    struct buffer held;
};

/* Ready for the next answer; keeps memory. */
void stream_check_init(struct stream_check *check, bool plain);
void stream_check_fini(struct stream_check *check);
void stream_check_feed(struct stream_check *check, struct span piece);
/* The body is over: looks at a plain one. */
void stream_check_end(struct stream_check *check);

#endif
