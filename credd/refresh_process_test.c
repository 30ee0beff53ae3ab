/* SPDX-License-Identifier: MIT */
/* Refreshing, with the real daemon and the stand-in upstream. */
#include "credd/testbed.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD_TOKEN "old-token-of-many-letters"

/* A file whose token has `left_s` of `life_s` seconds to live; 0: no end known. */
static void put_refreshable(struct world *world, const char *name, int life_s, int left_s)
{
    char text[512], times[128] = "";
    int64_t created_s = clock_wall_ms() / 1000 - life_s + left_s;
    if (life_s)
        snprintf(times, sizeof times, ",\"created_at\":%" PRId64 ",\"expires_in\":%d", created_s, life_s);
    snprintf(text, sizeof text,
             "{\"bearer_token\":\"" OLD_TOKEN
             "\",\"refresh_token\":\"R1\",\"user_id\":\"u\",\"note\":\"mine\"%s}",
             times);
    put_file(world, name, text);
}

static int upstream_open(void **state)
{
    world_open(state);
    start_upstream(*state);
    return 0;
}

static bool file_has_token(const struct world *world, const char *name, const char *token)
{
    json_t *file = read_credential(world, name);
    bool has = strcmp(json_string_value(json_object_get(file, "bearer_token")), token) == 0;
    json_decref(file);
    return has;
}

/* Asks as the request that has tried the excluded one. */
static void ask_again(struct client *client, const char *request_id, const char *exclude, uint32_t wait_ms)
{
    const struct msg_lease lease_it = {.request_id = span_str(request_id),
                                       .model = SPAN("m"),
                                       .exclude = span_str(exclude),
                                       .wait_ms = wait_ms};
    assert_int_equal(peer_send(client->credd, MESSAGE_LEASE, ++client->next_request, &lease_it), 0);
}

static const char *state_of(struct client *client)
{
    const json_t *list = json_object_get(call(client, "credentials.list", "{}", 200), "credentials");
    return json_string_value(json_object_get(json_array_get(list, 0), "state"));
}

static void test_ahead_of_time(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    struct stat status;
    put_refreshable(world, "a.json", 86400, 30000); /* past half its life */
    put_refreshable(world, "b.json", 86400, 80000); /* not yet */
    start_credd(world);
    wait_for_counter(world, "refresh_done", 1);
    client_open(world, "upstream-worker");
    int64_t start_ms = clock_now_ms();
    do {
        uint64_t number = lease(client, 5000);
        assert_true(number != 0);
        release(client, number, OUTCOME_OK);
        assert_true(clock_now_ms() < start_ms + PATIENCE_MS);
    } while (strcmp(client->token, OLD_TOKEN) == 0);
    assert_true(file_has_token(world, "a.json", client->token)); /* on disk before it is lent */
    assert_int_equal(stat(creds_path(world, "a.json"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    json_t *file = read_credential(world, "a.json"), *sent = requests(world, "refresh");
    assert_string_equal(json_string_value(json_object_get(file, "note")), "mine");
    assert_string_equal(json_string_value(json_object_get(file, "user_id")), "u");
    assert_string_equal(json_string_value(json_object_get(file, "site")), "custom"); /* it named none */
    assert_string_equal(json_string_value(json_object_get(file, "api_endpoint")), world->endpoint);
    assert_string_not_equal(json_string_value(json_object_get(file, "refresh_token")), "R1");
    assert_null(json_object_get(file, "expires_at_ms"));
    const json_t *list = json_object_get(sent, "requests");
    assert_int_equal(json_array_size(list), 1);
    const json_t *headers = json_object_get(json_array_get(list, 0), "headers");
    assert_string_equal(json_string_value(json_object_get(headers, "authorization")), "Bearer " OLD_TOKEN);
    assert_string_equal(json_string_value(json_object_get(headers, "x-refresh-token")), "R1");
    assert_string_equal(json_string_value(json_object_get(headers, "x-auth-refresh-source")), "plugin");
    assert_non_null(json_object_get(headers, "x-domain"));
    json_decref(file);
    json_decref(sent);
    assert_true(file_has_token(world, "b.json", OLD_TOKEN));
    assert_false(log_has(world, OLD_TOKEN));
    assert_false(log_has(world, client->token));
}

static void test_a_refused_token_is_refreshed_once_for_all(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    start_credd(world);
    client_open(world, "upstream-worker");
    uint64_t first, second;
    ask_again(client, "request-1", "", 5000);
    TURN_UNTIL(client, client->answers == 1);
    first = client->grant.lease;
    ask_again(client, "request-2", "", 5000);
    TURN_UNTIL(client, client->answers == 2);
    second = client->grant.lease;
    release(client, first, OUTCOME_UNAUTHORIZED);
    ask_again(client, "request-1", client->granted_id, 5000); /* waits for the refresh */
    release(client, second, OUTCOME_UNAUTHORIZED);            /* old news */
    ask_again(client, "request-2", client->granted_id, 5000);
    TURN_UNTIL(client, client->answers == 4);
    assert_true(client->grant.lease != 0);
    assert_string_not_equal(client->token, OLD_TOKEN);
    assert_int_equal(counter(world, "refresh"), 1);
    /* Refused again though fresh: no third time, and nobody asks the upstream any more. */
    release(client, client->grant.lease, OUTCOME_UNAUTHORIZED);
    ask_again(client, "request-2", client->granted_id, 5000);
    TURN_UNTIL(client, client->answers == 5);
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL);
    client_close(client);
    client_open(world, "gateway");
    assert_string_equal(state_of(client), "needs_login");
    assert_int_equal(counter(world, "refresh"), 1);
}

static void test_a_request_gets_one_second_chance(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    start_credd(world);
    client_open(world, "upstream-worker");
    ask_again(client, "request-1", "", 5000);
    TURN_UNTIL(client, client->answers == 1);
    release(client, client->grant.lease, OUTCOME_UNAUTHORIZED);
    ask_again(client, "request-1", client->granted_id, 5000);
    TURN_UNTIL(client, client->answers == 2);
    assert_true(client->grant.lease != 0);
    release(client, client->grant.lease, OUTCOME_OK);
    ask_again(client, "request-1", client->granted_id, 0);
    TURN_UNTIL(client, client->answers == 3);
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL); /* tried */
}

static void test_a_refresh_token_that_is_over(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    control(world, "answer", "{\"call\":\"refresh\",\"code\":12153}");
    put_refreshable(world, "a.json", 86400, 100);
    start_credd(world);
    client_open(world, "gateway");
    int64_t start_ms = clock_now_ms();
    while (strcmp(state_of(client), "needs_login") != 0)
        assert_true(clock_now_ms() < start_ms + PATIENCE_MS);
    assert_true(log_gets(world, "needs_login"));
    assert_int_equal(counter(world, "refresh"), 1);
    const json_t *error = json_object_get(call(client, "credentials.refresh", "{\"index\":0}", 400), "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "refresh_token_invalid");
    client_close(client);
    end_credd(world, SIGTERM);
    start_credd(world);
    client_open(world, "gateway");
    assert_string_equal(state_of(client), "needs_login"); /* kept */
    assert_int_equal(counter(world, "refresh"), 2);
    control(world, "answer", "{\"call\":\"refresh\"}");
    call(client, "credentials.refresh", "{\"index\":0}", 200); /* it was the upstream's mistake */
    assert_string_equal(state_of(client), "ready");
}

static void test_on_demand(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    put_credential(world, "b.json", "no-refresh-token");
    start_credd(world);
    client_open(world, "gateway");
    const json_t *error = json_object_get(call(client, "credentials.refresh", "{\"index\":1}", 400), "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "no_refresh_token");
    call(client, "credentials.refresh", "{\"index\":2}", 404);
    call(client, "credentials.refresh", "{}", 422);
    static const char *const troubles[] = {
        "{\"call\":\"refresh\",\"status\":500,\"times\":1}",
        "{\"call\":\"refresh\",\"status\":401,\"html\":\"<html>no</html>\",\"times\":1}",
        "{\"call\":\"refresh\",\"body\":\"not json\",\"times\":1}",
        "{\"call\":\"refresh\",\"body\":{\"code\":0,\"data\":{}},\"times\":1}",
        "{\"call\":\"refresh\",\"body\":{\"code\":0,\"data\":{\"accessToken\":\"a b\"}},\"times\":1}",
        "{\"call\":\"refresh\",\"code\":12005,\"times\":1}",
    };
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
        control(world, "answer", troubles[i]);
        call(client, "credentials.refresh", "{\"index\":0}", 502);
        assert_true(file_has_token(world, "a.json", OLD_TOKEN));
    }
    control(world, "answer", "{\"call\":\"refresh\",\"delay_ms\":300,\"times\":1}");
    int before = client->answers;
    for (int i = 0; i < 3; i++) /* they share one */
        ask_call(client, "credentials.refresh", "{\"index\":0}");
    TURN_UNTIL(client, client->answers == before + 3);
    assert_int_equal(client->reply_status, 200);
    assert_true(json_is_integer(json_object_get(client->reply, "expires_at")));
    assert_int_equal(counter(world, "refresh"), sizeof troubles / sizeof troubles[0] + 1);
    assert_true(log_gets(world, "actor=tester what=credential_refresh"));
    assert_false(log_has(world, "<html>"));
}

static void test_a_deletion_wins(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    put_refreshable(world, "b.json", 0, 0);
    start_credd(world);
    client_open(world, "gateway");
    control(world, "answer", "{\"call\":\"refresh\",\"delay_ms\":300}");
    int before = client->answers;
    ask_call(client, "credentials.refresh", "{\"index\":0}");
    ask_call(client, "credentials.refresh", "{\"index\":1}");
    ask_call(client, "credentials.delete", "{\"index\":0}"); /* … by the API, and by hand: */
    TURN_UNTIL(client, client->answers == before + 1);
    assert_int_equal(client->reply_status, 200);
    unlink(creds_path(world, "b.json"));
    TURN_UNTIL(client, client->answers == before + 3);
    assert_int_equal(client->reply_status, 404);
    assert_int_equal(counter(world, "refresh_done"), 2);
    assert_int_equal(access(creds_path(world, "a.json"), F_OK), -1);
    assert_int_equal(access(creds_path(world, "b.json"), F_OK), -1);
}

static void test_a_hand_made_token_wins(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    start_credd(world);
    client_open(world, "gateway");
    control(world, "answer", "{\"call\":\"refresh\",\"delay_ms\":300}");
    int before = client->answers;
    ask_call(client, "credentials.refresh", "{\"index\":0}");
    put_file(world, "a.json", "{\"bearer_token\":\"by-hand\",\"refresh_token\":\"R2\"}");
    TURN_UNTIL(client, client->answers == before + 1);
    assert_int_equal(client->reply_status, 404);
    assert_true(file_has_token(world, "a.json", "by-hand"));
}

static void test_a_drain_waits_for_the_token(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_refreshable(world, "a.json", 0, 0);
    start_credd(world);
    client_open(world, "gateway");
    control(world, "answer", "{\"call\":\"refresh\",\"delay_ms\":500}");
    ask_call(client, "credentials.refresh", "{\"index\":0}");
    call(client, "credentials.list", "{}", 200); /* it has read both */
    client_close(client);
    assert_int_equal(end_credd(world, SIGTERM), 0);
    assert_int_equal(counter(world, "refresh_done"), 1);
    assert_false(file_has_token(world, "a.json", OLD_TOKEN)); /* or the account would be lost */
}

static bool is_sealed(const struct world *world, const char *name)
{
    json_t *file = read_credential(world, name);
    bool is = json_object_get(file, "sealed") && !json_object_get(file, "bearer_token");
    json_decref(file);
    return is;
}

/* The daemon's other mode, which converts and ends. */
static int convert(struct world *world, const char *word)
{
    world->word = word;
    start_credd(world);
    world->word = NULL;
    return end_credd(world, 0);
}

static void test_sealed_files(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    char key[160], setting[200];
    snprintf(key, sizeof key, "%s/key", world->root);
    snprintf(setting, sizeof setting, "CODEBUDDY_SECRET_KEY_FILE=%s", key);
    FILE *out = fopen(key, "w");
    fputs("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", out);
    fclose(out);
    put_refreshable(world, "a.json", 0, 0);
    assert_int_equal(convert(world, "seal"), 78); /* no key */
    world->settings[0] = setting;
    assert_int_equal(convert(world, "seal"), 0);
    assert_true(is_sealed(world, "a.json"));
    start_credd(world);
    client_open(world, "upstream-worker");
    assert_true(lease(client, 5000) != 0);
    assert_string_equal(client->token, OLD_TOKEN);
    client_close(client);
    client_open(world, "gateway");
    call(client, "credentials.refresh", "{\"index\":0}", 200);
    call(client, "credentials.add", "{\"bearer_token\":\"added\",\"filename\":\"b\"}", 201);
    assert_true(is_sealed(world, "a.json") && is_sealed(world, "b.json"));
    client_close(client);
    end_credd(world, SIGKILL);
    assert_int_equal(convert(world, "unseal"), 0);
    assert_true(file_has_token(world, "b.json", "added"));
    assert_false(file_has_token(world, "a.json", OLD_TOKEN)); /* refreshed */
    json_t *file = read_credential(world, "a.json");
    assert_string_equal(json_string_value(json_object_get(file, "note")), "mine");
    json_decref(file);
    unlink(key);
    start_credd(world);
    assert_int_equal(end_credd(world, 0), 78); /* a key that is not there is no reason to go on without */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, upstream_open, world_close)
        T(test_ahead_of_time),
        T(test_a_refused_token_is_refreshed_once_for_all),
        T(test_a_request_gets_one_second_chance),
        T(test_a_refresh_token_that_is_over),
        T(test_on_demand),
        T(test_a_deletion_wins),
        T(test_a_hand_made_token_wins),
        T(test_a_drain_waits_for_the_token),
        T(test_sealed_files),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
