/* SPDX-License-Identifier: MIT */
#include "proto/service.h"
#include "proto/clock.h"
#include "proto/confine.h"
#include "proto/error.h"
#include "proto/heartbeat.h"
#include "proto/listen.h"
#include "proto/log.h"
#include "proto/log_sink.h"
#include "proto/owned_watch.h"
#include "proto/process_usage.h"
#include "proto/spare_memory.h"
#include "proto/turn_work.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>

enum {
    MAX_DRAIN_CALLBACKS = 8,
    ORPHAN_LOOK_MS = 20,
    ORPHAN_GRACE_MS = 2000 /* the ones before us end within the drain time, and need a moment to be gone */
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
    uv_timer_t drain_limit, log_timer, orphan_look;
    uv_prepare_t turn_end;
    uv_check_t sockets_served;
    uv_idle_t no_sleep; /* active while a hook has more to do */
    struct turn_work work;
    int64_t turn_began_ms; /* 0: not yet */

    struct heartbeat heartbeat;
    struct owned_watch owned; /* looked at with each heartbeat */
    struct spare_memory spare_memory;

    struct listen_set inherited;
    struct drain_callback drain_callbacks[MAX_DRAIN_CALLBACKS];
    size_t drain_callback_count;
    bool (*is_needed)(void *context); /* by others, when the supervisor is gone; NULL: never */
    void *needed_context;
    int64_t orphan_until_ms;
    unsigned holds;
    bool is_ready, draining, stopped;
    int exit_status;
};

/* ---- heartbeat ---- */

static void end_if_replaced(struct service *service)
{
    const char *directory = owned_watch_look(&service->owned);
    if (!directory || service->draining)
        return;
    log_warning(NULL, "directory_replaced", LOG_STR("directory", directory), LOG_STR("action", "restart"));
    service_end(service, EXIT_SYSTEM);
}

static void on_beat(void *owner)
{
    struct service *service = owner;
    spare_memory_tend(&service->spare_memory);
    end_if_replaced(service);
}

static void on_orphan_look(uv_timer_t *timer)
{
    struct service *service = timer->data;
    if (service->is_needed(service->needed_context) && clock_now_ms() < service->orphan_until_ms)
        return;
    uv_timer_stop(timer);
    service_drain(service);
}

static void on_supervisor_gone(void *owner)
{
    struct service *service = owner;
    log_warning(NULL, "supervisor_gone", LOG_STR("action", "drain"));
    if (!service->is_needed || service->draining) {
        service_drain(service);
        return;
    }
    service->orphan_until_ms = clock_now_ms() + service->settings->drain_s * 1000 + ORPHAN_GRACE_MS;
    uv_timer_start(&service->orphan_look, on_orphan_look, 0, ORPHAN_LOOK_MS);
}

static const struct heartbeat_handlers heartbeat_handlers = {on_beat, on_supervisor_gone};

/* ---- end of turn ---- */

/* Runs behind the sockets' callbacks, when the loop's clock still says at what time it woke for them. */
static void on_sockets_served(uv_check_t *check)
{
    struct service *service = check->data;
    service->turn_began_ms = (int64_t)uv_now(check->loop);
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
    bool more = turn_work_run(&service->work);
    if (service->turn_began_ms > 0)
        loop_lag_note(&service->heartbeat.lag, clock_now_ms() - service->turn_began_ms);
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
    heartbeat_drain(&service->heartbeat);
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
    uv_timer_init(loop, &service->drain_limit);
    uv_timer_init(loop, &service->log_timer);
    uv_timer_init(loop, &service->orphan_look);
    uv_prepare_init(loop, &service->turn_end);
    uv_check_init(loop, &service->sockets_served);
    uv_idle_init(loop, &service->no_sleep);
    service->on_term.data = service->on_int.data = service;
    service->drain_limit.data = service->orphan_look.data = service;
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
    service->exit_status = EXIT_OK;
    turn_work_init(&service->work);
    snprintf(service->name, sizeof service->name, "%s-%d", role, instance);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a write that fails */
    process_usage_allow_descriptors();
    listen_set_inherit(&service->inherited);
    service_start_handles(service);
    heartbeat_init(&service->heartbeat, &service->loop, &heartbeat_handlers, service);
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
    turn_work_finish(&service->work);
    uv_prepare_stop(&service->turn_end);
    uv_check_stop(&service->sockets_served);
    uv_walk(&service->loop, close_if_open, NULL);
    uv_run(&service->loop, UV_RUN_DEFAULT);
    turn_work_finish(&service->work);
    uv_loop_close(&service->loop);
    listen_set_close(&service->inherited);
    heartbeat_fini(&service->heartbeat);
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
    return heartbeat_is_supervised(&service->heartbeat);
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
    heartbeat_ready(&service->heartbeat, service->settings->run_dir, service->name);
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
    service->heartbeat.missing = missing;
    service->heartbeat.missing_context = context;
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
    turn_work_defer(&service->work, work, context);
}

struct turn_hook *service_at_turn_end(struct service *service, bool (*work)(void *context), void *context)
{
    return turn_work_add_hook(&service->work, work, context);
}

void service_remove_hook(struct service *service, struct turn_hook **hook)
{
    (void)service;
    turn_work_remove_hook(hook);
}

void service_turn_again(struct service *service)
{
    turn_work_again(&service->work);
}

void service_report_gauge(struct service *service, const char *key, int64_t (*read)(void *context),
                          void *context)
{
    heartbeat_add_gauge(&service->heartbeat, key, read, context);
}

void service_each_gauge(const struct service *service,
                        void (*each)(void *context, const char *key, int64_t value), void *context)
{
    heartbeat_each_gauge(&service->heartbeat, each, context);
}

int64_t service_loop_lag_ms(const struct service *service)
{
    return loop_lag_ms(&service->heartbeat.lag);
}
