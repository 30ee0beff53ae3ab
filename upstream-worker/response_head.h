/* SPDX-License-Identifier: MIT */
/* response_head - the few things we read in a response's status line and headers. Pure. */
#ifndef UPSTREAM_WORKER_RESPONSE_HEAD_H
#define UPSTREAM_WORKER_RESPONSE_HEAD_H

#include "proto/bytes.h"

enum { RETRY_AFTER_MAX_BYTES = 63 }; /* an HTTP date has 29; anything longer is not read */

enum response_content { CONTENT_OTHER, CONTENT_EVENT_STREAM, CONTENT_JSON };

/* All zero before the first line. */
struct response_head {
    uint16_t status;
    enum response_content content;
    bool is_encoded; /* has a Content-Encoding: we asked for none */
    bool is_whole;
    char retry_after[RETRY_AFTER_MAX_BYTES + 1]; /* the header's value, "" if absent */
};

/* Takes one line as libcurl hands it over, its CRLF included. A 1xx head is forgotten when the next begins,
 * and trailers change nothing. True for the line that ends the final head. */
bool response_head_take(struct response_head *head, struct span line);

#endif
