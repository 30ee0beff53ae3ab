/* SPDX-License-Identifier: MIT */
/* Logins with a clock of paper and an upstream of this file, both in place of the real ones at link time. */
#include "credd/logins.h"
#include "proto/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct {
    int64_t now_ms;
    void (*done)(void *context, const struct http_answer *answer); /* of the question under way */
    void *context;
    struct sites *sites;
    struct calls *calls;
    struct logins *logins;
    int status; /* of the last REPLY */
    uint32_t retry_after_s;
    json_t *reply;
} world;

/* The linker (--wrap) wants these names. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*) */
int64_t __wrap_clock_now_ms(void);
struct http_call *__wrap_http_call_start(struct http_calls *calls, const struct http_question *question,
                                         void (*done)(void *context, const struct http_answer *answer),
                                         void *context);
void __wrap_http_call_cancel(struct http_call **call);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */

int64_t __wrap_clock_now_ms(void)
{
    return world.now_ms;
}

struct http_call *__wrap_http_call_start(struct http_calls *calls, const struct http_question *question,
                                         void (*done)(void *context, const struct http_answer *answer),
                                         void *context)
{
    (void)calls;
    assert_true(question->token.length == 0);
    world.done = done;
    world.context = context;
    return (struct http_call *)&world;
}

void __wrap_http_call_cancel(struct http_call **call)
{
    *call = NULL;
}

static void take_reply(void *owner, void *peer, uint64_t request, const struct msg_reply *reply)
{
    (void)owner;
    (void)peer;
    (void)request;
    json_decref(world.reply);
    world.status = reply->status;
    world.retry_after_s = reply->retry_after_s;
    world.reply = json_loadb(reply->body.data, reply->body.length, 0, NULL);
}

static void upstream_says(const char *body)
{
    const struct http_answer answer = {.status = 200, .body = span_str(body)};
    world.done(world.context, &answer);
}

static void ask(const char *method, const char *arguments)
{
    char body[512];
    snprintf(body, sizeof body, "{\"actor\":\"tester\",\"arguments\":%s}", arguments);
    const struct msg_call call = {span_str(method), span_str(body)};
    world.status = 0;
    calls_take(world.calls, &world, 1, &call);
}

static const char *member(const char *name)
{
    const char *text = json_string_value(json_object_get(world.reply, name));
    return text ? text : "";
}

/* Starts one and leaves its arguments for a poll in `login`. */
static void start(char login[128])
{
    ask("auth.start", "{}");
    assert_int_equal(world.status, 0); /* it waits for the upstream */
    upstream_says("{\"code\":0,\"data\":{\"state\":\"s\",\"authUrl\":\"https://login.example/x\"}}");
    assert_int_equal(world.status, 200);
    assert_int_equal(json_integer_value(json_object_get(world.reply, "expires_in")), LOGIN_LIFE_MS / 1000);
    snprintf(login, 128, "{\"auth_state\":\"%s\"}", member("auth_state"));
}

static void assert_gone(const char *login)
{
    ask("auth.poll", login);
    assert_int_equal(world.status, 400);
    assert_string_equal(member("error"), "invalid_grant");
}

static void assert_open(const char *login)
{
    ask("auth.poll", login);
    assert_int_equal(world.status, 0);
    upstream_says("{\"code\":11217,\"msg\":\"pending\"}");
    assert_int_equal(world.status, 400);
    assert_string_equal(member("error"), "authorization_pending");
}

static int world_open(void **state)
{
    (void)state;
    world.now_ms = 1000;
    world.sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    world.calls = calls_new(take_reply, NULL);
    world.logins = logins_new(world.calls, &(struct logins_parts){.sites = world.sites});
    assert_non_null(world.logins);
    return 0;
}

static int world_close(void **state)
{
    (void)state;
    logins_free(&world.logins);
    calls_free(&world.calls);
    sites_free(&world.sites);
    json_decref(world.reply);
    world.reply = NULL;
    return 0;
}

static void test_a_login_lives_for_half_an_hour(void **state)
{
    char login[128];
    (void)state;
    start(login);
    world.now_ms += LOGIN_LIFE_MS - 1;
    assert_open(login);
    world.now_ms += 1;
    assert_gone(login);
    assert_gone(login);
}

/* Who has waited for the upstream until its time was over is answered; then it is gone. */
static void test_one_that_is_asked_about_when_it_ends(void **state)
{
    char login[128];
    (void)state;
    start(login);
    ask("auth.poll", login);
    world.now_ms += LOGIN_LIFE_MS;
    upstream_says("{\"code\":11217,\"msg\":\"pending\"}");
    assert_string_equal(member("error"), "authorization_pending");
    assert_gone(login);
}

static void test_the_oldest_makes_room(void **state)
{
    char logins[LOGINS_MAX][128], another[128];
    (void)state;
    for (size_t i = 0; i < LOGINS_MAX; i++) {
        start(logins[i]);
        world.now_ms += 60000;
    }
    ask("auth.start", "{}");
    assert_int_equal(world.status, 429);
    assert_int_equal(world.retry_after_s, LOGIN_LIFE_MS / 1000 - 180);
    world.now_ms = 1000 + LOGIN_LIFE_MS - 1;
    ask("auth.start", "{}");
    assert_int_equal(world.status, 429);
    assert_int_equal(world.retry_after_s, 1);
    world.now_ms += 1;
    start(another);
    assert_gone(logins[0]);
    assert_open(logins[1]);
    assert_open(another);
    ask("auth.start", "{}");
    assert_int_equal(world.status, 429);
    assert_int_equal(world.retry_after_s, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_a_login_lives_for_half_an_hour),
        T(test_one_that_is_asked_about_when_it_ends),
        T(test_the_oldest_makes_room),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
