/* SPDX-License-Identifier: MIT */
/* The real daemon, asked over its real link: leases, kill -9 and restart, files that come, wrong askers. */
#include "credd/broker.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 }; /* a bound for a hang, not a wait: every loop below ends on its event */

struct client {
    struct settings settings;
    struct service *service;
    struct link *link;
    struct peer *credd;
    uv_timer_t beat; /* so that a turn ends though nothing happens */
    uint64_t next_request;
    struct msg_grant grant; /* the last answer; spans are not kept */
    struct msg_refuse refuse;
    char token[64];
    uint16_t reply_status;
    int answers;
};

struct world {
    char root[64], run[96], creds[96], run_variable[128], creds_variable[128];
    const char *sites_variable;
    pid_t pid;
    struct client client;
};

/* ---- the daemon ---- */

static void start_credd(struct world *world)
{
    char program[] = CREDD_PROGRAM, password[] = "CODEBUDDY_PASSWORD=p",
         level[] = "CODEBUDDY_LOG_LEVEL=ERROR";
    char limit[] = "CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT=2", sites[128];
    snprintf(sites, sizeof sites, "%s", world->sites_variable);
    char *arguments[] = {program, NULL};
    char *environment[] = {password, level, limit, sites, world->run_variable, world->creds_variable, NULL};
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        execve(program, arguments, environment);
        _exit(127);
    }
}

/* Returns the exit status, or 1000 + the signal that ended it. */
static int end_credd(struct world *world, int signal_number)
{
    int status = 0;
    if (signal_number)
        kill(world->pid, signal_number);
    assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
    world->pid = 0;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void put_credential(struct world *world, const char *name, const char *token)
{
    char path[192], temporary[192], text[128];
    snprintf(path, sizeof path, "%s/%s", world->creds, name);
    snprintf(temporary, sizeof temporary, "%s/.%s.tmp", world->creds, name);
    snprintf(text, sizeof text, "{\"bearer_token\":\"%s\",\"user_id\":\"u\"}", token);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(rename(temporary, path), 0);
}

/* ---- the client ---- */

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct client *client = owner;
    assert_true(span_equals(hello->role, SPAN("credd")));
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
    client->answers++;
    client->grant = (struct msg_grant){0};
    client->refuse = (struct msg_refuse){0};
    if (frame->type == MESSAGE_GRANT) {
        client->grant = *(const struct msg_grant *)message;
        snprintf(client->token, sizeof client->token, "%.*s", (int)client->grant.token.length,
                 client->grant.token.data);
    } else if (frame->type == MESSAGE_REFUSE) {
        client->refuse = *(const struct msg_refuse *)message;
    } else if (frame->type == MESSAGE_REPLY) {
        client->reply_status = ((const struct msg_reply *)message)->status;
    }
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

static void client_open(struct world *world, const char *role)
{
    struct client *client = &world->client;
    char password[] = "CODEBUDDY_PASSWORD=p", level[] = "CODEBUDDY_LOG_LEVEL=ERROR";
    char *const environment[] = {password, level, world->run_variable, NULL};
    assert_int_equal(settings_load(&client->settings, environment, "/nonexistent/.env"), 0);
    client->service = service_new(role, 0, &client->settings);
    assert_non_null(client->service);
    uv_timer_init(service_loop(client->service), &client->beat);
    uv_timer_start(&client->beat, on_beat, 10, 10);
    client->link = link_connect(client->service, client->settings.credd_endpoint, &handlers, client);
    assert_non_null(client->link);
    TURN_UNTIL(client, client->credd);
}

static void client_close(struct client *client)
{
    if (client->link)
        link_close(&client->link);
    if (client->service)
        service_free(&client->service);
    settings_fini(&client->settings);
    *client = (struct client){0};
}

static void ask(struct client *client, uint32_t wait_ms)
{
    const struct msg_lease lease = {.request_id = SPAN("r"), .model = SPAN("m"), .wait_ms = wait_ms};
    assert_int_equal(peer_send(client->credd, MESSAGE_LEASE, ++client->next_request, &lease), 0);
}

/* Asks and waits for the answer. Returns the lease, 0 if refused. */
static uint64_t lease(struct client *client, uint32_t wait_ms)
{
    int before = client->answers;
    ask(client, wait_ms);
    TURN_UNTIL(client, client->answers > before);
    return client->grant.lease;
}

static void release(struct client *client, uint64_t number, enum outcome outcome)
{
    const struct msg_release release = {.lease = number, .outcome = (uint8_t)outcome, .model = SPAN("m")};
    assert_int_equal(peer_send(client->credd, MESSAGE_RELEASE, 0, &release), 0);
}

static void renew(struct client *client, const uint64_t *numbers, size_t count)
{
    char bytes[64];
    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (char)(numbers[i / 8] >> (56 - 8 * (i % 8)));
    const struct msg_renew message = {.leases = span_of(bytes, count * 8)};
    assert_int_equal(peer_send(client->credd, MESSAGE_RENEW, 0, &message), 0);
}

/* ---- the world ---- */

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->root, sizeof world->root, "/tmp/credd_test.XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->run, sizeof world->run, "%s/run", world->root);
    snprintf(world->creds, sizeof world->creds, "%s/creds", world->root);
    assert_int_equal(mkdir(world->run, 0700), 0);
    assert_int_equal(mkdir(world->creds, 0700), 0);
    snprintf(world->run_variable, sizeof world->run_variable, "CODEBUDDY_RUN_DIR=%s", world->run);
    snprintf(world->creds_variable, sizeof world->creds_variable, "CODEBUDDY_CREDS_DIR=%s", world->creds);
    world->sites_variable = "CODEBUDDY_SITES_DIR=deploy/sites";
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    char command_path[160];
    static const char *const files[] = {"creds/a.json", "creds/b.json", "run/credd", "run/credd.sock"};
    client_close(&world->client);
    if (world->pid > 0)
        end_credd(world, SIGKILL);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(command_path, sizeof command_path, "%s/%s", world->root, files[i]);
        unlink(command_path);
    }
    rmdir(world->run);
    rmdir(world->creds);
    rmdir(world->root);
    free(world);
    return 0;
}

/* ---- tests ---- */

static void test_lends_and_takes_back(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    uint64_t first = lease(client, 5000), second = lease(client, 5000);
    assert_true(first != 0 && second != 0 && first != second);
    assert_string_equal(client->token, "token-a");
    assert_int_equal(client->grant.ttl_ms, LEASE_TTL_MS);
    int before = client->answers;
    ask(client, 5000); /* both places are taken: it waits … */
    release(client, first, OUTCOME_OK);
    TURN_UNTIL(client, client->answers > before);
    uint64_t third = client->grant.lease;
    assert_true(third != 0 && third != first && third != second); /* … for that one */
    release(client, second, OUTCOME_UNAUTHORIZED);
    assert_int_equal(lease(client, 5000), 0);
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL);
}

static void test_killed_and_restarted_it_knows_what_is_lent(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    uint64_t held[2];
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    held[0] = lease(client, 5000);
    held[1] = lease(client, 5000);
    assert_int_equal(end_credd(world, SIGKILL), 1000 + SIGKILL);
    TURN_UNTIL(client, !client->credd);
    int64_t restarted_ms = clock_now_ms();
    start_credd(world);
    TURN_UNTIL(client, client->credd);
    print_message("back after %d ms\n", (int)(clock_now_ms() - restarted_ms));
    renew(client, held, 2);
    assert_int_equal(lease(client, 0), 0); /* both places are still taken */
    assert_int_equal(client->refuse.failure, FAILURE_OVERLOADED);
    assert_int_equal(client->refuse.retry_after_s, 1);
    release(client, held[0], OUTCOME_OK);
    uint64_t next = lease(client, 0);
    assert_true(next != 0 && next != held[1]);
    assert_int_equal(lease(client, 0), 0);
}

static void test_files_take_effect_within_a_second(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    start_credd(world);
    client_open(world, "upstream-worker");
    assert_int_equal(lease(client, 5000), 0); /* it runs, with nothing to lend */
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL);
    int64_t start_ms = clock_now_ms();
    put_credential(world, "a.json", "token-a");
    uint64_t number = 0;
    while ((number = lease(client, 5000)) == 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    release(client, number, OUTCOME_UNAUTHORIZED);
    assert_int_equal(lease(client, 5000), 0);
    start_ms = clock_now_ms();
    put_credential(world, "a.json", "token-b"); /* a person logged in again */
    while (lease(client, 5000) == 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    assert_string_equal(client->token, "token-b");
    start_ms = clock_now_ms();
    char path[160];
    snprintf(path, sizeof path, "%s/a.json", world->creds);
    assert_int_equal(unlink(path), 0);
    while ((number = lease(client, 0)) != 0 || client->refuse.failure != FAILURE_NO_CREDENTIAL) {
        assert_true(clock_now_ms() < start_ms + 1000);
        if (number)
            release(client, number, OUTCOME_CANCELLED);
    }
}

static void test_only_workers_may_lease(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "gateway");
    ask(client, 0);
    const struct msg_call call = {.method = SPAN("no-such-method"), .body = SPAN("{}")};
    assert_int_equal(peer_send(client->credd, MESSAGE_CALL, 99, &call), 0);
    TURN_UNTIL(client, client->answers > 0); /* in order: an answer to LEASE would have come first */
    assert_int_equal(client->reply_status, 404);
    assert_int_equal(client->answers, 1);
}

static void test_drains_and_dumps_no_core(void **state)
{
    struct world *world = *state;
    struct rlimit limit;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    uint64_t held = lease(&world->client, 0);
    assert_int_equal(prlimit(world->pid, RLIMIT_CORE, NULL, &limit), 0);
    assert_int_equal(limit.rlim_max, 0);
    kill(world->pid, SIGTERM);
    for (int i = 0; i < 3; i++) { /* it serves on, until the last lease is back */
        uint64_t number = lease(&world->client, 5000);
        assert_true(number != 0);
        release(&world->client, number, OUTCOME_OK);
    }
    release(&world->client, held, OUTCOME_OK);
    TURN_UNTIL(&world->client, !world->client.credd);
    assert_int_equal(end_credd(world, 0), 0);
}

static void test_bad_sites_stop_the_start(void **state)
{
    struct world *world = *state;
    world->sites_variable = "CODEBUDDY_SITES_DIR=/nonexistent";
    start_credd(world);
    assert_int_equal(end_credd(world, 0), EXIT_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_lends_and_takes_back),
        T(test_killed_and_restarted_it_knows_what_is_lent),
        T(test_files_take_effect_within_a_second),
        T(test_only_workers_may_lease),
        T(test_drains_and_dumps_no_core),
        T(test_bad_sites_stop_the_start),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
