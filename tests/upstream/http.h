/* SPDX-License-Identifier: MIT */
/* HTTP/1.1 request heads, parsed in place (RFC 9112). Pure: spans point into the caller's bytes, nothing
 * is allocated. Strict where being lax would hide a fault of the client under test: bare line feeds,
 * control characters, both Content-Length and Transfer-Encoding, or a second Host are refused. */
#ifndef UPSTREAM_HTTP_H
#define UPSTREAM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/upstream/buffer.h"

#define HTTP_HEAD_MAX_BYTES   (64 * 1024)
#define HTTP_HEADER_MAX_COUNT 64

struct http_header {
    struct span name, value;
};

struct http_request {
    struct span method, path, query; /* query without the '?' */
    struct http_header headers[HTTP_HEADER_MAX_COUNT];
    unsigned header_count;
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool keep_alive;
    bool expect_continue;
};

/* Returns the head's size in bytes with the blank line, 0 if data does not hold all of it yet, -1 if it
 * is malformed or over a limit; *why then says how. */
int64_t http_head_parse(const char *data, size_t size_bytes, struct http_request *request, const char **why);
/* Moves the spans of request from the bytes at old_base to the same bytes at new_base. */
void http_request_rebase(struct http_request *request, const char *old_base, const char *new_base);
/* The value of a header by name in any case; data is NULL when it is missing. */
struct span http_request_header(const struct http_request *request, const char *name);
/* The still encoded value of a query parameter; data is NULL when it is missing. */
struct span http_query_value(struct span query, const char *key);
/* Decodes %XX (and + as a space if plus is set) into out as text. Returns false if it is malformed, holds
 * a NUL or needs more than capacity bytes. */
bool http_decode_percent(struct span text, bool plus, char *out, size_t capacity);
/* The reason phrase of a status; "Unknown" for others. */
const char *http_status_text(int status);

#endif
