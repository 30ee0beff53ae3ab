/* SPDX-License-Identifier: MIT */
/* auth and attempts: who may call, and how guessing is slowed. Time is passed in. */
#include "gateway/attempts.h"
#include "gateway/auth.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const unsigned char key[16] = {1, 2, 3};
static const int64_t WALL_MS = 1790000000000;

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(&address, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&address, &v6, sizeof v6);
    return address;
}

static void add_wrong(struct attempts *attempts, const char *text, int count, int64_t now_ms)
{
    struct sockaddr_storage address = address_of(text);
    for (int i = 0; i < count; i++)
        attempts_add_wrong(attempts, (struct sockaddr *)&address, now_ms);
}

static int64_t blocked_ms(const struct attempts *attempts, const char *text, int64_t now_ms)
{
    struct sockaddr_storage address = address_of(text);
    return attempts_blocked_ms(attempts, (struct sockaddr *)&address, now_ms);
}

static void test_attempts(void **state)
{
    struct attempts *attempts = attempts_new(key);
    (void)state;
    add_wrong(attempts, "192.0.2.1", 9, 1000);
    assert_int_equal(blocked_ms(attempts, "192.0.2.1", 1000), 0);
    add_wrong(attempts, "192.0.2.1", 1, 11000);
    assert_int_equal(blocked_ms(attempts, "192.0.2.1", 11000), 50000);
    assert_int_equal(blocked_ms(attempts, "::ffff:192.0.2.1", 11000), 50000);
    assert_int_equal(blocked_ms(attempts, "192.0.2.2", 11000), 0);
    assert_int_equal(blocked_ms(attempts, "192.0.2.1", 60999), 1);
    assert_int_equal(blocked_ms(attempts, "192.0.2.1", 61000), 0);
    add_wrong(attempts, "192.0.2.1", 1, 61000); /* a new minute, a new count */
    assert_int_equal(blocked_ms(attempts, "192.0.2.1", 61000), 0);
    add_wrong(attempts, "2001:db8::1", 10, 1000);
    assert_int_equal(blocked_ms(attempts, "2001:db8::ffff:2", 1000), 60000);
    assert_int_equal(blocked_ms(attempts, "2001:db8:0:1::1", 1000), 0);
    attempts_free(&attempts);
    assert_null(attempts);
}

/* However many addresses try, somebody who is shut out stays so. */
static void test_attempts_flood(void **state)
{
    struct attempts *attempts = attempts_new(key);
    char text[64];
    (void)state;
    add_wrong(attempts, "192.0.2.1", 10, 0);
    for (int i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 8, i & 255);
        add_wrong(attempts, text, 1, 1);
    }
    assert_true(blocked_ms(attempts, "192.0.2.1", 2) > 0);
    attempts_free(&attempts);
}

struct fixture {
    struct secret password;
    struct auth *auth;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    assert_int_equal(secret_set(&fixture.password, SPAN("correct horse")), 0);
    fixture.auth = auth_new(&fixture.password, key);
    *state = &fixture;
    return fixture.auth ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    auth_free(&fixture->auth);
    secret_fini(&fixture->password);
    return 0;
}

static enum failure check(struct fixture *fixture, enum audience audience, const char *field, int64_t now_ms,
                          struct caller *caller, uint32_t *retry_after_s)
{
    struct sockaddr_storage address = address_of("192.0.2.7");
    char text[256];
    const char *reason;
    struct head head;
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n%s%s\r\n", field, *field ? "\r\n" : "");
    assert_int_equal(head_parse(span_str(text), &head, &reason), 0);
    const struct auth_moment moment = {
        .address = (struct sockaddr *)&address, .now_ms = now_ms, .wall_ms = WALL_MS};
    return auth_check(fixture->auth, audience, &head, &moment, caller, retry_after_s);
}

static void test_proofs(void **state)
{
    static const struct {
        const char *field;
        enum failure client;
    } cases[] = {
        {"Authorization: Bearer correct horse", FAILURE_NONE},
        {"authorization: bearer  correct horse", FAILURE_NONE},
        {"X-API-Key: correct horse", FAILURE_NONE},
        {"", FAILURE_UNAUTHENTICATED},
        {"Authorization: Basic Y29ycmVjdCBob3JzZQ==", FAILURE_UNAUTHENTICATED},
        {"Authorization: Bearer", FAILURE_UNAUTHENTICATED},
        {"X-API-Key:", FAILURE_UNAUTHENTICATED},
        {"Authorization: Bearer correct hors", FAILURE_INVALID_API_KEY},
        {"Authorization: Bearer correct horses", FAILURE_INVALID_API_KEY},
        {"X-API-Key: wrong", FAILURE_INVALID_API_KEY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct caller caller;
        uint32_t retry_after_s;
        assert_int_equal(check(*state, AUDIENCE_CLIENT, cases[i].field, 0, &caller, &retry_after_s),
                         cases[i].client);
        assert_int_equal(check(*state, AUDIENCE_ADMIN, cases[i].field, 0, &caller, &retry_after_s),
                         cases[i].client);
        assert_true((caller.key_id[0] != 0) == (cases[i].client == FAILURE_NONE));
        assert_int_equal(check(*state, AUDIENCE_ANYONE, cases[i].field, 0, &caller, &retry_after_s),
                         FAILURE_NONE);
    }
}

static void test_shut_out(void **state)
{
    struct caller caller;
    uint32_t retry_after_s;
    for (int i = 0; i < 10; i++)
        assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: wrong", 500, &caller, &retry_after_s),
                         FAILURE_INVALID_API_KEY);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: wrong", 600, &caller, &retry_after_s),
                     FAILURE_TOO_MANY_ATTEMPTS);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: correct horse", 600, &caller, &retry_after_s),
                     FAILURE_TOO_MANY_ATTEMPTS);
    assert_int_equal(retry_after_s, 60);
    assert_string_equal(caller.key_id, "");
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "", 600, &caller, &retry_after_s),
                     FAILURE_UNAUTHENTICATED);
    assert_int_equal(
        check(*state, AUDIENCE_CLIENT, "X-API-Key: correct horse", 60500, &caller, &retry_after_s),
        FAILURE_NONE);
    assert_string_equal(caller.key_id, "password");
}

/* What credd says: one key that lasts, one that is over, and the key that signs sessions. */
static void take_state(struct fixture *fixture, const char *session_key)
{
    /* SHA-256 of `cb-good` and `cb-old` */
    json_t *state =
        json_pack("{s:[{s:s, s:s, s:i}, {s:s, s:s, s:i}, {s:s}], s:s}", "keys", "id", "key_good", "sha256",
                  "49720dda66895938c88f3779b350d3a47b235f39215d98204d2decf96c6d9c8e", "expires_at", 0, "id",
                  "key_old", "sha256", "4b9eb566c36b40596e511e21dbad7c8a9df362ce640dfa2d619f4a45ddeb1130",
                  "expires_at", 1790000000, "id", "no hash", "session_key", session_key);
    assert_non_null(state);
    auth_take_state(fixture->auth, state);
    json_decref(state);
}

static const char session_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static void test_api_keys(void **state)
{
    struct caller caller;
    uint32_t retry_after_s = 0;
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: cb-good", 0, &caller, &retry_after_s),
                     FAILURE_UNAVAILABLE); /* credd has not said yet, and nothing is counted */
    assert_int_equal(retry_after_s, 1);
    take_state(*state, session_key);
    for (int i = 0; i < 20; i++)
        assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: cb-good", 0, &caller, &retry_after_s),
                         FAILURE_NONE);
    assert_string_equal(caller.key_id, "key_good");
    assert_false(caller.is_admin);
    assert_int_equal(check(*state, AUDIENCE_ADMIN, "X-API-Key: cb-good", 0, &caller, &retry_after_s),
                     FAILURE_FORBIDDEN);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: cb-old", 0, &caller, &retry_after_s),
                     FAILURE_INVALID_API_KEY);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: cb-bad", 0, &caller, &retry_after_s),
                     FAILURE_INVALID_API_KEY);
    json_t *empty = json_pack("{s:[]}", "keys");
    auth_take_state(((struct fixture *)*state)->auth, empty);
    json_decref(empty);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "X-API-Key: cb-good", 0, &caller, &retry_after_s),
                     FAILURE_INVALID_API_KEY); /* revoked */
}

static enum failure log_in(struct fixture *fixture, const char *password, int64_t wall_ms,
                           char token[SESSION_TOKEN_BYTES])
{
    static const unsigned char random[SESSION_RANDOM_BYTES] = {9};
    struct sockaddr_storage address = address_of("192.0.2.8");
    const struct auth_moment moment = {
        .address = (struct sockaddr *)&address, .now_ms = 0, .wall_ms = wall_ms};
    uint32_t retry_after_s;
    return auth_log_in(fixture->auth, span_str(password), &moment, random, token, &retry_after_s);
}

static enum failure check_cookie(struct fixture *fixture, const char *method, const char *token,
                                 const char *more)
{
    struct sockaddr_storage address = address_of("192.0.2.7");
    const struct auth_moment moment = {
        .address = (struct sockaddr *)&address, .now_ms = 0, .wall_ms = WALL_MS};
    struct caller caller;
    uint32_t retry_after_s;
    char text[400];
    const char *reason;
    struct head head;
    snprintf(text, sizeof text,
             "%s / HTTP/1.1\r\nHost: h:81\r\nCookie: a=b; codebuddy_session=%s; c=d\r\n%s\r\n", method, token,
             more);
    assert_int_equal(head_parse(span_str(text), &head, &reason), 0);
    enum failure failure = auth_check(fixture->auth, AUDIENCE_ADMIN, &head, &moment, &caller, &retry_after_s);
    assert_true(caller.has_session == (failure == FAILURE_NONE));
    return failure;
}

static void test_sessions(void **state)
{
    char token[SESSION_TOKEN_BYTES], old[SESSION_TOKEN_BYTES], forged[SESSION_TOKEN_BYTES];
    assert_int_equal(log_in(*state, "correct horse", WALL_MS, token), FAILURE_UNAVAILABLE);
    take_state(*state, session_key);
    assert_int_equal(log_in(*state, "wrong", WALL_MS, token), FAILURE_INVALID_API_KEY);
    assert_int_equal(log_in(*state, "correct horse", WALL_MS, token), FAILURE_NONE);
    assert_int_equal(check_cookie(*state, "GET", token, ""), FAILURE_NONE);
    for (size_t i = 0; i < sizeof token - 1; i++) { /* every character counts */
        memcpy(forged, token, sizeof forged);
        forged[i] = forged[i] == 'A' ? 'B' : 'A';
        assert_int_equal(check_cookie(*state, "GET", forged, ""), FAILURE_UNAUTHENTICATED);
    }
    assert_int_equal(log_in(*state, "correct horse", WALL_MS - SESSION_LIFE_S * INT64_C(1000), old),
                     FAILURE_NONE);
    assert_int_equal(check_cookie(*state, "GET", old, ""), FAILURE_UNAUTHENTICATED);
    take_state(*state, "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    assert_int_equal(check_cookie(*state, "GET", token, ""), FAILURE_UNAUTHENTICATED);
    take_state(*state, "not a key"); /* as before the first STATE: a gateway that restarts ends no session */
    assert_int_equal(check_cookie(*state, "GET", token, ""), FAILURE_UNAVAILABLE);
    assert_int_equal(check_cookie(*state, "GET", "", ""), FAILURE_UNAUTHENTICATED);
    take_state(*state, session_key);
    assert_int_equal(check_cookie(*state, "GET", token, ""), FAILURE_NONE);
}

static void test_other_origins_use_no_session(void **state)
{
    static const struct {
        const char *method, *more;
        enum failure failure;
    } cases[] = {
        {"POST", "Sec-Fetch-Site: same-origin\r\n", FAILURE_NONE},
        {"POST", "Sec-Fetch-Site: none\r\n", FAILURE_NONE},
        {"POST", "Origin: http://h:81\r\n", FAILURE_NONE},
        {"POST", "Origin: https://H:81\r\n", FAILURE_NONE},
        {"GET", "Sec-Fetch-Site: same-origin\r\n", FAILURE_NONE},
        {"POST", "", FAILURE_CROSS_SITE}, /* no browser of today; and nobody else needs a cookie */
        {"DELETE", "", FAILURE_CROSS_SITE},
        {"POST", "Origin: null\r\n", FAILURE_CROSS_SITE},
        {"POST", "Origin: http://h\r\n", FAILURE_CROSS_SITE},
        {"POST", "Origin: http://h:81.evil.example\r\n", FAILURE_CROSS_SITE},
        {"POST", "Origin: ftp://h:81\r\n", FAILURE_CROSS_SITE},
        {"POST", "Sec-Fetch-Site: same-site\r\nOrigin: http://h:81\r\n", FAILURE_CROSS_SITE},
        {"GET", "Sec-Fetch-Site: cross-site\r\n", FAILURE_CROSS_SITE},
        {"GET", "Origin: http://evil.example\r\n", FAILURE_CROSS_SITE},
    };
    char token[SESSION_TOKEN_BYTES];
    take_state(*state, session_key);
    assert_int_equal(log_in(*state, "correct horse", WALL_MS, token), FAILURE_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (check_cookie(*state, cases[i].method, token, cases[i].more) != cases[i].failure)
            fail_msg("case %zu: %s %s", i, cases[i].method, cases[i].more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_attempts_flood),
        cmocka_unit_test_setup_teardown(test_proofs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shut_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_api_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_origins_use_no_session, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
