/* SPDX-License-Identifier: MIT */
#include "proto/heartbeat.h"
#include "proto/bytes.h"
#include "proto/clock.h"
#include "proto/health.h"
#include "proto/listen.h"
#include "proto/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the supervisor's descriptor ---- */

static void supervisor_say(const struct heartbeat *heartbeat, struct span line)
{
    if (heartbeat->supervisor_fd < 0)
        return;
    /* A line that does not fit into an empty socket buffer cannot happen; one lost to a full one counts as
     * silence. */
    ssize_t sent = send(heartbeat->supervisor_fd, line.data, line.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
}

static void supervisor_on_event(uv_poll_t *poll, int status, int events)
{
    struct heartbeat *heartbeat = poll->data;
    char scratch[64];
    (void)events;
    ssize_t count = status < 0 ? 0 : recv(heartbeat->supervisor_fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (count != 0)
        return; /* it says nothing that we read */
    uv_poll_stop(poll);
    heartbeat->handlers->supervisor_gone(heartbeat->owner);
}

static void supervisor_attach(struct heartbeat *heartbeat, uv_loop_t *loop)
{
    const char *text = getenv("SUPERVISOR_FD");
    uint64_t fd;
    if (!text || !span_to_u64(span_str(text), &fd) || fd > INT32_MAX)
        return;
    heartbeat->supervisor_fd = (int)fd;
    unsetenv("SUPERVISOR_FD");
    listen_set_cloexec(heartbeat->supervisor_fd);
    if (uv_poll_init(loop, &heartbeat->supervisor, heartbeat->supervisor_fd) < 0) {
        heartbeat->supervisor_fd = -1;
        return;
    }
    heartbeat->supervisor.data = heartbeat;
    uv_poll_start(&heartbeat->supervisor, UV_READABLE | UV_DISCONNECT, supervisor_on_event);
    uv_unref((uv_handle_t *)&heartbeat->supervisor);
}

bool heartbeat_is_supervised(const struct heartbeat *heartbeat)
{
    return heartbeat->supervisor_fd >= 0;
}

/* ---- what is said ---- */

static void say_alive(const struct heartbeat *heartbeat)
{
    struct buffer line;
    buffer_init(&line);
    int error = buffer_printf(&line, "alive lag_ms=%" PRId64 " log_level=%d", loop_lag_ms(&heartbeat->lag),
                              (int)log_present_level());
    for (size_t i = 0; error == 0 && i < heartbeat->gauge_count; i++)
        error = buffer_printf(&line, " %s=%" PRId64, heartbeat->gauges[i].key,
                              heartbeat->gauges[i].read(heartbeat->gauges[i].context));
    if (error == 0)
        error = buffer_append_char(&line, '\n');
    if (error == 0)
        supervisor_say(heartbeat, buffer_span(&line));
    buffer_fini(&line);
}

/* For health checks, where no supervisor hears us. */
static void write_health(const struct heartbeat *heartbeat)
{
    const char *missing = heartbeat->missing ? heartbeat->missing(heartbeat->missing_context) : NULL;
    health_write(heartbeat->health_fd, heartbeat->is_draining ? "draining" : "ready", missing,
                 clock_now_ms());
}

static void on_beat(uv_timer_t *timer)
{
    struct heartbeat *heartbeat = timer->data;
    int64_t now_ms = clock_now_ms();
    loop_lag_note(&heartbeat->lag, now_ms - heartbeat->due_ms);
    heartbeat->due_ms = now_ms + HEARTBEAT_MS;
    say_alive(heartbeat);
    write_health(heartbeat);
    heartbeat->handlers->beat(heartbeat->owner);
    loop_lag_beat(&heartbeat->lag);
}

void heartbeat_add_gauge(struct heartbeat *heartbeat, const char *key, int64_t (*read)(void *context),
                         void *context)
{
    assert(heartbeat->gauge_count < HEARTBEAT_MAX_GAUGES);
    size_t i = heartbeat->gauge_count++;
    heartbeat->gauges[i].key = key;
    heartbeat->gauges[i].read = read;
    heartbeat->gauges[i].context = context;
}

void heartbeat_each_gauge(const struct heartbeat *heartbeat,
                          void (*each)(void *context, const char *key, int64_t value), void *context)
{
    for (size_t i = 0; i < heartbeat->gauge_count; i++)
        each(context, heartbeat->gauges[i].key, heartbeat->gauges[i].read(heartbeat->gauges[i].context));
}

/* ---- life ---- */

void heartbeat_init(struct heartbeat *heartbeat, uv_loop_t *loop, const struct heartbeat_handlers *handlers,
                    void *owner)
{
    *heartbeat =
        (struct heartbeat){.handlers = handlers, .owner = owner, .supervisor_fd = -1, .health_fd = -1};
    uv_timer_init(loop, &heartbeat->timer);
    heartbeat->timer.data = heartbeat;
    supervisor_attach(heartbeat, loop);
}

void heartbeat_fini(struct heartbeat *heartbeat)
{
    if (heartbeat->supervisor_fd >= 0)
        close(heartbeat->supervisor_fd);
    if (heartbeat->health_fd >= 0)
        close(heartbeat->health_fd);
    heartbeat->supervisor_fd = heartbeat->health_fd = -1;
}

void heartbeat_ready(struct heartbeat *heartbeat, const char *run_dir, const char *name)
{
    supervisor_say(heartbeat, SPAN("ready\n"));
    if (!heartbeat_is_supervised(heartbeat))
        heartbeat->health_fd = health_open(run_dir, name);
    write_health(heartbeat);
    heartbeat->due_ms = clock_now_ms() + HEARTBEAT_MS;
    uv_update_time(heartbeat->timer.loop);
    uv_timer_start(&heartbeat->timer, on_beat, HEARTBEAT_MS, HEARTBEAT_MS);
}

void heartbeat_drain(struct heartbeat *heartbeat)
{
    heartbeat->is_draining = true;
    supervisor_say(heartbeat, SPAN("draining\n"));
    write_health(heartbeat);
}
