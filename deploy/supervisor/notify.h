/* SPDX-License-Identifier: MIT */
/* notify - tells a service manager how we do, by systemd's protocol (sd_notify(3), stable and documented for
 * being spoken without libsystemd): a datagram of NAME=VALUE lines to $NOTIFY_SOCKET.
 *
 *   READY=1               all processes are ready, for the first time or after a reload
 *   RELOADING=1           with MONOTONIC_USEC=; READY=1 follows however the reload ends
 *   STOPPING=1            with EXTEND_TIMEOUT_USEC=: how long the drain may take
 *   WATCHDOG=1            three times in $WATCHDOG_USEC, from the loop, as long as `is_healthy` says so
 *   STATUS=               the line that `systemctl status` shows; sent when it changed
 *
 * Without NOTIFY_SOCKET all of it does nothing. What a manager does not take is lost, like any datagram; the
 * next one is sent all the same. One loop; nothing blocks. */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

#include <stdbool.h>
#include <uv.h>

struct notify;

struct notify_options {
    bool (*is_healthy)(void *context); /* asked before each WATCHDOG=1 */
    void *context;
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Returns owned, NULL when out of memory (logged). */
struct notify *notify_open(uv_loop_t *loop, const struct notify_options *options);
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify, int64_t limit_ms);
/* Borrows; without line ends. */
void notify_status(struct notify *notify, const char *text);
/* The loop must turn once more. NULL-safe. */
void notify_close(struct notify **notify);

#endif
