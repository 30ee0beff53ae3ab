/* SPDX-License-Identifier: MIT */
#include "gateway/refusal.h"
#include "proto/error.h"

#include <inttypes.h>

const char *status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Other";
}

static int append_response(struct buffer *out, enum failure failure, uint32_t retry_after_s, const char *id,
                           struct span body)
{
    uint16_t status = failure_status(failure);
    int error = buffer_printf(out,
                              "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                              "Connection: close\r\nX-Request-ID: %s\r\n",
                              status, status_phrase(status), body.length, id);
    if (error == 0 && status == 401)
        error = buffer_append_span(out, SPAN("WWW-Authenticate: Bearer\r\n"));
    if (error == 0 && retry_after_s > 0)
        error = buffer_printf(out, "Retry-After: %" PRIu32 "\r\n", retry_after_s);
    if (error == 0)
        error = buffer_append_span(out, SPAN("\r\n"));
    return error == 0 ? buffer_append_span(out, body) : error;
}

int refusal_format(struct buffer *out, const char *id, enum failure failure, const char *reason,
                   uint32_t retry_after_s)
{
    struct buffer body = {0};
    struct span none = {NULL, 0};
    buffer_clear(out);
    int error = failure_append_json(&body, failure, span_str(reason), none, none, none);
    if (error == 0)
        error = append_response(out, failure, retry_after_s, id, buffer_span(&body));
    buffer_fini(&body);
    return error;
}
