/* SPDX-License-Identifier: MIT */
/* The real program over real sockets: logins, refresh, models and quota. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/jwt.h"
#include "tests/upstream/wire.h"

#define LOGIN                                                                                                \
    "X-No-Authorization: true\r\nX-No-User-Id: true\r\nX-No-Enterprise-Id: true\r\n"                         \
    "X-No-Department-Info: true\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nX-B3-TraceId: 1\r\n"

static struct wire wire;

static int start(void **state)
{
    (void)state;
    wire = wire_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return wire_stop(&wire);
}

static int reset(void **state)
{
    (void)state;
    wire_post(&wire, "/_control/reset", "");
    return 0;
}

/* Returns owned: the answer's JSON; its status must be 200. */
static json_t *call(const char *method, const char *path, const char *headers, const char *body)
{
    struct wire_reply reply = wire_call(&wire, method, path, headers, body);
    json_t *json = json_loads(reply.body.data, 0, NULL);

    if (reply.status != 200 || !json)
        fail_msg("%s: %d %s", path, reply.status, reply.body.data);
    wire_reply_fini(&reply);
    return json;
}

static int64_t code_of(const json_t *json)
{
    return json_integer_value(json_object_get(json, "code"));
}

static const char *data_text(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(json, "data"), key));

    if (!text)
        fail_msg("no %s", key);
    return text;
}

static int64_t data_number(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(json, "data"), key));
}

/* Fills path with the poll of a new login. */
static void begin_login(char *path, size_t size)
{
    json_t *begun = call("POST", "/v2/plugin/auth/state?platform=CLI", LOGIN, "{}");
    const char *url = data_text(begun, "authUrl"), *login = data_text(begun, "state");

    assert_int_equal(code_of(begun), 0);
    assert_non_null(strstr(url, "https://"));
    assert_non_null(strstr(url, login));
    snprintf(path, size, "/v2/plugin/auth/token?state=%s", login);
    json_decref(begun);
}

static int64_t poll_code(const char *path)
{
    json_t *polled = call("GET", path, LOGIN, NULL);
    int64_t code = code_of(polled);

    json_decref(polled);
    return code;
}

static json_t *refresh(const char *token, const char *refresh_token)
{
    char headers[8192];

    snprintf(
        headers, sizeof(headers),
        "Authorization: Bearer %s\r\nX-Refresh-Token: %s\r\nX-Auth-Refresh-Source: plugin\r\nX-Domain: d\r\n",
        token, refresh_token);
    return call("POST", "/v2/plugin/auth/token/refresh", headers, "{}");
}

static void login_goes_through_its_codes(void **state)
{
    json_t *done, *claims;
    const char *token;
    char path[200];

    (void)state;
    wire_post(&wire, "/_control/account",
              "{\"pending\":2,\"not_ready\":1,\"email\":\"a@b.c\",\"expires_in\":600}");
    begin_login(path, sizeof(path));
    assert_int_equal(poll_code(path), 11217);
    assert_int_equal(poll_code(path), 11217);
    assert_int_equal(poll_code(path), 12151);
    done = call("GET", path, LOGIN, NULL);
    token = data_text(done, "accessToken");
    claims = jwt_read_payload(span_of(token));
    assert_string_equal(json_string_value(json_object_get(claims, "email")), "a@b.c");
    assert_non_null(json_string_value(json_object_get(claims, "sub")));
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")) -
                         json_integer_value(json_object_get(claims, "iat")),
                     600);
    assert_int_equal(data_number(done, "expiresIn"), 600);
    assert_int_equal(data_number(done, "expiresAt"),
                     json_integer_value(json_object_get(claims, "exp")) * 1000);
    assert_true(strlen(data_text(done, "refreshToken")) > 20);
    json_decref(claims);
    json_decref(done);
    assert_int_equal(wire_counter(&wire, "login_poll"), 4);
    assert_int_equal(wire_counter(&wire, "login_done"), 1);
    assert_int_equal(wire_counter(&wire, "check_failures"), 0);
}

static void login_can_fail_for_good(void **state)
{
    char path[200];
    struct wire_reply reply;

    (void)state;
    begin_login(path, sizeof(path));
    wire_post(&wire, "/_control/answer", "{\"call\":\"poll\",\"code\":12005,\"times\":1}");
    assert_int_equal(poll_code(path), 12005);
    assert_int_equal(poll_code(path), 11217);
    wire_post(&wire, "/_control/answer", "{\"call\":\"start\",\"status\":500}");
    reply = wire_call(&wire, "POST", "/v2/plugin/auth/state", LOGIN, "{}");
    assert_int_equal(reply.status, 500);
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "GET", "/v2/plugin/auth/token?state=nope", LOGIN, NULL);
    assert_int_equal(reply.status, 400);
    wire_reply_fini(&reply);
}

static void refresh_gives_a_new_token(void **state)
{
    json_t *first, *second, *third;

    (void)state;
    wire_post(&wire, "/_control/account", "{\"known_only\":true,\"one_time_refresh\":true,\"pending\":0}");
    {
        char path[200];

        begin_login(path, sizeof(path));
        first = call("GET", path, LOGIN, NULL);
    }
    second = refresh(data_text(first, "accessToken"), data_text(first, "refreshToken"));
    assert_int_equal(code_of(second), 0);
    assert_string_not_equal(data_text(first, "accessToken"), data_text(second, "accessToken"));
    {
        struct wire_reply old = wire_chat(&wire, "m", data_text(first, "accessToken"));
        struct wire_reply new = wire_chat(&wire, "m", data_text(second, "accessToken"));

        assert_int_equal(old.status, 401);
        assert_int_equal(new.status, 200);
        wire_reply_fini(&old);
        wire_reply_fini(&new);
    }
    third = refresh(data_text(second, "accessToken"), data_text(first, "refreshToken"));
    assert_int_equal(code_of(third), 12153); /* used before */
    assert_int_equal(wire_counter(&wire, "refresh"), 2);
    assert_int_equal(wire_counter(&wire, "refresh_done"), 1);
    json_decref(first);
    json_decref(second);
    json_decref(third);
}

static void refresh_keeps_who_it_is(void **state)
{
    json_t *claims = json_pack("{s:s,s:s}", "sub", "me", "email", "me@x.y"), *answer, *new_claims;
    char *token = jwt_make(claims, 1);

    (void)state;
    wire_post(&wire, "/_control/account", "{\"rotate_refresh\":false,\"send_expires_at\":false}");
    answer = refresh(token, "from-a-file");
    new_claims = jwt_read_payload(span_of(data_text(answer, "accessToken")));
    assert_string_equal(json_string_value(json_object_get(new_claims, "sub")), "me");
    assert_string_equal(json_string_value(json_object_get(new_claims, "email")), "me@x.y");
    assert_null(json_object_get(json_object_get(answer, "data"), "refreshToken"));
    assert_null(json_object_get(json_object_get(answer, "data"), "expiresAt"));
    json_decref(answer);
    wire_post(&wire, "/_control/answer", "{\"call\":\"refresh\",\"code\":12153}");
    answer = refresh(token, "from-a-file");
    assert_int_equal(code_of(answer), 12153);
    json_decref(answer);
    wire_post(&wire, "/_control/answer", "{\"call\":\"refresh\"}");
    answer = refresh(token, "from-a-file");
    assert_int_equal(code_of(answer), 0);
    json_decref(answer);
    free(token);
    json_decref(claims);
    json_decref(new_claims);
}

#define BEARER "Authorization: Bearer t\r\nX-Domain: d\r\n"

static void models_and_quota(void **state)
{
    json_t *answer;
    json_t *account;

    (void)state;
    wire_post(&wire, "/_control/site", "{\"models\":[\"one\",\"two\"]}");
    wire_post(&wire, "/_control/account", "{\"disabled_models\":[\"two\"],\"quota_used\":\"12.5\"}");
    answer = call("GET", "/console/enterprises/personal/models", BEARER, NULL);
    assert_int_equal(json_array_size(json_object_get(json_object_get(answer, "data"), "models")), 3);
    assert_true(json_is_true(json_object_get(
        json_array_get(json_object_get(json_object_get(answer, "data"), "models"), 1), "disabled")));
    json_decref(answer);
    answer = call("POST", "/v2/billing/meter/get-user-resource", BEARER, "{}");
    account = json_object_get(json_object_get(json_object_get(answer, "data"), "Response"), "Data");
    account = json_array_get(json_object_get(account, "Accounts"), 0);
    assert_string_equal(json_string_value(json_object_get(account, "CycleCapacityUsedPrecise")), "12.5");
    json_decref(answer);
    answer = call("POST", "/v2/billing/meter/get-enterprise-user-usage", BEARER, "{}");
    assert_true(json_real_value(json_object_get(json_object_get(answer, "data"), "credit")) == 12.5);
    json_decref(answer);
    wire_post(&wire, "/_control/account", "{\"quota_personal\":{\"code\":0,\"data\":[]}}");
    answer = call("POST", "/v2/billing/meter/get-user-resource", BEARER, "{}");
    assert_true(json_is_array(json_object_get(answer, "data")));
    json_decref(answer);
    answer = call("GET", "/v2/plugin/login/account?state=x", BEARER, NULL);
    assert_non_null(json_object_get(json_object_get(answer, "data"), "uid"));
    json_decref(answer);
    assert_int_equal(wire_counter(&wire, "check_failures"), 0);
}

static void wrong_options_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"/_control/account", "{\"nope\":1}"},
        {"/_control/account", "{\"pending\":\"1\"}"},
        {"/_control/answer", "{\"call\":\"nope\",\"code\":1}"},
        {"/_control/answer", "{\"call\":\"poll\",\"status\":\"500\"}"},
        {"/_control/answer", "{\"call\":\"poll\",\"times\":0}"},
        {"/_control/site", "{\"intl\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wire_reply reply = wire_call(&wire, "POST", bad[i][0], "", bad[i][1]);

        if (reply.status != 400)
            fail_msg("%s %s: %d", bad[i][0], bad[i][1], reply.status);
        wire_reply_fini(&reply);
    }
}

static void late_answers_and_others_bodies(void **state)
{
    static const char answer[] =
        "{\"call\":\"models\",\"delay_ms\":30,\"status\":503,\"html\":\"<p>down</p>\","
        "\"retry_after\":4}";
    struct wire_reply reply;
    json_t *all;

    (void)state;
    wire_post(&wire, "/_control/answer", answer);
    reply = wire_call(&wire, "GET", "/console/enterprises/personal/models", BEARER, NULL);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.body.data, "<p>down</p>");
    assert_non_null(strstr(reply.head.data, "Retry-After: 4\r\n"));
    wire_reply_fini(&reply);
    all = wire_get(&wire, "/_control/requests?kind=models");
    assert_true(json_integer_value(json_object_get(json_array_get(json_object_get(all, "requests"), 0),
                                                   "duration_us")) >= 29000);
    json_decref(all);
    wire_post(&wire, "/_control/answer", "{\"call\":\"models\",\"body\":\"{not json\"}");
    reply = wire_call(&wire, "GET", "/console/enterprises/personal/models", BEARER, NULL);
    assert_string_equal(reply.body.data, "{not json");
    wire_reply_fini(&reply);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(login_goes_through_its_codes),  TEST(login_can_fail_for_good), TEST(refresh_gives_a_new_token),
        TEST(refresh_keeps_who_it_is),       TEST(models_and_quota),        TEST(wrong_options_are_refused),
        TEST(late_answers_and_others_bodies)};

    return cmocka_run_group_tests(tests, start, stop);
}
