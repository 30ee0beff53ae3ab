/* SPDX-License-Identifier: MIT */
/* head - a request's head (request line and fields), parsed strictly. Pure.
 *
 * h2o parses every request too, but it is lax where attackers live: it takes a Content-Length beside a
 * Transfer-Encoding, or two that differ, and hides both from its handlers. So each head passes here first,
 * and whatever two parsers could read differently is refused: RFC 9112, taken at its strictest. What passes
 * here h2o reads the same way. */
#ifndef GATEWAY_HEAD_H
#define GATEWAY_HEAD_H

#include "proto/bytes.h"

enum { HEAD_MAX_FIELDS = 100 /* h2o's own limit (H2O_MAX_HEADERS) */ };

enum head_body { HEAD_BODY_NONE, HEAD_BODY_LENGTH, HEAD_BODY_CHUNKED };

struct head_field {
    struct span name, value; /* value without the spaces around it */
};

struct head {
    struct span method;
    struct span path; /* of the target, as sent; begins with '/' */
    struct span query;
    bool is_http_1_0;
    bool expects_continue;
    enum head_body body;
    uint64_t content_length; /* of HEAD_BODY_LENGTH, bytes */
    struct head_field fields[HEAD_MAX_FIELDS];
    size_t field_count;
};

/* Looks for the end of a head in text[from..], where from is what an earlier call left in `*scanned`. 1:
 * found,
 * `*scanned` is the head's length, the blank line included; 0: not yet; ERR_INVALID: a line ends in a bare
 * LF. A blank line in front (some clients send one after a body) belongs to the head. */
int head_scan(struct span text, size_t *scanned);
/* Parses a whole head, as delimited by head_scan. Spans borrow from `text`. 0, ERR_INVALID, or ERR_TOO_LARGE
 * (more than HEAD_MAX_FIELDS); then `*reason` points to static text. */
int head_parse(struct span text, struct head *head, const char **reason);
/* The first field of that name (any case), {NULL, 0} when there is none. An empty value has data. */
struct span head_find(const struct head *head, struct span name);

#endif
