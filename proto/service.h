/* SPDX-License-Identifier: MIT */
/* service - the skeleton of every daemon: its loop, signals, readiness, heartbeat, end of turn and drain.
 *
 * Supervision contract (deploy/supervisor is the other end). If the environment has SUPERVISOR_FD, that
 * descriptor is a stream socket to the supervisor. The child writes lines: `ready\n` once it can serve, then
 * every second `alive <key>=<integer> …\n` from its loop (so a loop that hangs falls silent), and
 * `draining\n` when it drains. It reads nothing; end of file means the supervisor is gone: the child drains
 * as on SIGTERM, after those whom it serves (service_on_orphaned). Listening sockets are inherited in the
 * systemd manner: LISTEN_FDS=N descriptors from 3 on, LISTEN_FDNAMES their names, colon separated
 * (`http`, `ops`). Descriptors behind SUPERVISOR_FD, or behind those without one, are closed. Exit status: 0
 * after a drain, 78 do not restart me, anything else restart me. SIGTERM and SIGINT drain; a second one, or
 * the drain's time limit, stops at once. SIGPIPE is ignored.
 *
 * Turn order: timers and sockets → end-of-turn work (links send their trains, deferred frees run) → sleep. */
#ifndef PROTO_SERVICE_H
#define PROTO_SERVICE_H

#include "proto/settings.h"

#include <uv.h>

struct service;

/* Creates loop and signals, starts the log. `role` borrows (a literal); `instance` tells replicas apart.
 * Borrows settings for its life. Returns owned, NULL on failure (logged). */
struct service *service_new(const char *role, int instance, const struct settings *settings);
/* Closes what is left on the loop. Everything made on the service must be freed before. NULL-safe. */
void service_free(struct service **service);

/* Asks that threads of this process which wake up wait until whoever has the CPU sleeps or has had its turn
 * (SCHED_BATCH), for the process's life. For processes that relay: on a busy machine their peers then finish
 * what they send, and it is handled in one turn rather than a few bytes at a time; where a CPU is idle it
 * changes nothing. Before threads are started, i.e. before links. */
void service_prefer_batches(void);

uv_loop_t *service_loop(struct service *service);
const struct settings *service_settings(const struct service *service);
const char *service_role(const struct service *service);
const char *service_name(const struct service *service); /* role-instance */
int service_instance(const struct service *service);
int64_t service_started_wall_ms(const struct service *service);

/* True if a supervisor started us. */
bool service_is_supervised(const struct service *service);

/* An inherited listening descriptor by name, or -1. The caller owns it once returned. */
int service_listen_fd(struct service *service, const char *name);
/* The inherited one, or else a new listening TCP socket on host:port (SO_REUSEADDR; IPv4, IPv6 or a name).
 * -1 on failure (logged). Caller owns. */
int service_listen(struct service *service, const char *name, const char *host, int64_t port);

/* Tells the supervisor, logs `ready`, starts the heartbeat. Call once, when requests can be served. */
void service_ready(struct service *service);
/* Called once when a drain begins. Whoever holds the drain up calls service_hold for each reason and
 * service_release when it is over; the loop stops once nothing is held. Register before service_run. */
void service_on_drain(struct service *service, void (*begin)(void *context), void *context);
void service_hold(struct service *service);
void service_release(struct service *service);
bool service_draining(const struct service *service);
/* The supervisor's death ends all in the order of a stop: this process goes on while `is_needed(context)`,
 * for the drain time and two seconds at most, and drains then. Without this it drains at once. */
void service_on_orphaned(struct service *service, bool (*is_needed)(void *context), void *context);
/* Asked once a second: what this process needs and has not, as a static text; NULL: nothing. It is ready all
 * the same, but `--health` says so (proto/health.h). */
void service_on_health(struct service *service, const char *(*missing)(void *context), void *context);
/* Begins the drain, as SIGTERM does. Idempotent. */
void service_drain(struct service *service);
/* Drains, and ends with this exit status: for what a fresh start repairs. */
void service_end(struct service *service, int exit_status);
/* Leaves this process what its role needs (confine.h), if settings say so. After service_new, before the
 * first link. When a directory of its own is replaced by another one, which it may not touch, it ends to be
 * started again. */
void service_confine(struct service *service);
/* Runs until a drain is over. Returns the exit status. */
int service_run(struct service *service);

/* Runs `work(context)` at the end of this turn, in order of calls, once; then forgets it. For freeing objects
 * outside their own callbacks. Aborts when out of memory (a deferred free must not be lost). */
void service_defer(struct service *service, void (*work)(void *context), void *context);
/* Registers work to run at the end of every turn, before the loop sleeps. Returns a handle for _remove (NULL
 * when out of memory). `work` returns true if it has more to do at once: then the loop does not sleep. */
struct turn_hook;
struct turn_hook *service_at_turn_end(struct service *service, bool (*work)(void *context), void *context);
void service_remove_hook(struct service *service, struct turn_hook **hook);
/* There is work for a hook that may have run already in this turn: runs them all again before the loop
 * sleeps.
 */
void service_turn_again(struct service *service);

/* A number to report with each heartbeat and to statsd, e.g. streams in flight. `read` is called on the loop
 * once a second. `key` borrows (a literal). At most 16. */
void service_report_gauge(struct service *service, const char *key, int64_t (*read)(void *context),
                          void *context);
/* Calls `each` for every reported gauge with its present value. */
void service_each_gauge(const struct service *service,
                        void (*each)(void *context, const char *key, int64_t value), void *context);
/* How long the loop kept others waiting: the longest turn, or lateness of the heartbeat's timer, of the last
 * 15 to 30 seconds, ms. So a scrape every 15 s misses none. */
int64_t service_loop_lag_ms(const struct service *service);

#endif
