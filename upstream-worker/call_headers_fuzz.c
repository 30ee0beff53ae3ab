/* SPDX-License-Identifier: MIT */
/* A grant's lines and a client's ids, whatever they hold: refused, or a list of lines none of which could be
 * two. The input is the values, separated by NUL. */
#include "upstream-worker/call_headers.h"
#include "proto/error.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span take_value(struct span *rest)
{
    const char *end = rest->length ? memchr(rest->data, 0, rest->length) : NULL;
    size_t length = end ? (size_t)(end - rest->data) : rest->length;
    struct span value = span_of(rest->data, length);
    size_t used = end ? length + 1 : length;
    *rest = span_of(rest->data + used, rest->length - used);
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size);
    struct call_headers headers = {0};
    struct call_header_values values = {0};
    values.lines = take_value(&rest);
    values.token = take_value(&rest);
    values.conversation_id = take_value(&rest);
    values.request_id = take_value(&rest);
    values.traceparent = take_value(&rest);
    values.tracestate = take_value(&rest);
    int error = call_headers_build(&headers, &values);
    assert(error == 0 || error == ERR_INVALID);
    size_t authorization_count = 0;
    for (const struct curl_slist *node = headers.list; node; node = node->next) {
        struct span line = span_str(node->data);
        assert(span_is_header_safe(line) && memchr(line.data, ':', line.length));
        authorization_count += strncasecmp(line.data, "Authorization:", 14) == 0;
    }
    assert(error < 0 ? headers.list == NULL : authorization_count == 1);
    call_headers_fini(&headers);
    return 0;
}
