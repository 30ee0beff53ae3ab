/* SPDX-License-Identifier: MIT */
#include "proto/service.h"
#include "proto/clock.h"
#include "proto/confine.h"
#include "proto/error.h"
#include "proto/health.h"
#include "proto/listen.h"
#include "proto/log.h"
#include "proto/process_usage.h"
#include "proto/spare_memory.h"
#include "proto/log_sink.h"
#include "proto/owned_watch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    HEARTBEAT_MS = 1000,
    LAG_BEATS = 15,
    MAX_GAUGES = 16,
    MAX_DRAIN_CALLBACKS = 8,
    MAX_ROUNDS = 3,
    ORPHAN_LOOK_MS = 20,
    ORPHAN_GRACE_MS = 2000 /* the ones before us end within the drain time, and need a moment to be gone */
};

struct deferred {
    void (*work)(void *context);
    void *context;
    struct deferred *next;
};

struct turn_hook {
    bool (*work)(void *context);
    void *context;
    bool removed; /* freed by the next end of turn: it may be running now */
    struct turn_hook *prev, *next;
};

struct gauge {
    const char *key;
    int64_t (*read)(void *context);
    void *context;
};

struct drain_callback {
    void (*begin)(void *context);
    void *context;
};

struct service {
    const char *role;
    char name[64];
    int instance;
    const struct settings *settings;
    int64_t started_wall_ms;

    uv_loop_t loop;
    uv_signal_t on_term, on_int;
    uv_timer_t heartbeat, drain_limit, log_timer, orphan_look;
    struct owned_watch owned; /* looked at with each heartbeat */
    int exit_status;
    uv_prepare_t turn_end;
    uv_check_t sockets_served;
    uv_idle_t no_sleep; /* active while a hook has more to do */
    uv_poll_t supervisor;
    int supervisor_fd;                     /* -1: nobody watches us */
    int health_fd;                         /* then, from when we are ready; -1: none */
    const char *(*missing)(void *context); /* NULL: nothing ever is */
    void *missing_context;

    struct listen_set inherited;
    struct turn_hook *hooks;
    struct deferred *deferred_first, **deferred_last;
    struct gauge gauges[MAX_GAUGES];
    size_t gauge_count;
    struct drain_callback drain_callbacks[MAX_DRAIN_CALLBACKS];
    size_t drain_callback_count;

    int64_t heartbeat_due_ms;
    int64_t turn_began_ms;                 /* 0: not yet */
    int64_t lag_max_ms, former_lag_max_ms; /* of this and the last LAG_BEATS */
    unsigned beats;
    bool (*is_needed)(void *context); /* by others, when the supervisor is gone; NULL: never */
    void *needed_context;
    int64_t orphan_until_ms;
    struct spare_memory spare_memory;
    unsigned holds;
    bool is_ready, draining, stopped;
    bool again; /* a hook has made work for another that may have run already */
};

/* ---- the supervisor's descriptor ---- */

static void supervisor_say(struct service *service, struct span line)
{
    if (service->supervisor_fd < 0)
        return;
    /* A line that does not fit into an empty socket buffer cannot happen; one lost to a full one counts as
     * silence. */
    ssize_t sent = send(service->supervisor_fd, line.data, line.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
}

static void on_orphan_look(uv_timer_t *timer)
{
    struct service *service = timer->data;
    if (service->is_needed(service->needed_context) && clock_now_ms() < service->orphan_until_ms)
        return;
    uv_timer_stop(timer);
    service_drain(service);
}

static void on_orphaned(struct service *service)
{
    log_warning(NULL, "supervisor_gone", LOG_STR("action", "drain"));
    if (!service->is_needed || service->draining) {
        service_drain(service);
        return;
    }
    service->orphan_until_ms = clock_now_ms() + service->settings->drain_s * 1000 + ORPHAN_GRACE_MS;
    uv_timer_start(&service->orphan_look, on_orphan_look, 0, ORPHAN_LOOK_MS);
}

static void supervisor_on_event(uv_poll_t *poll, int status, int events)
{
    struct service *service = poll->data;
    char scratch[64];
    (void)events;
    ssize_t count = status < 0 ? 0 : recv(service->supervisor_fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (count != 0)
        return; /* it says nothing that we read */
    uv_poll_stop(poll);
    on_orphaned(service);
}

static void supervisor_attach(struct service *service)
{
    const char *text = getenv("SUPERVISOR_FD");
    uint64_t fd;
    service->supervisor_fd = -1;
    if (!text || !span_to_u64(span_str(text), &fd) || fd > INT32_MAX)
        return;
    service->supervisor_fd = (int)fd;
    unsetenv("SUPERVISOR_FD");
    listen_set_cloexec(service->supervisor_fd);
    if (uv_poll_init(&service->loop, &service->supervisor, service->supervisor_fd) < 0) {
        service->supervisor_fd = -1;
        return;
    }
    service->supervisor.data = service;
    uv_poll_start(&service->supervisor, UV_READABLE | UV_DISCONNECT, supervisor_on_event);
    uv_unref((uv_handle_t *)&service->supervisor);
}

/* ---- loop lag ---- */

static void note_lag(struct service *service, int64_t lag_ms)
{
    if (lag_ms > service->lag_max_ms)
        service->lag_max_ms = lag_ms;
}

/* Runs behind the sockets' callbacks, when the loop's clock still says at what time it woke for them. */
static void on_sockets_served(uv_check_t *check)
{
    struct service *service = check->data;
    service->turn_began_ms = (int64_t)uv_now(check->loop);
}

int64_t service_loop_lag_ms(const struct service *service)
{
    return service->lag_max_ms > service->former_lag_max_ms ? service->lag_max_ms
                                                            : service->former_lag_max_ms;
}

/* ---- heartbeat ---- */

static void heartbeat_send(struct service *service)
{
    struct buffer line;
    buffer_init(&line);
    int error = buffer_printf(&line, "alive lag_ms=%" PRId64 " log_level=%d", service_loop_lag_ms(service),
                              (int)log_present_level());
    for (size_t i = 0; error == 0 && i < service->gauge_count; i++)
        error = buffer_printf(&line, " %s=%" PRId64, service->gauges[i].key,
                              service->gauges[i].read(service->gauges[i].context));
    if (error == 0)
        error = buffer_append_char(&line, '\n');
    if (error == 0)
        supervisor_say(service, buffer_span(&line));
    buffer_fini(&line);
}

/* For health checks, where no supervisor hears us. */
static void health_tell(struct service *service)
{
    const char *missing = service->missing ? service->missing(service->missing_context) : NULL;
    health_write(service->health_fd, service->draining ? "draining" : "ready", missing, clock_now_ms());
}

static void end_if_replaced(struct service *service)
{
    const char *directory = owned_watch_look(&service->owned);
    if (!directory || service->draining)
        return;
    log_warning(NULL, "directory_replaced", LOG_STR("directory", directory), LOG_STR("action", "restart"));
    service_end(service, EXIT_SYSTEM);
}

static void heartbeat_tick(uv_timer_t *timer)
{
    struct service *service = timer->data;
    int64_t now_ms = clock_now_ms();
    note_lag(service, now_ms - service->heartbeat_due_ms);
    service->heartbeat_due_ms = now_ms + HEARTBEAT_MS;
    heartbeat_send(service);
    health_tell(service);
    spare_memory_tend(&service->spare_memory);
    end_if_replaced(service);
    if (++service->beats % LAG_BEATS == 0) {
        service->former_lag_max_ms = service->lag_max_ms;
        service->lag_max_ms = 0;
    }
}

/* ---- end of turn ---- */

static bool run_hooks(struct service *service)
{
    bool more = false;
    struct turn_hook *hook, *next;
    DL_FOREACH_SAFE (service->hooks, hook, next) {
        if (!hook->removed && hook->work(hook->context))
            more = true;
    }
    DL_FOREACH_SAFE (service->hooks, hook, next) {
        if (hook->removed) {
            DL_DELETE(service->hooks, hook);
            free(hook);
        }
    }
    return more;
}

/* Runs what was deferred before now; what that defers is for the next round. */
static bool run_deferred(struct service *service)
{
    struct deferred *deferred = service->deferred_first;
    bool any = deferred != NULL;
    service->deferred_first = NULL;
    service->deferred_last = &service->deferred_first;
    while (deferred) {
        struct deferred *next = deferred->next;
        deferred->work(deferred->context);
        free(deferred);
        deferred = next;
    }
    return any;
}

static void on_no_sleep(uv_idle_t *idle)
{
    (void)idle; /* its being active is all */
}

static void on_log_timer(uv_timer_t *timer)
{
    (void)timer; /* this turn's end writes what has waited */
}

/* Lines of busy turns go out together, and those of the last one although no other follows. */
static void flush_log(struct service *service)
{
    int64_t wait_ms = log_sink_flush_due((int64_t)uv_now(&service->loop));
    if (wait_ms >= 0 && !uv_is_active((uv_handle_t *)&service->log_timer))
        uv_timer_start(&service->log_timer, on_log_timer, (uint64_t)wait_ms, 0);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct service *service = prepare->data;
    bool more;
    int rounds = 0;
    do { /* deferred work may send, and so may what one hook received: links flush after it, in this turn */
        service->again = false;
        more = run_hooks(service);
    } while (run_deferred(service) || (service->again && ++rounds < MAX_ROUNDS));
    more = more || service->again;
    if (service->turn_began_ms > 0)
        note_lag(service, clock_now_ms() - service->turn_began_ms);
    flush_log(service);
    if (service->draining && service->holds == 0 && !service->stopped) {
        service->stopped = true;
        uv_stop(&service->loop);
    }
    if (more)
        uv_idle_start(&service->no_sleep, on_no_sleep);
    else
        uv_idle_stop(&service->no_sleep);
}

/* ---- drain ---- */

static void on_drain_limit(uv_timer_t *timer)
{
    struct service *service = timer->data;
    log_warning(NULL, "drain_cut", LOG_INT("holds", service->holds));
    service->stopped = true;
    uv_stop(&service->loop);
}

void service_drain(struct service *service)
{
    if (service->draining)
        return;
    service->draining = true;
    log_info(NULL, "draining", LOG_INT("limit_s", service->settings->drain_s));
    supervisor_say(service, SPAN("draining\n"));
    health_tell(service);
    uv_timer_start(&service->drain_limit, on_drain_limit, (uint64_t)service->settings->drain_s * 1000, 0);
    for (size_t i = 0; i < service->drain_callback_count; i++)
        service->drain_callbacks[i].begin(service->drain_callbacks[i].context);
}

void service_end(struct service *service, int exit_status)
{
    service->exit_status = exit_status;
    service_drain(service);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct service *service = handle->data;
    if (service->draining) {
        log_warning(NULL, "stopping_at_once", LOG_INT("signal", number));
        service->stopped = true;
        uv_stop(&service->loop);
        return;
    }
    service_drain(service);
}

/* ---- life ---- */

static void service_start_handles(struct service *service)
{
    uv_loop_t *loop = &service->loop;
    uv_signal_init(loop, &service->on_term);
    uv_signal_init(loop, &service->on_int);
    uv_timer_init(loop, &service->heartbeat);
    uv_timer_init(loop, &service->drain_limit);
    uv_timer_init(loop, &service->log_timer);
    uv_timer_init(loop, &service->orphan_look);
    uv_prepare_init(loop, &service->turn_end);
    uv_check_init(loop, &service->sockets_served);
    uv_idle_init(loop, &service->no_sleep);
    service->on_term.data = service->on_int.data = service;
    service->heartbeat.data = service->drain_limit.data = service->orphan_look.data = service;
    service->turn_end.data = service->sockets_served.data = service;
    uv_signal_start(&service->on_term, on_stop_signal, SIGTERM);
    uv_signal_start(&service->on_int, on_stop_signal, SIGINT);
    uv_prepare_start(&service->turn_end, on_turn_end);
    uv_check_start(&service->sockets_served, on_sockets_served);
}

struct service *service_new(const char *role, int instance, const struct settings *settings)
{
    log_init(role, log_level_of(settings->log_level));
    if (sodium_init() < 0) {
        log_error(NULL, "no_randomness");
        return NULL;
    }
    struct service *service = calloc(1, sizeof *service);
    if (!service || uv_loop_init(&service->loop) < 0) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        free(service);
        return NULL;
    }
    service->role = role;
    service->instance = instance;
    service->settings = settings;
    service->started_wall_ms = clock_wall_ms();
    service->health_fd = -1;
    service->exit_status = EXIT_OK;
    service->deferred_last = &service->deferred_first;
    snprintf(service->name, sizeof service->name, "%s-%d", role, instance);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a write that fails */
    process_usage_allow_descriptors();
    listen_set_inherit(&service->inherited);
    service_start_handles(service);
    supervisor_attach(service);
    return service;
}

void service_prefer_batches(void)
{
    const struct sched_param param = {0};
    if (sched_setscheduler(0, SCHED_BATCH, &param) < 0)
        log_info(NULL, "scheduling_unchanged", LOG_STR("problem", strerror(errno))); /* slower, not worse */
}

void service_confine(struct service *service)
{
    static struct confine_needs needs; /* a process is confined once */
    unsigned given = (service->inherited.count > 0 ? CONFINE_HAS_SOCKETS : 0) |
                     (service_is_supervised(service) ? CONFINE_HAS_SUPERVISOR : 0);
    confine_needs_of(&needs, service->role, service->settings, given);
    if (confine_apply(&needs, service->settings))
        owned_watch_init(&service->owned, needs.owned, needs.owned_count);
}

static void close_if_open(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void service_free(struct service **service_pointer)
{
    struct service *service = *service_pointer;
    *service_pointer = NULL;
    if (!service)
        return;
    while (run_deferred(service))
        ;
    run_hooks(service);
    uv_prepare_stop(&service->turn_end);
    uv_check_stop(&service->sockets_served);
    uv_walk(&service->loop, close_if_open, NULL);
    uv_run(&service->loop, UV_RUN_DEFAULT);
    while (run_deferred(service))
        ;
    run_hooks(service); /* frees the removed ones */
    uv_loop_close(&service->loop);
    listen_set_close(&service->inherited);
    if (service->supervisor_fd >= 0)
        close(service->supervisor_fd);
    if (service->health_fd >= 0)
        close(service->health_fd);
    log_info(NULL, "stopped");
    log_sink_finish();
    free(service);
}

uv_loop_t *service_loop(struct service *service)
{
    return &service->loop;
}

const struct settings *service_settings(const struct service *service)
{
    return service->settings;
}

const char *service_role(const struct service *service)
{
    return service->role;
}

const char *service_name(const struct service *service)
{
    return service->name;
}

int service_instance(const struct service *service)
{
    return service->instance;
}

bool service_is_supervised(const struct service *service)
{
    return service->supervisor_fd >= 0;
}

int64_t service_started_wall_ms(const struct service *service)
{
    return service->started_wall_ms;
}

int service_listen_fd(struct service *service, const char *name)
{
    return listen_set_take(&service->inherited, name);
}

int service_listen(struct service *service, const char *name, const char *host, int64_t port)
{
    int fd = service_listen_fd(service, name);
    return fd >= 0 ? fd : listen_open(host, port);
}

void service_ready(struct service *service)
{
    assert(!service->is_ready);
    service->is_ready = true;
    log_info(NULL, "ready", LOG_STR("version", CB_VERSION));
    supervisor_say(service, SPAN("ready\n"));
    if (service->supervisor_fd < 0)
        service->health_fd = health_open(service->settings->run_dir, service->name);
    health_tell(service);
    service->heartbeat_due_ms = clock_now_ms() + HEARTBEAT_MS;
    uv_update_time(&service->loop);
    uv_timer_start(&service->heartbeat, heartbeat_tick, HEARTBEAT_MS, HEARTBEAT_MS);
}

void service_on_drain(struct service *service, void (*begin)(void *context), void *context)
{
    assert(service->drain_callback_count < MAX_DRAIN_CALLBACKS);
    service->drain_callbacks[service->drain_callback_count++] = (struct drain_callback){begin, context};
}

void service_on_orphaned(struct service *service, bool (*is_needed)(void *context), void *context)
{
    service->is_needed = is_needed;
    service->needed_context = context;
}

void service_on_health(struct service *service, const char *(*missing)(void *context), void *context)
{
    service->missing = missing;
    service->missing_context = context;
}

void service_hold(struct service *service)
{
    service->holds++;
}

void service_release(struct service *service)
{
    assert(service->holds > 0);
    service->holds--;
}

bool service_draining(const struct service *service)
{
    return service->draining;
}

int service_run(struct service *service)
{
    log_sink_set_buffered(true);
    uv_run(&service->loop, UV_RUN_DEFAULT);
    log_sink_set_buffered(false);
    return service->exit_status;
}

void service_defer(struct service *service, void (*work)(void *context), void *context)
{
    struct deferred *deferred = malloc(sizeof *deferred);
    if (!deferred)
        abort(); /* a free that is forgotten, or done too early, would be worse */
    *deferred = (struct deferred){work, context, NULL};
    *service->deferred_last = deferred;
    service->deferred_last = &deferred->next;
}

struct turn_hook *service_at_turn_end(struct service *service, bool (*work)(void *context), void *context)
{
    struct turn_hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return NULL;
    hook->work = work;
    hook->context = context;
    DL_APPEND(service->hooks, hook);
    return hook;
}

void service_remove_hook(struct service *service, struct turn_hook **hook)
{
    (void)service;
    if (*hook)
        (*hook)->removed = true;
    *hook = NULL;
}

void service_turn_again(struct service *service)
{
    service->again = true;
}

void service_report_gauge(struct service *service, const char *key, int64_t (*read)(void *context),
                          void *context)
{
    assert(service->gauge_count < MAX_GAUGES);
    service->gauges[service->gauge_count++] = (struct gauge){key, read, context};
}

void service_each_gauge(const struct service *service,
                        void (*each)(void *context, const char *key, int64_t value), void *context)
{
    for (size_t i = 0; i < service->gauge_count; i++)
        each(context, service->gauges[i].key, service->gauges[i].read(service->gauges[i].context));
}
