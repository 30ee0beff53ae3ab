/* SPDX-License-Identifier: MIT */
#include "gateway/gateway.h"
#include "gateway/assets.h"
#include "gateway/auth.h"
#include "gateway/completions.h"
#include "gateway/front.h"
#include "gateway/live_feed.h"
#include "gateway/metrics.h"
#include "gateway/rpc.h"
#include "proto/error.h"
#include "proto/follow.h"
#include "proto/log.h"

#include <sodium.h>
#include <stdlib.h>

/* Gauges are read for as long as the loop turns, also while the parts are being freed. */
static struct completions_census census(const struct gateway *gateway)
{
    struct completions_census none = {0};
    return gateway->completions ? completions_count(gateway->completions) : none;
}

static int64_t read_streams(void *context)
{
    return (int64_t)census(context).in_flight;
}

static int64_t read_waiting(void *context)
{
    return (int64_t)census(context).waiting;
}

static int64_t read_workers(void *context)
{
    return (int64_t)census(context).accepting;
}

static int64_t read_connections(void *context)
{
    const struct gateway *gateway = context;
    return gateway->front ? (int64_t)front_connection_count(gateway->front) : 0;
}

enum { OPEN_AFTER_MS = 700 /* links are back within 100 ms; with nobody there, we answer all the same */ };

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void stop_opening(struct gateway *gateway)
{
    if (gateway->opening)
        uv_close((uv_handle_t *)gateway->opening, free_handle);
    gateway->opening = NULL;
}

static void open_now(struct gateway *gateway)
{
    stop_opening(gateway);
    front_open(gateway->front);
    service_ready(gateway->service);
}

static void on_open_limit(uv_timer_t *timer)
{
    open_now(timer->data);
}

static void open_if_able(struct gateway *gateway)
{
    if (gateway->opening && gateway->has_state && census(gateway).accepting > 0)
        open_now(gateway);
}

void gateway_worker_available(struct gateway *gateway)
{
    open_if_able(gateway);
}

/* Workers come and go, and are waited for; but without credd we know no API key. */
static const char *missing(void *context)
{
    const struct gateway *gateway = context;
    return gateway->has_state ? NULL : "nothing heard from credd yet";
}

static int start_opening(struct gateway *gateway)
{
    gateway->opening = calloc(1, sizeof *gateway->opening);
    if (!gateway->opening)
        return ERR_NOMEM;
    uv_timer_init(service_loop(gateway->service), gateway->opening);
    gateway->opening->data = gateway;
    uv_timer_start(gateway->opening, on_open_limit, OPEN_AFTER_MS, 0);
    return 0;
}

static void on_state(void *context, const json_t *state)
{
    struct gateway *gateway = context;
    auth_take_state(gateway->auth, state);
    gateway->has_state = true;
    open_if_able(gateway);
}

static void on_drain(void *context)
{
    struct gateway *gateway = context;
    live_feed_end(gateway->live_feed);
    stop_opening(gateway);
    front_drain(gateway->front);
    reporter_hold_drain(gateway->reporter);
}

/* Without the page all the rest works, so that is no reason not to start. */
static void load_page(struct gateway *gateway)
{
    char reason[256];
    const char *directory = gateway->settings->web_dir;
    if (*directory)
        gateway->assets = assets_load(directory, reason, sizeof reason);
    if (gateway->assets)
        log_info(NULL, "page_loaded", LOG_STR("directory", directory),
                 LOG_INT("files", assets_count(gateway->assets)));
    else if (*directory)
        log_warning(NULL, "page_missing", LOG_STR("directory", directory), LOG_STR("problem", reason));
    else
        log_info(NULL, "page_missing", LOG_STR("problem", "it was not built"));
}

struct gateway *gateway_new(struct service *service)
{
    unsigned char random[16];
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway)
        return NULL;
    gateway->service = service;
    gateway->live = live_new(service_settings(service));
    if (!gateway->live)
        goto failed;
    gateway->settings = live_settings(gateway->live);
    randombytes_buf(random, sizeof random);
    gateway->reporter = reporter_new(service);
    gateway->metrics = metrics_new(&gateway->reporter);
    gateway->auth = auth_new(&gateway->settings->password, random);
    gateway->statsd = rpc_new(service, "statsd", gateway->settings->statsd_endpoint);
    gateway->credd = rpc_new(service, "credd", gateway->settings->credd_endpoint);
    if (!gateway->reporter || !gateway->metrics || !gateway->auth || !gateway->statsd || !gateway->credd)
        goto failed;
    gateway->follow = follow_new(service, gateway->live, on_state, gateway);
    if (!gateway->follow)
        goto failed;
    load_page(gateway);
    gateway->completions = completions_new(gateway);
    gateway->live_feed = gateway->completions ? live_feed_new(gateway) : NULL;
    gateway->front = gateway->live_feed ? front_new(gateway) : NULL;
    if (!gateway->front)
        goto failed;
    reporter_watch_link(gateway->reporter, "workers", completions_link(gateway->completions));
    reporter_watch_link(gateway->reporter, "statsd_calls", rpc_link(gateway->statsd));
    reporter_watch_link(gateway->reporter, "credd_calls", rpc_link(gateway->credd));
    reporter_watch_link(gateway->reporter, "follow", follow_link(gateway->follow));
    service_report_gauge(service, "streams", read_streams, gateway);
    service_report_gauge(service, "waiting", read_waiting, gateway);
    service_report_gauge(service, "workers_ready", read_workers, gateway);
    service_report_gauge(service, "connections", read_connections, gateway);
    service_on_drain(service, on_drain, gateway);
    service_on_health(service, missing, gateway);
    if (start_opening(gateway) < 0)
        goto failed;
    return gateway;
failed:
    gateway_free(&gateway);
    return NULL;
}

void gateway_free(struct gateway **gateway_pointer)
{
    struct gateway *gateway = *gateway_pointer;
    *gateway_pointer = NULL;
    if (!gateway)
        return;
    stop_opening(gateway);
    completions_abort_all(gateway->completions);
    live_feed_abort_all(gateway->live_feed);
    front_free(&gateway->front);
    live_feed_free(&gateway->live_feed);
    reporter_free(&gateway->reporter); /* it watches the links below */
    completions_free(&gateway->completions);
    follow_free(&gateway->follow);
    rpc_free(&gateway->credd);
    rpc_free(&gateway->statsd);
    auth_free(&gateway->auth);
    metrics_free(&gateway->metrics);
    assets_free(&gateway->assets);
    live_free(&gateway->live);
    free(gateway);
}
