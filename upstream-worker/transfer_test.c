/* SPDX-License-Identifier: MIT */
/* Transfers against a server of this file's own, which sends as fast as the socket takes it. */
#include "upstream-worker/transfer.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    BODY_BYTES = 4 << 20,
    WRITE_BYTES = 16 << 10,            /* the most that libcurl hands over at a time */
    BEGUN_BYTES = 2 * WRITE_BYTES + 5, /* what an answer that is reset begins with: fits into any window */
    CROWD = 8,
    PATTERN = 251
};

struct answer_kind {
    bool is_chunked; /* in pieces of 199 bytes, as events come */
    bool is_reset;   /* when it is told: begins, and resets the connection */
};

static struct world {
    uv_loop_t loop;
    struct transfers *transfers;
    uv_check_t turn;
    pid_t server;
    int line, server_line; /* between us and a server that resets */
    char url[64];
    size_t turn_bytes, longest_turn_bytes, full_turns; /* of all transfers */
} world;

struct reader {
    struct transfer *transfer;
    size_t length;
    bool is_garbled, has_responded;
};

/* ---- the server, a process ---- */

static void send_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(0); /* the client left */
        data += sent;
        length -= (size_t)sent;
    }
}

/* Reads the request: its head says that it has a body of two bytes. */
static void read_request(int fd)
{
    char text[4096];
    size_t length = 0;
    do {
        ssize_t got = recv(fd, text + length, sizeof text - 1 - length, 0);
        if (got <= 0)
            _exit(0);
        length += (size_t)got;
        text[length] = '\0';
    } while (!strstr(text, "\r\n\r\n{}"));
}

/* Tells that it has the request, waits for a word, and tells when the reset is out. */
static void begin_and_reset(int fd, const char *head, const char *body)
{
    char word = 0;
    send_all(world.server_line, &word, 1);
    if (recv(world.server_line, &word, 1, 0) != 1)
        _exit(1);
    send_all(fd, head, strlen(head));
    send_all(fd, body, BEGUN_BYTES);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    send_all(world.server_line, &word, 1);
    _exit(0);
}

static void serve_one(int fd, const struct answer_kind *kind)
{
    char *body = malloc(BODY_BYTES), head[256];
    for (size_t i = 0; i < BODY_BYTES; i++)
        body[i] = (char)(i % PATTERN);
    read_request(fd);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%s\r\n",
             kind->is_chunked ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n");
    if (kind->is_reset)
        begin_and_reset(fd, head, body);
    send_all(fd, head, strlen(head));
    for (size_t at = 0, step; at < BODY_BYTES; at += step) {
        step = !kind->is_chunked || BODY_BYTES - at < 199 ? BODY_BYTES - at : 199;
        if (kind->is_chunked)
            send_all(fd, head, (size_t)snprintf(head, sizeof head, "%zx\r\n", step));
        send_all(fd, body + at, step);
        if (kind->is_chunked)
            send_all(fd, "\r\n", 2);
    }
    if (kind->is_chunked)
        send_all(fd, "0\r\n\r\n", 5);
    _exit(0);
}

static void serve(int listener, const struct answer_kind *kind)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            _exit(1);
        if (fork() == 0) {
            close(listener);
            serve_one(fd, kind);
        }
        close(fd);
    }
}

static void start_server(const struct answer_kind *kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, CROWD), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(world.url, sizeof world.url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    world.server = fork();
    if (world.server == 0)
        serve(listener, kind);
    close(listener);
}

/* ---- the client ---- */

/* Runs before the transfers' own, which begins the next turn: what is started last is called first. */
static void on_turn(uv_check_t *check)
{
    (void)check;
    if (world.turn_bytes > world.longest_turn_bytes)
        world.longest_turn_bytes = world.turn_bytes;
    world.full_turns += world.turn_bytes >= TRANSFERS_SHARE_BYTES;
    world.turn_bytes = 0;
}

static int set_up(void **state)
{
    const struct transfers_options options = {.verify = true, .ca_file = "", .connections_max = 2 * CROWD};
    int line[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line), 0);
    world.line = line[0];
    world.server_line = line[1];
    start_server(*state);
    close(world.server_line);
    uv_loop_init(&world.loop);
    world.transfers = transfers_new(&world.loop, &options);
    assert_non_null(world.transfers);
    uv_check_init(&world.loop, &world.turn);
    uv_check_start(&world.turn, on_turn);
    world.turn_bytes = world.longest_turn_bytes = world.full_turns = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    transfers_free(&world.transfers);
    uv_close((uv_handle_t *)&world.turn, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    kill(world.server, SIGKILL);
    waitpid(world.server, NULL, 0);
    close(world.line);
    return uv_loop_close(&world.loop);
}

static void on_responded(void *owner, const struct response_head *head)
{
    struct reader *reader = owner;
    reader->has_responded = true;
    assert_int_equal(head->status, 200);
}

static enum transfer_flow on_data(void *owner, struct span bytes)
{
    struct reader *reader = owner;
    assert_true(bytes.length <= WRITE_BYTES);
    for (size_t i = 0; i < bytes.length; i++)
        reader->is_garbled |= bytes.data[i] != (char)((reader->length + i) % PATTERN);
    reader->length += bytes.length;
    world.turn_bytes += bytes.length;
    return TRANSFER_TAKEN;
}

static void on_settle(void *owner)
{
    (void)owner;
}

static const struct transfer_handlers handlers = {on_responded, on_data, on_settle};

static void read_from_server(struct reader *reader)
{
    static const struct call_headers no_headers;
    static struct span piece = {"{}", 2};
    static const struct payload payload = {.pieces = &piece, .count = 1, .length = 2};
    const struct transfer_call call = {
        .url = world.url, .headers = &no_headers, .payload = &payload, .connect_timeout_ms = 60000};
    reader->transfer = transfer_start(world.transfers, &call, &handlers, reader);
    assert_non_null(reader->transfer);
}

static void finish_reading(struct reader *reader)
{
    while (!transfer_is_over(reader->transfer))
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(transfer_result(reader->transfer), TRANSFER_COMPLETE);
    assert_int_equal(reader->length, BODY_BYTES);
    assert_false(reader->is_garbled);
    transfer_cancel(&reader->transfer);
}

static void test_a_fast_upstream_gets_its_share_of_a_turn(void **state)
{
    struct reader reader = {0};
    (void)state;
    read_from_server(&reader);
    finish_reading(&reader);
    assert_in_range(world.longest_turn_bytes, 1, TRANSFERS_SHARE_BYTES + WRITE_BYTES);
}

static void test_fast_upstreams_share_a_turn(void **state)
{
    struct reader readers[CROWD] = {0};
    (void)state;
    for (size_t i = 0; i < CROWD; i++)
        read_from_server(&readers[i]);
    for (size_t i = 0; i < CROWD; i++)
        finish_reading(&readers[i]);
    assert_in_range(world.longest_turn_bytes, 1,
                    TRANSFERS_TURN_BYTES + CROWD * (TRANSFERS_LEAST_BYTES + WRITE_BYTES));
}

static void test_one_that_rests_can_be_given_up(void **state)
{
    struct reader reader = {0};
    (void)state;
    read_from_server(&reader);
    while (world.full_turns == 0) /* it took its share: if there was more, it rests */
        uv_run(&world.loop, UV_RUN_ONCE);
    transfer_cancel(&reader.transfer);
    size_t length = reader.length;
    for (int i = 0; i < 10; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(reader.length, length);
    read_from_server(&reader);
    while (world.full_turns < 3)
        uv_run(&world.loop, UV_RUN_ONCE);
    transfer_let_finish(&reader.transfer); /* cut once it sent too much */
    length = reader.length;
    for (int i = 0; i < 10; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(reader.length, length);
}

/* The answer and the reset are both there when the loop comes to look. */
static void test_what_came_before_a_reset_is_read(void **state)
{
    struct reader reader = {0};
    char word;
    (void)state;
    read_from_server(&reader);
    while (recv(world.line, &word, 1, MSG_DONTWAIT) != 1)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    send_all(world.line, &word, 1);
    assert_int_equal(recv(world.line, &word, 1, 0), 1);
    while (!transfer_is_over(reader.transfer))
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(transfer_result(reader.transfer), TRANSFER_BROKEN);
    assert_true(reader.has_responded);
    assert_int_equal(reader.length, BEGUN_BYTES);
    assert_false(reader.is_garbled);
    transfer_cancel(&reader.transfer);
}

#define TEST(function, kind)                                                                                 \
    {                                                                                                        \
#function " " #kind, function, set_up, tear_down, (void *)(kind)                                     \
    }

int main(void)
{
    static struct answer_kind plain, chunked = {.is_chunked = true}, reset = {.is_reset = true};
    const struct CMUnitTest tests[] = {
        TEST(test_a_fast_upstream_gets_its_share_of_a_turn, &plain),
        TEST(test_a_fast_upstream_gets_its_share_of_a_turn, &chunked),
        TEST(test_fast_upstreams_share_a_turn, &plain),
        TEST(test_fast_upstreams_share_a_turn, &chunked),
        TEST(test_one_that_rests_can_be_given_up, &plain),
        TEST(test_what_came_before_a_reset_is_read, &reset),
    };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
