/* SPDX-License-Identifier: MIT */
/* call_headers - the header lines of one upstream call, as libcurl's list, in one block of memory that is
 * wiped when it is freed: the bearer token is among them. Nothing blocks.
 *
 * Which headers: upstream.md, 3. A line of the grant (the site's profile and the account) wins over ours of
 * the same name, except Authorization, which is the token's alone. */
#ifndef UPSTREAM_WORKER_CALL_HEADERS_H
#define UPSTREAM_WORKER_CALL_HEADERS_H

#include "proto/bytes.h"

#include <curl/curl.h>

/* All borrowed for the call to call_headers_build. */
struct call_header_values {
    struct span lines; /* `Name: value`, LF between: of the grant */
    struct span token;
    struct span conversation_id, conversation_request_id, conversation_message_id;
    struct span request_id;
    struct span traceparent, tracestate; /* empty: not sent */
};

/* Embedded; all zero is empty. */
struct call_headers {
    struct curl_slist *list; /* its nodes and texts lie in `block` */
    void *block;
    size_t block_bytes;
};

/* Fills `headers` (which must be empty). 0; ERR_INVALID: a value or line could not be a header (control
 * character, no name, no token); ERR_NOMEM. */
int call_headers_build(struct call_headers *headers, const struct call_header_values *values);
/* Wipes, frees, zeroes. */
void call_headers_fini(struct call_headers *headers);

#endif
