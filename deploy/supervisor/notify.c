/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/notify.h"

#include "proto/bytes.h"
#include "proto/clock.h"
#include "proto/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 512, BEATS_PER_WATCHDOG = 3, US_PER_MS = 1000 };

struct notify {
    struct notify_options options;
    uv_timer_t watchdog;
    int fd; /* -1: nobody listens */
    struct sockaddr_un address;
    socklen_t address_length;
    char status[MESSAGE_BYTES]; /* the last one sent */
};

/* A path, or with '@' a name in the abstract space. Anything else (vsock) is not for us. */
static bool find_address(struct notify *notify, const char *name)
{
    size_t length = strlen(name);

    if ((*name != '/' && *name != '@') || length < 2 || length >= sizeof(notify->address.sun_path))
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, name, length);
    if (*name == '@')
        notify->address.sun_path[0] = '\0';
    notify->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

static void send_text(struct notify *notify, const char *text)
{
    if (notify->fd < 0)
        return;
    if (sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)&notify->address, notify->address_length) < 0)
        log_warning(NULL, "manager_not_told", LOG_STR("problem", strerror(errno)));
}

static void on_watchdog(uv_timer_t *timer)
{
    struct notify *notify = timer->data;

    if (notify->options.is_healthy(notify->options.context))
        send_text(notify, "WATCHDOG=1");
}

/* 0: nobody watches us. */
static uint64_t watchdog_period_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t value;

    if (!usec || !span_to_u64(span_str(usec), &value))
        return 0;
    uint64_t period_ms = value / US_PER_MS / BEATS_PER_WATCHDOG;
    if (pid && (!span_to_u64(span_str(pid), &value) || value != (uint64_t)getpid()))
        return 0;
    return period_ms;
}

struct notify *notify_open(uv_loop_t *loop, const struct notify_options *options)
{
    struct notify *notify = calloc(1, sizeof(*notify));
    const char *name = getenv("NOTIFY_SOCKET");
    uint64_t period_ms = watchdog_period_ms();

    if (!notify) {
        log_error(NULL, "out_of_memory");
        return NULL;
    }
    notify->options = *options;
    notify->fd = -1;
    uv_timer_init(loop, &notify->watchdog);
    notify->watchdog.data = notify;
    if (!name || !*name)
        return notify;
    if (find_address(notify, name))
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0)
        log_warning(NULL, "manager_not_told", LOG_STR("problem", "NOTIFY_SOCKET cannot be used"));
    else if (period_ms > 0)
        uv_timer_start(&notify->watchdog, on_watchdog, 0, period_ms);
    return notify;
}

void notify_ready(struct notify *notify)
{
    send_text(notify, "READY=1");
}

void notify_reloading(struct notify *notify)
{
    char text[MESSAGE_BYTES];

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_now_us());
    send_text(notify, text);
}

void notify_stopping(struct notify *notify, int64_t limit_ms)
{
    char text[MESSAGE_BYTES];

    snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, limit_ms * US_PER_MS);
    send_text(notify, text);
}

void notify_status(struct notify *notify, const char *text)
{
    char line[MESSAGE_BYTES];

    if (strncmp(notify->status, text, sizeof(notify->status) - 1) == 0)
        return;
    snprintf(notify->status, sizeof(notify->status), "%s", text);
    snprintf(line, sizeof(line), "STATUS=%.*s", (int)(sizeof(line) - sizeof("STATUS=")), text);
    send_text(notify, line);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void notify_close(struct notify **notify_pointer)
{
    struct notify *notify = *notify_pointer;

    *notify_pointer = NULL;
    if (!notify)
        return;
    if (notify->fd >= 0)
        close(notify->fd);
    uv_close((uv_handle_t *)&notify->watchdog, on_closed);
}
