/* SPDX-License-Identifier: MIT */
/* The gateway as its clients and workers see it, when all goes well or a client leaves: a real process, fake
 * workers (fake_worker.c), raw sockets. */
#include "gateway/system_testbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE_MS = 100 /* http-api.md, 2 */ };

/* ---- answers ---- */

static void test_plain(void **state)
{
    struct answer answer;
    (void)state;
    client_ask_and_read(&shared, "plain-1", "echo", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.is_whole);
    assert_int_equal(strlen(answer_header(&answer, "X-Request-ID")), 32); /* ours, not the client's */
    assert_string_equal(answer_header(&answer, "Content-Type"), "application/json");
    assert_string_equal(answer_header(&answer, "Cache-Control"), "private, no-store");
    assert_non_null(strstr(answer.body.data, "\"bytes\":4,"));
    assert_non_null(strstr(answer.body.data, "\"key\":\"password\""));
    answer_clear(&answer);
}

static void test_stream(void **state)
{
    struct answer answer;
    (void)state;
    client_ask_and_read(&shared, "stream-1", "head stream;data data: a~~;data data: [DONE]~~;end", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.is_whole);
    assert_string_equal(answer_header(&answer, "Content-Type"), "text/event-stream; charset=utf-8");
    assert_string_equal(answer_header(&answer, "Cache-Control"), "no-cache, no-transform");
    assert_string_equal(answer_header(&answer, "X-Accel-Buffering"), "no");
    assert_string_equal(answer.body.data, "data: a\n\ndata: [DONE]\n\n");
    answer_clear(&answer);
}

/* Each event is at the client before the next one exists. */
static void test_stream_at_once(void **state)
{
    int fd = client_connect(&shared);
    (void)state;
    client_ask(fd, "stream-2", "head stream;data data: first~~;hang");
    client_read_until(fd, "data: first\n\n");
    close(fd);
    harness_expect(&shared, 0, "cancel stream-2", NULL);
}

static void test_http_1_0(void **state)
{
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    client_send(fd, "POST /codebuddy/v1/chat/completions HTTP/1.0\r\n" AUTH
                    "Connection: keep-alive\r\nContent-Length: 30\r\n\r\nhead stream;data data: a~~;end");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_null(answer_header(&answer, "Transfer-Encoding"));
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_string_equal(answer.body.data, "data: a\n\n");
    assert_true(client_is_closed(fd));
    answer_clear(&answer);
    close(fd);
}

static void test_errors(void **state)
{
    struct answer answer;
    (void)state;
    client_ask_and_read(&shared, "fail-1", "fail no_credential 0 7", &answer);
    answer_check_error(&answer, 503, "no_credential");
    assert_string_equal(answer_header(&answer, "Retry-After"), "7");
    answer_clear(&answer);

    client_ask_and_read(&shared, "fail-2", "head stream;data data: a~~;fail upstream_incomplete 0 0",
                        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.is_whole); /* a clean end, after one error event and no [DONE] */
    assert_true(span_starts_with(buffer_span(&answer.body), SPAN("data: a\n\ndata: {\"error\":{")));
    assert_non_null(strstr(answer.body.data, "\"code\":\"upstream_incomplete\"}}\n\n"));
    assert_null(strstr(answer.body.data, "[DONE]"));
    answer_clear(&answer);

    client_ask_and_read(&shared, "fail-3", "head plain 10;data hello;tick 1 1;fail upstream_incomplete 0 0",
                        &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
}

/* ---- bodies ---- */

static void test_continue(void **state)
{
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    client_send(fd, CHAT "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    client_read_until(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(fd, "echo");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    client_ask(fd, "continue-2", "echo"); /* and the connection lives on */
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    close(fd);
}

static void test_chunked(void **state)
{
    static const char text[] =
        CHAT "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nec\r\n2\r\nho\r\n0\r\nT: x\r\n\r\n";
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++)
        client_send_bytes(fd, text + i, 1);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"bytes\":4,"));
    answer_clear(&answer);
    close(fd);
}

/* One answer, then the connection ends: what was pipelined is for the client to send again. */
static void test_pipelined(void **state)
{
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    client_send(fd, CHAT "Content-Length: 4\r\n\r\nechoGET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_true(client_is_closed(fd));
    answer_clear(&answer);
    close(fd);
}

/* 24 MB arrive whole, while a stream with an event a millisecond goes on beside them. */
static void test_large_body(void **state)
{
    struct buffer body = {0};
    struct answer answer;
    char wanted[64], head[256];
    (void)state;
    assert_int_equal(buffer_append_span(&body, SPAN("echo\n")), 0);
    for (uint32_t i = 0; body.length < 24000000; i++)
        assert_int_equal(buffer_append(&body, &i, sizeof i), 0);
    int stream = client_connect(&shared), fd = client_connect(&shared);
    client_ask(stream, "large-stream", "head stream;tick 1 1500;end");
    client_read_until(stream, "data: 0 ");
    snprintf(head, sizeof head, CHAT "Content-Length: %zu\r\n\r\n", body.length);
    client_send(fd, head);
    client_send_bytes(fd, body.data, body.length);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    snprintf(wanted, sizeof wanted, "\"bytes\":%zu,\"sum\":%llu", body.length,
             (unsigned long long)buffer_checksum(&body));
    assert_non_null(strstr(answer.body.data, wanted));
    answer_clear(&answer);
    client_read_until(stream, "data: 1499 ");
    buffer_fini(&body);
    close(stream);
    close(fd);
}

/* ---- flow ---- */

static void test_window(void **state)
{
    struct answer answer;
    int small = 65536, fd = client_connect(&shared);
    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_ask(fd, "window-1", "head stream;fill 9000000;end");
    harness_expect(&shared, 0, "sent window-1", NULL); /* the worker had to stop */
    client_read(fd, &answer, false);
    assert_true(answer.is_whole);
    assert_int_equal(answer.body.length, 9000000);
    answer_clear(&answer);
    close(fd);
}

static void test_slow_reader_is_cut(void **state)
{
    int small = 65536, fd = client_connect(&shared);
    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_ask(fd, "slow-1", "head stream;fill 90000000;end");
    harness_expect(&shared, 0, "cancel slow-1", NULL);
    close(fd);
}

static void test_worker_violations(void **state)
{
    static const struct {
        const char *id, *script;
        bool is_begun;
    } cases[] = {
        {"bad-1", "data x;hang", false},
        {"bad-2", "end", false},
        {"bad-3", "head stream;flood 600000;hang", true},
        {"bad-4", "head stream;head stream;hang", true},
    };
    static const char code[] = "\"code\":\"internal_error\"}}";
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer;
        client_ask_and_read(&shared, cases[i].id, cases[i].script, &answer);
        assert_true(answer.is_whole);
        assert_int_equal(answer.status, cases[i].is_begun ? 200 : 500);
        assert_non_null(memmem(answer.body.data, answer.body.length, code, strlen(code)));
        answer_clear(&answer);
    }
    struct answer answer;
    client_ask_and_read(&shared, "bad-5", "head plain 3;data four;hang", &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
    client_ask_and_read(&shared, "bad-6", "head plain 5;data four;end", &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
    client_ask_and_read(&shared, "bad-7", "echo", &answer);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
}

/* ---- leaving ---- */

static void check_leave(const char *id, const char *script, const char *read_first, bool is_half)
{
    char line[64];
    int fd = client_connect(&shared);
    client_ask(fd, id, script);
    snprintf(line, sizeof line, "request %s", id);
    harness_expect(&shared, 0, line, NULL);
    if (read_first)
        client_read_until(fd, read_first);
    int64_t left_ms = harness_now_ms();
    if (is_half)
        shutdown(fd, SHUT_WR);
    else
        close(fd);
    snprintf(line, sizeof line, "cancel %s 1", id);
    harness_expect(&shared, 0, line, NULL);
    assert_true(harness_now_ms() - left_ms < LEAVE_MS);
    if (is_half) {
        assert_true(client_is_closed(fd));
        close(fd);
    }
}

static void test_leave(void **state)
{
    (void)state;
    check_leave("leave-1", "hang", NULL, false); /* before the first byte: either mode */
    check_leave("leave-2", "head stream;data data: a~~;hang", "data: a", false);
    check_leave("leave-3", "head plain 10;data four;hang", "four", false);
    check_leave("leave-4", "hang", NULL, true);
    check_leave("leave-5", "head stream;data data: a~~;hang", "data: a\n\n\r\n", true);
    check_leave("leave-6", "head stream;tick 1 100000;end", "data: 5 ", false);
}

/* Gone before the request was even read. */
static void test_leave_early(void **state)
{
    (void)state;
    int fd = client_connect(&shared);
    client_ask(fd, "early-1", "hang");
    close(fd);
    struct answer answer;
    client_ask_and_read(&shared, "early-2", "echo", &answer); /* the gateway has dealt with it */
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    if (harness_has_said(&shared, 0, "request early-1"))
        harness_expect(&shared, 0, "cancel early-1", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_at_once),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_slow_reader_is_cut),
        cmocka_unit_test(test_worker_violations),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_leave_early),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("gateway", tests, shared_set_up, shared_tear_down);
}
