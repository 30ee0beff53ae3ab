/* SPDX-License-Identifier: MIT */
#include "gateway/front.h"
#include "gateway/call.h"
#include "gateway/completions.h"
#include "gateway/connection.h"
#include "gateway/cors.h"
#include "gateway/listener.h"
#include "gateway/metrics.h"
#include "gateway/routes.h"
#include "gateway/tls.h"
#include "proto/clock.h"
#include "proto/log.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    GATE_BYTES = 64 << 10, /* bodies up to this are taken before they are judged: the connection lives on */
    OWN_PAGES_BYTES = 1 << 20
};
/* h2o's own limits are out of the way: connection.h has ours. */
static const uint64_t FOREVER_MS = UINT64_C(1) << 40;

/* h2o calls us with the embedded handler only. */
struct front_handler {
    h2o_handler_t h2o;
    struct front *front;
};

struct front {
    struct gateway *gateway;
    h2o_globalconf_t config;
    h2o_context_t context;
    SSL_CTX *tls;
    struct connection_set *connections;
    struct listener *listener;
    bool is_context_made, is_holding;
};

/* ---- judging a head ---- */

static bool is_json(const struct head *head)
{
    struct span type = head_find(head, SPAN("content-type"));
    if (!type.data)
        return true; /* not said; the body will tell */
    const char *end = type.length ? memchr(type.data, ';', type.length) : NULL;
    if (end)
        type.length = (size_t)(end - type.data);
    while (type.length > 0 && (type.data[type.length - 1] == ' ' || type.data[type.length - 1] == '\t'))
        type.length--;
    return span_equals_ignoring_case(type, SPAN("application/json"));
}

/* All that can be said of a request without its body. */
static enum failure judge(struct front *front, const struct connection *connection, const struct head *head,
                          struct route_match *match, struct caller *caller, uint32_t *retry_after_s)
{
    struct gateway *gateway = front->gateway;
    *caller = (struct caller){.is_admin = false};
    enum failure failure = routes_find(head->method, head->path, match);
    if (failure != FAILURE_NONE)
        return failure;
    const struct auth_moment moment = {
        .address = connection_peer(connection), .now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    failure = auth_check(gateway->auth, match->route->audience, head, &moment, caller, retry_after_s);
    if (failure == FAILURE_INVALID_API_KEY)
        metrics_add(gateway->metrics, METRIC_WRONG_PROOFS, 1);
    if (failure != FAILURE_NONE)
        return failure;
    if (match->route->takes_body && !is_json(head))
        return FAILURE_UNSUPPORTED_MEDIA_TYPE;
    return FAILURE_NONE;
}

/* A large body is not taken from somebody who may not, or for nothing. */
static enum failure on_gate(void *owner, struct connection *connection, const struct head *head,
                            uint32_t *retry_after_s)
{
    struct front *front = owner;
    struct route_match match;
    struct caller caller;
    if (head->body == HEAD_BODY_LENGTH && head->content_length <= GATE_BYTES)
        return FAILURE_NONE;
    enum failure failure = judge(front, connection, head, &match, &caller, retry_after_s);
    if (failure == FAILURE_NONE && match.route->takes_body &&
        completions_are_full(front->gateway->completions)) {
        *retry_after_s = 1;
        return FAILURE_OVERLOADED;
    }
    return failure;
}

static void on_refused(void *owner, const struct connection *connection, const struct head *head,
                       const struct access_refusal *refusal)
{
    struct front *front = owner;
    metrics_refusal(front->gateway->metrics, refusal->failure);
    if (front->gateway->settings->access_log)
        access_log_refusal(connection, head, refusal);
}

/* ---- requests ---- */

/* A browser asks whether a page of another origin may call (Fetch, "CORS-preflight request"). */
static void answer_preflight(struct call *call, const struct head *head)
{
    struct span wanted = head_find(head, SPAN("access-control-request-headers"));
    struct buffer methods = {0};
    if (routes_append_allow(&methods, head->path) == 0)
        call_add_header(call, "Access-Control-Allow-Methods", buffer_span(&methods));
    buffer_fini(&methods);
    if (wanted.length > 0 && wanted.length <= 1024 && span_is_header_safe(wanted))
        call_add_header(call, "Access-Control-Allow-Headers", wanted);
    call_add_header(call, "Access-Control-Max-Age", SPAN("600"));
    call_reply(call, 204, NULL, span_of(NULL, 0));
}

static void refuse(struct call *call, const struct head *head, enum failure failure, uint32_t retry_after_s)
{
    struct buffer allow = {0};
    if (failure == FAILURE_METHOD_NOT_ALLOWED && routes_append_allow(&allow, head->path) == 0)
        call_add_header(call, "Allow", buffer_span(&allow));
    buffer_fini(&allow);
    call_fail(call, failure, retry_after_s);
}

static void handle(struct front *front, struct call *call, const struct head *head)
{
    struct route_match match;
    uint32_t retry_after_s = 0;
    enum failure failure = judge(front, call->connection, head, &match, &call->caller, &retry_after_s);
    call->route = match.route;
    if (match.route && match.route->is_model_api)
        call->cors_allow = cors_allow(front->gateway->settings->cors_origins, head);
    bool is_options = span_equals(head->method, SPAN("OPTIONS"));
    if (failure == FAILURE_METHOD_NOT_ALLOWED && is_options && call->cors_allow.length > 0)
        answer_preflight(call, head);
    else if (failure != FAILURE_NONE)
        refuse(call, head, failure, retry_after_s);
    else
        match.route->answer(call, head, match.rest);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct front *front = H2O_STRUCT_FROM_MEMBER(struct front_handler, h2o, handler)->front;
    struct connection *connection = connection_of(req);
    struct head head;
    bool is_clean = connection_head(connection, &head);
    if (!is_clean)
        head = (struct head){.is_http_1_0 = true}; /* nothing of it is believed, and nothing follows it */
    struct call *call = call_new(front->gateway, req, connection, &head);
    if (!is_clean)
        call_fail(call, FAILURE_INVALID_REQUEST, 0);
    else if (req->entity.len > (size_t)front->gateway->settings->max_body_bytes)
        call_fail(call, FAILURE_TOO_LARGE, 0);
    else
        handle(front, call, &head);
    return 0;
}

/* ---- life ---- */

static void release_hold(struct front *front)
{
    if (front->is_holding && connection_set_count(front->connections) == 0) {
        front->is_holding = false;
        service_release(front->gateway->service);
    }
}

static void on_closed(void *owner)
{
    struct front *front = owner;
    listener_on_room(front->listener);
    release_hold(front);
}

static const struct connection_hooks connection_hooks = {on_gate, on_refused, on_closed};

void front_open(struct front *front)
{
    listener_open(front->listener);
}

void front_drain(struct front *front)
{
    listener_free(&front->listener);
    front->is_holding = true;
    service_hold(front->gateway->service);
    connection_set_drain(front->connections);
    release_hold(front);
}

/* A large body's buffer in pages of its own, so that growing it moves them instead of copying it (17 ms for
 * 32 MB) and freeing it gives them back. By itself malloc puts it among the small ones once it has seen some
 * freed, and keeps as much spare. */
static void setup_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, OWN_PAGES_BYTES);
}

static void setup_h2o(struct front *front)
{
    h2o_config_init(&front->config);
    front->config.server_name = h2o_iovec_init(NULL, 0);
    front->config.max_request_entity_size = SIZE_MAX / 2;
    front->config.http1.req_timeout = FOREVER_MS;
    front->config.http1.upgrade_to_http2 = 0;
    /* Without it, h2o keeps large bodies in files under /tmp, created while the loop waits. */
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX;
    h2o_hostconf_t *host =
        h2o_config_register_host(&front->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_chunked_register(path);
    struct front_handler *handler = (struct front_handler *)(void *)h2o_create_handler(path, sizeof *handler);
    handler->front = front;
    handler->h2o.on_req = on_request;
    h2o_context_init(&front->context, service_loop(front->gateway->service), &front->config);
    front->is_context_made = true;
}

struct front *front_new(struct gateway *gateway)
{
    const struct settings *settings = gateway->settings;
    struct front *front = calloc(1, sizeof *front);
    if (!front)
        return NULL;
    front->gateway = gateway;
    if (settings->tls_cert_file[0]) {
        front->tls = tls_context_new(settings->tls_cert_file, settings->tls_key_file);
        if (!front->tls)
            goto failed;
    }
    setup_malloc();
    setup_h2o(front);
    front->connections =
        connection_set_new(gateway->service, &front->context, front->tls, &connection_hooks, front);
    if (!front->connections)
        goto failed;
    front->listener = listener_new(gateway->service,
                                   service_listen(gateway->service, "http", settings->host, settings->port),
                                   front->connections);
    if (front->listener)
        return front;
failed:
    front_free(&front);
    return NULL;
}

void front_free(struct front **front_pointer)
{
    struct front *front = *front_pointer;
    *front_pointer = NULL;
    if (!front)
        return;
    listener_free(&front->listener);
    connection_set_free(&front->connections);
    if (front->is_context_made) {
        h2o_context_dispose(&front->context);
        h2o_config_dispose(&front->config);
    }
    SSL_CTX_free(front->tls);
    free(front);
}

size_t front_connection_count(const struct front *front)
{
    return connection_set_count(front->connections);
}
