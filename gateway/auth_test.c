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
    return auth_check(fixture->auth, audience, &head, (struct sockaddr *)&address, now_ms, caller,
                      retry_after_s);
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
        assert_true((caller.key_id != NULL) == (cases[i].client == FAILURE_NONE));
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
    assert_null(caller.key_id);
    assert_int_equal(check(*state, AUDIENCE_CLIENT, "", 600, &caller, &retry_after_s),
                     FAILURE_UNAUTHENTICATED);
    assert_int_equal(
        check(*state, AUDIENCE_CLIENT, "X-API-Key: correct horse", 60500, &caller, &retry_after_s),
        FAILURE_NONE);
    assert_string_equal(caller.key_id, "password");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_attempts_flood),
        cmocka_unit_test_setup_teardown(test_proofs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shut_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
