/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/child.h"

#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    STANDARD_FDS = 3,
    STDIO_MAX = STANDARD_FDS + CHILD_SOCKETS_MAX + 2,
    VARIABLES_MAX = 16, /* the contract's three and the spec's */
    TEXT_MAX_BYTES = 32
};

struct child {
    uv_process_t process;
    uv_pipe_t pipe;        /* our end of SUPERVISOR_FD */
    unsigned open_handles; /* the pipe, and the process once uv_spawn has touched it */
    bool exited;
    int stat_fd; /* starved_open */
    struct child_events events;
    struct report_reader reader;
    char scratch[512];
};

/* Addressed to us or to our other children; a child must not take them for its own. */
static const char *const private_variables[] = {
    "SUPERVISOR_FD", "SUPERVISOR_READY_FD", "LISTEN_FDS",    "LISTEN_FDNAMES",
    "LISTEN_PID",    "NOTIFY_SOCKET",       "WATCHDOG_USEC", "WATCHDOG_PID",
};

static bool has_name(const char *variable, const char *name)
{
    size_t length = strcspn(name, "=");

    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_replaced(const char *variable, const char *const *replacements)
{
    for (size_t i = 0; i < sizeof(private_variables) / sizeof(*private_variables); i++)
        if (has_name(variable, private_variables[i]))
            return true;
    for (; *replacements; replacements++)
        if (has_name(variable, *replacements))
            return true;
    return false;
}

/* The environment without what is replaced, then the replacements. Returns owned the array, not the strings;
 * NULL when out of memory. */
static const char **make_environment(const char *const *replacements, const char *const *contract)
{
    size_t count = 0;
    const char **result;

    while (environ[count])
        count++;
    result = calloc(count + VARIABLES_MAX + 1, sizeof(*result));
    if (!result)
        return NULL;
    count = 0;
    for (char **variable = environ; *variable; variable++)
        if (!is_replaced(*variable, replacements))
            result[count++] = *variable;
    for (; *replacements; replacements++)
        result[count++] = *replacements;
    for (; *contract; contract++)
        result[count++] = *contract;
    return result;
}

static void on_line(void *context, struct span line)
{
    struct child *child = context;
    struct report report;

    if (report_parse(line, &report) < 0) {
        log_warning(NULL, "bad_report", LOG_INT("child_pid", child->process.pid),
                    LOG_SPAN("line", span_of(line.data, line.length < 80 ? line.length : 80)));
        return;
    }
    if (!child->exited)
        child->events.on_report(child->events.context, &report);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct child *child = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(child->scratch, sizeof(child->scratch));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct child *child = stream->data;

    if (length < 0) /* it hung up; if it lives on, its silence will tell */
        uv_read_stop(stream);
    else
        report_reader_feed(&child->reader, span_of(buffer->base, (size_t)length), on_line, child);
}

static void on_process_exit(uv_process_t *process, int64_t exit_status, int signal_number)
{
    struct child *child = process->data;

    child->exited = true;
    child->events.on_exit(child->events.context, signal_number ? -signal_number : (int)exit_status);
}

static size_t fill_stdio(uv_stdio_container_t *stdio, const struct child_spec *spec, uv_pipe_t *pipe,
                         size_t *pipe_fd)
{
    size_t count = 0;

    stdio[count++].flags = UV_IGNORE; /* /dev/null */
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        stdio[count++] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
    for (size_t i = 0; i < spec->sockets_count; i++)
        stdio[count++] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = spec->sockets[i]};
    if (spec->keep_fd >= 0)
        stdio[count++] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = spec->keep_fd};
    *pipe_fd = count;
    stdio[count].flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE;
    stdio[count++].data.stream = (uv_stream_t *)pipe; /* the last: children close what lies behind it */
    return count;
}

static int spawn(uv_loop_t *loop, const struct child_spec *spec, struct child *child)
{
    char path[4096], instance[TEXT_MAX_BYTES], supervisor_fd[TEXT_MAX_BYTES], listen_fds[TEXT_MAX_BYTES];
    char listen_names[TEXT_MAX_BYTES + 32];
    char option[] = "--instance";
    char *arguments[] = {path, option, instance, NULL};
    uv_stdio_container_t stdio[STDIO_MAX];
    size_t pipe_fd;
    uv_process_options_t options = {.exit_cb = on_process_exit,
                                    .file = path,
                                    .args = arguments,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio = stdio,
                                    .stdio_count = (int)fill_stdio(stdio, spec, &child->pipe, &pipe_fd)};
    const char *contract[] = {supervisor_fd, spec->sockets_count ? listen_fds : NULL, listen_names, NULL};
    const char **environment = make_environment(spec->variables, contract);

    if (!environment)
        return UV_ENOMEM;
    snprintf(path, sizeof(path), "%s/codebuddy2api-%s", spec->directory, spec->role);
    snprintf(instance, sizeof(instance), "%d", spec->instance);
    snprintf(supervisor_fd, sizeof(supervisor_fd), "SUPERVISOR_FD=%zu", pipe_fd);
    snprintf(listen_fds, sizeof(listen_fds), "LISTEN_FDS=%zu", spec->sockets_count);
    snprintf(listen_names, sizeof(listen_names), "LISTEN_FDNAMES=%s",
             spec->socket_names ? spec->socket_names : "");
    options.env = (char **)(uintptr_t)environment; /* libuv only reads it */
    child->open_handles++;                         /* uv_spawn initialises its handle even when it fails */
    int error = uv_spawn(loop, &child->process, &options);
    if (error == 0) /* at once, before it forbids dumps */
        child->stat_fd = starved_open(child->process.pid);
    free(environment);
    return error;
}

int child_start(uv_loop_t *loop, const struct child_spec *spec, const struct child_events *events,
                struct child **child_pointer)
{
    struct child *child = calloc(1, sizeof(*child));
    int error;

    if (!child)
        return ERR_NOMEM;
    child->events = *events;
    child->stat_fd = -1;
    uv_pipe_init(loop, &child->pipe, 0);
    child->open_handles = 1;
    child->pipe.data = child->process.data = child;
    error = spawn(loop, spec, child);
    if (error < 0) {
        log_error(NULL, "cannot_start_process", LOG_STR("role", spec->role),
                  LOG_STR("directory", spec->directory), LOG_STR("problem", uv_strerror(error)));
        child_free(&child);
        return error == UV_ENOMEM ? ERR_NOMEM : ERR_IO;
    }
    error = uv_read_start((uv_stream_t *)&child->pipe, on_allocate, on_read);
    assert(error == 0); /* it can only refuse a pipe that is not one */
    *child_pointer = child;
    return 0;
}

int child_pid(const struct child *child)
{
    return child->process.pid;
}

void child_sample(const struct child *child, struct starved_sample *sample)
{
    starved_sample_read(child->stat_fd, sample);
}

void child_signal(struct child *child, int signal_number)
{
    if (!child->exited)
        uv_process_kill(&child->process, signal_number);
}

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;

    if (--child->open_handles == 0)
        free(child);
}

void child_free(struct child **child_pointer)
{
    struct child *child = *child_pointer;

    *child_pointer = NULL;
    if (!child)
        return;
    if (child->stat_fd >= 0)
        close(child->stat_fd);
    if (child->open_handles > 1)
        uv_close((uv_handle_t *)&child->process, on_closed);
    uv_close((uv_handle_t *)&child->pipe, on_closed);
}
