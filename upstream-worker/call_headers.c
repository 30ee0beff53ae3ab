/* SPDX-License-Identifier: MIT */
#include "upstream-worker/call_headers.h"
#include "proto/error.h"

#include <assert.h>
#include <stdlib.h>

#include <sodium.h>

enum { OWN_COUNT = 10, LINES_MAX = 64 /* a profile has about a dozen */ };

struct own_header {
    struct span name, value;
    const char *prefix;
};

/* Empty `Expect:` keeps libcurl from adding `Expect: 100-continue` to large bodies: a round trip for nothing.
 */
static void own_headers_fill(struct own_header own[OWN_COUNT], const struct call_header_values *values)
{
    const struct own_header filled[OWN_COUNT] = {
        {SPAN("Authorization"), values->token, "Bearer "},
        {SPAN("Accept"), SPAN("application/json"), ""},
        {SPAN("Content-Type"), SPAN("application/json"), ""},
        {SPAN("User-Agent"), SPAN("codebuddy2api/" CB_VERSION), ""},
        {SPAN("X-Conversation-ID"), values->conversation_id, ""},
        {SPAN("X-Conversation-Request-ID"), values->conversation_request_id, ""},
        {SPAN("X-Conversation-Message-ID"), values->conversation_message_id, ""},
        {SPAN("X-Request-ID"), values->request_id, ""},
        {SPAN("traceparent"), values->traceparent, ""},
        {SPAN("tracestate"), values->tracestate, ""},
    };
    memcpy(own, filled, sizeof filled);
}

static struct span line_next(struct span *rest)
{
    const char *end = rest->length ? memchr(rest->data, '\n', rest->length) : NULL;
    size_t length = end ? (size_t)(end - rest->data) : rest->length;
    struct span line = span_of(rest->data, length);
    size_t used = end ? length + 1 : length;
    *rest = span_of(rest->data + used, rest->length - used);
    return line;
}

static struct span line_name(struct span line)
{
    const char *colon = line.length ? memchr(line.data, ':', line.length) : NULL;
    return span_of(line.data, colon ? (size_t)(colon - line.data) : 0);
}

/* RFC 9110 `token`, which a field name is. */
static bool name_is_valid(struct span name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return name.length > 0;
}

static bool lines_have(struct span lines, struct span name)
{
    while (lines.length > 0)
        if (span_equals_ignoring_case(line_name(line_next(&lines)), name))
            return true;
    return false;
}

/* Counts the lines to take over and their bytes. */
static int lines_measure(struct span lines, size_t *count, size_t *bytes)
{
    while (lines.length > 0) {
        struct span line = line_next(&lines);
        if (line.length == 0)
            continue;
        if (!name_is_valid(line_name(line)) || !span_is_header_safe(line) || ++*count > LINES_MAX)
            return ERR_INVALID;
        *bytes += line.length + 1;
    }
    return 0;
}

struct writer {
    struct curl_slist *node, *nodes_end, *last;
    char *text, *text_end;
};

static void writer_put(struct writer *writer, struct span bytes)
{
    assert((size_t)(writer->text_end - writer->text) >= bytes.length);
    if (bytes.length > 0)
        memcpy(writer->text, bytes.data, bytes.length);
    writer->text += bytes.length;
}

static void writer_begin(struct writer *writer)
{
    assert(writer->node < writer->nodes_end);
    *writer->node = (struct curl_slist){.data = writer->text};
    if (writer->last)
        writer->last->next = writer->node;
    writer->last = writer->node++;
}

static void writer_add_lines(struct writer *writer, struct span lines)
{
    while (lines.length > 0) {
        struct span line = line_next(&lines);
        if (line.length == 0 || span_equals_ignoring_case(line_name(line), SPAN("Authorization")))
            continue;
        writer_begin(writer);
        writer_put(writer, line);
        writer_put(writer, span_of("", 1));
    }
}

int call_headers_build(struct call_headers *headers, const struct call_header_values *values)
{
    struct own_header own[OWN_COUNT];
    own_headers_fill(own, values);
    size_t count = OWN_COUNT + 1, bytes = sizeof "Expect:";
    int error = lines_measure(values->lines, &count, &bytes);
    if (error < 0 || values->token.length == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        if (!span_is_header_safe(own[i].value))
            return ERR_INVALID;
        bytes += own[i].name.length + 2 + strlen(own[i].prefix) + own[i].value.length + 1;
    }
    headers->block_bytes = count * sizeof(struct curl_slist) + bytes;
    headers->block = malloc(headers->block_bytes);
    if (!headers->block) {
        *headers = (struct call_headers){0};
        return ERR_NOMEM;
    }
    headers->list = headers->block;
    struct writer writer = {headers->list, headers->list + count, NULL, NULL, NULL};
    writer.text = (char *)writer.nodes_end;
    writer.text_end = writer.text + bytes;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        if (own[i].value.length == 0 || (i > 0 && lines_have(values->lines, own[i].name)))
            continue;
        writer_begin(&writer);
        writer_put(&writer, own[i].name);
        writer_put(&writer, SPAN(": "));
        writer_put(&writer, span_str(own[i].prefix));
        writer_put(&writer, own[i].value);
        writer_put(&writer, span_of("", 1));
    }
    writer_add_lines(&writer, values->lines);
    writer_begin(&writer);
    writer_put(&writer, span_of("Expect:", sizeof "Expect:"));
    return 0;
}

void call_headers_fini(struct call_headers *headers)
{
    if (headers->block)
        sodium_memzero(headers->block, headers->block_bytes);
    free(headers->block);
    *headers = (struct call_headers){0};
}
