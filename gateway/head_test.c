/* SPDX-License-Identifier: MIT */
/* head: what passes, and every shape that two parsers could read differently. */
#include "gateway/head.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define START "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: h\r\n"

static int parse(const char *text, struct head *head)
{
    const char *reason = NULL;
    int error = head_parse(span_str(text), head, &reason);
    assert_true(error == 0 || reason);
    return error;
}

static void test_good_head(void **state)
{
    struct head head;
    (void)state;
    assert_int_equal(parse(START "Content-Length: 12\r\nX-Thing:  a b\t \r\nEmpty:\r\n\r\n", &head), 0);
    assert_true(span_equals(head.method, SPAN("POST")));
    assert_true(span_equals(head.path, SPAN("/v1/chat/completions")));
    assert_true(span_equals(head.query, SPAN("a=b")));
    assert_false(head.is_http_1_0);
    assert_int_equal(head.body, HEAD_BODY_LENGTH);
    assert_int_equal(head.content_length, 12);
    assert_int_equal(head.field_count, 4);
    assert_true(span_equals(head_find(&head, SPAN("x-thing")), SPAN("a b")));
    assert_non_null(head_find(&head, SPAN("empty")).data);
    assert_null(head_find(&head, SPAN("absent")).data);
}

static void test_forms(void **state)
{
    struct head head;
    (void)state;
    assert_int_equal(parse("\r\nGET / HTTP/1.0\r\n\r\n", &head), 0);
    assert_true(head.is_http_1_0);
    assert_int_equal(head.body, HEAD_BODY_NONE);
    assert_int_equal(parse("GET http://host:80/path?q HTTP/1.1\r\nHost: h\r\n\r\n", &head), 0);
    assert_true(span_equals(head.path, SPAN("/path")));
    assert_true(span_equals(head.query, SPAN("q")));
    assert_int_equal(parse(START "transfer-encoding: CHUNKED\r\nExpect: 100-Continue\r\n\r\n", &head), 0);
    assert_int_equal(head.body, HEAD_BODY_CHUNKED);
    assert_true(head.expects_continue);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        /* request line */
        "",
        "\r\n",
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
        "G\x7fT / HTTP/1.1\r\nHost: h\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
        /* Host */
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        /* fields */
        START "Folded: a\r\n b\r\n\r\n",
        START " Leading: a\r\n\r\n",
        START "Space : a\r\n\r\n",
        START "no-colon\r\n\r\n",
        START ": a\r\n\r\n",
        START "Ctl: a\x01\r\n\r\n",
        START "Cr: a\rb\r\n\r\n",
        START "N\xc3\xa9: a\r\n\r\n",
        /* framing */
        START "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        START "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        START "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        START "Content-Length: 1, 1\r\n\r\n",
        START "Content-Length: -1\r\n\r\n",
        START "Content-Length: +1\r\n\r\n",
        START "Content-Length: 0x1\r\n\r\n",
        START "Content-Length: \r\n\r\n",
        START "Content-Length: 1 \r\n\r\n",
        START "Content-Length: 18446744073709551616\r\n\r\n",
        START "Content-Length : 1\r\n\r\n",
        START "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Transfer-Encoding: gzip, chunked\r\n\r\n",
        START "Transfer-Encoding: chunked \r\n\r\n",
        START "Transfer-Encoding: identity\r\n\r\n",
        START "Transfer-Encoding: xchunked\r\n\r\n",
        START "Transfer-Encoding:\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Expect: something\r\n\r\n",
        /* who asks, twice */
        START "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n",
        START "X-Api-Key: a\r\nx-api-key: b\r\n\r\n",
        /* the end */
        START,
        START "A: b\r\n",
        START "\r\nrest",
        START "\n",
    };
    struct head head;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], &head) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
}

static void test_nul(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n";
    const char *reason;
    struct head head;
    (void)state;
    assert_int_equal(head_parse(span_of(text, sizeof text - 1), &head, &reason), ERR_INVALID);
}

static void test_field_limit(void **state)
{
    struct buffer text = {0};
    const char *reason;
    struct head head;
    (void)state;
    assert_int_equal(buffer_append_span(&text, SPAN("GET / HTTP/1.0\r\n")), 0);
    for (int i = 0; i < HEAD_MAX_FIELDS; i++)
        assert_int_equal(buffer_printf(&text, "F%d: v\r\n", i), 0);
    size_t full = text.length;
    assert_int_equal(buffer_append_span(&text, SPAN("\r\n")), 0);
    assert_int_equal(head_parse(buffer_span(&text), &head, &reason), 0);
    assert_int_equal(head.field_count, HEAD_MAX_FIELDS);
    text.length = full;
    assert_int_equal(buffer_append_span(&text, SPAN("One: more\r\n\r\n")), 0);
    assert_int_equal(head_parse(buffer_span(&text), &head, &reason), ERR_TOO_LARGE);
    buffer_fini(&text);
}

/* Every truncation of a good head is an error, in memory of exactly its size. */
static void test_truncations(void **state)
{
    static const char text[] = START "Content-Length: 12\r\nA: b\r\n\r\n";
    const char *reason;
    struct head head;
    (void)state;
    for (size_t length = 0; length < sizeof text - 1; length++) {
        char *copy = malloc(length + 1);
        assert_non_null(copy);
        memcpy(copy, text, length);
        assert_int_equal(head_parse(span_of(copy, length), &head, &reason), ERR_INVALID);
        free(copy);
    }
}

/* However the bytes are cut, the end is found at the same place. */
static void test_scan(void **state)
{
    static const char text[] = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n";
    size_t end = sizeof "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n" - 1;
    (void)state;
    for (size_t cut = 0; cut < end; cut++) {
        size_t scanned = 0;
        assert_int_equal(head_scan(span_of(text, cut), &scanned), 0);
        assert_int_equal(head_scan(span_of(text, sizeof text - 1), &scanned), 1);
        assert_int_equal(scanned, end);
    }
    static const char *const bare[] = {"\n", "GET / HTTP/1.1\nHost: h\r\n\r\n",
                                       "GET / HTTP/1.1\r\nHost: h\n\r\n"};
    for (size_t i = 0; i < 3; i++) {
        size_t scanned = 0;
        assert_int_equal(head_scan(span_str(bare[i]), &scanned), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_head),   cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_nul),
        cmocka_unit_test(test_field_limit), cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
