/* SPDX-License-Identifier: MIT */
#include "gateway/listener.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100,
    OTHER_DESCRIPTORS = 256 /* links, logs, loop */
};

struct listener {
    struct service *service;
    struct connection_set *connections;
    uv_poll_t poll;
    uv_timer_t retry;
    int fd;
    int open_handles;
    bool is_full;
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

static bool has_room(const struct listener *listener)
{
    size_t max = (size_t)service_settings(listener->service)->max_connections;
    return connection_set_count(listener->connections) < max;
}

static void pause_accepting(struct listener *listener)
{
    uv_poll_stop(&listener->poll);
    listener->is_full = true;
    log_warning(NULL, "connections_full", LOG_INT("count", connection_set_count(listener->connections)));
}

static void on_retry(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

/* 1: accepted (or the client had gone already), 0: nobody is waiting, or not now. */
static int accept_one(struct listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        int error = connection_accept(listener->connections, fd, (struct sockaddr *)&peer);
        if (error < 0)
            log_warning(NULL, "accept_failed", LOG_STR("problem", error_text(error)));
        return 1;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    if (errno == EINTR || errno == ECONNABORTED)
        return 1;
    log_warning(NULL, "accept_failed", LOG_STR("problem", strerror(errno)));
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->retry, on_retry, RETRY_MS, 0);
    return 0;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!has_room(listener)) {
            pause_accepting(listener);
            return;
        }
        if (!accept_one(listener))
            return;
    }
}

void listener_on_room(struct listener *listener)
{
    if (!listener || !listener->is_full || !has_room(listener))
        return;
    listener->is_full = false;
    uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void raise_descriptor_limit(const struct settings *settings)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)settings->max_connections + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = wanted < hard ? wanted : hard;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_warning(NULL, "descriptors_few", LOG_INT("have", limit.rlim_cur), LOG_INT("want", wanted));
}

struct listener *listener_new(struct service *service, int fd, struct connection_set *connections)
{
    struct listener *listener = fd < 0 ? NULL : calloc(1, sizeof *listener);
    if (!listener || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ||
        uv_poll_init(service_loop(service), &listener->poll, fd) < 0) {
        if (fd >= 0) {
            log_error(NULL, "listen_failed", LOG_STR("problem", strerror(errno)));
            close(fd);
        }
        free(listener);
        return NULL;
    }
    raise_descriptor_limit(service_settings(service));
    listener->service = service;
    listener->connections = connections;
    listener->fd = fd;
    listener->open_handles = 2;
    uv_timer_init(service_loop(service), &listener->retry);
    listener->poll.data = listener->retry.data = listener;
    return listener;
}

void listener_open(struct listener *listener)
{
    if (listener)
        uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    if (--listener->open_handles == 0)
        free(listener);
}

void listener_free(struct listener **listener_pointer)
{
    struct listener *listener = *listener_pointer;
    *listener_pointer = NULL;
    if (!listener)
        return;
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    uv_close((uv_handle_t *)&listener->retry, on_handle_closed);
    close(listener->fd);
}
