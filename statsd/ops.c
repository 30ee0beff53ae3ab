/* SPDX-License-Identifier: MIT */
#include "statsd/ops.h"
#include "proto/error.h"
#include "proto/failure.h"
#include "proto/log.h"
#include "statsd/exposition.h"
#include "statsd/readiness.h"

#include <h2o.h>
#include <netdb.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    MAX_CONNECTIONS = 64,
    BACKLOG = 64,
    HEAD_TIMEOUT_MS = 10000,
    MAX_BODY_BYTES = 4096 /* nobody has a reason to send one */
};

struct ops_connection {
    uv_tcp_t tcp; /* first: its address is the handle's */
    struct ops *ops;
    h2o_socket_t *socket;
    struct ops_connection *prev, *next;
};

struct ops_handler {
    h2o_handler_t h2o;
    struct ops *ops;
};

struct ops {
    struct service *service;
    const struct hub *hub;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    uv_tcp_t listener;
    struct ops_connection *connections;
    unsigned connection_count;
    unsigned open_handles; /* the listener's, and those of connections */
};

/* ---- answers ---- */

struct answer {
    uint16_t status;
    const char *content_type;
    struct buffer body;
};

static int answer_metrics(struct ops *ops, h2o_req_t *req, struct answer *answer)
{
    ssize_t index = h2o_find_header(&req->headers, H2O_TOKEN_ACCEPT, -1);
    struct span accept = {0};
    if (index >= 0)
        accept = span_of(req->headers.entries[index].value.base, req->headers.entries[index].value.len);
    enum exposition_format format = exposition_negotiate(accept);
    answer->content_type = exposition_content_type(format);
    return exposition_write(&answer->body, format, hub_totals(ops->hub), hub_registry(ops->hub));
}

/* That it is answered is the answer: the loop turns. */
static int answer_livez(struct ops *ops, h2o_req_t *req, struct answer *answer)
{
    (void)ops;
    (void)req;
    return buffer_append_span(&answer->body, SPAN("{\"status\":\"live\"}"));
}

static int answer_readyz(struct ops *ops, h2o_req_t *req, struct answer *answer)
{
    bool ready;
    (void)req;
    int error =
        readiness_write(&answer->body, hub_registry(ops->hub), hub_ledger_is_failing(ops->hub), &ready);
    answer->status = ready ? 200 : 503;
    return error;
}

static const struct {
    struct span path;
    int (*answer)(struct ops *ops, h2o_req_t *req, struct answer *answer);
} routes[] = {
    {SPAN("/metrics"), answer_metrics}, {SPAN("/livez"), answer_livez}, {SPAN("/readyz"), answer_readyz}};

static int answer_failure(struct answer *answer, enum failure failure)
{
    buffer_clear(&answer->body);
    answer->status = failure_status(failure);
    answer->content_type = "application/json";
    return failure_append_json(&answer->body, failure, SPAN(""), SPAN(""), SPAN(""), SPAN(""));
}

static int answer_request(struct ops *ops, h2o_req_t *req, struct answer *answer)
{
    struct span path = span_of(req->path_normalized.base, req->path_normalized.len);
    struct span method = span_of(req->method.base, req->method.len);
    bool is_read = span_equals(method, SPAN("GET")) || span_equals(method, SPAN("HEAD"));
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!span_equals(path, routes[i].path))
            continue;
        if (is_read)
            return routes[i].answer(ops, req, answer);
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("allow"), 0, NULL,
                              H2O_STRLIT("GET, HEAD"));
        return answer_failure(answer, FAILURE_METHOD_NOT_ALLOWED);
    }
    return answer_failure(answer, FAILURE_NOT_FOUND);
}

static const char *reason_of(uint16_t status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static void send_answer(h2o_req_t *req, const struct answer *answer)
{
    unsigned char random[16];
    char *id = h2o_mem_alloc_pool(&req->pool, 2 * sizeof random + 1);
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(id, 2 * sizeof random + 1, random, sizeof random);
    req->res.status = answer->status;
    req->res.reason = reason_of(answer->status);
    req->res.content_length = answer->body.length;
    req->http1_is_persistent =
        0; /* a probe comes every few seconds: nothing is gained, and draining is easy */
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, answer->content_type,
                   strlen(answer->content_type));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL, H2O_STRLIT("no-store"));
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-request-id"), 0, NULL, id,
                          2 * sizeof random);
    h2o_send_inline(req, answer->body.data ? answer->body.data : "", answer->body.length); /* copies */
    log_debug(id, "ops_request", LOG_SPAN("path", span_of(req->path.base, req->path.len)),
              LOG_INT("status", answer->status));
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct ops *ops = ((struct ops_handler *)(void *)handler)->ops;
    struct answer answer = {200, "application/json", {0}};
    if (answer_request(ops, req, &answer) < 0 && answer_failure(&answer, FAILURE_INTERNAL) < 0)
        buffer_clear(&answer.body); /* not even that: the status says it */
    send_answer(req, &answer);
    buffer_fini(&answer.body);
    return 0;
}

/* ---- connections ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct ops_connection *connection = (struct ops_connection *)(void *)handle;
    connection->ops->open_handles--;
    free(connection);
}

static void on_socket_closed(void *data)
{
    struct ops_connection *connection = data;
    DL_DELETE(connection->ops->connections, connection);
    connection->ops->connection_count--;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct ops *ops = listener->data;
    if (status < 0)
        return; /* out of descriptors: libuv tries again */
    struct ops_connection *connection = calloc(1, sizeof *connection);
    if (!connection || uv_tcp_init(listener->loop, &connection->tcp) < 0) {
        free(connection); /* the client waits in the kernel's queue */
        return;
    }
    connection->ops = ops;
    ops->open_handles++;
    if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0 ||
        ops->connection_count >= MAX_CONNECTIONS) {
        uv_close((uv_handle_t *)&connection->tcp, on_handle_closed);
        return;
    }
    ops->connection_count++;
    DL_APPEND(ops->connections, connection);
    connection->socket = h2o_uv_socket_create((uv_stream_t *)&connection->tcp, on_handle_closed);
    connection->socket->on_close.cb = on_socket_closed;
    connection->socket->on_close.data = connection;
    h2o_accept(&ops->accept, connection->socket);
}

/* ---- life ---- */

static void log_listening(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    char host[64] = "", port[16] = "";
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    log_info(NULL, "ops_listening", LOG_STR("host", host), LOG_STR("port", port));
}

static void setup_h2o(struct ops *ops)
{
    h2o_config_init(&ops->config);
    ops->config.server_name = h2o_iovec_init(NULL, 0);
    ops->config.max_request_entity_size = MAX_BODY_BYTES;
    ops->config.http1.req_timeout = HEAD_TIMEOUT_MS;
    ops->config.http1.upgrade_to_http2 = 0;
    h2o_hostconf_t *host = h2o_config_register_host(&ops->config, h2o_iovec_init(H2O_STRLIT("ops")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct ops_handler *handler = (struct ops_handler *)(void *)h2o_create_handler(path, sizeof *handler);
    handler->h2o.on_req = on_request;
    handler->ops = ops;
    h2o_context_init(&ops->context, service_loop(ops->service), &ops->config);
    ops->accept.ctx = &ops->context;
    ops->accept.hosts = ops->config.hosts;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct ops *ops = handle->data;
    ops->open_handles--;
}

struct ops *ops_open(struct service *service, const struct hub *hub)
{
    const struct settings *settings = service_settings(service);
    int fd = service_listen(service, "ops", settings->ops_host, settings->ops_port);
    if (fd < 0)
        return NULL;
    struct ops *ops = calloc(1, sizeof *ops);
    if (!ops) {
        close(fd);
        return NULL;
    }
    ops->service = service;
    ops->hub = hub;
    setup_h2o(ops);
    int error = uv_tcp_init(service_loop(service), &ops->listener);
    ops->listener.data = ops;
    ops->open_handles = 1;
    if (error == 0 && (error = uv_tcp_open(&ops->listener, fd)) < 0)
        close(fd);
    if (error == 0)
        error = uv_listen((uv_stream_t *)&ops->listener, BACKLOG, on_connection);
    if (error < 0) {
        log_error(NULL, "ops_not_listening", LOG_STR("problem", uv_strerror(error)));
        ops_close(&ops);
        return NULL;
    }
    log_listening(fd);
    return ops;
}

void ops_close(struct ops **ops_pointer)
{
    struct ops *ops = *ops_pointer;
    *ops_pointer = NULL;
    if (!ops)
        return;
    uv_loop_t *loop = service_loop(ops->service);
    struct ops_connection *connection;
    uv_close((uv_handle_t *)&ops->listener, on_listener_closed);
    DL_FOREACH (ops->connections, connection) {
        shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR); /* h2o sees the end and closes */
    }
    while (ops->open_handles > 0)
        uv_run(loop, UV_RUN_ONCE);
    h2o_context_dispose(&ops->context);
    h2o_config_dispose(&ops->config);
    uv_run(loop, UV_RUN_NOWAIT); /* h2o's timers are inside the context: their close must be over */
    free(ops);
}
