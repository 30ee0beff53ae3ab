/* SPDX-License-Identifier: MIT */
#include "gateway/gateway.h"
#include "gateway/auth.h"
#include "gateway/completions.h"
#include "gateway/front.h"
#include "gateway/metrics.h"
#include "gateway/rpc.h"

#include <sodium.h>
#include <stdlib.h>

static int64_t read_streams(void *context)
{
    const struct gateway *gateway = context;
    return (int64_t)completions_count(gateway->completions).in_flight;
}

static int64_t read_waiting(void *context)
{
    const struct gateway *gateway = context;
    return (int64_t)completions_count(gateway->completions).waiting;
}

static int64_t read_workers(void *context)
{
    const struct gateway *gateway = context;
    return (int64_t)completions_count(gateway->completions).accepting;
}

static int64_t read_connections(void *context)
{
    const struct gateway *gateway = context;
    return (int64_t)front_connection_count(gateway->front);
}

static void on_drain(void *context)
{
    struct gateway *gateway = context;
    front_drain(gateway->front);
    reporter_hold_drain(gateway->reporter);
}

struct gateway *gateway_new(struct service *service)
{
    unsigned char random[16];
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway)
        return NULL;
    gateway->service = service;
    gateway->settings = service_settings(service);
    randombytes_buf(random, sizeof random);
    gateway->reporter = reporter_new(service);
    gateway->metrics = metrics_new(gateway->reporter);
    gateway->auth = auth_new(&gateway->settings->password, random);
    gateway->statsd = rpc_new(service, gateway->settings->statsd_endpoint);
    if (!gateway->reporter || !gateway->metrics || !gateway->auth || !gateway->statsd)
        goto failed;
    gateway->completions = completions_new(gateway);
    gateway->front = gateway->completions ? front_new(gateway) : NULL;
    if (!gateway->front)
        goto failed;
    service_report_gauge(service, "streams", read_streams, gateway);
    service_report_gauge(service, "waiting", read_waiting, gateway);
    service_report_gauge(service, "workers_ready", read_workers, gateway);
    service_report_gauge(service, "connections", read_connections, gateway);
    service_on_drain(service, on_drain, gateway);
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
    completions_abort_all(gateway->completions);
    front_free(&gateway->front);
    completions_free(&gateway->completions);
    rpc_free(&gateway->statsd);
    auth_free(&gateway->auth);
    reporter_free(&gateway->reporter);
    metrics_free(&gateway->metrics);
    free(gateway);
}
