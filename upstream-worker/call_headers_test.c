/* SPDX-License-Identifier: MIT */
#include "upstream-worker/call_headers.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define USER_AGENT_LINE "User-Agent: codebuddy2api/" CB_VERSION

static const struct call_header_values plain = {
    .lines = SPAN("X-Product: SaaS\n\nX-Domain: example.test"),
    .token = SPAN("secret"),
    .conversation_id = SPAN("conversation"),
    .conversation_request_id = SPAN("request"),
    .conversation_message_id = SPAN("message"),
    .request_id = SPAN("id"),
};

static const char *find(const struct call_headers *headers, const char *line)
{
    for (const struct curl_slist *node = headers->list; node; node = node->next)
        if (strcmp(node->data, line) == 0)
            return node->data;
    return NULL;
}

static size_t count_named(const struct call_headers *headers, const char *name)
{
    size_t count = 0;
    for (const struct curl_slist *node = headers->list; node; node = node->next)
        count += strncasecmp(node->data, name, strlen(name)) == 0 && node->data[strlen(name)] == ':';
    return count;
}

static void test_all_headers_are_there(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "Authorization: Bearer secret",
        "Accept: application/json",
        "Content-Type: application/json",
        "X-Conversation-ID: conversation",
        "X-Conversation-Request-ID: request",
        "X-Conversation-Message-ID: message",
        "X-Request-ID: id",
        "X-Product: SaaS",
        "X-Domain: example.test",
        "Expect:",
    };
    struct call_headers headers = {0};
    assert_int_equal(call_headers_build(&headers, &plain), 0);
    size_t count = 0;
    for (const struct curl_slist *node = headers.list; node; node = node->next)
        count++;
    assert_int_equal(count, sizeof lines / sizeof *lines + 1);
    assert_non_null(find(&headers, USER_AGENT_LINE));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_non_null(find(&headers, lines[i]));
    call_headers_fini(&headers);
    assert_null(headers.list);
}

static void test_a_profile_wins_but_for_the_token(void **state)
{
    (void)state;
    struct call_header_values values = plain;
    struct call_headers headers = {0};
    values.lines = SPAN("user-agent: other\nACCEPT: */*\nauthorization: Bearer stolen\nX-Request-ID: theirs");
    values.traceparent = SPAN("00-1-2-01");
    values.tracestate = SPAN("a=1,b=2");
    assert_int_equal(call_headers_build(&headers, &values), 0);
    assert_int_equal(count_named(&headers, "User-Agent"), 1);
    assert_non_null(find(&headers, "user-agent: other"));
    assert_int_equal(count_named(&headers, "Accept"), 1);
    assert_int_equal(count_named(&headers, "X-Request-ID"), 1);
    assert_int_equal(count_named(&headers, "Authorization"), 1);
    assert_non_null(find(&headers, "Authorization: Bearer secret"));
    assert_non_null(find(&headers, "traceparent: 00-1-2-01"));
    assert_non_null(find(&headers, "tracestate: a=1,b=2"));
    call_headers_fini(&headers);
}

static void check_refused(struct call_header_values values)
{
    struct call_headers headers = {0};
    assert_int_equal(call_headers_build(&headers, &values), ERR_INVALID);
    assert_null(headers.block);
}

static void test_what_could_split_a_header_is_refused(void **state)
{
    (void)state;
    struct call_header_values values = plain;
    values.token = SPAN("a\r\nX: y");
    check_refused(values);
    values.token = span_of(NULL, 0);
    check_refused(values);
    values = plain;
    values.conversation_id = SPAN("a\nb");
    check_refused(values);
    values = plain;
    values.lines = SPAN("X-Fine: 1\nX-Bad: a\rb");
    check_refused(values);
    values.lines = SPAN("no colon");
    check_refused(values);
    values.lines = SPAN(": no name");
    check_refused(values);
    values.lines = SPAN("Bad Name: x");
    check_refused(values);
}

static void test_too_many_lines_are_refused(void **state)
{
    (void)state;
    struct call_header_values values = plain;
    struct buffer lines = {0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(buffer_printf(&lines, "X-%d: y\n", i), 0);
    values.lines = buffer_span(&lines);
    check_refused(values);
    buffer_fini(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_headers_are_there),
        cmocka_unit_test(test_a_profile_wins_but_for_the_token),
        cmocka_unit_test(test_what_could_split_a_header_is_refused),
        cmocka_unit_test(test_too_many_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
