/* SPDX-License-Identifier: MIT */
/* The real daemon, asked by a gateway and a worker: keys and settings, as they are made, told and enforced.
 */
#include "credd/keys.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/follow.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 }; /* a bound for a hang, not a wait: every loop below ends on its event */

/* A gateway or a worker: one link to ask on, one that follows. */
struct client {
    struct settings settings;
    struct service *service;
    struct link *link;
    struct live *live;
    struct follow *follow;
    struct peer *credd;
    uv_timer_t beat; /* so that a turn ends though nothing happens */
    uint64_t next_request;
    json_t *reply, *state;
    uint16_t status, failure;
    uint64_t lease;
    uint32_t retry_after_s;
    int answers, states;
};

struct world {
    char root[64], run_variable[128], creds_variable[128], data_variable[128];
    pid_t pid;
    struct client gateway, worker;
};

/* ---- the daemon ---- */

static void start_credd(struct world *world)
{
    char program[] = CREDD_PROGRAM, password[] = "CODEBUDDY_PASSWORD=p",
         level[] = "CODEBUDDY_LOG_LEVEL=ERROR", sites[] = "CODEBUDDY_SITES_DIR=deploy/sites",
         models[] = "CODEBUDDY_MODELS=from-environment";
    char *arguments[] = {program, NULL};
    char *environment[] = {
        password, level, sites, models, world->run_variable, world->creds_variable, world->data_variable,
        NULL};
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        execve(program, arguments, environment);
        _exit(127);
    }
}

static int end_credd(struct world *world, int signal_number)
{
    int status = 0;
    if (signal_number)
        kill(world->pid, signal_number);
    assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
    world->pid = 0;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- clients ---- */

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct client *client = owner;
    (void)hello;
    client->credd = peer;
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct client *client = owner;
    (void)peer;
    (void)why;
    client->credd = NULL;
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct client *client = owner;
    (void)peer;
    client->lease = 0;
    client->failure = 0;
    if (frame->type == MESSAGE_GRANT) {
        client->lease = ((const struct msg_grant *)message)->lease;
    } else if (frame->type == MESSAGE_REFUSE) {
        client->failure = ((const struct msg_refuse *)message)->failure;
        client->retry_after_s = ((const struct msg_refuse *)message)->retry_after_s;
    } else if (frame->type == MESSAGE_REPLY) {
        const struct msg_reply *reply = message;
        json_decref(client->reply);
        client->reply = json_loadb(reply->body.data, reply->body.length, 0, NULL);
        client->status = reply->status;
    }
    client->answers++;
}

static void on_state(void *context, const json_t *state)
{
    struct client *client = context;
    json_decref(client->state);
    client->state = json_deep_copy(state);
    client->states++;
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static void on_beat(uv_timer_t *timer)
{
    (void)timer;
}

#define TURN_UNTIL(client, condition)                                                                        \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            uv_run(service_loop((client)->service), UV_RUN_ONCE);                                            \
        }                                                                                                    \
    } while (0)

static void client_open(struct world *world, struct client *client, const char *role)
{
    char password[] = "CODEBUDDY_PASSWORD=p", level[] = "CODEBUDDY_LOG_LEVEL=ERROR";
    char *const environment[] = {password, level, world->run_variable, NULL};
    assert_int_equal(settings_load(&client->settings, environment, "/nonexistent/.env"), 0);
    client->service = service_new(role, 0, &client->settings);
    assert_non_null(client->service);
    uv_timer_init(service_loop(client->service), &client->beat);
    uv_timer_start(&client->beat, on_beat, 10, 10);
    client->link = link_connect(client->service, "credd", client->settings.credd_endpoint, &handlers, client);
    client->live = live_new(&client->settings);
    client->follow = follow_new(client->service, client->live, on_state, client);
    assert_non_null(client->follow);
    TURN_UNTIL(client, client->credd && client->states > 0);
}

static void client_close(struct client *client)
{
    follow_free(&client->follow);
    live_free(&client->live);
    if (client->link)
        link_close(&client->link);
    if (client->service)
        service_free(&client->service);
    settings_fini(&client->settings);
    json_decref(client->reply);
    json_decref(client->state);
}

static uint16_t call(struct client *client, const char *method, const char *arguments)
{
    char body[1024];
    int before = client->answers;
    snprintf(body, sizeof body, "{\"actor\":\"tester\",\"arguments\":%s}", arguments);
    const struct msg_call message = {.method = span_str(method), .body = span_str(body)};
    assert_int_equal(peer_send(client->credd, MESSAGE_CALL, ++client->next_request, &message), 0);
    TURN_UNTIL(client, client->answers > before);
    return client->status;
}

static uint64_t lease(struct client *client, const char *key_id, const char *model)
{
    int before = client->answers;
    const struct msg_lease message = {
        .request_id = SPAN("r"), .model = span_str(model), .key_id = span_str(key_id)};
    assert_int_equal(peer_send(client->credd, MESSAGE_LEASE, ++client->next_request, &message), 0);
    TURN_UNTIL(client, client->answers > before);
    return client->lease;
}

static void release(struct client *client, uint64_t number)
{
    const struct msg_release message = {.lease = number, .outcome = OUTCOME_OK, .model = SPAN("m")};
    assert_int_equal(peer_send(client->credd, MESSAGE_RELEASE, 0, &message), 0);
}

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "none";
}

/* ---- the world ---- */

static void make_directory(const struct world *world, const char *name, char variable[128],
                           const char *setting)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", world->root, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(variable, 128, "CODEBUDDY_%s=%s", setting, path);
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    static const char credential[] = "{\"bearer_token\":\"token-a\",\"user_id\":\"u\"}";
    char path[96];
    snprintf(world->root, sizeof world->root, "/tmp/credd_office.XXXXXX");
    assert_non_null(mkdtemp(world->root));
    make_directory(world, "run", world->run_variable, "RUN_DIR");
    make_directory(world, "creds", world->creds_variable, "CREDS_DIR");
    make_directory(world, "data", world->data_variable, "DATA_DIR");
    snprintf(path, sizeof path, "%s/creds/a.json", world->root);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, credential, sizeof credential - 1), sizeof credential - 1);
    close(fd);
    start_credd(world);
    client_open(world, &world->gateway, "gateway");
    client_open(world, &world->worker, "upstream-worker");
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    static const char *const names[] = {"creds/a.json",
                                        "run/credd",
                                        "run/credd.sock",
                                        "data/credd/keys.json",
                                        "data/credd/settings.json",
                                        "data/credd/session.key",
                                        "data/credd/credentials_state.json",
                                        "data/credd/credential_sites.json",
                                        "data/credd",
                                        "creds",
                                        "run",
                                        "data",
                                        ""};
    client_close(&world->gateway);
    client_close(&world->worker);
    if (world->pid > 0)
        end_credd(world, SIGKILL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/%s", world->root, names[i]);
        remove(path);
    }
    free(world);
    return 0;
}

/* ---- tests ---- */

static void test_a_key_lives_and_dies_everywhere(void **state)
{
    struct world *world = *state;
    struct client *gateway = &world->gateway, *worker = &world->worker;
    char id[KEY_ID_BYTES], arguments[64];
    assert_int_equal(json_array_size(json_object_get(gateway->state, "keys")), 0);
    assert_int_equal(strlen(text_at(gateway->state, "session_key")), 64);
    assert_null(json_object_get(worker->state, "keys")); /* not a worker's business */
    assert_null(json_object_get(worker->state, "session_key"));
    assert_int_equal(call(gateway, "keys.create", "{\"name\":\"ci\",\"models\":[\"m\"],\"max_in_flight\":1}"),
                     201);
    assert_int_equal(strlen(text_at(gateway->reply, "key")), 46);
    snprintf(id, sizeof id, "%s", text_at(gateway->reply, "id"));
    TURN_UNTIL(gateway, json_array_size(json_object_get(gateway->state, "keys")) == 1);
    assert_int_equal(lease(worker, id, "other"), 0);
    assert_int_equal(worker->failure, FAILURE_MODEL_NOT_FOUND);
    uint64_t held = lease(worker, id, "m");
    assert_true(held != 0);
    assert_int_equal(lease(worker, id, "m"), 0);
    assert_int_equal(worker->failure, FAILURE_RATE_LIMITED);
    assert_int_equal(worker->retry_after_s, 1);
    release(worker, held);
    held = lease(worker, id, "m");
    assert_true(held != 0);
    assert_int_equal(call(gateway, "keys.list", "{}"), 200);
    const json_t *shown = json_array_get(json_object_get(gateway->reply, "keys"), 0);
    assert_int_equal(json_integer_value(json_object_get(shown, "in_flight")), 1);
    assert_null(json_object_get(shown, "key"));
    snprintf(arguments, sizeof arguments, "{\"id\":\"%s\"}", id);
    int64_t start_ms = clock_now_ms();
    assert_int_equal(call(gateway, "keys.revoke", arguments), 200);
    TURN_UNTIL(gateway, json_array_size(json_object_get(gateway->state, "keys")) == 0);
    assert_true(clock_now_ms() - start_ms < 100);
    assert_int_equal(lease(worker, id, "m"), 0);
    assert_int_equal(worker->failure, FAILURE_INVALID_API_KEY);
    release(worker, held); /* of a key that is gone */
    assert_int_equal(call(gateway, "keys.revoke", arguments), 404);
    assert_true(lease(worker, "password", "m") != 0);
}

static void test_a_setting_changes_everywhere(void **state)
{
    struct world *world = *state;
    struct client *gateway = &world->gateway, *worker = &world->worker;
    assert_int_equal(
        call(gateway, "settings.set",
             "{\"settings\":{\"CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT\":1,\"CODEBUDDY_MODELS\":\"x,y\"}}"),
        200);
    const json_t *models = json_object_get(json_object_get(gateway->reply, "settings"), "CODEBUDDY_MODELS");
    assert_string_equal(text_at(models, "value"), "x,y");
    assert_string_equal(text_at(models, "set_by"), "tester");
    TURN_UNTIL(worker, strcmp(live_settings(worker->live)->models, "x,y") == 0);
    assert_int_equal(live_settings(worker->live)->credential_max_in_flight, 1);
    uint64_t held = lease(worker, "password", "m");
    assert_true(held != 0);
    assert_int_equal(lease(worker, "password", "m"), 0); /* credd obeys, too */
    assert_int_equal(worker->failure, FAILURE_OVERLOADED);
    release(worker, held);
    assert_int_equal(call(gateway, "settings.set", "{\"settings\":{\"CODEBUDDY_PORT\":1}}"), 422);
    assert_string_equal(text_at(json_object_get(gateway->reply, "error"), "param"), "CODEBUDDY_PORT");
    assert_int_equal(call(gateway, "settings.set", "{\"settings\":[]}"), 422);
    assert_int_equal(call(gateway, "settings.set", "{\"setting\":{}}"), 422);
    assert_int_equal(call(gateway, "settings.get", "{\"x\":1}"), 422);
    assert_int_equal(call(gateway, "keys.create", "{}"), 422);
    assert_int_equal(call(gateway, "keys.revoke", "{}"), 422);
    assert_int_equal(call(gateway, "settings.set", "{\"settings\":{\"CODEBUDDY_MODELS\":null}}"), 200);
    models = json_object_get(json_object_get(gateway->reply, "settings"), "CODEBUDDY_MODELS");
    assert_string_equal(text_at(models, "value"), "from-environment");
    assert_string_equal(text_at(models, "source"), "environment");
}

static void test_all_of_it_outlives_a_kill(void **state)
{
    struct world *world = *state;
    struct client *gateway = &world->gateway;
    char session_key[80];
    assert_int_equal(call(gateway, "keys.create", "{\"name\":\"ci\"}"), 201);
    assert_int_equal(call(gateway, "settings.set", "{\"settings\":{\"CODEBUDDY_MODELS\":\"kept\"}}"), 200);
    snprintf(session_key, sizeof session_key, "%s", text_at(gateway->state, "session_key"));
    assert_int_equal(end_credd(world, SIGKILL), 1000 + SIGKILL);
    TURN_UNTIL(gateway, !gateway->credd);
    int before = gateway->states;
    start_credd(world);
    TURN_UNTIL(gateway, gateway->credd && gateway->states > before);
    assert_int_equal(json_array_size(json_object_get(gateway->state, "keys")), 1);
    assert_string_equal(text_at(gateway->state, "session_key"), session_key);
    assert_string_equal(live_settings(gateway->live)->models, "kept");
    assert_int_equal(call(gateway, "keys.list", "{}"), 200);
    assert_int_equal(json_array_size(json_object_get(gateway->reply, "keys")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_a_key_lives_and_dies_everywhere),
        T(test_a_setting_changes_everywhere),
        T(test_all_of_it_outlives_a_kill),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
