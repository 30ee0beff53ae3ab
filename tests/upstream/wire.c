/* SPDX-License-Identifier: MIT */
#include "tests/upstream/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/upstream/load/response.h"

#define READ_MS 20000 /* ends a hang; under ThreadSanitizer the event of 8 MiB takes seconds */

extern char **environ;

struct wire wire_start(const char *option)
{
    static const char listening[] = "listening http://127.0.0.1:";
    char *argv[] = {memory_copy_text(UPSTREAM_BIN, strlen(UPSTREAM_BIN)), memory_copy_text("--port", 6),
                    memory_copy_text("0", 1), option ? memory_copy_text(option, strlen(option)) : NULL, NULL};
    posix_spawn_file_actions_t actions;
    struct wire wire = {0};
    char line[100] = "";
    int out[2];
    FILE *from;

    assert_int_equal(pipe(out), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    assert_int_equal(posix_spawn(&wire.pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    for (int i = 0; i < 4; i++)
        free(argv[i]);
    from = fdopen(out[0], "r");
    assert_non_null(from);
    if (!fgets(line, sizeof(line), from) || strncmp(line, listening, strlen(listening)) != 0)
        fail_msg("the stand-in did not start: %s", line);
    fclose(from);
    wire.port = (uint16_t)strtoul(line + strlen(listening), NULL, 10);
    assert_int_not_equal(wire.port, 0);
    return wire;
}

int wire_stop(struct wire *wire)
{
    int status;

    kill(wire->pid, SIGTERM);
    assert_int_equal(waitpid(wire->pid, &status, 0), wire->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int wire_connect(const struct wire *wire)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(wire->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void wire_send(int fd, struct span bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);

        assert_true(sent > 0);
        bytes = (struct span){bytes.data + sent, bytes.size - (size_t)sent};
    }
}

static void terminate(struct buffer *buffer)
{
    buffer_append(buffer, "", 1);
    buffer->size--;
}

/* Takes what one read brought. Returns false if the answer is over. */
static bool take(struct wire_reply *reply, struct response *response, const char *data, size_t size)
{
    enum response_result result;

    do {
        struct span piece;
        size_t took;

        result = response_read(response, data, size, &took, &piece);
        if (reply->status == 0)
            buffer_append(&reply->head, data, result == RESPONSE_PIECE ? took - piece.size : took);
        if (response->head_done)
            reply->status = response->status;
        data += took;
        size -= took;
        if (result != RESPONSE_PIECE)
            continue;
        buffer_append(&reply->body, piece.data, piece.size);
        reply->pieces++;
    } while (result == RESPONSE_PIECE || (result == RESPONSE_MORE && size > 0));
    if (result == RESPONSE_MORE)
        return true;
    reply->end = result == RESPONSE_END ? WIRE_KEPT : WIRE_BAD;
    return false;
}

struct wire_reply wire_read(int fd, size_t stop_bytes, int silent_ms)
{
    struct wire_reply reply = {.end = WIRE_SILENT};
    struct response response = {0};
    static char data[65536];

    response_init(&response);
    while (true) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int patience_ms = silent_ms < 0 ? -silent_ms : silent_ms > 0 && reply.status ? silent_ms : READ_MS;
        ssize_t size;

        if (poll(&ready, 1, patience_ms) <= 0)
            break;
        size = recv(fd, data, sizeof(data), 0);
        if (size <= 0) {
            reply.end = size == 0 ? WIRE_CLOSED : WIRE_RESET;
            break;
        }
        if (!take(&reply, &response, data, (size_t)size))
            break;
        if (stop_bytes && reply.body.size >= stop_bytes) {
            reply.end = WIRE_STOPPED;
            break;
        }
    }
    terminate(&reply.head);
    terminate(&reply.body);
    response_fini(&response);
    return reply;
}

void wire_reply_fini(struct wire_reply *reply)
{
    buffer_fini(&reply->head);
    buffer_fini(&reply->body);
}

void wire_append_chat(struct buffer *out, const char *model, const char *token)
{
    struct buffer body = {0};

    buffer_printf(&body,
                  "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You help.\"},"
                  "{\"role\":\"user\",\"content\":\"hello \\u00e9\"}],\"stream\":true,"
                  "\"stream_options\":{\"include_usage\":true}}",
                  model);
    buffer_printf(
        out,
        "POST /v2/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\nX-Requested-With: XMLHttpRequest\r\n"
        "X-Product: SaaS\r\nX-Agent-Intent: craft\r\nX-IDE-Type: CLI\r\nX-IDE-Name: CLI\r\nX-Domain: h\r\n"
        "X-User-Id: u\r\nX-Conversation-ID: c\r\nX-Conversation-Request-ID: r\r\n"
        "X-Conversation-Message-ID: m\r\nX-Request-ID: q\r\nUser-Agent: test/1\r\nContent-Length: "
        "%zu\r\n\r\n",
        token, body.size);
    buffer_append(out, body.data, body.size);
    buffer_fini(&body);
}

struct wire_reply wire_chat(const struct wire *wire, const char *model, const char *token)
{
    struct buffer request = {0};
    struct wire_reply reply;
    int fd = wire_connect(wire);

    wire_append_chat(&request, model, token);
    wire_send(fd, (struct span){request.data, request.size});
    reply = wire_read(fd, 0, 0);
    close(fd);
    buffer_fini(&request);
    return reply;
}

struct wire_reply wire_call(const struct wire *wire, const char *method, const char *path,
                            const char *headers, const char *body)
{
    struct buffer request = {0};
    struct wire_reply reply;
    int fd = wire_connect(wire);

    buffer_printf(&request, "%s %s HTTP/1.1\r\nHost: h\r\n%s", method, path, headers);
    if (body)
        buffer_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    buffer_printf(&request, "\r\n%s", body ? body : "");
    wire_send(fd, (struct span){request.data, request.size});
    reply = wire_read(fd, 0, -3 * READ_MS);
    close(fd);
    buffer_fini(&request);
    return reply;
}

json_t *wire_get(const struct wire *wire, const char *path)
{
    struct wire_reply reply = wire_call(wire, "GET", path, "", NULL);
    json_t *json = json_loads(reply.body.data, 0, NULL);

    if (reply.status != 200 || !json)
        fail_msg("%s: %d %s", path, reply.status, reply.body.data);
    wire_reply_fini(&reply);
    return json;
}

void wire_post(const struct wire *wire, const char *path, const char *body)
{
    struct wire_reply reply = wire_call(wire, "POST", path, "", body);

    if (reply.status != 200)
        fail_msg("%s %s: %d %s", path, body, reply.status, reply.body.data);
    wire_reply_fini(&reply);
}

int64_t wire_counter(const struct wire *wire, const char *name)
{
    json_t *stats = wire_get(wire, "/_control/stats");
    int64_t value = json_integer_value(json_object_get(stats, name));

    json_decref(stats);
    return value;
}

void wire_wait(const struct wire *wire, const char *name, int64_t at_least)
{
    char path[200];

    snprintf(path, sizeof(path), "/_control/wait?counter=%s&at_least=%lld&timeout_ms=5000", name,
             (long long)at_least);
    json_decref(wire_get(wire, path));
}
