/* SPDX-License-Identifier: MIT */
#include "upstream-worker/response_head.h"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static struct span trim(struct span text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && is_one_of(text.data[text.length - 1], " \t\r\n"))
        text.length--;
    return text;
}

static bool header_take(struct span line, struct span name, struct span *value)
{
    if (line.length <= name.length || line.data[name.length] != ':' ||
        !span_equals_ignoring_case(span_of(line.data, name.length), name))
        return false;
    *value = trim(span_of(line.data + name.length + 1, line.length - name.length - 1));
    return true;
}

/* `HTTP/1.1 200 OK`, `HTTP/2 200`. */
static uint16_t status_read(struct span line)
{
    const char *space = memchr(line.data, ' ', line.length);
    size_t at = space ? (size_t)(space - line.data) + 1 : line.length;
    unsigned status = 0;
    for (; at < line.length && line.data[at] >= '0' && line.data[at] <= '9' && status < 1000; at++)
        status = status * 10 + (unsigned)(line.data[at] - '0');
    return (uint16_t)(status < 1000 ? status : 0);
}

static bool content_type_is(struct span value, struct span type)
{
    if (value.length < type.length || !span_equals_ignoring_case(span_of(value.data, type.length), type))
        return false;
    return value.length == type.length || is_one_of(value.data[type.length], "; \t");
}

static void header_read(struct response_head *head, struct span line)
{
    struct span value;
    if (header_take(line, SPAN("Content-Type"), &value)) {
        if (content_type_is(value, SPAN("text/event-stream")))
            head->content = CONTENT_EVENT_STREAM;
        else
            head->content = content_type_is(value, SPAN("application/json")) ? CONTENT_JSON : CONTENT_OTHER;
    } else if (header_take(line, SPAN("Content-Encoding"), &value)) {
        head->is_encoded = value.length > 0 && !span_equals_ignoring_case(value, SPAN("identity"));
    } else if (header_take(line, SPAN("Retry-After"), &value) && value.length <= RETRY_AFTER_MAX_BYTES) {
        memcpy(head->retry_after, value.data, value.length);
        head->retry_after[value.length] = '\0';
    }
}

bool response_head_take(struct response_head *head, struct span line)
{
    if (head->is_whole)
        return false; /* a trailer */
    if (span_starts_with(line, SPAN("HTTP/"))) {
        *head = (struct response_head){.status = status_read(line)};
        return false;
    }
    if (trim(line).length > 0) {
        header_read(head, line);
        return false;
    }
    head->is_whole = head->status >= 200;
    return head->is_whole;
}
