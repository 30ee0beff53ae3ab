/* SPDX-License-Identifier: MIT */
/* Links over tcp with keys: who is let in, and as what. A server and raw ZeroMQ sockets in one process. */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link.h"
#include "proto/link_keys.h"

#include <arpa/inet.h>
#include <czmq.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000, BIND_TRIES = 20 };

static const char *const roles[] = {"gateway", "upstream-worker", "credd", "statsd"};

/* ZeroMQ has one authenticator for a process, so all tests share one set of keys; `other` is somebody else's.
 */
static char base[64], keys_dir[80], other_dir[80];

struct side {
    struct settings settings;
    struct service *service;
    struct link *link;
    struct peer *peer;
    char role[32]; /* of the peer, as it said */
    int frames;
};

struct world {
    char endpoint[64];
    struct side credd, worker;
};

static void side_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct side *side = owner;
    side->peer = peer;
    snprintf(side->role, sizeof side->role, "%.*s", (int)hello->role.length, hello->role.data);
}

static void side_down(void *owner, struct peer *peer, enum link_down why)
{
    struct side *side = owner;
    (void)peer;
    (void)why;
    side->peer = NULL;
}

static void side_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    (void)peer;
    (void)frame;
    (void)message;
    ((struct side *)owner)->frames++;
}

static const struct link_handlers handlers = {side_up, side_down, side_frame};

static void side_start(struct side *side, const char *role)
{
    char variable[160];
    snprintf(variable, sizeof variable, "CODEBUDDY_LINK_KEYS_DIR=%s", keys_dir);
    char *const environment[] = {(char[]){"CODEBUDDY_PASSWORD=p"}, (char[]){"CODEBUDDY_LOG_LEVEL=ERROR"},
                                 variable, NULL};
    assert_int_equal(settings_load(&side->settings, environment, "/nonexistent/.env"), 0);
    side->service = service_new(role, 0, &side->settings);
    assert_non_null(side->service);
}

static void side_stop(struct side *side)
{
    link_close(&side->link);
    service_free(&side->service);
    settings_fini(&side->settings);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static int world_start(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    side_start(&world->credd, "credd");
    side_start(&world->worker, "upstream-worker");
    for (int i = 0; i < BIND_TRIES && !world->credd.link; i++) { /* another process may take the port */
        snprintf(world->endpoint, sizeof world->endpoint, "tcp://127.0.0.1:%d", free_port());
        world->credd.link = link_bind(world->credd.service, world->endpoint, &handlers, &world->credd);
    }
    assert_non_null(world->credd.link);
    *state = world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *world = *state;
    side_stop(&world->worker);
    side_stop(&world->credd);
    free(world);
    return 0;
}

static void world_turn(struct world *world)
{
    uv_run(service_loop(world->credd.service), UV_RUN_NOWAIT);
    uv_run(service_loop(world->worker.service), UV_RUN_NOWAIT);
}

#define TURN_UNTIL(world, condition)                                                                         \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            world_turn(world);                                                                               \
        }                                                                                                    \
    } while (0)

/* The server still serves who may come. */
static void worker_is_let_in(struct world *world)
{
    world->worker.link =
        link_connect(world->worker.service, "credd", world->endpoint, &handlers, &world->worker);
    TURN_UNTIL(world, world->worker.peer && world->credd.peer);
    assert_string_equal(world->credd.role, "upstream-worker");
    assert_string_equal(world->worker.role, "credd");
    assert_int_equal(peer_send(world->worker.peer, MESSAGE_READY, 1, &(struct msg_ready){1}), 0);
    TURN_UNTIL(world, world->credd.frames == 1);
}

/* A raw DEALER that claims to be a worker, with the keys of `role` in `dir`; NULL: without any. */
static zsock_t *stranger_new(struct world *world, const char *dir, const char *role)
{
    zsock_t *stranger = zsock_new(ZMQ_DEALER);
    zsock_set_linger(stranger, 0);
    if (dir) {
        struct link_keys *keys = link_keys_load(dir, role), *server = link_keys_load(keys_dir, "credd");
        zcert_apply(link_keys_own(keys), stranger);
        zsock_set_curve_serverkey(stranger, zcert_public_txt(link_keys_own(server)));
        link_keys_free(&keys);
        link_keys_free(&server);
    }
    assert_int_equal(zsock_connect(stranger, "%s", world->endpoint), 0);
    return stranger;
}

static void stranger_say_worker(zsock_t *stranger)
{
    struct buffer train;
    struct msg_hello hello = {.role = SPAN("upstream-worker"),
                              .name = SPAN("upstream-worker-0"),
                              .host = SPAN("elsewhere"),
                              .version = SPAN("1")};
    buffer_init(&train);
    message_encode(&train, MESSAGE_HELLO, 0, &hello);
    zmq_send(zsock_resolve(stranger), train.data, train.length, ZMQ_DONTWAIT);
    buffer_fini(&train);
}

static void test_a_listed_key_is_let_in(void **state)
{
    worker_is_let_in(*state);
}

static void test_without_a_key_nobody_gets_anywhere(void **state)
{
    struct world *world = *state;
    zsock_t *stranger = stranger_new(world, NULL, NULL);
    stranger_say_worker(stranger);
    TURN_UNTIL(world, link_counters(world->credd.link)->refused > 0);
    assert_int_equal(link_counters(world->credd.link)->trains_in, 0);
    worker_is_let_in(world);
    zsock_destroy(&stranger);
}

static void test_a_key_that_is_not_listed_gets_nowhere(void **state)
{
    struct world *world = *state;
    zsock_t *stranger = stranger_new(world, other_dir, "upstream-worker");
    stranger_say_worker(stranger);
    TURN_UNTIL(world, link_counters(world->credd.link)->refused > 0);
    assert_int_equal(link_counters(world->credd.link)->trains_in, 0);
    worker_is_let_in(world);
    zsock_destroy(&stranger);
}

static void test_a_key_is_good_for_its_own_role_only(void **state)
{
    struct world *world = *state;
    zsock_t *stranger = stranger_new(world, keys_dir, "gateway");
    stranger_say_worker(stranger);
    TURN_UNTIL(world, link_counters(world->credd.link)->bad_frames > 0);
    assert_null(world->credd.peer);
    worker_is_let_in(world);
    zsock_destroy(&stranger);
}

static void test_a_server_with_another_key_is_not_believed(void **state)
{
    struct world *world = *state;
    /* To the worker, who is there must have statsd's key. */
    world->worker.link =
        link_connect(world->worker.service, "statsd", world->endpoint, &handlers, &world->worker);
    TURN_UNTIL(world, link_counters(world->credd.link)->refused > 0);
    assert_null(world->worker.peer);
    assert_int_equal(link_counters(world->worker.link)->trains_in, 0);
}

static void remove_set(const char *dir)
{
    char path[128];
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        unlink(path);
    }
    rmdir(dir);
}

static int make_keys(void **state)
{
    const char *path;
    (void)state;
    snprintf(base, sizeof base, "/tmp/link_curve_test.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    snprintf(keys_dir, sizeof keys_dir, "%s/keys", base);
    snprintf(other_dir, sizeof other_dir, "%s/other", base);
    return link_keys_make_set(keys_dir, &path) + link_keys_make_set(other_dir, &path);
}

static int remove_keys(void **state)
{
    (void)state;
    remove_set(keys_dir);
    remove_set(other_dir);
    return rmdir(base);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        T(test_a_listed_key_is_let_in),
        T(test_without_a_key_nobody_gets_anywhere),
        T(test_a_key_that_is_not_listed_gets_nowhere),
        T(test_a_key_is_good_for_its_own_role_only),
        T(test_a_server_with_another_key_is_not_believed),
    };
    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
