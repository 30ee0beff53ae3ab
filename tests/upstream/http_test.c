/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/http.h"

static const char good[] = "POST /v2/chat?a=1&b=x%20y HTTP/1.1\r\nHost: h\r\nAuthorization:  Bearer t \r\n"
                           "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";

static int64_t parse(const char *text, struct http_request *request)
{
    const char *why = NULL;
    int64_t size = http_head_parse(text, strlen(text), request, &why);

    assert_true(size >= 0 || why != NULL);
    return size;
}

static void whole_head(void **state)
{
    struct http_request request;
    char text[16];

    (void)state;
    assert_int_equal(parse(good, &request), (int)sizeof(good) - 1 - 5);
    assert_true(span_equal(request.method, "POST"));
    assert_true(span_equal(request.path, "/v2/chat"));
    assert_true(span_equal(http_query_value(request.query, "a"), "1"));
    assert_null(http_query_value(request.query, "c").data);
    assert_true(http_decode_percent(http_query_value(request.query, "b"), true, text, sizeof(text)));
    assert_string_equal(text, "x y");
    assert_true(span_equal(http_request_header(&request, "authorization"), "Bearer t"));
    assert_null(http_request_header(&request, "X-Other").data);
    assert_int_equal(request.content_length, 5);
    assert_true(request.keep_alive && request.expect_continue && !request.chunked);
}

static void every_truncation_waits(void **state)
{
    size_t whole = sizeof(good) - 1 - 5;

    (void)state;
    for (size_t size = 0; size < whole; size++) {
        struct http_request request;
        const char *why;
        char *copy = memory_copy_text(good, size);

        assert_int_equal(http_head_parse(copy, size, &request, &why), 0);
        free(copy);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/2\r\nHost: h\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_request request;

        assert_int_equal(parse(bad[i], &request), -1);
    }
}

static void limits(void **state)
{
    struct buffer text = {0};
    struct http_request request;
    const char *why;

    (void)state;
    buffer_append_text(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < HTTP_HEADER_MAX_COUNT; i++)
        buffer_append_text(&text, "X: y\r\n");
    buffer_append_text(&text, "\r\n");
    assert_int_equal(http_head_parse(text.data, text.size, &request, &why), -1);
    buffer_clear(&text);
    buffer_append_fill(&text, 'x', HTTP_HEAD_MAX_BYTES + 1);
    assert_int_equal(http_head_parse(text.data, text.size, &request, &why), -1);
    buffer_fini(&text);
}

static void close_and_old_version(void **state)
{
    struct http_request request;

    (void)state;
    assert_true(parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", &request) > 0);
    assert_false(request.keep_alive);
    assert_true(parse("GET / HTTP/1.0\r\nHost: h\r\n\r\n", &request) > 0);
    assert_false(request.keep_alive);
}

static void percent(void **state)
{
    char text[4];

    (void)state;
    assert_false(http_decode_percent(span_of("%4"), false, text, sizeof(text)));
    assert_false(http_decode_percent(span_of("%zz"), false, text, sizeof(text)));
    assert_false(http_decode_percent(span_of("%00"), false, text, sizeof(text)));
    assert_false(http_decode_percent(span_of("abcd"), false, text, sizeof(text)));
    assert_true(http_decode_percent(span_of("%2Bb+"), false, text, sizeof(text)));
    assert_string_equal(text, "+b+");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_head), cmocka_unit_test(every_truncation_waits),
        cmocka_unit_test(refuses),    cmocka_unit_test(limits),
        cmocka_unit_test(percent),    cmocka_unit_test(close_and_old_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
