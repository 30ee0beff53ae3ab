/* SPDX-License-Identifier: MIT */
/* What the gateway refuses, and how: a real process, raw sockets. */
#include "gateway/system_testbed.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- by route ---- */

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
        answer_check_error(&answer, cases[i].status, cases[i].code);
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
        answer_check_error(&answer, 405, "method_not_allowed");
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
        answer_check_error(&answer, 400, "invalid_request");
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
    answer_check_error(&answer, 400, "invalid_request");
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
    answer_check_error(&answer, status, code);
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
    answer_check_error(&answer, 413, "request_too_large");
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
        answer_check_error(&answer, 401, "invalid_api_key");
        assert_non_null(strstr(answer.body.data, "\"message\":\"Invalid password"));
        answer_clear(&answer);
    }
    client_send(fd, "GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: secret\r\n\r\n");
    client_read(fd, &answer, false);
    answer_check_error(&answer, 429, "too_many_attempts");
    assert_non_null(answer_header(&answer, "Retry-After"));
    answer_clear(&answer);
    close(fd);
    client_ask_and_read(&shared, "proof-1", "echo", &answer); /* from elsewhere */
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_routes),
        cmocka_unit_test(test_cors),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_smuggling_second),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_413_while_sending),
        cmocka_unit_test(test_silent_connection),
        cmocka_unit_test(test_wrong_proofs),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("gateway refusals", tests, shared_set_up, shared_tear_down);
}
