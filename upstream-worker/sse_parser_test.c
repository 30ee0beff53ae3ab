/* SPDX-License-Identifier: MIT */
#include "upstream-worker/sse_parser.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* All events of `text`, fed `step` bytes at a time from memory of its own, as "<event><event>" and an end
 * mark. */
static void describe(struct span text, size_t step, size_t limit_bytes, struct buffer *said)
{
    struct sse_parser parser;
    struct span event;
    int got = 0;
    buffer_clear(said);
    sse_parser_init(&parser, limit_bytes);
    for (size_t at = 0; at < text.length && got == 0; at += step) {
        size_t length = text.length - at < step ? text.length - at : step;
        char *piece = malloc(length);
        assert_non_null(piece);
        memcpy(piece, text.data + at, length);
        sse_parser_feed(&parser, span_of(piece, length));
        while ((got = sse_parser_next(&parser, &event)) == 1)
            assert_int_equal(buffer_printf(said, "<%.*s>", (int)event.length, event.data), 0);
        free(piece);
    }
    if (got == 0 && (got = sse_parser_finish(&parser, &event)) == 1)
        assert_int_equal(buffer_printf(said, "<%.*s>$", (int)event.length, event.data), 0);
    if (got < 0)
        assert_int_equal(buffer_printf(said, "error %d", got), 0);
    sse_parser_fini(&parser);
    assert_int_equal(buffer_append_char(said, '\0'), 0);
}

/* However the bytes are cut, the events are these. */
static void expect(struct span text, const char *events)
{
    struct buffer said = {0};
    for (size_t step = 1; step <= text.length + 1; step++) {
        describe(text, step, 1000, &said);
        if (strcmp(said.data, events) != 0)
            fail_msg("in steps of %zu: got %s, not %s", step, said.data, events);
    }
    buffer_fini(&said);
}

static void reads_plain_events(void **state)
{
    (void)state;
    expect(SPAN("data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n"), "<{\"a\":1}><{\"b\":2}><[DONE]>");
}

static void takes_every_line_end(void **state)
{
    (void)state;
    expect(SPAN("data: {}\r\n\r\ndata: []\r\n\r\n"), "<{}><[]>");
    expect(SPAN("data: {}\r\rdata: []\r\r"), "<{}><[]>");
    expect(SPAN("data: {}\r\n\ndata: []\n\r\ndata: {\"a\":\r\ndata: 1}\r\r\n"), "<{}><[]><{\"a\":\n1}>");
}

static void needs_no_blank_line(void **state)
{
    (void)state;
    expect(SPAN("data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n"), "<{\"a\":1}><{\"b\":2}><[DONE]>");
    expect(SPAN("data: {\"a\":1}\r\ndata: [DONE]\r\n"), "<{\"a\":1}><[DONE]>");
}

static void joins_lines_of_unfinished_json(void **state)
{
    (void)state;
    expect(SPAN("data: {\"a\":\ndata:  1,\ndata\ndata:\ndata: \"b\":2}\ndata: {}\n\n"),
           "<{\"a\":\n 1,\n\n\n\"b\":2}><{}>");
    expect(SPAN("data: {\"a\":\n: comment\nid: 7\ndata: 1}\n\n"), "<{\"a\":\n1}>");
}

static void a_blank_line_ends_an_event_as_it_is(void **state)
{
    (void)state;
    expect(SPAN("data: {\"a\":\n\ndata: 1}\n\n"), "<{\"a\":><1}>");
    expect(SPAN("data: 12\n\ndata: \"x\n\n"), "<12><\"x>");
}

static void skips_what_is_not_data(void **state)
{
    (void)state;
    expect(SPAN(": keepalive\n\nevent: x\nid: 1\nretry: 5\ndatax: 1\ndata : 2\n data: 3\ndata:{}\n\n\n\n:\n"),
           "<{}>");
    expect(SPAN("data\n\ndata:\n\ndata: \t \n\ndata:  {} \n\n"), "< {} >");
    expect(SPAN("\xEF\xBB\xBF"
                "data: {}\n\n\xEF\xBB\xBF"
                "data: []\n\n"),
           "<{}>");
}

static void the_end_of_input_ends_what_is_whole(void **state)
{
    (void)state;
    expect(SPAN("data: {}\n\ndata: [DONE]"), "<{}><[DONE]>$");
    expect(SPAN("data: {\"a\":1}"), "<{\"a\":1}>$");
    expect(SPAN("data: {\"a\":\ndata: 1}"), "<{\"a\":\n1}>$");
    expect(SPAN("data: {\"a\":1"), "");
    expect(SPAN("data: {\"a\":1\n"), "");
    expect(SPAN("data: [DON"), "");
    expect(SPAN(""), "");
}

static void is_bounded(void **state)
{
    struct buffer said = {0}, text = {0};
    (void)state;
    for (size_t length = 99; length <= 102; length++) { /* the line, with its "data: " */
        buffer_clear(&text);
        assert_int_equal(buffer_append(&text, "data: \"", 7), 0);
        while (text.length < length - 1)
            assert_int_equal(buffer_append_char(&text, 'x'), 0);
        assert_int_equal(buffer_append(&text, "\"\n\n", 3), 0);
        for (size_t step = 1; step <= text.length; step++) {
            describe(buffer_span(&text), step, 100, &said);
            assert_int_equal(strncmp(said.data, "error", 5) == 0, length > 100);
        }
    }
    /* Many short lines of one event are bounded too. */
    buffer_clear(&text);
    for (int i = 0; i < 50; i++)
        assert_int_equal(buffer_append_span(&text, SPAN("data: [[[\n")), 0);
    for (size_t step = 1; step <= text.length; step++) {
        describe(buffer_span(&text), step, 100, &said);
        assert_string_equal(said.data, "error -3");
    }
    assert_int_equal(ERR_TOO_LARGE, -3);
    buffer_fini(&said);
    buffer_fini(&text);
}

static void whole_events_are_not_copied(void **state)
{
    static const char text[] = "data: {\"a\":1}\n\ndata: {}\ndata: []\n";
    struct sse_parser parser;
    struct span event;
    (void)state;
    sse_parser_init(&parser, 1000);
    sse_parser_feed(&parser, span_str(text));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sse_parser_next(&parser, &event), 1);
        assert_true(event.data > text && event.data < text + sizeof text);
    }
    assert_int_equal(sse_parser_next(&parser, &event), 0);
    assert_null(parser.line.data);
    assert_null(parser.pending.data);
    sse_parser_fini(&parser);
}

static void gives_memory_back(void **state)
{
    enum { LENGTH = 1 << 20 };
    struct buffer text = {0};
    struct sse_parser parser;
    struct span event;
    (void)state;
    assert_int_equal(buffer_append_span(&text, SPAN("data: \"")), 0);
    assert_int_equal(buffer_reserve(&text, LENGTH), 0);
    memset(text.data + text.length, 'x', LENGTH);
    text.length += LENGTH;
    assert_int_equal(buffer_append_span(&text, SPAN("\"\n\n")), 0);
    sse_parser_init(&parser, 8 << 20);
    sse_parser_feed(&parser, span_of(text.data, LENGTH / 2));
    assert_int_equal(sse_parser_next(&parser, &event), 0);
    sse_parser_feed(&parser, span_of(text.data + LENGTH / 2, text.length - LENGTH / 2));
    assert_int_equal(sse_parser_next(&parser, &event), 1);
    assert_int_equal(event.length, LENGTH + 2);
    assert_int_equal(sse_parser_next(&parser, &event), 0);
    assert_int_equal(parser.line.capacity, 0);
    sse_parser_fini(&parser);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_events),
        cmocka_unit_test(takes_every_line_end),
        cmocka_unit_test(needs_no_blank_line),
        cmocka_unit_test(joins_lines_of_unfinished_json),
        cmocka_unit_test(a_blank_line_ends_an_event_as_it_is),
        cmocka_unit_test(skips_what_is_not_data),
        cmocka_unit_test(the_end_of_input_ends_what_is_whole),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(whole_events_are_not_copied),
        cmocka_unit_test(gives_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
