/* SPDX-License-Identifier: MIT */
#include "gateway/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct intake_limits limits = {.max_header_bytes = 200, .max_body_bytes = 50};

/* Feeds `text` in pieces of `step`, as a connection does whose decoder (h2o) leaves the buffer alone. */
static enum intake_step feed(struct intake *intake, const char *text, size_t step, struct head *head)
{
    size_t length = strlen(text), at = 0;
    enum intake_step result = INTAKE_MORE;
    *intake = (struct intake){0};
    while (at < length && result != INTAKE_COMPLETE && result != INTAKE_REFUSED) {
        size_t size = length - at < step ? length - at : step;
        at += size;
        result = intake_feed(intake, &limits, span_of(text, at), size, head);
    }
    return result;
}

static void test_complete(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };
    static const uint64_t body_bytes[] = {0, 5, 0, 5};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t step = 1; step <= strlen(texts[i]); step++) {
            struct intake intake;
            struct head head;
            assert_int_equal(feed(&intake, texts[i], step, &head), INTAKE_COMPLETE);
            assert_int_equal(intake.body_bytes, body_bytes[i]);
            assert_int_equal(intake.surplus_bytes, 0);
            assert_true(span_equals(span_of(texts[i] + intake.head_bytes - 4, 4), SPAN("\r\n\r\n")));
        }
    }
}

static void test_surplus(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET",
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct intake intake;
        struct head head;
        assert_int_equal(feed(&intake, texts[i], 1000, &head), INTAKE_COMPLETE);
        assert_int_equal(intake.surplus_bytes, 3);
    }
}

static void test_head_first(void **state)
{
    struct intake intake = {0};
    struct head head;
    struct span text = SPAN("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    (void)state;
    assert_int_equal(intake_feed(&intake, &limits, text, text.length, &head), INTAKE_HEAD_DONE);
    assert_int_equal(intake.body_bytes, 2);
    assert_true(span_equals(head.method, SPAN("POST")));
}

static void check_refused(const char *text, enum failure failure)
{
    for (size_t step = 1; step <= strlen(text); step += 7) {
        struct intake intake;
        struct head head;
        if (feed(&intake, text, step, &head) != INTAKE_REFUSED || intake.failure != failure)
            fail_msg("%s: %d", text, (int)intake.failure);
        assert_non_null(intake.reason);
    }
}

static void test_refused(void **state)
{
    char large[400];
    (void)state;
    check_refused("GET / HTTP/1.1\nHost: h\n\n", FAILURE_INVALID_REQUEST);
    check_refused("GET / HTTP/1.1\r\n\r\n", FAILURE_INVALID_REQUEST);
    check_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 51\r\n\r\n", FAILURE_TOO_LARGE);
    check_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n33\r\n",
                  FAILURE_TOO_LARGE);
    check_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello",
                  FAILURE_INVALID_REQUEST);
    snprintf(large, sizeof large, "GET / HTTP/1.1\r\nHost: h\r\nX: %0250d", 0);
    check_refused(large, FAILURE_HEADERS_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_surplus),
        cmocka_unit_test(test_head_first),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
