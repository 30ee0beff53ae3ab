/* SPDX-License-Identifier: MIT */
#include "upstream-worker/response_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Feeds lines that are separated by '|'; true if the head is whole after the last. */
static bool take(struct response_head *head, const char *lines)
{
    bool is_whole = false;
    for (const char *at = lines; *at;) {
        const char *end = strchrnul(at, '|');
        char line[256];
        int length = snprintf(line, sizeof line, "%.*s\r\n", (int)(end - at), at);
        is_whole = response_head_take(head, span_of(line, (size_t)length));
        at = *end ? end + 1 : end;
    }
    return is_whole;
}

static struct response_head read_head(const char *lines)
{
    struct response_head head = {0};
    assert_false(take(&head, lines));
    assert_false(head.is_whole);
    assert_true(response_head_take(&head, SPAN("\r\n")));
    assert_true(head.is_whole);
    return head;
}

static void test_status_and_content(void **state)
{
    (void)state;
    struct response_head head = read_head("HTTP/1.1 200 OK|Content-Type: text/event-stream; charset=utf-8");
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content, CONTENT_EVENT_STREAM);
    head = read_head("HTTP/2 429 |content-type:Application/JSON|retry-after:  30 ");
    assert_int_equal(head.status, 429);
    assert_int_equal(head.content, CONTENT_JSON);
    assert_string_equal(head.retry_after, "30");
    head = read_head("HTTP/1.1 502 Bad Gateway|Content-Type: text/event-streams");
    assert_int_equal(head.content, CONTENT_OTHER);
    head = read_head("HTTP/1.0 204");
    assert_int_equal(head.status, 204);
}

static void test_content_encoding(void **state)
{
    (void)state;
    assert_true(read_head("HTTP/1.1 200 OK|Content-Encoding: gzip").is_encoded);
    assert_false(read_head("HTTP/1.1 200 OK|Content-Encoding: identity").is_encoded);
    assert_false(read_head("HTTP/1.1 200 OK|Content-Encoding:").is_encoded);
}

static void test_heads_before_the_final_one_are_forgotten(void **state)
{
    (void)state;
    struct response_head head = {0};
    assert_false(take(&head, "HTTP/1.1 103 Early Hints|Content-Type: application/json"));
    assert_false(response_head_take(&head, SPAN("\r\n")));
    assert_false(take(&head, "HTTP/1.1 200 OK"));
    assert_true(response_head_take(&head, SPAN("\r\n")));
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content, CONTENT_OTHER);
}

static void test_trailers_change_nothing(void **state)
{
    (void)state;
    struct response_head head = read_head("HTTP/1.1 200 OK|Content-Type: application/json");
    assert_false(take(&head, "Content-Type: text/event-stream|Retry-After: 9"));
    assert_false(response_head_take(&head, SPAN("\r\n")));
    assert_int_equal(head.content, CONTENT_JSON);
    assert_string_equal(head.retry_after, "");
}

static void test_odd_lines(void **state)
{
    (void)state;
    char line[128];
    int length = snprintf(line, sizeof line, "Retry-After: %0100d\r\n", 9);
    struct response_head head = {0};
    assert_false(take(&head, "HTTP/1.1 200 OK"));
    assert_false(response_head_take(&head, span_of(line, (size_t)length))); /* too long to be one */
    assert_string_equal(head.retry_after, "");
    assert_false(response_head_take(&head, SPAN("Retry-After")));
    assert_false(response_head_take(&head, SPAN(":\r\n")));
    head = (struct response_head){0};
    assert_false(take(&head, "HTTP/1.1 99999 OK"));
    assert_false(response_head_take(&head, SPAN("\r\n"))); /* no status of HTTP */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_content),
        cmocka_unit_test(test_content_encoding),
        cmocka_unit_test(test_heads_before_the_final_one_are_forgotten),
        cmocka_unit_test(test_trailers_change_nothing),
        cmocka_unit_test(test_odd_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
