/* SPDX-License-Identifier: MIT */
/* The gateway as its clients and workers see it: a real process, fake workers (fake_worker.c), raw sockets.
 */
#include "gateway/harness.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define AUTH "Authorization: Bearer secret\r\n"
#define CHAT "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n" AUTH

enum { LEAVE_MS = 100 /* http-api.md, 2 */ };

static struct harness shared; /* one gateway for all tests that do not need their own, with workers 0 and 1 */

static int setup_shared(void **state)
{
    static const char *const variables[] = {"MAX_BODY_BYTES=40000000",
                                            "MAX_HEADER_BYTES=8192",
                                            "HEADER_TIMEOUT_S=1",
                                            "BODY_TIMEOUT_S=1",
                                            "CORS_ORIGINS=https://page.example",
                                            NULL};
    (void)state;
    harness_start(&shared, variables);
    harness_add_worker(&shared, 0);
    return 0;
}

static int teardown_shared(void **state)
{
    (void)state;
    harness_stop(&shared);
    return 0;
}

static void ask_and_read(struct harness *harness, const char *id, const char *script, struct answer *answer)
{
    int fd = client_connect(harness);
    client_ask(fd, id, script);
    client_read(fd, answer, false);
    close(fd);
}

static void check_error(const struct answer *answer, int status, const char *code)
{
    char wanted[128];
    snprintf(wanted, sizeof wanted, "\"code\":\"%s\"}}", code);
    if (answer->status != status || !answer->is_whole || !strstr(answer->body.data, wanted))
        fail_msg("wanted %d %s, got %s%s", status, code, answer->head,
                 answer->body.data ? answer->body.data : "");
    assert_non_null(strstr(answer->body.data, "{\"error\":{\"message\":\""));
    assert_string_equal(answer_header(answer, "Content-Type"), "application/json");
    assert_non_null(answer_header(answer, "X-Request-ID"));
}

/* ---- answers ---- */

static void test_plain(void **state)
{
    struct answer answer;
    (void)state;
    ask_and_read(&shared, "plain-1", "echo", &answer);
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
    ask_and_read(&shared, "stream-1", "head stream;data data: a~~;data data: [DONE]~~;end", &answer);
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
    ask_and_read(&shared, "fail-1", "fail no_credential 0 7", &answer);
    check_error(&answer, 503, "no_credential");
    assert_string_equal(answer_header(&answer, "Retry-After"), "7");
    answer_clear(&answer);

    ask_and_read(&shared, "fail-2", "head stream;data data: a~~;fail upstream_incomplete 0 0", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.is_whole); /* a clean end, after one error event and no [DONE] */
    assert_true(span_starts_with(buffer_span(&answer.body), SPAN("data: a\n\ndata: {\"error\":{")));
    assert_non_null(strstr(answer.body.data, "\"code\":\"upstream_incomplete\"}}\n\n"));
    assert_null(strstr(answer.body.data, "[DONE]"));
    answer_clear(&answer);

    ask_and_read(&shared, "fail-3", "head plain 10;data hello;tick 1 1;fail upstream_incomplete 0 0",
                 &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
}

static void test_simple_routes(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *code;
    } cases[] = {
        {"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n", 401, "missing_api_key"},
        {"GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: wrong\r\n\r\n", 401, "invalid_api_key"},
        {"GET /v1/models/none HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n", 404, "model_not_found"},
        {"GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 404, "not_found"},
        {"DELETE /v1/models HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n", 405, "method_not_allowed"},
        {"GET /api/stats HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n", 503, "unavailable"},
        {"GET /api/stats HTTP/1.1\r\nHost: h\r\n\r\n", 401, "missing_api_key"},
        {"GET /api/keys HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n", 503, "unavailable"}, /* no credd is here */
        {"POST /api/keys HTTP/1.1\r\nHost: h\r\n" AUTH "Content-Length: 2\r\n\r\n[]", 400, "invalid_request"},
        {"GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: cb-x\r\n\r\n", 503, "unavailable"},
        {"POST /api/login HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n{\"password\":\"secret\"}", 503,
         "unavailable"},
        {"POST /api/login HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n{\"password\":1}", 422,
         "invalid_field"},
        {"POST /api/login HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{\"x\":1}", 422, "invalid_field"},
        {"POST /api/login HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 400, "invalid_request"},
        {"POST /api/login HTTP/1.1\r\nHost: h\r\nOrigin: http://e\r\nContent-Length: 0\r\n\r\n", 403,
         "cross_site"},
        {CHAT "Content-Type: text/plain\r\nContent-Length: 4\r\n\r\necho", 415, "unsupported_media_type"},
        {CHAT "X-Conversation-ID: \xff\r\nContent-Length: 4\r\n\r\necho", 400, "invalid_request"},
    };
    int fd = client_connect(&shared); /* one connection: errors keep it alive */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer;
        client_send(fd, cases[i].request);
        client_read(fd, &answer, false);
        check_error(&answer, cases[i].status, cases[i].code);
        const char *challenge = answer_header(&answer, "WWW-Authenticate");
        assert_true((challenge != NULL) == (cases[i].status == 401));
        if (cases[i].status == 405)
            assert_string_equal(answer_header(&answer, "Allow"), "GET, HEAD");
        answer_clear(&answer);
    }
    struct answer answer;
    client_send(fd, "HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, &answer, true);
    assert_int_equal(answer.status, 200);
    assert_string_not_equal(answer_header(&answer, "Content-Length"), "0");
    answer_clear(&answer);
    client_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, &answer, false);
    assert_non_null(strstr(answer.body.data, "\"service\":\"codebuddy2api\""));
    answer_clear(&answer);
    close(fd);
}

static void test_cors(void **state)
{
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    client_send(
        fd, "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\n"
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 204);
    assert_string_equal(answer_header(&answer, "Access-Control-Allow-Origin"), "https://page.example");
    assert_string_equal(answer_header(&answer, "Access-Control-Allow-Methods"), "POST");
    assert_string_equal(answer_header(&answer, "Access-Control-Allow-Headers"), "authorization");
    answer_clear(&answer);
    client_send(fd, "GET /v1/models HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\n\r\n");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 401); /* and the page may read why */
    assert_string_equal(answer_header(&answer, "Access-Control-Allow-Origin"), "https://page.example");
    answer_clear(&answer);
    static const char *const refused[] = {
        "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: h\r\nOrigin: https://other.example\r\n\r\n",
        "OPTIONS /api/stats HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\n\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        client_send(fd, refused[i]);
        client_read(fd, &answer, false);
        check_error(&answer, 405, "method_not_allowed");
        assert_null(answer_header(&answer, "Access-Control-Allow-Origin"));
        answer_clear(&answer);
    }
    close(fd);
}

/* ---- what is refused ---- */

static void test_smuggling(void **state)
{
    static const char *const bad[] = {
        CHAT "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        CHAT "Content-Length: 4\r\nContent-Length: 5\r\n\r\necho",
        CHAT "Content-Length: 4\r\nContent-Length: 4\r\n\r\necho",
        CHAT "Content-Length: -4\r\n\r\necho",
        CHAT "Content-Length: +4\r\n\r\necho",
        CHAT "Content-Length: 99999999999999999999\r\n\r\necho",
        CHAT "Content-Length: 4 \r\n\r\necho",
        CHAT "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: chunked\r\n\r\n-4\r\necho\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: chunked\r\n\r\n0x4\r\necho\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: chunked\r\n\r\n4\necho\n0\n\n",
        CHAT "Transfer-Encoding: chunked\r\n\r\n4\r\nechoX\r\n0\r\n\r\n",
        CHAT "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\necho\r\n0\r\n\r\n",
        CHAT "X: a\r\n folded\r\nContent-Length: 4\r\n\r\necho",
        CHAT "Expect: magic\r\nContent-Length: 4\r\n\r\necho",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA\x01: b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct answer answer;
        int fd = client_connect(&shared);
        client_send(fd, bad[i]);
        client_read(fd, &answer, false);
        if (answer.status != 400)
            fail_msg("answered %d: %s", answer.status, bad[i]);
        check_error(&answer, 400, "invalid_request");
        assert_string_equal(answer_header(&answer, "Connection"), "close");
        assert_true(client_is_closed(fd));
        answer_clear(&answer);
        close(fd);
    }
}

/* The same on the second request of a connection: h2o reads by then. */
static void test_smuggling_second(void **state)
{
    struct answer answer;
    int fd = client_connect(&shared);
    (void)state;
    client_ask(fd, "second-0", "echo");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    client_send(fd, CHAT "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client_read(fd, &answer, false);
    check_error(&answer, 400, "invalid_request");
    assert_true(client_is_closed(fd));
    answer_clear(&answer);
    close(fd);
}

static void check_refused(const char *request, int status, const char *code)
{
    struct answer answer;
    int fd = client_connect(&shared);
    client_send(fd, request);
    client_read(fd, &answer, false);
    check_error(&answer, status, code);
    assert_true(client_is_closed(fd));
    answer_clear(&answer);
    close(fd);
}

static void test_limits(void **state)
{
    char *large = malloc(20001);
    (void)state;
    memset(large, 'x', 20000);
    large[20000] = '\0';
    memcpy(large, "GET / HTTP/1.1\r\nX: ", 19);
    check_refused(large, 431, "headers_too_large");
    free(large);
    /* the answer comes although nothing of the body was sent, and no 100 Continue before it */
    check_refused(CHAT "Content-Length: 40000001\r\n\r\n", 413, "request_too_large");
    check_refused(CHAT "Expect: 100-continue\r\nContent-Length: 40000001\r\n\r\n", 413, "request_too_large");
    check_refused(CHAT "Transfer-Encoding: chunked\r\n\r\n2625a01\r\n", 413, "request_too_large");
    /* large bodies are not taken from just anybody */
    check_refused("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n", 401,
                  "missing_api_key");
    check_refused("POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n", 404, "not_found");
    check_refused(CHAT "Content-Type: image/png\r\nContent-Length: 30000000\r\n\r\n", 415,
                  "unsupported_media_type");
    /* slow senders */
    check_refused("GET / HTTP/1.1\r\nHost", 408, "request_timeout");
    check_refused(CHAT "Content-Length: 5\r\n\r\nabc", 408, "request_timeout");
}

/* The error reaches a client that goes on sending. */
static void test_413_while_sending(void **state)
{
    struct answer answer;
    char *piece = calloc(1, 1 << 20);
    int fd = client_connect(&shared);
    (void)state;
    client_send(fd, CHAT "Content-Length: 40000001\r\n\r\n");
    for (int i = 0; i < 8; i++)
        client_send_bytes(fd, piece, 1 << 20);
    client_read(fd, &answer, false);
    check_error(&answer, 413, "request_too_large");
    answer_clear(&answer);
    close(fd);
    free(piece);
}

static void test_silent_connection(void **state)
{
    int fd = client_connect(&shared);
    (void)state;
    assert_true(client_is_closed(fd)); /* after header_timeout_s, without a word */
    close(fd);
}

static void test_wrong_proofs(void **state)
{
    struct answer answer;
    int fd = client_connect_from(&shared, "127.0.0.77");
    (void)state;
    for (int i = 0; i < 10; i++) {
        client_send(fd, "GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: wrong\r\n\r\n");
        client_read(fd, &answer, false);
        check_error(&answer, 401, "invalid_api_key");
        assert_non_null(strstr(answer.body.data, "\"message\":\"Invalid password"));
        answer_clear(&answer);
    }
    client_send(fd, "GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: secret\r\n\r\n");
    client_read(fd, &answer, false);
    check_error(&answer, 429, "too_many_attempts");
    assert_non_null(answer_header(&answer, "Retry-After"));
    answer_clear(&answer);
    close(fd);
    ask_and_read(&shared, "proof-1", "echo", &answer); /* from elsewhere */
    assert_int_equal(answer.status, 200);
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

static uint64_t checksum(const struct buffer *buffer)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < buffer->length; i++)
        sum = sum * 31 + (unsigned char)buffer->data[i];
    return sum;
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
             (unsigned long long)checksum(&body));
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
        ask_and_read(&shared, cases[i].id, cases[i].script, &answer);
        assert_true(answer.is_whole);
        assert_int_equal(answer.status, cases[i].is_begun ? 200 : 500);
        assert_non_null(memmem(answer.body.data, answer.body.length, code, strlen(code)));
        answer_clear(&answer);
    }
    struct answer answer;
    ask_and_read(&shared, "bad-5", "head plain 3;data four;hang", &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
    ask_and_read(&shared, "bad-6", "head plain 5;data four;end", &answer);
    assert_false(answer.is_whole);
    answer_clear(&answer);
    ask_and_read(&shared, "bad-7", "echo", &answer);
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
    ask_and_read(&shared, "early-2", "echo", &answer); /* the gateway has dealt with it */
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    if (harness_has_said(&shared, 0, "request early-1"))
        harness_expect(&shared, 0, "cancel early-1", NULL);
}

/* ---- workers that die ---- */

static void test_moves(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    int fd = client_connect(&harness);
    client_ask(fd, "move-0", "echo"); /* nobody is there yet: it waits */
    harness_add_worker(&harness, 0);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);

    client_ask(fd, "move-1", "die-once;echo"); /* its worker dies, another takes it */
    harness_add_worker(&harness, 1);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"worker\":\"w1\""));
    assert_non_null(strstr(answer.body.data, "\"moves\":1"));
    answer_clear(&answer);

    client_ask(fd, "move-2", "refuse-once;echo");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"moves\":1"));
    answer_clear(&answer);

    harness_kill_worker(&harness, 0);
    harness_add_worker(&harness, 0);
    harness_add_worker(&harness, 2);
    client_ask(fd, "move-3", "die"); /* kills all three: two moves are the end of it */
    client_read(fd, &answer, false);
    check_error(&answer, 502, "worker_lost");
    answer_clear(&answer);
    for (int i = 0; i < 3; i++)
        harness_kill_worker(&harness, i);

    harness_add_worker(&harness, 0);
    client_ask(fd, "move-4", "head stream;data data: a~~;hang");
    client_read_until(fd, "data: a\n\n");
    harness_kill_worker(&harness, 0); /* after the first byte nothing is replayed */
    client_read_until(fd, "\"code\":\"worker_lost\"}}\n\n\r\n0\r\n\r\n");

    harness_add_worker(&harness, 0);
    client_ask(fd, "move-5", "head plain 10;data four;hang");
    client_read_until(fd, "four");
    harness_kill_worker(&harness, 0);
    assert_true(client_is_closed(fd));
    close(fd);
    harness_stop(&harness);
}

/* A large body is sent again from the start. */
static void test_move_large(void **state)
{
    struct harness harness;
    struct answer answer;
    struct buffer body = {0};
    char head[256], wanted[64];
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    assert_int_equal(buffer_append_span(&body, SPAN("die-once;echo\n")), 0);
    for (uint32_t i = 0; body.length < 3000000; i++)
        assert_int_equal(buffer_append(&body, &i, sizeof i), 0);
    int fd = client_connect(&harness);
    snprintf(head, sizeof head, CHAT "Content-Length: %zu\r\n\r\n", body.length);
    client_send(fd, head);
    client_send_bytes(fd, body.data, body.length);
    harness_add_worker(&harness, 1);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    snprintf(wanted, sizeof wanted, "\"sum\":%llu,\"moves\":1", (unsigned long long)checksum(&body));
    assert_non_null(strstr(answer.body.data, wanted));
    answer_clear(&answer);
    buffer_fini(&body);
    close(fd);
    harness_stop(&harness);
}

/* ---- limits of the whole ---- */

static void test_no_worker(void **state)
{
    static const char *const variables[] = {"TOTAL_TIMEOUT_S=1", NULL};
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, variables);
    int fd = client_connect(&harness);
    client_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body.data, "\"status\":\"unhealthy\""));
    answer_clear(&answer);
    client_ask(fd, "none-1", "echo");
    client_read(fd, &answer, false);
    check_error(&answer, 504, "upstream_timeout");
    answer_clear(&answer);
    client_ask(fd, "none-2", "echo"); /* leaves while it waits */
    close(fd);
    harness_stop(&harness);
}

static void test_overload(void **state)
{
    static const char *const variables[] = {"MAX_STREAMS=2", "MAX_CONNECTIONS=3", NULL};
    struct harness harness;
    struct answer answer;
    int fds[4];
    (void)state;
    harness_start(&harness, variables);
    harness_add_worker(&harness, 0);
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(&harness);
        client_ask(fds[i], i ? "load-1" : "load-0", "hang");
        harness_expect(&harness, 0, i ? "request load-1" : "request load-0", NULL);
    }
    fds[2] = client_connect(&harness);
    client_ask(fds[2], "load-2", "echo");
    client_read(fds[2], &answer, false);
    check_error(&answer, 503, "overloaded");
    assert_string_equal(answer_header(&answer, "Retry-After"), "1");
    answer_clear(&answer);
    fds[3] = client_connect(&harness); /* one too many: it waits in the kernel until another leaves */
    client_ask(fds[3], "load-3", "echo");
    close(fds[0]);
    client_read(fds[3], &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    harness_stop(&harness);
}

/* SIGTERM: what runs finishes, what idles is closed, the exit is clean. */
static void test_drain(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    int idle = client_connect(&harness), stream = client_connect(&harness),
        sending = client_connect(&harness);
    client_ask(idle, "drain-0", "echo");
    client_read(idle, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    client_ask(stream, "drain-1", "head stream;tick 20 100;data data: [DONE]~~;end");
    client_read_until(stream, "data: 1 ");
    client_send(sending, CHAT "Content-Length: 4\r\n\r\nec");
    client_ask(idle, "drain-2", "hang"); /* so that the order below is certain: all three are known */
    harness_expect(&harness, 0, "request drain-2", NULL);
    kill(harness.gateway, SIGTERM);
    client_read_until(harness.supervisor_fd, "draining");
    client_send(sending, "ho");
    client_read(sending, &answer, false); /* begun before, answered, and told to go */
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_true(client_is_closed(sending));
    answer_clear(&answer);
    close(idle);
    client_read_until(stream, "data: [DONE]\n\n");
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(stream);
    close(sending);
    harness_stop(&harness);
}

static void test_drain_idle(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    int fresh = client_connect(&harness), idle = client_connect(&harness);
    client_ask(idle, "idle-0", "echo");
    client_read(idle, &answer, false);
    answer_clear(&answer);
    kill(harness.gateway, SIGTERM);
    client_read_until(harness.supervisor_fd, "draining");
    client_ask(idle, "idle-1", "echo"); /* within the second that is left to it */
    client_read(idle, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_clear(&answer);
    assert_true(client_is_closed(fresh));
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(fresh);
    close(idle);
    harness_stop(&harness);
}

/* The drain's limit cuts what hangs, waits and does not read; the exit is still clean. */
static void test_drain_limit(void **state)
{
    static const char *const variables[] = {"DRAIN_S=1", NULL};
    struct harness harness;
    int small = 65536;
    (void)state;
    harness_start(&harness, variables);
    int waiting = client_connect(&harness), hanging = client_connect(&harness),
        reading = client_connect(&harness);
    harness_add_worker(&harness, 0);
    setsockopt(reading, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_ask(hanging, "limit-1", "hang");
    client_ask(reading, "limit-2", "head stream;fill 90000000;end");
    harness_expect(&harness, 0, "request limit-1", NULL);
    harness_expect(&harness, 0, "sent limit-2", NULL);
    client_ask(waiting, "limit-3", "drain;hang"); /* the worker takes no more after this one */
    harness_expect(&harness, 0, "request limit-3", NULL);
    int queued = client_connect(&harness);
    client_ask(queued, "limit-4", "echo");
    kill(harness.gateway, SIGTERM);
    assert_true(client_is_closed(hanging));
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(waiting);
    close(hanging);
    close(reading);
    close(queued);
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_at_once),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_simple_routes),
        cmocka_unit_test(test_cors),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_smuggling_second),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_413_while_sending),
        cmocka_unit_test(test_silent_connection),
        cmocka_unit_test(test_wrong_proofs),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_slow_reader_is_cut),
        cmocka_unit_test(test_worker_violations),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_leave_early),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_move_large),
        cmocka_unit_test(test_no_worker),
        cmocka_unit_test(test_overload),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_idle),
        cmocka_unit_test(test_drain_limit),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("gateway", tests, setup_shared, teardown_shared);
}
