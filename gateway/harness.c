/* SPDX-License-Identifier: MIT */
#include "gateway/harness.h"
#include "proto/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int64_t harness_now_ms(void)
{
    return clock_now_ms();
}

static void wait_readable(int fd, const char *what)
{
    struct pollfd poll_fd = {fd, POLLIN, 0};
    if (poll(&poll_fd, 1, HARNESS_WAIT_MS) != 1)
        fail_msg("nothing came: %s", what);
}

/* ---- processes ---- */

static void listen_anywhere(struct harness *harness)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    harness->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(harness->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(harness->listen_fd, 512), 0);
    assert_int_equal(getsockname(harness->listen_fd, (struct sockaddr *)&address, &length), 0);
    harness->port = ntohs(address.sin_port);
}

static void set_variable(const char *name_value)
{
    char name[64];
    const char *equals = strchr(name_value, '=');
    assert_non_null(equals);
    snprintf(name, sizeof name, "CODEBUDDY_%.*s", (int)(equals - name_value), name_value);
    setenv(name, equals + 1, 1);
}

/* In the child: descriptor 3 is the listening socket, 4 the supervisor's. */
static void exec_gateway(const struct harness *harness, int supervisor_fd, const char *const *variables)
{
    char log[128], run_dir[128];
    snprintf(log, sizeof log, "%s/gateway.log", harness->directory);
    snprintf(run_dir, sizeof run_dir, "RUN_DIR=%s", harness->directory);
    int log_fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    int listen_fd = fcntl(harness->listen_fd, F_DUPFD, 10);
    int other_fd = fcntl(supervisor_fd, F_DUPFD, 10);
    dup2(log_fd, 2);
    dup2(listen_fd, 3);
    dup2(other_fd, 4);
    set_variable("PASSWORD=secret");
    set_variable(run_dir);
    for (; variables && *variables; variables++)
        set_variable(*variables);
    setenv("SUPERVISOR_FD", "4", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "http", 1);
    if (chdir(harness->directory) == 0)
        execl(GATEWAY_PROGRAM, GATEWAY_PROGRAM, (char *)NULL);
    _exit(127);
}

static void expect_ready(int fd)
{
    char text[64] = "";
    for (size_t length = 0; !strstr(text, "ready\n"); length++) {
        wait_readable(fd, "ready");
        assert_true(length < sizeof text - 1);
        assert_int_equal(read(fd, text + length, 1), 1);
    }
}

void harness_start(struct harness *harness, const char *const *variables)
{
    int pair[2];
    *harness = (struct harness){0};
    snprintf(harness->directory, sizeof harness->directory, "/tmp/gateway-test-XXXXXX");
    assert_non_null(mkdtemp(harness->directory));
    listen_anywhere(harness);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    harness->gateway = fork();
    assert_true(harness->gateway >= 0);
    if (harness->gateway == 0)
        exec_gateway(harness, pair[1], variables);
    close(pair[1]);
    harness->supervisor_fd = pair[0];
    expect_ready(pair[0]);
}

void harness_add_worker(struct harness *harness, int i)
{
    struct fake *worker = &harness->workers[i];
    char endpoint[128], name[8], log[128];
    int out[2];
    snprintf(endpoint, sizeof endpoint, "ipc://%s/gateway-0.sock", harness->directory);
    snprintf(log, sizeof log, "%s/worker-%d.log", harness->directory, i);
    snprintf(name, sizeof name, "w%d", i);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    worker->pid = fork();
    assert_true(worker->pid >= 0);
    if (worker->pid == 0) {
        dup2(out[1], 1);
        dup2(open(log, O_CREAT | O_WRONLY | O_APPEND, 0600), 2);
        set_variable("PASSWORD=unused");
        execl(FAKE_WORKER_PROGRAM, FAKE_WORKER_PROGRAM, endpoint, name, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    worker->out = out[0];
    fcntl(worker->out, F_SETFL, O_NONBLOCK);
    harness_expect(harness, i, "up", NULL);
}

void harness_kill_worker(struct harness *harness, int i)
{
    struct fake *worker = &harness->workers[i];
    if (worker->pid == 0)
        return;
    kill(worker->pid, SIGKILL);
    waitpid(worker->pid, NULL, 0);
    close(worker->out);
    buffer_fini(&worker->lines);
    worker->pid = 0;
}

static bool find_line(struct fake *worker, const char *text, char line[256])
{
    size_t at = 0;
    while (at < worker->lines.length) {
        const char *start = worker->lines.data + at;
        const char *end = memchr(start, '\n', worker->lines.length - at);
        if (!end)
            return false;
        size_t length = (size_t)(end - start);
        if (span_starts_with(span_of(start, length), span_str(text))) {
            if (line)
                snprintf(line, 256, "%.*s", (int)length, start);
            return true;
        }
        at += length + 1;
    }
    return false;
}

static void take_lines(struct fake *worker)
{
    char chunk[4096];
    ssize_t count;
    while ((count = read(worker->out, chunk, sizeof chunk)) > 0)
        assert_int_equal(buffer_append(&worker->lines, chunk, (size_t)count), 0);
    if (count == 0)
        fail_msg("the worker is gone; it said: %.*s", (int)worker->lines.length, worker->lines.data);
}

void harness_expect(struct harness *harness, int i, const char *text, char line[256])
{
    struct fake *worker = &harness->workers[i];
    while (!find_line(worker, text, line)) {
        wait_readable(worker->out, text);
        take_lines(worker);
    }
}

bool harness_has_said(struct harness *harness, int i, const char *text)
{
    take_lines(&harness->workers[i]);
    return find_line(&harness->workers[i], text, NULL);
}

int harness_wait_exit(struct harness *harness)
{
    int status = 0;
    char text[256];
    ssize_t count;
    do { /* its end closes the supervisor's descriptor */
        wait_readable(harness->supervisor_fd, "the gateway's end");
        count = read(harness->supervisor_fd, text, sizeof text);
    } while (count > 0);
    waitpid(harness->gateway, &status, 0);
    harness->gateway = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void harness_stop(struct harness *harness)
{
    char command_path[128];
    int status = 0;
    for (int i = 0; i < HARNESS_MAX_WORKERS; i++)
        harness_kill_worker(harness, i);
    if (harness->gateway) {
        kill(harness->gateway, SIGTERM);
        status = harness_wait_exit(harness);
    }
    close(harness->supervisor_fd);
    close(harness->listen_fd);
    if (status != 0)
        fail_msg("the gateway ended with %d; see %s", status, harness->directory);
    static const char *const files[] = {"gateway.log",  "worker-0.log", "worker-1.log",
                                        "worker-2.log", "worker-3.log", "gateway-0.sock"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(command_path, sizeof command_path, "%s/%s", harness->directory, files[i]);
        unlink(command_path);
    }
    rmdir(harness->directory);
}

/* ---- clients ---- */

int client_connect_from(const struct harness *harness, const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)harness->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

int client_connect(const struct harness *harness)
{
    return client_connect_from(harness, "127.0.0.1");
}

void client_send_bytes(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = send(fd, data, length, MSG_NOSIGNAL);
        if (count < 0)
            return; /* closed by the gateway: the test looks at what it said */
        data += count;
        length -= (size_t)count;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

void client_ask(int fd, const char *id, const char *script)
{
    char head[512];
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer secret\r\n"
             "Content-Type: application/json\r\nX-Request-ID: %s\r\nContent-Length: %zu\r\n\r\n",
             id, strlen(script));
    client_send(fd, head);
    client_send(fd, script);
}

static ssize_t receive(int fd, char *data, size_t size)
{
    wait_readable(fd, "an answer");
    return recv(fd, data, size, 0);
}

/* Byte by byte: nothing of the next answer may be taken. */
static bool read_line(int fd, char *line, size_t size)
{
    size_t length = 0;
    while (length < size - 1) {
        if (receive(fd, line + length, 1) != 1)
            return false;
        if (line[length++] == '\n')
            break;
    }
    line[length] = '\0';
    return true;
}

static bool read_exactly(int fd, struct buffer *body, size_t count)
{
    assert_int_equal(buffer_reserve(body, count + 1), 0);
    while (count > 0) {
        ssize_t got = receive(fd, body->data + body->length, count);
        if (got <= 0)
            return false;
        body->length += (size_t)got;
        count -= (size_t)got;
    }
    return true;
}

static bool read_chunks(int fd, struct buffer *body)
{
    char line[64];
    unsigned long size = 1;
    while (size > 0) {
        if (!read_line(fd, line, sizeof line))
            return false;
        size = strtoul(line, NULL, 16);
        if (size > 0 && !read_exactly(fd, body, size))
            return false;
        if (!read_line(fd, line, sizeof line) || strcmp(line, "\r\n") != 0)
            return false;
    }
    return true;
}

static bool read_to_end(int fd, struct buffer *body)
{
    while (read_exactly(fd, body, 1))
        ;
    return true;
}

void client_read_head(int fd, struct answer *answer)
{
    size_t length = 0;
    *answer = (struct answer){0};
    do {
        if (!read_line(fd, answer->head + length, sizeof answer->head - length))
            return;
        length += strlen(answer->head + length);
    } while (!strstr(answer->head, "\r\n\r\n"));
    assert_int_equal(strncmp(answer->head, "HTTP/1.1 ", 9), 0);
    answer->status = (int)strtol(answer->head + 9, NULL, 10);
}

void client_read(int fd, struct answer *answer, bool is_head)
{
    client_read_head(fd, answer);
    const char *length = answer_header(answer, "Content-Length");
    if (answer->status == 0)
        return;
    if (is_head || answer->status == 204)
        answer->is_whole = true;
    else if (length)
        answer->is_whole = read_exactly(fd, &answer->body, strtoul(length, NULL, 10));
    else if (answer_header(answer, "Transfer-Encoding"))
        answer->is_whole = read_chunks(fd, &answer->body);
    else
        answer->is_whole = read_to_end(fd, &answer->body);
    assert_int_equal(buffer_append_char(&answer->body, '\0'), 0);
    answer->body.length--;
}

void client_read_until(int fd, const char *text)
{
    char seen[65536] = "";
    for (size_t length = 0; !strstr(seen, text); length++) {
        assert_true(length < sizeof seen - 1);
        if (receive(fd, seen + length, 1) != 1)
            fail_msg("closed before %s: %s", text, seen);
    }
}

bool client_is_closed(int fd)
{
    char byte;
    return receive(fd, &byte, 1) <= 0;
}

void answer_clear(struct answer *answer)
{
    buffer_fini(&answer->body);
}

const char *answer_header(const struct answer *answer, const char *name)
{
    static char value[1024];
    size_t length = strlen(name);
    for (const char *line = strchr(answer->head, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        const char *start = line + 1;
        if (strncasecmp(start, name, length) != 0 || start[length] != ':')
            continue;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(start + length + 2, "\r"), start + length + 2);
        return value;
    }
    return NULL;
}
