/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/control.h"

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

enum { CONNECTIONS_MAX = 32, COMMAND_MAX_BYTES = 64, COMMAND_TIMEOUT_MS = 5000, BACKLOG = 16 };

struct connection {
    struct control *control;
    uv_pipe_t pipe;
    uv_timer_t timeout;
    unsigned open_handles;
    bool closing, waits_for_reload;
    size_t length;
    char command[COMMAND_MAX_BYTES];
    struct connection *prev, *next;
};

struct control {
    struct control_options options;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    uv_pipe_t listener;
    bool listening, listener_closed, freed;
    struct connection *connections;
    unsigned connections_count;
};

struct answer {
    uv_write_t request;
    bool then_close;
    char *text;
};

static void free_if_done(struct control *control)
{
    if (control->freed && control->listener_closed && !control->connections)
        free(control);
}

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct control *control = connection->control;

    if (--connection->open_handles > 0)
        return;
    DL_DELETE(control->connections, connection);
    control->connections_count--;
    free(connection);
    free_if_done(control);
}

static void close_connection(struct connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
    uv_close((uv_handle_t *)&connection->timeout, on_connection_closed);
}

static void on_answered(uv_write_t *request, int status)
{
    struct answer *answer = request->data;

    if (answer->then_close || status < 0)
        close_connection(request->handle->data);
    free(answer->text);
    free(answer);
}

/* Takes `text` (malloc; NULL closes the connection). */
static void answer_owned(struct connection *connection, char *text, bool then_close)
{
    struct answer *answer = text ? calloc(1, sizeof(*answer)) : NULL;
    uv_buf_t buffer;

    if (!answer || connection->closing) {
        free(answer);
        free(text);
        close_connection(connection);
        return;
    }
    answer->request.data = answer;
    answer->text = text;
    answer->then_close = then_close;
    buffer = uv_buf_init(text, (unsigned)strlen(text));
    if (uv_write(&answer->request, (uv_stream_t *)&connection->pipe, &buffer, 1, on_answered) < 0) {
        free(answer->text);
        free(answer);
        close_connection(connection);
    }
}

static void answer_text(struct connection *connection, const char *text, bool then_close)
{
    answer_owned(connection, span_dup(span_str(text)), then_close);
}

static void answer_reload(struct connection *connection)
{
    const struct control_options *options = &connection->control->options;
    int error;

    connection->waits_for_reload = true; /* a short one is over before the call returns */
    answer_text(connection, "reloading\n", false);
    error = options->reload(options->context);
    if (error == 0)
        return;
    connection->waits_for_reload = false;
    answer_text(connection,
                error == ERR_BUSY ? "failed: a reload or a stop is under way\n"
                                  : "failed: the settings will not do, see the log; nothing was touched\n",
                true);
}

static void obey(struct connection *connection, struct span command)
{
    const struct control_options *options = &connection->control->options;

    uv_timer_stop(&connection->timeout);
    if (span_equals(command, SPAN("status"))) {
        answer_owned(connection, options->status(options->context), true);
    } else if (span_equals(command, SPAN("reload"))) {
        answer_reload(connection);
    } else if (span_equals(command, SPAN("stop"))) {
        answer_text(connection, "stopping\n", false);
        options->stop(options->context);
    } else {
        answer_text(connection, "failed: unknown command; there are status, reload and stop\n", true);
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(connection->command + connection->length,
                          (unsigned)(sizeof(connection->command) - connection->length));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    const char *newline;

    (void)buffer;
    if (length < 0) {
        close_connection(connection);
        return;
    }
    connection->length += (size_t)length;
    newline = memchr(connection->command, '\n', connection->length);
    if (!newline && connection->length < sizeof(connection->command))
        return;
    uv_read_stop(stream);
    obey(connection, span_of(connection->command,
                             newline ? (size_t)(newline - connection->command) : connection->length));
}

static void on_timeout(uv_timer_t *timer)
{
    close_connection(timer->data);
}

static void on_connect(uv_stream_t *listener, int status)
{
    struct control *control = listener->data;
    struct connection *connection = status == 0 ? calloc(1, sizeof(*connection)) : NULL;

    if (!connection)
        return; /* libuv tries again when the socket next is readable */
    connection->control = control;
    uv_pipe_init(listener->loop, &connection->pipe, 0);
    uv_timer_init(listener->loop, &connection->timeout);
    connection->pipe.data = connection->timeout.data = connection;
    connection->open_handles = 2;
    DL_APPEND(control->connections, connection);
    if (uv_accept(listener, (uv_stream_t *)&connection->pipe) < 0 ||
        ++control->connections_count > CONNECTIONS_MAX ||
        uv_read_start((uv_stream_t *)&connection->pipe, on_allocate, on_read) < 0 ||
        uv_timer_start(&connection->timeout, on_timeout, COMMAND_TIMEOUT_MS, 0) < 0)
        close_connection(connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct control *control = handle->data;

    control->listener_closed = true;
    free_if_done(control);
}

struct control *control_open(uv_loop_t *loop, const struct control_options *options)
{
    struct control *control = calloc(1, sizeof(*control));
    int error;

    if (!control) {
        log_error(NULL, "out_of_memory");
        return NULL;
    }
    control->options = *options;
    snprintf(control->path, sizeof(control->path), "%s/" CONTROL_SOCKET_NAME, options->run_dir);
    uv_pipe_init(loop, &control->listener, 0);
    control->listener.data = control;
    unlink(control->path);
    error = uv_pipe_bind(&control->listener, control->path);
    if (error == 0 && chmod(control->path, 0600) < 0)
        error = UV_EACCES;
    if (error == 0)
        error = uv_listen((uv_stream_t *)&control->listener, BACKLOG, on_connect);
    control->listening = error == 0;
    if (error < 0) {
        log_error(NULL, "no_control_socket", LOG_STR("path", control->path),
                  LOG_STR("problem", uv_strerror(error)));
        control_free(&control);
    }
    return control;
}

void control_tell_reloaded(struct control *control, bool whole)
{
    struct connection *connection;

    DL_FOREACH (control->connections, connection) {
        if (!connection->waits_for_reload)
            continue;
        connection->waits_for_reload = false;
        answer_text(connection,
                    whole ? "reloaded\n" : "failed: not all processes were replaced, see the log\n", true);
    }
}

void control_stop_listening(struct control *control)
{
    if (!control->listening)
        return;
    control->listening = false;
    unlink(control->path);
}

void control_free(struct control **control_pointer)
{
    struct control *control = *control_pointer;
    struct connection *connection, *next;

    *control_pointer = NULL;
    if (!control)
        return;
    control_stop_listening(control);
    control->freed = true;
    DL_FOREACH_SAFE (control->connections, connection, next)
        close_connection(connection);
    uv_close((uv_handle_t *)&control->listener, on_listener_closed);
}
