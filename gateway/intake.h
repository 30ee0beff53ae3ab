/* SPDX-License-Identifier: MIT */
/* intake - what a connection's bytes add up to: a head, a body, or something to refuse. Pure.
 *
 * Every byte passes here before h2o may look at it. The limits are enforced here: h2o's own answers are plain
 * text, come late, or not at all.
 *
 *   phase  | ends with
 *   HEAD   | its blank line: INTAKE_HEAD_DONE, or INTAKE_COMPLETE when the body is there as well, or is none
 *   BODY   | its last byte: INTAKE_COMPLETE
 *   DONE   | (nothing is fed any more: the connection does not read while it answers)
 */
#ifndef GATEWAY_INTAKE_H
#define GATEWAY_INTAKE_H

#include "gateway/chunks.h"
#include "gateway/head.h"
#include "proto/failure.h"

enum intake_phase { INTAKE_IN_HEAD, INTAKE_IN_BODY, INTAKE_DONE };
enum intake_step { INTAKE_MORE, INTAKE_HEAD_DONE, INTAKE_COMPLETE, INTAKE_REFUSED };

/* All zero is ready for the next request. */
struct intake {
    enum intake_phase phase;
    enum head_body body;
    bool expects_continue;
    size_t scanned;          /* of the head, bytes */
    size_t head_bytes;       /* once the head is there */
    uint64_t content_length; /* of HEAD_BODY_LENGTH */
    uint64_t body_bytes;     /* so far: of HEAD_BODY_CHUNKED, without framing */
    size_t surplus_bytes;    /* came after the request's end: a pipelined one, or rubbish */
    struct chunks chunks;
    enum failure failure; /* of INTAKE_REFUSED */
    const char *reason;   /* for the client and the log; static */
};

struct intake_limits {
    uint64_t max_header_bytes, max_body_bytes;
};

/* `input`: everything in the connection's buffer, of which the last `fresh` bytes are new since the last
 * call. In the head phase `head` is filled once the head is there (then: HEAD_DONE or COMPLETE); it borrows.
 */
enum intake_step intake_feed(struct intake *intake, const struct intake_limits *limits, struct span input,
                             size_t fresh, struct head *head);

#endif
