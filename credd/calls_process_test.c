/* SPDX-License-Identifier: MIT */
/* The admin API's calls about credentials, asked of the real daemon: success, each bad field, and what is
 * left after kill -9. */
#include "credd/testbed.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_A "token-a-of-more-than-16-letters"
#define TOKEN_B "token-b-of-more-than-16-letters"

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "(none)";
}

static int64_t number(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

/* The i-th row of credentials.list; borrowed until the next answer. */
static const json_t *row(struct client *client, size_t i)
{
    const json_t *list = json_object_get(call(client, "credentials.list", "{}", 200), "credentials");
    assert_true(i < json_array_size(list));
    return json_array_get(list, i);
}

static bool is_id_of(const char *id, const char *filename)
{
    char expected[CREDENTIAL_ID_BYTES];
    uint32_t unused;
    credential_id_of(filename, expected, &unused);
    return strcmp(id, expected) == 0;
}

static bool toggled_to(struct client *client)
{
    const json_t *answer = call(client, "credentials.toggle_rotation", "{}", 200);
    assert_true(strlen(text(answer, "message")) > 10);
    return json_is_true(json_object_get(answer, "auto_rotation_enabled"));
}

/* Calls with {"id":…} of the file. */
static const json_t *call_file(struct client *client, const char *method, const char *filename, int status)
{
    char id[CREDENTIAL_ID_BYTES], arguments[64];
    uint32_t unused;
    credential_id_of(filename, id, &unused);
    snprintf(arguments, sizeof arguments, "{\"id\":\"%s\"}", id);
    return call(client, method, arguments, status);
}

static void fails(struct client *client, const char *method, const char *arguments, int status,
                  const char *param)
{
    const json_t *error = json_object_get(call(client, method, arguments, status), "error");
    assert_string_equal(text(error, "param"), param);
    assert_true(strlen(text(error, "message")) > 10);
}

static int two_open(void **state)
{
    world_open(state);
    struct world *world = *state;
    put_credential(world, "a.json", TOKEN_A);
    put_credential(world, "b.json", TOKEN_B);
    start_credd(world);
    client_open(world, "gateway");
    return 0;
}

static void restart(struct world *world, int signal_number, const char *role)
{
    client_close(&world->client);
    end_credd(world, signal_number);
    start_credd(world);
    client_open(world, role);
}

static void as(struct world *world, const char *role)
{
    client_close(&world->client);
    client_open(world, role);
}

static void test_list(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_file(world, "c.json",
             "{\"bearer_token\":\"" TOKEN_A "-c\",\"user_id\":\"user-c\",\"created_at\":1700000000,"
             "\"expires_in\":3000000000,\"refresh_token\":\"r\",\"scope\":\"s\",\"domain\":\"d.example\","
             "\"token_type\":\"Bearer\",\"user_info\":{\"email\":\"c@example.com\",\"name\":\"C\"}}");
    put_file(world, "d.json", "{\"bearer_token\":5}");
    put_file(world, "e.json", "{\"bearer_token\":\"short\",\"created_at\":1600000000,\"expires_in\":60}");
    int64_t start_ms = clock_now_ms();
    while (json_array_size(json_object_get(call(client, "credentials.list", "{}", 200), "credentials")) < 5)
        assert_true(clock_now_ms() < start_ms + 1000);
    const json_t *c = row(client, 2);
    static const char *const fields[] = {"id",
                                         "index",
                                         "filename",
                                         "user_id",
                                         "email",
                                         "name",
                                         "site",
                                         "scope",
                                         "token_type",
                                         "domain",
                                         "state",
                                         "created_at",
                                         "is_expired",
                                         "expires_in",
                                         "until",
                                         "state_reason",
                                         "expires_at",
                                         "uses",
                                         "time_remaining",
                                         "in_flight",
                                         "time_remaining_str",
                                         "has_token",
                                         "has_refresh_token",
                                         "token_preview",
                                         "quota_remaining",
                                         "quota_total",
                                         "quota_resets_at"};
    assert_int_equal(json_object_size(c), sizeof fields / sizeof fields[0]);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        assert_non_null(json_object_get(c, fields[i]));
    assert_string_equal(text(c, "filename"), "c.json");
    assert_int_equal(number(c, "index"), 2);
    assert_string_equal(text(c, "user_id"), "user-c");
    assert_string_equal(text(c, "email"), "c@example.com");
    assert_string_equal(text(c, "name"), "C");
    assert_string_equal(text(c, "site"), "cn");
    assert_string_equal(text(c, "token_preview"), "rs-c");
    assert_int_equal(number(c, "created_at"), 1700000000);
    assert_int_equal(number(c, "expires_in"), 3000000000);
    assert_int_equal(number(c, "expires_at"), 4700000000);
    assert_in_range(number(c, "time_remaining"), 2000000000, 3000000000);
    assert_true(strchr(text(c, "time_remaining_str"), 'd') != NULL);
    assert_string_equal(text(c, "state"), "ready");
    assert_true(json_is_null(json_object_get(c, "state_reason")));
    assert_true(json_is_true(json_object_get(c, "has_refresh_token")));
    const json_t *d = row(client, 3); /* broken: shown by name, with what is wrong */
    assert_string_equal(text(d, "state"), "needs_login");
    assert_string_equal(text(d, "state_reason"), "bearer_token is not a string");
    assert_true(json_is_false(json_object_get(d, "has_token")));
    const json_t *e = row(client, 4);
    assert_string_equal(text(e, "state"), "expired");
    assert_true(json_is_true(json_object_get(e, "is_expired")));
    assert_string_equal(text(e, "time_remaining_str"), "expired");
    assert_true(json_is_null(json_object_get(e, "token_preview")));
    fails(client, "credentials.list", "{\"x\":1}", 422, "x");
}

static void test_add(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    struct stat status;
    const json_t *added =
        call(client, "credentials.add",
             "{\"bearer_token\":\"" TOKEN_A "-n\",\"user_id\":\"n@x\",\"refresh_token\":\"r\","
             "\"expires_in\":86400,\"site\":\"intl\"}",
             201);
    assert_string_equal(text(added, "filename"), "n_x.json");
    assert_int_equal(stat(creds_path(world, "n_x.json"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_string_equal(text(row(client, 2), "site"), "intl"); /* at once */
    assert_string_equal(text(row(client, 2), "user_id"), "n@x");
    assert_in_range(number(row(client, 2), "time_remaining"), 86300, 86400);
    added = call(client, "credentials.add", "{\"bearer_token\":\"other\",\"user_id\":\"n@x\"}", 201);
    assert_string_equal(text(added, "filename"), "n_x-2.json");
    added =
        call(client, "credentials.add", "{\"bearer_token\":\"o\",\"filename\":\"../../etc/p w.json\"}", 201);
    assert_string_equal(text(added, "filename"), "_.._etc_p_w.json");
    assert_true(log_gets(world, "actor=tester what=credential_add"));
    assert_false(log_has(world, TOKEN_A));
    fails(client, "credentials.add", "{\"bearer_token\":\"o\",\"filename\":\"a.json\"}", 422, "filename");
    json_t *a = read_credential(world, "a.json");
    assert_string_equal(text(a, "bearer_token"), TOKEN_A); /* never overwritten */
    json_decref(a);
}

static void test_add_a_whole_file(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    const json_t *added =
        call(client, "credentials.add",
             "{\"filename\":\"desk top.json\",\"file\":{\"auth\":{\"accessToken\":\"" TOKEN_A
             "-w\",\"domain\":\"x.example\"},\"account\":{\"uid\":\"u7\"},\"other\":[1,{}]}}",
             201);
    assert_string_equal(text(added, "filename"), "desk_top.json");
    json_t *file = read_credential(world, "desk_top.json");
    assert_string_equal(text(json_object_get(file, "auth"), "accessToken"), TOKEN_A "-w");
    assert_int_equal(json_array_size(json_object_get(file, "other")), 2); /* nothing is lost */
    assert_null(json_object_get(file, "bearer_token"));
    assert_non_null(json_object_get(file, "site")); /* tied to the default site */
    json_decref(file);
    call(client, "credentials.add", "{\"file\":{\"bearer_token\":\"t\",\"site\":\"intl\"}}", 201);
    file = read_credential(world, "credential.json");
    assert_string_equal(text(file, "site"), "intl");
    json_decref(file);
}

/* credd anew, with another CODEBUDDY_API_ENDPOINT. */
static void move_to(struct world *world, const char *endpoint, const char *role)
{
    client_close(&world->client);
    end_credd(world, SIGTERM);
    snprintf(world->endpoint, sizeof world->endpoint, "%s", endpoint);
    start_credd(world);
    client_open(world, role);
}

static void test_added_files_stay_with_their_endpoint(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    static const char *const others[] = {"http://127.0.0.1:2", "https://copilot.tencent.com"};
    call(client, "credentials.add", "{\"bearer_token\":\"t\",\"filename\":\"cn\"}", 201);
    json_t *file = read_credential(world, "cn.json");
    assert_string_equal(text(file, "site"), "cn");
    assert_null(json_object_get(file, "api_endpoint"));
    json_decref(file);
    move_to(world, "http://127.0.0.1:1", "gateway");
    call(client, "credentials.delete", "{\"index\":0}", 200); /* a.json and b.json name no site */
    call(client, "credentials.delete", "{\"index\":0}", 200);
    assert_string_equal(text(row(client, 0), "site"), "cn"); /* still goes where it went */
    call(client, "credentials.delete", "{\"index\":0}", 200);
    call(client, "credentials.add", "{\"bearer_token\":\"t\",\"filename\":\"x\"}", 201);
    call(client, "credentials.add", "{\"bearer_token\":\"u\",\"filename\":\"y\",\"site\":\"Custom\"}", 201);
    for (size_t i = 0; i < 2; i++) {
        file = read_credential(world, i == 0 ? "x.json" : "y.json");
        assert_string_equal(text(file, "site"), "custom");
        assert_string_equal(text(file, "api_endpoint"), "http://127.0.0.1:1");
        assert_string_equal(text(row(client, i), "state"), "ready");
        json_decref(file);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        move_to(world, others[i], "gateway");
        for (size_t j = 0; j < 2; j++) {
            assert_string_equal(text(row(client, j), "state"), "needs_login");
            assert_non_null(strstr(text(row(client, j), "state_reason"), "api_endpoint"));
        }
        as(world, "upstream-worker");
        assert_int_equal(lease(client, 0), 0); /* never lent */
    }
    move_to(world, "http://127.0.0.1:1", "upstream-worker");
    assert_true(lease(client, 5000) != 0); /* back home, it serves */
}

/* A file that names no site stays with the endpoint of its first start, until a person says otherwise. */
static void test_files_without_a_site_stay_with_their_endpoint(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    move_to(world, "http://127.0.0.1:1", "gateway");
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(text(row(client, i), "state"), "needs_login");
        assert_true(json_is_false(json_object_get(row(client, i), "has_token")));
        assert_non_null(strstr(text(row(client, i), "state_reason"), "names no site and belongs to cn"));
    }
    as(world, "upstream-worker");
    assert_int_equal(lease(client, 0), 0); /* not sent there, by nobody */
    as(world, "gateway");
    call_file(client, "credentials.refresh", "a.json", 400);
    put_file(world, "a.json",
             "{\"bearer_token\":\"another\",\"expires_in\":1}"); /* a new token says nothing */
    call_file(client, "credentials.enable", "b.json", 200);      /* a person does */
    assert_string_equal(text(row(client, 1), "state"), "ready");
    assert_string_equal(text(row(client, 0), "state"), "needs_login");
    assert_true(log_gets(world, "actor=tester what=credential_rebind"));
    assert_false(log_has(world, TOKEN_A));
    restart(world, SIGKILL, "upstream-worker");
    uint64_t number = lease(client, 5000);
    assert_true(number != 0); /* it holds over a restart */
    move_to(world, "https://copilot.tencent.com", "gateway");
    assert_string_equal(text(row(client, 0), "state"), "ready"); /* back home */
    assert_non_null(strstr(text(row(client, 1), "state_reason"), "belongs to http://127.0.0.1:1"));
}

static void test_add_bad_fields(void **state)
{
    struct client *client = &((struct world *)*state)->client;
    static const struct {
        const char *arguments, *param;
    } bad[] = {
        {"{}", "bearer_token"},
        {"{\"bearer_token\":5}", "bearer_token"},
        {"{\"bearer_token\":\"\"}", "bearer_token"},
        {"{\"bearer_token\":\"a b\"}", "bearer_token"},
        {"{\"bearer_token\":\"t\",\"user_id\":5}", "user_id"},
        {"{\"bearer_token\":\"t\",\"user_id\":\"a\\r\\nX: y\"}", "user_id"},
        {"{\"bearer_token\":\"t\",\"refresh_token\":[]}", "refresh_token"},
        {"{\"bearer_token\":\"t\",\"refresh_token\":\"\\u00e9\"}", "refresh_token"},
        {"{\"bearer_token\":\"t\",\"filename\":7}", "filename"},
        {"{\"bearer_token\":\"t\",\"filename\":\"\"}", "filename"},
        {"{\"bearer_token\":\"t\",\"expires_in\":\"5\"}", "expires_in"},
        {"{\"bearer_token\":\"t\",\"expires_in\":-1}", "expires_in"},
        {"{\"bearer_token\":\"t\",\"expires_in\":1e99}", "expires_in"},
        {"{\"bearer_token\":\"t\",\"site\":\"mars\"}", "site"},
        {"{\"bearer_token\":\"t\",\"site\":{}}", "site"},
        {"{\"bearer_token\":\"t\",\"api_endpoint\":\"https://evil.example\"}", "api_endpoint"},
        {"{\"file\":\"t\"}", "file"},
        {"{\"file\":{\"bearer_token\":\"t\"},\"site\":\"cn\"}", "file"},
        {"{\"file\":{\"bearer_token\":\"t\"},\"filename\":\"\"}", "filename"},
        {"{\"file\":{}}", "bearer_token"},
        {"{\"file\":{\"auth\":{\"accessToken\":7}}}", "accessToken"},
        {"{\"file\":{\"bearer_token\":\"t\",\"api_endpoint\":\"https://evil.example\"}}", "api_endpoint"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fails(client, "credentials.add", bad[i].arguments, 422, bad[i].param);
    static char large[(128 << 10) + 200]; /* would be made, and then left alone for its size */
    memset(large, 'x', sizeof large - 1);
    static const char head[] = "{\"file\":{\"bearer_token\":\"t\",\"note\":\"";
    memcpy(large, head, sizeof head - 1);
    memcpy(large + sizeof large - 4, "\"}}", 4);
    fails(client, "credentials.add", large, 422, "file");
    assert_int_equal(
        json_array_size(json_object_get(call(client, "credentials.list", "{}", 200), "credentials")), 2);
}

static void test_which_one(void **state)
{
    struct client *client = &((struct world *)*state)->client;
    static const char *const methods[] = {"credentials.select", "credentials.delete", "credentials.enable",
                                          "credentials.disable"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        fails(client, methods[i], "{}", 422, "id");
        fails(client, methods[i], "{\"id\":1}", 422, "id");
        fails(client, methods[i], "{\"index\":\"0\"}", 422, "index");
        fails(client, methods[i], "{\"index\":0,\"id\":\"a\"}", 422, "id");
        fails(client, methods[i], "{\"index\":2}", 404, "index");
        fails(client, methods[i], "{\"index\":-1}", 404, "index");
        fails(client, methods[i], "{\"id\":\"0123456789abcdef\"}", 404, "id");
    }
}

static void test_bad_questions(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    static const char *const bodies[] = {
        "", "[]", "{", "{\"actor\":1}", "{\"arguments\":[]}", "{\"actor\":\"a\",\"actor\":\"b\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        int before = client->answers;
        const struct msg_call message = {.method = SPAN("credentials.list"), .body = span_str(bodies[i])};
        assert_int_equal(peer_send(client->credd, MESSAGE_CALL, 1, &message), 0);
        TURN_UNTIL(client, client->answers > before);
        assert_int_equal(client->reply_status, 400);
    }
    call(client, "credentials.lists", "{}", 404);
    as(world, "upstream-worker");
    ask_call(client, "credentials.list", "{}"); /* of a worker: no answer … */
    assert_true(lease(client, 5000) != 0);
    assert_int_equal(client->answers, 1); /* … in order, it would have come first */
}

static void test_pin_and_rotation(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    const json_t *current = call(client, "credentials.current", "{}", 200);
    assert_string_equal(text(current, "status"), "auto_rotation");
    assert_string_equal(text(current, "filename"), "a.json");
    assert_int_equal(number(current, "rotation_count"), 10);
    assert_int_equal(json_object_size(current), 9);
    assert_int_equal(number(call_file(client, "credentials.select", "b.json", 200), "index"), 1);
    current = call(client, "credentials.current", "{}", 200);
    assert_string_equal(text(current, "status"), "manual_selected");
    assert_string_equal(text(current, "filename"), "b.json");
    assert_false(toggled_to(client));
    restart(world, SIGKILL, "upstream-worker"); /* it was answered: it is kept */
    assert_true(lease(client, 5000) != 0);
    assert_string_equal(client->token, TOKEN_B);
    as(world, "gateway");
    call_file(client, "credentials.disable", "b.json", 200);
    current = call(client, "credentials.current", "{}", 200); /* rotation takes over, and says so */
    assert_string_equal(text(current, "status"), "auto_rotation_disabled");
    assert_string_equal(text(current, "filename"), "a.json");
    assert_true(is_id_of(text(current, "pinned_id"), "b.json"));
    call(client, "credentials.auto", "{}", 200);
    current = call(client, "credentials.current", "{}", 200);
    assert_true(json_is_null(json_object_get(current, "pinned_id")));
    assert_true(toggled_to(client));
    assert_true(log_gets(world, "actor=tester what=credential_toggle_rotation"));
}

static void test_switched_off_over_a_restart(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    assert_string_equal(text(call_file(client, "credentials.disable", "a.json", 200), "state"), "disabled");
    restart(world, SIGKILL, "gateway");
    assert_string_equal(text(row(client, 0), "state"), "disabled");
    assert_string_equal(text(row(client, 0), "state_reason"), "disabled by tester");
    call_file(client, "credentials.disable", "b.json", 200);
    assert_string_equal(text(call(client, "credentials.current", "{}", 200), "status"), "no_credentials");
    assert_string_equal(text(call_file(client, "credentials.enable", "a.json", 200), "state"), "ready");
    restart(world, SIGKILL, "gateway");
    assert_string_equal(text(row(client, 0), "state"), "ready");
    assert_string_equal(text(row(client, 1), "state"), "disabled");
}

static void test_states_over_a_restart(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    as(world, "upstream-worker");
    uint64_t first = lease(client, 5000);
    struct msg_release release_it = {.lease = first,
                                     .outcome = OUTCOME_RATE_LIMITED,
                                     .retry_after_s = 3000,
                                     .model = SPAN("m"),
                                     .reason = SPAN("429: slow down")};
    assert_int_equal(peer_send(client->credd, MESSAGE_RELEASE, 0, &release_it), 0);
    uint64_t second = lease(client, 5000);
    assert_string_equal(client->token, TOKEN_B);
    release(client, second, OUTCOME_RISK_CONTROL);
    assert_int_equal(lease(client, 0), 0);
    restart(world, SIGTERM, "gateway");
    assert_string_equal(text(row(client, 0), "state"), "cooling");
    assert_string_equal(text(row(client, 0), "state_reason"), "429: slow down");
    assert_in_range(number(row(client, 0), "until"), clock_wall_ms() / 1000 + 2900,
                    clock_wall_ms() / 1000 + 3001);
    assert_int_equal(number(row(client, 0), "uses"), 1);
    assert_string_equal(text(row(client, 1), "state"), "disabled");
    put_credential(world, "b.json", "another-token"); /* while it runs, or … */
    int64_t start_ms = clock_now_ms();
    while (strcmp(text(row(client, 1), "state"), "ready") != 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    client_close(client);
    end_credd(world, SIGTERM);
    put_credential(world, "a.json", "another-token"); /* … while it does not: a state is its token's */
    start_credd(world);
    client_open(world, "gateway");
    assert_string_equal(text(row(client, 0), "state"), "ready");
    assert_int_equal(number(row(client, 0), "uses"), 1);
}

static void test_delete(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    call_file(client, "credentials.select", "b.json", 200);
    assert_string_equal(text(call(client, "credentials.delete", "{\"index\":0}", 200), "filename"), "a.json");
    assert_int_equal(access(creds_path(world, "a.json"), F_OK), -1);
    assert_string_equal(text(row(client, 0), "filename"), "b.json");
    assert_string_equal(text(call(client, "credentials.current", "{}", 200), "status"), "manual_selected");
    call_file(client, "credentials.delete", "a.json", 404);
    call_file(client, "credentials.delete", "b.json", 200);
    assert_string_equal(text(call(client, "credentials.current", "{}", 200), "status"), "no_credentials");
    assert_true(log_gets(world, "actor=tester what=credential_delete"));
}

static void test_the_reference_state_is_taken_over_once(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    client_close(client);
    end_credd(world, SIGKILL);
    char path[160];
    snprintf(path, sizeof path, "%s/credd/credentials_state.json", world->data);
    unlink(path);
    put_file(world, "manager_state.json",
             "{\"auto_rotation_enabled\":false,\"current_index\":0,\"manual_selected_index\":1,"
             "\"manual_selected_filename\":\"b.json\"}");
    start_credd(world);
    client_open(world, "gateway");
    const json_t *current = call(client, "credentials.current", "{}", 200);
    assert_string_equal(text(current, "status"), "manual_selected");
    assert_string_equal(text(current, "filename"), "b.json");
    assert_true(json_is_false(json_object_get(current, "auto_rotation_enabled")));
    call(client, "credentials.auto", "{}", 200);
    restart(world, SIGKILL, "gateway");
    current = call(client, "credentials.current", "{}", 200);
    assert_string_equal(text(current, "status"), "auto_rotation_disabled");
}

static void test_a_broken_state_file_is_put_aside(void **state)
{
    struct world *world = *state;
    char path[160];
    client_close(&world->client);
    end_credd(world, SIGKILL);
    snprintf(path, sizeof path, "%s/credd/credentials_state.json", world->data);
    FILE *file = fopen(path, "w");
    fputs("{\"version\":99}", file);
    fclose(file);
    start_credd(world);
    client_open(world, "gateway");
    assert_string_equal(text(row(&world->client, 0), "state"), "ready");
    snprintf(path, sizeof path, "%s/credd/credentials_state.json.bad", world->data);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, two_open, world_close)
        T(test_list),
        T(test_add),
        T(test_added_files_stay_with_their_endpoint),
        T(test_add_a_whole_file),
        T(test_files_without_a_site_stay_with_their_endpoint),
        T(test_add_bad_fields),
        T(test_which_one),
        T(test_bad_questions),
        T(test_pin_and_rotation),
        T(test_switched_off_over_a_restart),
        T(test_states_over_a_restart),
        T(test_delete),
        T(test_the_reference_state_is_taken_over_once),
        T(test_a_broken_state_file_is_put_aside),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
