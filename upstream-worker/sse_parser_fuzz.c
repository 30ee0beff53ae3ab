/* SPDX-License-Identifier: MIT */
/* The same bytes give the same events, however they are cut. The first byte seeds the cuts. */
#include "upstream-worker/sse_parser.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT_BYTES = 256 };

static void record(struct buffer *events, struct span event)
{
    assert(buffer_printf(events, "%zu:", event.length) == 0);
    assert(buffer_append_span(events, event) == 0);
}

static void run(struct span text, uint32_t seed, struct buffer *events)
{
    struct sse_parser parser;
    struct span event;
    int got = 0;
    sse_parser_init(&parser, LIMIT_BYTES);
    while (text.length > 0 && got == 0) {
        seed = seed * 1664525 + 1013904223;
        size_t length = seed == 0 ? text.length : 1 + (seed >> 16) % 24;
        if (length > text.length)
            length = text.length;
        char *piece = malloc(length); /* so that a read past the piece is seen */
        assert(piece);
        memcpy(piece, text.data, length);
        sse_parser_feed(&parser, span_of(piece, length));
        while ((got = sse_parser_next(&parser, &event)) == 1)
            record(events, event);
        free(piece);
        text = span_of(text.data + length, text.length - length);
    }
    if (got == 0)
        got = sse_parser_finish(&parser, &event);
    if (got == 1)
        record(events, event);
    assert(buffer_printf(events, "=%d", got) == 0);
    sse_parser_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer one = {0}, other = {0};
    if (size == 0)
        return 0;
    struct span text = span_of((const char *)data + 1, size - 1);
    run(text, 1, &one);
    run(text, data[0] * 2654435761u + 7, &other);
    assert(span_equals(buffer_span(&one), buffer_span(&other)));
    buffer_fini(&one);
    buffer_fini(&other);
    return 0;
}
