/* SPDX-License-Identifier: MIT */
/* The gateway when workers die or are none, at its limits, and when it is told to end: a process for each
 * test. */
#include "gateway/system_testbed.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- workers that die ---- */

static void test_moves(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    int fd = client_connect(&harness);
    client_ask(fd, "move-0", "echo"); /* nobody is there yet: it waits */
    harness_add_worker(&harness, 0);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);

    client_ask(fd, "move-1", "die-once;echo"); /* its worker dies, another takes it */
    harness_add_worker(&harness, 1);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"worker\":\"w1\""));
    assert_non_null(strstr(answer.body.data, "\"moves\":1"));
    answer_clear(&answer);

    client_ask(fd, "move-2", "refuse-once;echo");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"moves\":1"));
    answer_clear(&answer);

    harness_kill_worker(&harness, 0);
    harness_add_worker(&harness, 0);
    harness_add_worker(&harness, 2);
    client_ask(fd, "move-3", "die"); /* kills all three: two moves are the end of it */
    client_read(fd, &answer, false);
    answer_check_error(&answer, 502, "worker_lost");
    answer_clear(&answer);
    for (int i = 0; i < 3; i++)
        harness_kill_worker(&harness, i);

    harness_add_worker(&harness, 0);
    client_ask(fd, "move-4", "head stream;data data: a~~;hang");
    client_read_until(fd, "data: a\n\n");
    harness_kill_worker(&harness, 0); /* after the first byte nothing is replayed */
    client_read_until(fd, "\"code\":\"worker_lost\"}}\n\n\r\n0\r\n\r\n");

    harness_add_worker(&harness, 0);
    client_ask(fd, "move-5", "head plain 10;data four;hang");
    client_read_until(fd, "four");
    harness_kill_worker(&harness, 0);
    assert_true(client_is_closed(fd));
    close(fd);
    harness_stop(&harness);
}

/* A large body is sent again from the start. */
static void test_move_large(void **state)
{
    struct harness harness;
    struct answer answer;
    struct buffer body = {0};
    char head[256], wanted[64];
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    assert_int_equal(buffer_append_span(&body, SPAN("die-once;echo\n")), 0);
    for (uint32_t i = 0; body.length < 3000000; i++)
        assert_int_equal(buffer_append(&body, &i, sizeof i), 0);
    int fd = client_connect(&harness);
    snprintf(head, sizeof head, CHAT "Content-Length: %zu\r\n\r\n", body.length);
    client_send(fd, head);
    client_send_bytes(fd, body.data, body.length);
    harness_add_worker(&harness, 1);
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    snprintf(wanted, sizeof wanted, "\"sum\":%llu,\"moves\":1", (unsigned long long)buffer_checksum(&body));
    assert_non_null(strstr(answer.body.data, wanted));
    answer_clear(&answer);
    buffer_fini(&body);
    close(fd);
    harness_stop(&harness);
}

/* ---- limits of the whole ---- */

static void test_no_worker(void **state)
{
    static const char *const variables[] = {"TOTAL_TIMEOUT_S=1", NULL};
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, variables);
    int fd = client_connect(&harness);
    client_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, &answer, false);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body.data, "\"status\":\"unhealthy\""));
    answer_clear(&answer);
    client_ask(fd, "none-1", "echo");
    client_read(fd, &answer, false);
    answer_check_error(&answer, 504, "upstream_timeout");
    answer_clear(&answer);
    client_ask(fd, "none-2", "echo"); /* leaves while it waits */
    close(fd);
    harness_stop(&harness);
}

static void test_overload(void **state)
{
    static const char *const variables[] = {"MAX_STREAMS=2", "MAX_CONNECTIONS=3", NULL};
    struct harness harness;
    struct answer answer;
    int fds[4];
    (void)state;
    harness_start(&harness, variables);
    harness_add_worker(&harness, 0);
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(&harness);
        client_ask(fds[i], i ? "load-1" : "load-0", "hang");
        harness_expect(&harness, 0, i ? "request load-1" : "request load-0", NULL);
    }
    fds[2] = client_connect(&harness);
    client_ask(fds[2], "load-2", "echo");
    client_read(fds[2], &answer, false);
    answer_check_error(&answer, 503, "overloaded");
    assert_string_equal(answer_header(&answer, "Retry-After"), "1");
    answer_clear(&answer);
    fds[3] = client_connect(&harness); /* one too many: it waits in the kernel until another leaves */
    client_ask(fds[3], "load-3", "echo");
    close(fds[0]);
    client_read(fds[3], &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    harness_stop(&harness);
}

/* SIGTERM: what runs finishes, what idles is closed, the exit is clean. */
static void test_drain(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    int idle = client_connect(&harness), stream = client_connect(&harness),
        sending = client_connect(&harness);
    client_ask(idle, "drain-0", "echo");
    client_read(idle, &answer, false);
    assert_int_equal(answer.status, 200);
    answer_clear(&answer);
    client_ask(stream, "drain-1", "head stream;tick 20 100;data data: [DONE]~~;end");
    client_read_until(stream, "data: 1 ");
    client_send(sending, CHAT "Content-Length: 4\r\n\r\nec");
    client_ask(idle, "drain-2", "hang"); /* so that the order below is certain: all three are known */
    harness_expect(&harness, 0, "request drain-2", NULL);
    kill(harness.gateway, SIGTERM);
    client_read_until(harness.supervisor_fd, "draining");
    client_send(sending, "ho");
    client_read(sending, &answer, false); /* begun before, answered, and told to go */
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_true(client_is_closed(sending));
    answer_clear(&answer);
    close(idle);
    client_read_until(stream, "data: [DONE]\n\n");
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(stream);
    close(sending);
    harness_stop(&harness);
}

static void test_drain_idle(void **state)
{
    struct harness harness;
    struct answer answer;
    (void)state;
    harness_start(&harness, NULL);
    harness_add_worker(&harness, 0);
    int fresh = client_connect(&harness), idle = client_connect(&harness);
    client_ask(idle, "idle-0", "echo");
    client_read(idle, &answer, false);
    answer_clear(&answer);
    kill(harness.gateway, SIGTERM);
    client_read_until(harness.supervisor_fd, "draining");
    client_ask(idle, "idle-1", "echo"); /* within the second that is left to it */
    client_read(idle, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_clear(&answer);
    assert_true(client_is_closed(fresh));
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(fresh);
    close(idle);
    harness_stop(&harness);
}

/* The drain's limit cuts what hangs, waits and does not read; the exit is still clean. */
static void test_drain_limit(void **state)
{
    static const char *const variables[] = {"DRAIN_S=1", NULL};
    struct harness harness;
    int small = 65536;
    (void)state;
    harness_start(&harness, variables);
    int waiting = client_connect(&harness), hanging = client_connect(&harness),
        reading = client_connect(&harness);
    harness_add_worker(&harness, 0);
    setsockopt(reading, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_ask(hanging, "limit-1", "hang");
    client_ask(reading, "limit-2", "head stream;fill 90000000;end");
    harness_expect(&harness, 0, "request limit-1", NULL);
    harness_expect(&harness, 0, "sent limit-2", NULL);
    client_ask(waiting, "limit-3", "drain;hang"); /* the worker takes no more after this one */
    harness_expect(&harness, 0, "request limit-3", NULL);
    int queued = client_connect(&harness);
    client_ask(queued, "limit-4", "echo");
    kill(harness.gateway, SIGTERM);
    assert_true(client_is_closed(hanging));
    assert_int_equal(harness_wait_exit(&harness), 0);
    close(waiting);
    close(hanging);
    close(reading);
    close(queued);
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),       cmocka_unit_test(test_move_large),
        cmocka_unit_test(test_no_worker),   cmocka_unit_test(test_overload),
        cmocka_unit_test(test_drain),       cmocka_unit_test(test_drain_idle),
        cmocka_unit_test(test_drain_limit),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("gateway changes", tests, NULL, NULL);
}
