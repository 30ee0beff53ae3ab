/* SPDX-License-Identifier: MIT */
#include "gateway/leave.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 };

struct leave_watch {
    uv_poll_t poll;
    int epoll_fd;
    void (*left)(void *item);
};

/* One batch per turn: the poll is level-triggered, what is left over comes in the next turn. */
static void on_readable(uv_poll_t *poll, int status, int poll_events)
{
    struct leave_watch *watch = poll->data;
    struct epoll_event events[BATCH];
    (void)status;
    (void)poll_events;
    int count = epoll_wait(watch->epoll_fd, events, BATCH, 0);
    for (int i = 0; i < count; i++)
        watch->left(events[i].data.ptr);
}

struct leave_watch *leave_watch_new(uv_loop_t *loop, void (*left)(void *item))
{
    struct leave_watch *watch = calloc(1, sizeof *watch);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!watch || epoll_fd < 0 || uv_poll_init(loop, &watch->poll, epoll_fd) < 0) {
        log_error(NULL, "leave_watch_failed", LOG_STR("problem", strerror(errno)));
        if (epoll_fd >= 0)
            close(epoll_fd);
        free(watch);
        return NULL;
    }
    watch->epoll_fd = epoll_fd;
    watch->left = left;
    watch->poll.data = watch;
    uv_poll_start(&watch->poll, UV_READABLE, on_readable);
    return watch;
}

int leave_watch_add(struct leave_watch *watch, int fd, void *item)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = item};
    return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? ERR_IO : 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void leave_watch_free(struct leave_watch **watch_pointer)
{
    struct leave_watch *watch = *watch_pointer;
    *watch_pointer = NULL;
    if (!watch)
        return;
    uv_close((uv_handle_t *)&watch->poll, on_closed);
    close(watch->epoll_fd);
}
