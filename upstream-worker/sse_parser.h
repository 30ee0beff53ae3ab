/* SPDX-License-Identifier: MIT */
/* sse_parser - the `data` of server-sent events, from bytes cut anywhere. Nothing blocks.
 *
 *     sse_parser_feed(&parser, bytes);
 *     while ((got = sse_parser_next(&parser, &event)) == 1) ...
 *
 * Lines end in LF, CR or CRLF; a BOM at the start, comments and every field but `data` are skipped; `data`
 * may lack the colon's space. What an event is differs from the SSE specification in one way, which
 * upstream.md 5 asks for: events need no blank line between them. So
 *   - the end of a `data` line ends the event, unless what was gathered so far is the beginning of a JSON
 * text;
 *   - then further `data` lines continue it, joined by LF, until the JSON is complete (or is none any more)
 * or a blank line comes: as the specification has it.
 *   - `data` of nothing but white space is no event.
 * Which events come out depends on the bytes only, never on where they were cut, and each comes out as soon
 * as the end of its last line is there. */
#ifndef UPSTREAM_WORKER_SSE_PARSER_H
#define UPSTREAM_WORKER_SSE_PARSER_H

#include "proto/bytes.h"
#include "upstream-worker/json_lexer.h"

/* Embedded; its members are the parser's own. */
struct sse_parser {
    struct span input;       /* borrowed; what is left of the bytes fed */
    const char *next_lf;     /* in input, NULL if there is none; cached, for streams whose lines end in CR */
    struct buffer line;      /* the beginning of a line that a cut separated from its end */
    struct buffer pending;   /* the data lines of an event that is not complete */
    struct buffer given;     /* the event last given out, if it was pending before */
    struct json_lexer lexer; /* over pending */
    size_t limit_bytes;
    int error;         /* sticky */
    bool swallow_lf;   /* the last line ended in CR: an LF belongs to it */
    bool line_is_done; /* the line buffer holds a whole line, which the event may point into */
    bool is_pending, is_past_first_line;
};

/* `limit_bytes`: of one line, and of one event. */
void sse_parser_init(struct sse_parser *parser, size_t limit_bytes);
void sse_parser_fini(struct sse_parser *parser);
/* Borrows `bytes` until sse_parser_next has returned something other than 1, which it must before the next
 * feed. */
void sse_parser_feed(struct sse_parser *parser, struct span bytes);
/* 1: *event (borrowed, until the next call of any function here); it points into the bytes fed if it was in
 * them as a whole. 0: the bytes are used up. ERR_TOO_LARGE (over the limit), ERR_NOMEM: the stream cannot be
 * read on. */
int sse_parser_next(struct sse_parser *parser, struct span *event);
/* The input ended. 1: *event, the last one, whose line or blank line is missing but whose data is complete:
 * whole JSON or `[DONE]`. 0: there is none; what was left of a torn event is gone. Negative: as
 * sse_parser_next. */
int sse_parser_finish(struct sse_parser *parser, struct span *event);

#endif
