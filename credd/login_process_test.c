/* SPDX-License-Identifier: MIT */
/* Logins and the list of models, with the real daemon and the stand-in upstream. */
#include "credd/logins.h"
#include "credd/model_lists.h"
#include "credd/testbed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "(none)";
}

static int login_open(void **state)
{
    world_open(state);
    start_upstream(*state);
    start_credd(*state);
    client_open(*state, "gateway");
    return 0;
}

/* {"auth_state":…} of a login that was started. */
static const char *start(struct client *client)
{
    static char arguments[96];
    const json_t *started = call(client, "auth.start", "{}", 200);
    snprintf(arguments, sizeof arguments, "{\"auth_state\":\"%s\"}", text(started, "auth_state"));
    return arguments;
}

static void fails(struct client *client, const char *method, const char *arguments, int status,
                  const char *code)
{
    const json_t *error = json_object_get(call(client, method, arguments, status), "error");
    assert_string_equal(text(error, "code"), code);
}

static void poll_says(struct client *client, const char *arguments, const char *error)
{
    const json_t *answer = call(client, "auth.poll", arguments, 400);
    assert_string_equal(text(answer, "error"), error);
    assert_true(strlen(text(answer, "error_description")) > 5);
}

static void test_a_login(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    struct stat status;
    control(world, "account",
            "{\"pending\":2,\"not_ready\":1,\"email\":\"me@example.com\",\"sub\":\"sub-1\"}");
    const json_t *started = call(client, "auth.start", "{}", 200);
    assert_true(json_is_true(json_object_get(started, "success")));
    assert_string_equal(text(started, "status"), "pending");
    assert_int_equal(json_integer_value(json_object_get(started, "expires_in")), 1800);
    assert_int_equal(json_integer_value(json_object_get(started, "interval")), 5);
    assert_int_equal(strncmp(text(started, "verification_uri"), "https://", 8), 0);
    assert_string_equal(text(started, "verification_uri"), text(started, "verification_uri_complete"));
    assert_null(
        strstr(text(started, "verification_uri"), text(started, "auth_state"))); /* ours, not theirs */
    char login[96];
    snprintf(login, sizeof login, "{\"auth_state\":\"%s\"}", text(started, "auth_state"));
    for (int i = 0; i < 3; i++)
        poll_says(client, login, "authorization_pending");
    const json_t *done = call(client, "auth.poll", login, 200);
    assert_int_equal(json_object_size(done), 3); /* never a token */
    assert_true(json_is_true(json_object_get(done, "saved")));
    assert_string_equal(text(done, "user_id"), "sub-1");
    assert_int_equal(strlen(text(done, "id")), 16);
    poll_says(client, login, "invalid_grant"); /* used once */
    assert_int_equal(stat(creds_path(world, "me_example.com.json"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    json_t *file = read_credential(world, "me_example.com.json");
    assert_false(log_has(world, text(file, "bearer_token")));
    assert_false(log_has(world, text(file, "refresh_token")));
    assert_string_equal(text(json_object_get(file, "user_info"), "email"), "me@example.com");
    const json_t *row =
        json_array_get(json_object_get(call(client, "credentials.list", "{}", 200), "credentials"), 0);
    assert_string_equal(text(row, "state"), "ready");
    assert_string_equal(text(row, "email"), "me@example.com");
    assert_string_equal(text(row, "site"), "custom");
    assert_string_equal(text(row, "domain"), "www.codebuddy.cn");
    assert_true(json_is_true(json_object_get(row, "has_refresh_token")));
    assert_true(log_gets(world, "actor=tester what=login_done"));
    client_close(client);
    client_open(world, "upstream-worker");
    assert_true(lease(client, 5000) != 0); /* and it serves */
    assert_string_equal(client->token, text(file, "bearer_token"));
    json_decref(file);
}

static void test_the_same_user_again(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    control(world, "account", "{\"pending\":0,\"email\":\"me@example.com\"}");
    call(client, "auth.poll", start(client), 200);
    json_t *first = read_credential(world, "me_example.com.json");
    call(client, "auth.poll", start(client), 200); /* never overwrites */
    json_t *again = read_credential(world, "me_example.com.json"),
           *second = read_credential(world, "me_example.com-2.json");
    assert_true(json_equal(first, again));
    assert_string_not_equal(text(first, "bearer_token"), text(second, "bearer_token"));
    json_decref(first);
    json_decref(again);
    json_decref(second);
}

static void test_logins_are_few(void **state)
{
    struct client *client = &((struct world *)*state)->client;
    char second[96];
    start(client);
    snprintf(second, sizeof second, "%s", start(client));
    start(client);
    fails(client, "auth.start", "{}", 429, "too_many_logins");
    call(client, "auth.cancel", second, 200);
    poll_says(client, second, "invalid_grant");
    call(client, "auth.cancel", second, 404);
    start(client);
    fails(client, "auth.start", "{}", 429, "too_many_logins");
}

static void test_bad_questions(void **state)
{
    struct client *client = &((struct world *)*state)->client;
    fails(client, "auth.start", "{\"nonce\":1}", 422, "invalid_field");
    fails(client, "auth.poll", "{}", 422, "invalid_field");
    fails(client, "auth.poll", "{\"auth_state\":7}", 422, "invalid_field");
    fails(client, "auth.cancel", "{}", 422, "invalid_field");
    poll_says(client, "{\"auth_state\":\"unknown\"}", "invalid_grant");
    poll_says(client, "{\"auth_state\":\"\"}", "invalid_grant");
}

static void test_starts_that_fail(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    static const char *const answers[] = {
        "{\"call\":\"start\",\"status\":500}",
        "{\"call\":\"start\",\"html\":\"<html></html>\"}",
        "{\"call\":\"start\",\"code\":12005}",
        "{\"call\":\"start\",\"body\":{\"code\":0,\"data\":{\"state\":\"s\"}}}",
        "{\"call\":\"start\",\"body\":{\"code\":0,\"data\":{\"state\":\"\",\"authUrl\":\"https://a.example/"
        "\"}}}",
        "{\"call\":\"start\",\"body\":{\"code\":0,\"data\":{\"state\":\"s\",\"authUrl\":\"http://a.example/"
        "\"}}}",
        "{\"call\":\"start\",\"body\":{\"code\":0,\"data\":{\"state\":\"s\",\"authUrl\":\"https://"
        "u:p@a.example/\"}}}",
        "{\"call\":\"start\",\"body\":{\"code\":0,\"data\":{\"state\":\"s\",\"authUrl\":\"javascript:alert(1)"
        "\"}}}",
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) { /* and none takes up a place */
        control(world, "answer", answers[i]);
        call(client, "auth.start", "{}", 502);
    }
    end_credd(world, SIGKILL);
    client_close(client);
    kill(world->upstream_pid, SIGTERM); /* nobody there */
    snprintf(world->endpoint, sizeof world->endpoint, "http://127.0.0.1:1");
    start_credd(world);
    client_open(world, "gateway");
    fails(client, "auth.start", "{}", 502, "upstream_error");
}

static void test_polls_that_fail(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    char login[96];
    control(world, "account", "{\"pending\":0}");
    snprintf(login, sizeof login, "%s", start(client));
    static const char *const troubles[] = {
        "{\"call\":\"poll\",\"status\":503,\"times\":1}",
        "{\"call\":\"poll\",\"body\":\"nonsense\",\"times\":1}",
        "{\"call\":\"poll\",\"status\":401,\"html\":\"<html></html>\",\"times\":1}",
        "{\"call\":\"poll\",\"body\":{\"code\":0,\"data\":{}},\"times\":1}",
    };
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) { /* it can go on after each */
        control(world, "answer", troubles[i]);
        call(client, "auth.poll", login, 502);
    }
    control(world, "answer", "{\"call\":\"poll\",\"code\":11217,\"delay_ms\":300,\"times\":1}");
    int before = client->answers;
    ask_call(client, "auth.poll", login);
    poll_says(client, login, "slow_down");
    TURN_UNTIL(client, client->answers == before + 2);
    assert_string_equal(text(client->reply, "error"), "authorization_pending");
    control(world, "answer", "{\"call\":\"poll\",\"code\":12005,\"msg\":\"no seat for you\"}");
    const json_t *answer = call(client, "auth.poll", login, 400);
    assert_string_equal(text(answer, "error"), "access_denied");
    assert_non_null(strstr(text(answer, "error_description"), "no seat for you"));
    poll_says(client, login, "invalid_grant");
}

static void test_codes_that_end_a_login(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    static const int codes[] = {12005, 11212, 11216, 10081}, statuses[] = {200, 401, 403};
    char login[96], answer[128], words[64];
    for (size_t i = 0; i < 12; i++) {
        int code = codes[i / 3];
        snprintf(login, sizeof login, "%s", start(client));
        snprintf(words, sizeof words, "code %d: why %d", code, (int)i);
        snprintf(answer, sizeof answer,
                 "{\"call\":\"poll\",\"status\":%d,\"code\":%d,\"msg\":\"why %d\",\"times\":1}",
                 statuses[i % 3], code, (int)i);
        control(world, "answer", answer);
        const json_t *refused = call(client, "auth.poll", login, 400);
        assert_string_equal(text(refused, "error"), "access_denied");
        assert_string_equal(text(refused, "error_description"), words);
        poll_says(client, login, "invalid_grant"); /* over */
    }
    snprintf(login, sizeof login, "%s", start(client)); /* another code says nothing about the login */
    control(world, "answer", "{\"call\":\"poll\",\"status\":403,\"code\":11140,\"times\":1}");
    call(client, "auth.poll", login, 502);
    poll_says(client, login, "authorization_pending");
}

static void test_a_login_stays_with_its_endpoint(void **state)
{
    struct world *world = *state;
    static const char *const others[] = {"http://127.0.0.1:1", "https://copilot.tencent.com"};
    control(world, "account", "{\"pending\":0,\"email\":\"me@example.com\"}");
    call(&world->client, "auth.poll", start(&world->client), 200);
    json_t *file = read_credential(world, "me_example.com.json");
    assert_string_equal(text(file, "site"), "custom");
    assert_string_equal(text(file, "api_endpoint"), world->endpoint);
    json_decref(file);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        client_close(&world->client);
        end_credd(world, SIGTERM);
        snprintf(world->endpoint, sizeof world->endpoint, "%s", others[i]);
        start_credd(world);
        client_open(world, "gateway");
        const json_t *row = json_array_get(
            json_object_get(call(&world->client, "credentials.list", "{}", 200), "credentials"), 0);
        assert_string_equal(text(row, "state"), "needs_login");
        assert_non_null(strstr(text(row, "state_reason"), "api_endpoint"));
        client_close(&world->client);
        client_open(world, "upstream-worker");
        assert_int_equal(lease(&world->client, 0), 0);
    }
}

static void test_a_login_saved_for_nobody_is_audited(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    char login[96], away[128];
    struct stat status;
    control(world, "account", "{\"pending\":0,\"email\":\"me@example.com\"}");
    snprintf(login, sizeof login, "%s", start(client));
    snprintf(away, sizeof away, "%s.away", world->creds);
    assert_int_equal(rename(world->creds, away), 0);
    int in_its_place = open(world->creds, O_WRONLY | O_CREAT | O_EXCL, 0600); /* else credd makes it anew */
    assert_true(in_its_place >= 0);
    close(in_its_place);
    call(client, "auth.poll", login, 503); /* the tokens are held … */
    assert_int_equal(unlink(world->creds), 0);
    assert_int_equal(rename(away, world->creds), 0); /* over an empty one, if credd was quick */
    int before = client->answers;
    ask_call(client, "auth.poll", login);   /* … so that this poll is a write, … */
    ask_call(client, "auth.cancel", login); /* … which cannot be called back */
    TURN_UNTIL(client, client->answers == before + 2);
    assert_true(log_gets(world, "actor=tester what=login_done"));
    assert_int_equal(stat(creds_path(world, "me_example.com.json"), &status), 0);
}

static void test_cancelled_while_polling(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    char login[96];
    snprintf(login, sizeof login, "%s", start(client));
    control(world, "answer", "{\"call\":\"poll\",\"delay_ms\":60000}");
    int before = client->answers;
    ask_call(client, "auth.poll", login);
    ask_call(client, "auth.cancel", login);
    TURN_UNTIL(client, client->answers == before + 2);
    assert_int_equal(client->reply_status, 200);
    end_credd(world, SIGTERM); /* nothing is left open */
}

/* ---- models ---- */

static size_t models(struct client *client, const char *first, const char *last)
{
    const json_t *answer = call(client, "models.list", "{}", 200), *data = json_object_get(answer, "data");
    size_t count = json_array_size(data);
    assert_string_equal(text(answer, "object"), "list");
    assert_string_equal(text(json_array_get(data, 0), "id"), first);
    assert_string_equal(text(json_array_get(data, count - 1), "id"), last);
    assert_string_equal(text(json_array_get(data, 0), "owned_by"), "codebuddy");
    assert_string_equal(text(json_array_get(data, 0), "object"), "model");
    return count;
}

static void test_models(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    client_close(client);
    end_credd(world, SIGKILL);
    world->settings[0] = "CODEBUDDY_MODELS=mine,glm-4.6";
    start_credd(world);
    client_open(world, "gateway");
    assert_int_equal(models(client, "mine", "glm-4.6"), 2); /* nobody to ask with */
    assert_int_equal(counter(world, "models"), 0);
    put_credential(world, "a.json", "token");
    int64_t start_ms = clock_now_ms();
    while (json_array_size(json_object_get(call(client, "credentials.list", "{}", 200), "credentials")) == 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    control(world, "answer", "{\"call\":\"models\",\"delay_ms\":300}");
    int before = client->answers;
    for (int i = 0; i < 4; i++)
        ask_call(client, "models.list", "{}");
    TURN_UNTIL(client, client->answers == before + 4);
    assert_int_equal(counter(world, "models"), 1); /* one fetch at a time */
    assert_int_equal(models(client, "mine", "auto-chat"), 5);
    assert_int_equal(counter(world, "models"), 1); /* cached */
    call(client, "models.list", "{\"x\":1}", 422);
}

static void test_models_in_trouble(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    control(world, "answer", "{\"call\":\"models\",\"status\":500}");
    put_credential(world, "a.json", "token");
    int64_t start_ms = clock_now_ms();
    while (counter(world, "models") == 0) {
        assert_true(models(client, "claude-4.0", "auto-chat") == 9); /* the configured ones */
        assert_true(clock_now_ms() < start_ms + 5000);
    }
    models(client, "claude-4.0", "auto-chat");
    assert_int_equal(counter(world, "models"), 1); /* not asked again at once */
}

static void test_reading_models(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"models\":[{\"id\":\"a\"},{\"id\":\"b\",\"disabled\":true},{\"id\":\"c\"}],"
         "\"agents\":[{\"name\":\"ide\",\"models\":[\"c\"]},{\"name\":\"cli\",\"models\":[\"a\",\"b\",\"d\","
         "5,\"\"]}]}",
         "[\"a\",\"d\"]"},
        {"{\"models\":[{\"id\":\"a\"},{\"id\":\"b\",\"disabled\":true},{\"id\":7},\"x\"]}", "[\"a\"]"},
        {"{\"models\":{},\"agents\":7}", "[]"},
        {"{}", "[]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *data = json_loads(cases[i][0], 0, NULL), *expected = json_loads(cases[i][1], 0, NULL);
        json_t *ids = model_lists_read(data);
        assert_true(json_equal(ids, expected));
        json_decref(data);
        json_decref(expected);
        json_decref(ids);
    }
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const fit[] = {"https://a.example/x?y=z#f", "https://a.example:8443/",
                                      "HTTPS://A.example/"};
    static const char *const unfit[] = {"",
                                        "a.example",
                                        "//a.example/",
                                        "http://a.example/",
                                        "https://",
                                        "https:///x",
                                        "ftp://a/",
                                        "https://u@a.example/",
                                        "https:x",
                                        "javascript:alert(1)",
                                        "https://a b/",
                                        "https://a.example/\n",
                                        "https://a\\@b/",
                                        "data:text/html,x",
                                        "https://u:p@a.example/"};
    for (size_t i = 0; i < sizeof fit / sizeof fit[0]; i++)
        assert_true(login_url_is_fit(fit[i]));
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++)
        if (login_url_is_fit(unfit[i]))
            fail_msg("%s", unfit[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, login_open, world_close)
        T(test_a_login),
        T(test_the_same_user_again),
        T(test_logins_are_few),
        T(test_bad_questions),
        T(test_starts_that_fail),
        T(test_polls_that_fail),
        T(test_codes_that_end_a_login),
        T(test_a_login_stays_with_its_endpoint),
        T(test_a_login_saved_for_nobody_is_audited),
        T(test_cancelled_while_polling),
        T(test_models),
        T(test_models_in_trouble),
        cmocka_unit_test(test_reading_models),
        cmocka_unit_test(test_urls),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
