/* SPDX-License-Identifier: MIT */
/* heartbeat - what a process says of itself, at its changes and once a second: to its supervisor (the lines
 * of service.h), or where nobody supervises it into its health file (health.h). Internal to service. */
#ifndef PROTO_HEARTBEAT_H
#define PROTO_HEARTBEAT_H

#include "proto/loop_lag.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum { HEARTBEAT_MS = 1000, HEARTBEAT_MAX_GAUGES = 16 };

struct heartbeat_handlers {
    void (*beat)(void *owner);            /* each second, after what it says */
    void (*supervisor_gone)(void *owner); /* once */
};

struct heartbeat {
    const struct heartbeat_handlers *handlers;
    void *owner;
    uv_timer_t timer;
    uv_poll_t supervisor;
    int supervisor_fd;                     /* -1: nobody watches us */
    int health_fd;                         /* then, from when we are ready; -1: none */
    const char *(*missing)(void *context); /* NULL: nothing ever is */
    void *missing_context;
    bool is_draining;
    int64_t due_ms;
    struct loop_lag lag;
    struct {
        const char *key;
        int64_t (*read)(void *context);
        void *context;
    } gauges[HEARTBEAT_MAX_GAUGES];
    size_t gauge_count;
};

/* Takes over SUPERVISOR_FD, if the environment has one. Borrows handlers and owner. */
void heartbeat_init(struct heartbeat *heartbeat, uv_loop_t *loop, const struct heartbeat_handlers *handlers,
                    void *owner);
/* Closes the descriptors. After the loop has closed its handles. */
void heartbeat_fini(struct heartbeat *heartbeat);
/* Says that it is ready, and beats from now on. `run_dir` and `name` are those of the health file. */
void heartbeat_ready(struct heartbeat *heartbeat, const char *run_dir, const char *name);
/* Says that it drains. */
void heartbeat_drain(struct heartbeat *heartbeat);

bool heartbeat_is_supervised(const struct heartbeat *heartbeat);
/* As service_report_gauge and service_each_gauge. */
void heartbeat_add_gauge(struct heartbeat *heartbeat, const char *key, int64_t (*read)(void *context),
                         void *context);
void heartbeat_each_gauge(const struct heartbeat *heartbeat,
                          void (*each)(void *context, const char *key, int64_t value), void *context);

#endif
