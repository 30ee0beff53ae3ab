/* SPDX-License-Identifier: MIT */
#include "upstream-worker/sse_parser.h"

#include "proto/error.h"

#include <assert.h>

enum { KEEP_BYTES = 64 << 10 }; /* a buffer that an unusual event made bigger is given back */

void sse_parser_init(struct sse_parser *parser, size_t limit_bytes)
{
    *parser = (struct sse_parser){.limit_bytes = limit_bytes};
}

void sse_parser_fini(struct sse_parser *parser)
{
    buffer_fini(&parser->line);
    buffer_fini(&parser->pending);
    buffer_fini(&parser->given);
    *parser = (struct sse_parser){.limit_bytes = parser->limit_bytes};
}

static void parser_find_lf(struct sse_parser *parser)
{
    parser->next_lf = parser->input.length ? memchr(parser->input.data, '\n', parser->input.length) : NULL;
}

void sse_parser_feed(struct sse_parser *parser, struct span bytes)
{
    assert(parser->input.length == 0);
    parser->input = bytes;
    parser_find_lf(parser);
}

static void parser_skip(struct sse_parser *parser, size_t length)
{
    parser->input.data += length;
    parser->input.length -= length;
    if (parser->next_lf && parser->input.data > parser->next_lf)
        parser_find_lf(parser);
}

/* The LF of a CRLF may come with the next bytes. */
static void parser_skip_rest_of_crlf(struct sse_parser *parser)
{
    if (!parser->swallow_lf || parser->input.length == 0)
        return;
    if (parser->input.data[0] == '\n')
        parser_skip(parser, 1);
    parser->swallow_lf = false;
}

static void buffer_empty(struct buffer *buffer)
{
    if (buffer->capacity > KEEP_BYTES)
        buffer_fini(buffer);
    buffer_clear(buffer);
}

/* What was given out last is no longer borrowed. */
static void parser_release(struct sse_parser *parser)
{
    buffer_empty(&parser->given);
    if (parser->line_is_done)
        buffer_empty(&parser->line);
    parser->line_is_done = false;
}

static int buffer_append_within(struct buffer *buffer, struct span bytes, size_t limit_bytes)
{
    if (bytes.length > limit_bytes || buffer->length > limit_bytes - bytes.length)
        return ERR_TOO_LARGE;
    return buffer_append_span(buffer, bytes);
}

/* 1: *line without its end; 0: what is left of the input is the beginning of one, and kept. */
static int parser_take_line(struct sse_parser *parser, struct span *line)
{
    parser_skip_rest_of_crlf(parser);
    struct span input = parser->input;
    size_t length = parser->next_lf ? (size_t)(parser->next_lf - input.data) : input.length;
    const char *cr = length ? memchr(input.data, '\r', length) : NULL;
    if (cr)
        length = (size_t)(cr - input.data);
    bool is_ended = cr || parser->next_lf;
    *line = span_of(input.data, length);
    if (!is_ended || parser->line.length > 0) {
        int error = buffer_append_within(&parser->line, *line, parser->limit_bytes);
        if (error < 0)
            return error;
        *line = buffer_span(&parser->line);
        parser->line_is_done = is_ended;
    } else if (length > parser->limit_bytes) {
        return ERR_TOO_LARGE;
    }
    parser_skip(parser, is_ended ? length + 1 : length);
    if (is_ended)
        parser->swallow_lf = cr != NULL;
    return is_ended;
}

/* True if the bytes at hand say that the next line is blank. */
static bool parser_sees_blank_line(struct sse_parser *parser)
{
    parser_skip_rest_of_crlf(parser);
    return parser->input.length > 0 && (parser->input.data[0] == '\n' || parser->input.data[0] == '\r');
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] != ' ' && text.data[i] != '\t')
            return false;
    return true;
}

/* True and *value if the line is a `data` field. */
static bool line_is_data(struct sse_parser *parser, struct span line, struct span *value)
{
    if (!parser->is_past_first_line && span_starts_with(line, SPAN("\xEF\xBB\xBF")))
        line = span_of(line.data + 3, line.length - 3);
    parser->is_past_first_line = true;
    if (!span_starts_with(line, SPAN("data")) || (line.length > 4 && line.data[4] != ':'))
        return false;
    size_t skip = line.length == 4 ? 4 : line.length > 5 && line.data[5] == ' ' ? 6 : 5;
    *value = span_of(line.data + skip, line.length - skip);
    return true;
}

/* True if more `data` could make `text` the JSON that it is not yet; the lexer goes on where it was. */
static bool json_is_unfinished(struct json_lexer *lexer, struct span text)
{
    struct json_token token;
    enum json_lexer_status status;
    json_lexer_extend(lexer, text.data, text.length, false);
    while ((status = json_lexer_next(lexer, &token)) == JSON_LEXER_TOKEN)
        if (json_lexer_is_complete(lexer))
            return false;
    return status == JSON_LEXER_NEED_MORE;
}

static int parser_start_pending(struct sse_parser *parser, struct span value)
{
    int error = buffer_append_span(&parser->pending, value);
    parser->is_pending = error == 0;
    return error;
}

/* Gives out what is pending; it stays valid until the next call. */
static int parser_give_pending(struct sse_parser *parser, struct span *event)
{
    struct buffer given = parser->pending;
    parser->pending = parser->given;
    parser->given = given;
    parser->is_pending = false;
    *event = buffer_span(&parser->given);
    return 1;
}

static int parser_join_pending(struct sse_parser *parser, struct span value)
{
    int error = buffer_append_within(&parser->pending, SPAN("\n"), parser->limit_bytes);
    return error < 0 ? error : buffer_append_within(&parser->pending, value, parser->limit_bytes);
}

/* 1: an event is complete; 0: not yet. */
static int parser_take_data(struct sse_parser *parser, struct span value, struct span *event)
{
    if (parser->is_pending) {
        int error = parser_join_pending(parser, value);
        if (error < 0)
            return error;
        return json_is_unfinished(&parser->lexer, buffer_span(&parser->pending))
                   ? 0
                   : parser_give_pending(parser, event);
    }
    if (is_blank(value))
        return 0;
    *event = value;
    if (parser_sees_blank_line(parser))
        return 1;
    json_lexer_init(&parser->lexer, JSON_DEPTH_MAX);
    return json_is_unfinished(&parser->lexer, value) ? parser_start_pending(parser, value) : 1;
}

static int parser_take_next(struct sse_parser *parser, struct span *event)
{
    for (;;) {
        struct span line, value;
        parser_release(parser);
        int got = parser_take_line(parser, &line);
        if (got <= 0)
            return got;
        if (line.length == 0) {
            parser->is_past_first_line = true;
            if (parser->is_pending)
                return parser_give_pending(parser, event);
        } else if (line_is_data(parser, line, &value)) {
            got = parser_take_data(parser, value, event);
            if (got != 0)
                return got;
        }
    }
}

int sse_parser_next(struct sse_parser *parser, struct span *event)
{
    int got = parser->error < 0 ? parser->error : parser_take_next(parser, event);
    if (got < 0) {
        parser->error = got;
        parser->input = (struct span){0};
    }
    return got;
}

static bool event_is_whole(struct span event)
{
    struct json_lexer lexer;
    json_lexer_init(&lexer, JSON_DEPTH_MAX);
    struct json_token token;
    enum json_lexer_status status;
    if (span_equals(event, SPAN("[DONE]")))
        return true;
    json_lexer_extend(&lexer, event.data, event.length, true);
    while ((status = json_lexer_next(&lexer, &token)) == JSON_LEXER_TOKEN)
        continue;
    return status == JSON_LEXER_END;
}

int sse_parser_finish(struct sse_parser *parser, struct span *event)
{
    struct span value;
    parser_release(parser);
    if (parser->error < 0)
        return parser->error;
    if (parser->line.length == 0 || !line_is_data(parser, buffer_span(&parser->line), &value))
        return 0;
    parser->line_is_done = true;
    *event = value;
    if (parser->is_pending) {
        int error = parser_join_pending(parser, value);
        if (error < 0)
            return parser->error = error;
        parser_give_pending(parser, event);
    }
    return event_is_whole(*event);
}
