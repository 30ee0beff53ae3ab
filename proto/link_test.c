/* SPDX-License-Identifier: MIT */
/* Two services with a loop each in one process, turned by hand: real ZeroMQ sockets in a directory of their
 * own. */
#include "proto/link.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000 }; /* a bound for a hang, not a wait: every loop below ends on its event */

struct side {
    struct settings settings;
    struct service *service;
    struct link *link;
    struct peer *peer;
    int ups, downs, frames;
    enum link_down why;
    struct buffer received;
};

struct world {
    char dir[64], endpoint[96];
    struct side server, client;
};

static void side_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct side *side = owner;
    assert_int_equal(hello->pid, getpid());
    side->ups++;
    side->peer = peer;
}

static void side_down(void *owner, struct peer *peer, enum link_down why)
{
    struct side *side = owner;
    assert_ptr_equal(side->peer, peer);
    side->downs++;
    side->why = why;
    side->peer = NULL;
}

static void side_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct side *side = owner;
    assert_ptr_equal(side->peer, peer);
    side->frames++;
    if (frame->type == MESSAGE_DATA)
        buffer_append_span(&side->received, ((const struct msg_data *)message)->data);
}

static const struct link_handlers handlers = {side_up, side_down, side_frame};

static void side_start(struct side *side, const char *role)
{
    char *const environment[] = {(char[]){"CODEBUDDY_PASSWORD=p"}, (char[]){"CODEBUDDY_LOG_LEVEL=ERROR"},
                                 NULL};
    assert_int_equal(settings_load(&side->settings, environment, "/nonexistent/.env"), 0);
    side->service = service_new(role, 0, &side->settings);
    assert_non_null(side->service);
}

static void side_stop(struct side *side)
{
    link_close(&side->link);
    service_free(&side->service);
    settings_fini(&side->settings);
    buffer_fini(&side->received);
}

static void world_turn(struct world *world)
{
    uv_run(service_loop(world->server.service), UV_RUN_NOWAIT);
    uv_run(service_loop(world->client.service), UV_RUN_NOWAIT);
}

#define TURN_UNTIL(world, condition)                                                                         \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            world_turn(world);                                                                               \
        }                                                                                                    \
    } while (0)

static int world_start(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->dir, sizeof world->dir, "/tmp/link_test.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    snprintf(world->endpoint, sizeof world->endpoint, "ipc://%s/s", world->dir);
    side_start(&world->server, "credd");
    side_start(&world->client, "upstream-worker");
    *state = world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *world = *state;
    side_stop(&world->client);
    side_stop(&world->server);
    unlink(world->endpoint + strlen("ipc://"));
    rmdir(world->dir);
    free(world);
    return 0;
}

static void world_connect(struct world *world)
{
    world->client.link =
        link_connect(world->client.service, "credd", world->endpoint, &handlers, &world->client);
    world->server.link = link_bind(world->server.service, world->endpoint, &handlers, &world->server);
    assert_non_null(world->client.link);
    assert_non_null(world->server.link);
    TURN_UNTIL(world, world->client.peer && world->server.peer);
}

static void test_both_sides_meet(void **state)
{
    struct world *world = *state;
    world_connect(world);
    assert_int_equal(world->client.ups, 1);
    assert_int_equal(world->server.ups, 1);
    assert_int_equal(link_peer_count(world->server.link), 1);
    assert_ptr_equal(link_peer(world->server.link, 0), world->server.peer);
    assert_non_null(strstr(peer_name(world->server.peer), "upstream-worker-0@"));
}

static void test_bytes_arrive_whole_and_in_order(void **state)
{
    struct world *world = *state;
    enum { PIECES = 200, PIECE_BYTES = 20000 };
    char *piece = malloc(PIECE_BYTES);
    world_connect(world);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, i, PIECE_BYTES);
        struct msg_data data = {span_of(piece, PIECE_BYTES)};
        assert_int_equal(peer_send(world->client.peer, MESSAGE_DATA, 7, &data), 0);
    }
    TURN_UNTIL(world, world->server.received.length == (size_t)PIECES * PIECE_BYTES);
    for (int i = 0; i < PIECES; i++)
        assert_int_equal((unsigned char)world->server.received.data[(size_t)i * PIECE_BYTES + 17], i);
    assert_true(link_counters(world->client.link)->trains_out < PIECES); /* gathered, not one by one */
    free(piece);
}

static void test_a_closed_peer_is_noticed_and_comes_back(void **state)
{
    struct world *world = *state;
    world_connect(world);
    link_close(&world->client.link);
    assert_int_equal(world->client.why, LINK_DOWN_CLOSED);
    TURN_UNTIL(world, world->server.downs == 1);
    assert_int_equal(world->server.why, LINK_DOWN_LOST);
    world->client.link =
        link_connect(world->client.service, "credd", world->endpoint, &handlers, &world->client);
    TURN_UNTIL(world, world->client.peer && world->server.peer);
    assert_int_equal(world->server.ups, 2);
}

static void test_a_restarted_server_is_found_again(void **state)
{
    struct world *world = *state;
    world_connect(world);
    link_close(&world->server.link);
    TURN_UNTIL(world, world->client.downs == 1);
    world->server.link = link_bind(world->server.service, world->endpoint, &handlers, &world->server);
    TURN_UNTIL(world, world->client.peer && world->server.peer);
    assert_int_equal(world->client.ups, 2);
}

static void test_a_hung_server_is_noticed_and_met_again(void **state)
{
    struct world *world = *state;
    world_connect(world);
    int64_t deadline_ms = clock_now_ms() + PATIENCE_MS;
    while (world->client.downs == 0) { /* only the client's loop turns: the server hangs */
        assert_true(clock_now_ms() < deadline_ms);
        uv_run(service_loop(world->client.service), UV_RUN_ONCE);
    }
    assert_int_equal(world->client.why, LINK_DOWN_HUNG);
    assert_int_equal(peer_send(world->server.peer, MESSAGE_READY, 1, &(struct msg_ready){1}), 0);
    TURN_UNTIL(world, world->client.ups >= 2 && world->client.peer && world->server.peer);
    int frames = world->server.frames;
    assert_int_equal(peer_send(world->client.peer, MESSAGE_READY, 1, &(struct msg_ready){1}), 0);
    TURN_UNTIL(world, world->server.frames > frames);
}

/* A raw DEALER that says whatever it likes. */
static void *stranger_open(struct world *world, void **context)
{
    *context = zmq_ctx_new();
    void *socket = zmq_socket(*context, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_connect(socket, world->endpoint), 0);
    return socket;
}

static void test_strangers_and_garbage_are_counted_and_survived(void **state)
{
    struct world *world = *state;
    void *context;
    char reply[64] = {0};
    struct buffer train;
    world_connect(world);
    void *stranger = stranger_open(world, &context);
    zmq_send(stranger, "garbage", 7, 0);
    TURN_UNTIL(world, link_counters(world->server.link)->bad_frames == 1);
    buffer_init(&train);
    message_encode(&train, MESSAGE_READY, 1, &(struct msg_ready){1});
    zmq_send(stranger, train.data, train.length, 0);
    TURN_UNTIL(world, link_counters(world->server.link)->strangers == 1);
    int64_t deadline_ms = clock_now_ms() + PATIENCE_MS;
    int length = -1;
    while (length < 0 && clock_now_ms() < deadline_ms) {
        world_turn(world);
        length = zmq_recv(stranger, reply, sizeof reply, ZMQ_DONTWAIT);
    }
    assert_true(length > FRAME_HEADER_BYTES);
    assert_int_equal(reply[1], MESSAGE_RESET);
    zmq_send(stranger, "a", 1, ZMQ_SNDMORE); /* several parts: dropped whole */
    zmq_send(stranger, train.data, train.length, 0);
    assert_int_equal(peer_send(world->client.peer, MESSAGE_READY, 1, &(struct msg_ready){1}), 0);
    TURN_UNTIL(world, world->server.frames == 1);
    assert_int_equal(world->server.ups, 1);
    buffer_fini(&train);
    zmq_close(stranger);
    zmq_ctx_term(context);
}

static void test_a_message_over_its_bound_is_refused(void **state)
{
    struct world *world = *state;
    world_connect(world);
    char *large = calloc(1, DATA_MAX_BYTES + 1);
    struct msg_data data = {span_of(large, DATA_MAX_BYTES + 1)};
    assert_int_equal(peer_send(world->client.peer, MESSAGE_DATA, 1, &data), ERR_TOO_LARGE);
    free(large);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        T(test_both_sides_meet),
        T(test_bytes_arrive_whole_and_in_order),
        T(test_a_closed_peer_is_noticed_and_comes_back),
        T(test_a_restarted_server_is_found_again),
        T(test_a_hung_server_is_noticed_and_met_again),
        T(test_strangers_and_garbage_are_counted_and_survived),
        T(test_a_message_over_its_bound_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
