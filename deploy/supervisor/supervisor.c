/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/supervisor.h"

#include "deploy/supervisor/control.h"
#include "deploy/supervisor/notify.h"
#include "deploy/supervisor/process.h"
#include "deploy/supervisor/reaper.h"
#include "deploy/supervisor/tree.h"

#include "proto/build_info.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/listen.h"
#include "proto/log.h"
#include "proto/process_usage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4096,
    UNTENDED_MS = 10000,  /* a deadline that is over for longer was forgotten: let the manager restart us */
    STOP_GRACE_MS = 15000 /* a stop's most, over the drain time: see "Stops in order" in README.md */
};

struct supervisor {
    const struct settings *settings;
    struct rundir *rundir;
    uv_loop_t loop;
    uv_signal_t on_term, on_int, on_hup;
    struct tree *tree;
    struct control *control;
    struct notify *notify;
    struct reaper *reaper;
    int http_fd, ops_fd, ready_fd;
    int64_t started_ms, started_wall_ms;
    bool was_ready, stops_on_hangup, reload_again;
    char directory[PATH_BYTES]; /* of the children's programs */
    char run_dir_variable[PATH_BYTES], gateways_variable[64];
    const char *variables[3];
    char api_url[300], ops_url[300];
};

/* ---- what others are told ---- */

static void format_url(char *url, size_t size, const char *scheme, const char *host, int port)
{
    bool is_ipv6 = strchr(host, ':') != NULL;

    snprintf(url, size, "%s://%s%s%s:%d", scheme, is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

/* SUPERVISOR_READY_FD: whoever started us waits there for the ports. */
static void tell_starter(struct supervisor *supervisor)
{
    char line[64];
    int length = snprintf(line, sizeof(line), "ready http=%d ops=%d\n", listen_port(supervisor->http_fd),
                          listen_port(supervisor->ops_fd));

    if (supervisor->ready_fd < 0)
        return;
    if (write(supervisor->ready_fd, line, (size_t)length) != length)
        log_warning(NULL, "starter_not_told", LOG_INT("fd", supervisor->ready_fd));
    close(supervisor->ready_fd);
    supervisor->ready_fd = -1;
}

static void on_ready(void *context)
{
    struct supervisor *supervisor = context;

    supervisor->was_ready = true;
    log_info(NULL, "ready", LOG_STR("api", supervisor->api_url), LOG_STR("ops", supervisor->ops_url),
             LOG_INT("after_ms", clock_now_ms() - supervisor->started_ms));
    printf("codebuddy2api " CB_VERSION " is ready\n"
           "  admin page  %s/  (sign in with CODEBUDDY_PASSWORD)\n"
           "  clients     %s/v1\n"
           "  metrics     %s/metrics\n"
           "  see it      codebuddy2api status\n"
           "  stop it     Ctrl-C, or codebuddy2api stop\n",
           supervisor->api_url, supervisor->api_url, supervisor->ops_url);
    fflush(stdout);
    tell_starter(supervisor);
    notify_ready(supervisor->notify);
}

static void on_change(void *context)
{
    struct supervisor *supervisor = context;
    char text[200];

    tree_summarize(supervisor->tree, text, sizeof(text));
    notify_status(supervisor->notify, text);
}

static bool is_healthy(void *context)
{
    const struct supervisor *supervisor = context;

    return tree_is_tended(supervisor->tree, UNTENDED_MS);
}

static bool is_ours(void *context, int pid)
{
    const struct supervisor *supervisor = context;

    return tree_has_process(supervisor->tree, pid);
}

/* Of this process; statsd shows it beside the others'. */
static json_t *describe_usage(void)
{
    struct process_usage usage;

    process_usage_read(&usage, 1); /* a walk over a dozen descriptors */
    return json_pack("{s:I, s:I, s:I, s:I}", "rss_bytes", (json_int_t)usage.resident_bytes, "cpu_us",
                     (json_int_t)usage.cpu_us, "open_fds", (json_int_t)usage.open_fds, "max_fds",
                     (json_int_t)usage.max_fds);
}

static char *on_status(void *context)
{
    const struct supervisor *supervisor = context;
    const char *state = tree_is_stopping(supervisor->tree) ? "stopping"
                        : tree_is_ready(supervisor->tree)  ? "ready"
                        : supervisor->was_ready            ? "degraded"
                                                           : "starting";
    json_t *status = json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:s, s:s, s:o, s:o}", "version", CB_VERSION,
                               "revision", build_revision(), "state", state, "pid", (int)getpid(),
                               "started_wall_ms", (json_int_t)supervisor->started_wall_ms, "up_ms",
                               (json_int_t)(clock_now_ms() - supervisor->started_ms), "api",
                               supervisor->api_url, "ops", supervisor->ops_url, "usage", describe_usage(),
                               "processes", tree_describe(supervisor->tree));
    char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    size_t length = text ? strlen(text) : 0;
    char *line = text ? realloc(text, length + 2) : NULL;

    json_decref(status);
    if (!line) {
        free(text);
        return NULL;
    }
    memcpy(line + length, "\n", 2);
    return line;
}

/* ---- reload ---- */

static void warn_if_fixed(const char *name, bool same)
{
    if (!same)
        log_warning(NULL, "setting_needs_restart", LOG_STR("name", name));
}

/* What we hold for the tree's life cannot change with a reload. */
static void warn_of_fixed(const struct settings *now, const struct settings *next)
{
    warn_if_fixed("CODEBUDDY_HOST", strcmp(now->host, next->host) == 0);
    warn_if_fixed("CODEBUDDY_PORT", now->port == next->port);
    warn_if_fixed("CODEBUDDY_OPS_HOST", strcmp(now->ops_host, next->ops_host) == 0);
    warn_if_fixed("CODEBUDDY_OPS_PORT", now->ops_port == next->ops_port);
    warn_if_fixed("CODEBUDDY_RUN_DIR", strcmp(now->run_dir, next->run_dir) == 0);
    warn_if_fixed("CODEBUDDY_GATEWAYS", now->gateways == next->gateways);
    warn_if_fixed("CODEBUDDY_WORKERS", now->workers == next->workers);
    warn_if_fixed("CODEBUDDY_DRAIN_S", now->drain_s == next->drain_s);
}

/* With bad settings every new process would park: better to keep the old ones. */
static int check_and_reload(struct supervisor *supervisor)
{
    struct settings next;
    int error = settings_load_with_password(&next, environ, ".env");

    if (error == 0)
        warn_of_fixed(supervisor->settings, &next);
    else
        log_error(NULL, "reload_refused",
                  LOG_STR("problem", "the settings will not do; nothing was touched"));
    settings_fini(&next);
    return error < 0 ? error : tree_reload(supervisor->tree);
}

/* A manager that waits for the end of a reload must hear of it, also when nothing was done. */
static int reload(void *context)
{
    struct supervisor *supervisor = context;
    bool tells =
        supervisor->was_ready && !tree_is_reloading(supervisor->tree) && !tree_is_stopping(supervisor->tree);

    if (tells)
        notify_reloading(supervisor->notify);
    int error = check_and_reload(supervisor);
    if (tells && error < 0)
        notify_ready(supervisor->notify);
    return error;
}

static void on_reloaded(void *context, bool whole)
{
    struct supervisor *supervisor = context;

    control_tell_reloaded(supervisor->control, whole);
    if (supervisor->was_ready && !tree_is_stopping(supervisor->tree))
        notify_ready(supervisor->notify);
    if (!supervisor->reload_again || tree_is_stopping(supervisor->tree))
        return;
    supervisor->reload_again = false;
    reload(supervisor);
}

static void stop(struct supervisor *supervisor, bool at_once)
{
    notify_stopping(supervisor->notify, supervisor->settings->drain_s * 1000 + STOP_GRACE_MS);
    tree_stop(supervisor->tree, at_once);
}

static void on_hangup_signal(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;

    (void)number;
    if (supervisor->stops_on_hangup && !process_has_terminal()) {
        log_info(NULL, "terminal_closed");
        stop(supervisor, false);
    } else if (reload(supervisor) == ERR_BUSY) {
        supervisor->reload_again = true; /* settings may have changed behind the reload that runs */
    }
}

/* ---- stop ---- */

static void on_stop_command(void *context)
{
    struct supervisor *supervisor = context;

    log_info(NULL, "stopping", LOG_STR("by", "command"));
    stop(supervisor, false);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;
    bool at_once = tree_is_stopping(supervisor->tree);

    log_info(NULL, at_once ? "stopping_at_once" : "stopping",
             LOG_STR("by", number == SIGINT ? "SIGINT" : "SIGTERM"));
    stop(supervisor, at_once);
}

static void on_gone(void *context)
{
    struct supervisor *supervisor = context;

    uv_stop(&supervisor->loop);
}

/* ---- life ---- */

static void start_signals(struct supervisor *supervisor)
{
    uv_signal_init(&supervisor->loop, &supervisor->on_term);
    uv_signal_init(&supervisor->loop, &supervisor->on_int);
    uv_signal_init(&supervisor->loop, &supervisor->on_hup);
    supervisor->on_term.data = supervisor->on_int.data = supervisor->on_hup.data = supervisor;
    uv_signal_start(&supervisor->on_term, on_stop_signal, SIGTERM);
    uv_signal_start(&supervisor->on_int, on_stop_signal, SIGINT);
    uv_signal_start(&supervisor->on_hup, on_hangup_signal, SIGHUP);
}

static int listen_on_ports(struct supervisor *supervisor)
{
    const struct settings *settings = supervisor->settings;

    supervisor->http_fd = listen_open(settings->host, settings->port);
    if (supervisor->http_fd >= 0)
        supervisor->ops_fd = listen_open(settings->ops_host, settings->ops_port);
    if (supervisor->ops_fd < 0)
        return ERR_IO;
    format_url(supervisor->api_url, sizeof(supervisor->api_url), *settings->tls_cert_file ? "https" : "http",
               settings->host, listen_port(supervisor->http_fd));
    format_url(supervisor->ops_url, sizeof(supervisor->ops_url), "http", settings->ops_host,
               listen_port(supervisor->ops_fd));
    return 0;
}

/* A child that starts after .env was edited must still meet the others. */
static void fix_variables(struct supervisor *supervisor)
{
    snprintf(supervisor->run_dir_variable, sizeof(supervisor->run_dir_variable), "CODEBUDDY_RUN_DIR=%s",
             supervisor->settings->run_dir);
    snprintf(supervisor->gateways_variable, sizeof(supervisor->gateways_variable),
             "CODEBUDDY_GATEWAYS=%" PRId64, supervisor->settings->gateways);
    supervisor->variables[0] = supervisor->run_dir_variable;
    supervisor->variables[1] = supervisor->gateways_variable;
}

static struct tree *make_tree(struct supervisor *supervisor)
{
    struct tree_options options = {.directory = supervisor->directory,
                                   .gateways_count = (int)supervisor->settings->gateways,
                                   .workers_count = (int)supervisor->settings->workers,
                                   .gateways_overlap = !*supervisor->settings->gateway_bind,
                                   .http_fd = supervisor->http_fd,
                                   .ops_fd = supervisor->ops_fd,
                                   .lock_fd = rundir_tree_fd(supervisor->rundir),
                                   .variables = supervisor->variables,
                                   .limits = supervise_limits_default,
                                   .on_change = on_change,
                                   .on_ready = on_ready,
                                   .on_reloaded = on_reloaded,
                                   .on_gone = on_gone,
                                   .context = supervisor};

    options.limits.drain_ms += supervisor->settings->drain_s * 1000;
    return tree_new(&supervisor->loop, &options);
}

static int acquire(struct supervisor *supervisor)
{
    const struct control_options control_options = {.run_dir = supervisor->settings->run_dir,
                                                    .status = on_status,
                                                    .reload = reload,
                                                    .stop = on_stop_command,
                                                    .context = supervisor};
    const struct notify_options notify_options = {is_healthy, supervisor};
    int error = process_find_directory(supervisor->directory, sizeof(supervisor->directory));

    if (error == 0)
        error = rundir_make("CODEBUDDY_DATA_DIR", supervisor->settings->data_dir);
    if (error == 0)
        error = rundir_make("CODEBUDDY_CREDS_DIR", supervisor->settings->creds_dir);
    if (error == 0)
        error = listen_on_ports(supervisor);
    if (error < 0)
        return error;
    fix_variables(supervisor);
    supervisor->tree = make_tree(supervisor);
    if (!supervisor->tree)
        return ERR_NOMEM;
    supervisor->notify = notify_open(&supervisor->loop, &notify_options);
    supervisor->reaper = reaper_new(&supervisor->loop, is_ours, supervisor);
    if (!supervisor->notify || !supervisor->reaper)
        return ERR_NOMEM;
    supervisor->control = control_open(&supervisor->loop, &control_options);
    return supervisor->control ? 0 : ERR_IO;
}

int supervisor_new(const struct settings *settings, struct rundir *rundir,
                   struct supervisor **supervisor_pointer)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    int error;

    if (!supervisor || uv_loop_init(&supervisor->loop) < 0) {
        log_error(NULL, "out_of_memory");
        rundir_release(&rundir);
        free(supervisor);
        return ERR_NOMEM;
    }
    supervisor->settings = settings;
    supervisor->rundir = rundir;
    supervisor->http_fd = supervisor->ops_fd = -1;
    supervisor->ready_fd = process_inherited_fd("SUPERVISOR_READY_FD");
    supervisor->started_ms = clock_now_ms();
    supervisor->started_wall_ms = clock_wall_ms();
    supervisor->stops_on_hangup = process_stops_on_hangup();
    start_signals(supervisor);
    error = acquire(supervisor);
    if (error < 0)
        supervisor_free(&supervisor);
    *supervisor_pointer = supervisor;
    return error;
}

int supervisor_run(struct supervisor *supervisor)
{
    log_info(NULL, "starting", LOG_STR("version", CB_VERSION), LOG_STR("api", supervisor->api_url),
             LOG_STR("ops", supervisor->ops_url), LOG_STR("run_dir", supervisor->settings->run_dir),
             LOG_INT("gateways", supervisor->settings->gateways),
             LOG_INT("workers", supervisor->settings->workers));
    tree_start(supervisor->tree);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    log_info(NULL, "stopped");
    return EXIT_OK;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void supervisor_free(struct supervisor **supervisor_pointer)
{
    struct supervisor *supervisor = *supervisor_pointer;

    *supervisor_pointer = NULL;
    if (!supervisor)
        return;
    notify_close(&supervisor->notify);
    reaper_free(&supervisor->reaper);
    tree_free(&supervisor->tree);
    close_fd(supervisor->http_fd);
    close_fd(supervisor->ops_fd);
    close_fd(supervisor->ready_fd);
    if (supervisor->control)
        control_stop_listening(supervisor->control);
    rundir_release(&supervisor->rundir);
    control_free(&supervisor->control);
    uv_close((uv_handle_t *)&supervisor->on_term, NULL);
    uv_close((uv_handle_t *)&supervisor->on_int, NULL);
    uv_close((uv_handle_t *)&supervisor->on_hup, NULL);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT); /* closes the handles */
    int error = uv_loop_close(&supervisor->loop);
    assert(error == 0);
    free(supervisor);
}
