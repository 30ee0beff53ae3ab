/* SPDX-License-Identifier: MIT */
#include "proto/link_socket.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link_keys.h"
#include "proto/log.h"

#include <czmq.h>
#include <malloc.h>
#include <sodium.h>

enum {
    MESSAGES_PER_PUMP = 128,  /* one busy peer may not starve the rest of the loop… */
    BYTES_PER_PUMP = 1 << 20, /* … nor with what is large: a train of 512 KiB takes half a millisecond */
    HIGH_WATER_MARK =
        100000, /* trains to one peer; flow control keeps far below, past it the peer counts as lost */
    MAX_TRAIN_BYTES = 8 << 20,   /* a stranger may not make us allocate more */
    HAND_OVER_BYTES = 4096,      /* from here on giving ZeroMQ our buffer is cheaper than a copy */
    KEEP_CAPACITY_BYTES = 16384, /* an empty train buffer keeps at most this */
    RECONNECT_MS = 10,
    RECONNECT_MAX_MS = 100,
    HANDSHAKE_MS = 5000,
    HEARTBEAT_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 4000, /* behind the link's own 3 s, which tells a process that hangs */
    CONNECT_TIMEOUT_MS = 2000,   /* the kernel's own tries come ever more seldom */
    REFUSED_LOG_MS = 10000,
    LINGER_MS = 1000
};

struct link_socket {
    struct service *service;
    const struct link_socket_handlers *handlers;
    void *owner;
    zsock_t *zsock;
    void *handle; /* zsock's libzmq socket */
    void *monitor;
    uv_poll_t poll, monitor_poll;
    int open_polls;
    uint64_t refused;
    int64_t refused_logged_ms;
    bool bound, closed;
    bool is_secret;        /* what is being delivered */
    zmq_msg_t *delivering; /* the message that a handler is being called with */
    size_t pumped_bytes;   /* received in this pump */
    bool unread;           /* the descriptor may be silent though there is something to read */
    bool monitor_armed;    /* the monitor was found empty once: from then on its descriptor speaks */
};

/* ---- CURVE ---- */

static zactor_t *authenticator; /* answers for every bound socket of this process (ZAP is one per context) */

static void authenticator_stop(void)
{
    zactor_destroy(&authenticator);
}

static int authenticator_start(const struct link_keys *keys)
{
    if (authenticator)
        return 0;
    zcertstore_t *allowed = link_keys_allowed(keys);
    if (!allowed)
        return ERR_NOMEM;
    authenticator = zactor_new(zauth, allowed); /* takes the store */
    if (!authenticator)
        return ERR_NOMEM;
    atexit(authenticator_stop);
    return 0;
}

static int apply_keys(struct link_socket *socket, const struct link_keys *keys, const char *server_role)
{
    zcert_apply(link_keys_own(keys), socket->zsock);
    if (socket->bound) {
        zsock_set_zap_domain(socket->zsock, "links");
        zsock_set_curve_server(socket->zsock, 1);
        return authenticator_start(keys);
    }
    const char *server_key = link_keys_server(keys, server_role);
    if (!server_key) {
        log_error(NULL, "bad_link_keys", LOG_STR("problem", "names no key of that server"),
                  LOG_STR("server", server_role));
        return ERR_CONFIG;
    }
    zsock_set_curve_serverkey(socket->zsock, server_key);
    return 0;
}

/* ipc:// is protected by its directory's mode; tcp:// by keys, which settings_check requires off loopback. */
static int apply_curve(struct link_socket *socket, const char *endpoint, const char *server_role)
{
    const char *dir = service_settings(socket->service)->link_keys_dir;
    if (!*dir || !span_starts_with(span_str(endpoint), SPAN("tcp://")))
        return 0;
    struct link_keys *keys = link_keys_load(dir, service_role(socket->service));
    if (!keys)
        return ERR_CONFIG;
    int error = apply_keys(socket, keys, server_role);
    link_keys_free(&keys);
    return error;
}

/* ---- monitor ---- */

/* One monitor event: frame 1 is u16 event, u32 value (host order); frame 2 the address. False when dry. */
static bool monitor_read(struct link_socket *socket, uint16_t *event, uint32_t *value)
{
    zmq_msg_t part;
    bool got = false;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket->monitor, ZMQ_DONTWAIT) >= 0 && zmq_msg_size(&part) == 6) {
        const char *data = zmq_msg_data(&part);
        memcpy(event, data, sizeof *event);
        memcpy(value, data + sizeof *event, sizeof *value);
        got = true;
        while (zmq_msg_more(&part) && zmq_msg_recv(&part, socket->monitor, ZMQ_DONTWAIT) >= 0)
            ;
    }
    zmq_msg_close(&part);
    return got;
}

/* Somebody without the right key, or who speaks something else. They may come back ten times a second. */
static void on_refused(struct link_socket *socket, uint32_t detail)
{
    int64_t now_ms = clock_now_ms();
    socket->refused++;
    socket->handlers->refused(socket->owner);
    if (socket->refused > 1 && now_ms - socket->refused_logged_ms < REFUSED_LOG_MS)
        return;
    socket->refused_logged_ms = now_ms;
    log_warning(NULL, "link_handshake_failed", LOG_INT("detail", detail),
                LOG_INT("so_far", (int64_t)socket->refused));
}

static void monitor_pump(struct link_socket *socket)
{
    uint16_t event;
    uint32_t value;
    while (!socket->closed && monitor_read(socket, &event, &value)) {
        if (event == ZMQ_EVENT_DISCONNECTED)
            socket->handlers->disconnected(socket->owner, (int)value);
        else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && !socket->bound)
            socket->handlers->connected(socket->owner);
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            on_refused(socket, value);
    }
}

/* ---- receiving ---- */

static bool receive_part(struct link_socket *socket, zmq_msg_t *part)
{
    zmq_msg_init(part);
    if (zmq_msg_recv(part, socket->handle, ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(part);
    return false;
}

static void deliver(struct link_socket *socket, struct span routing_id, zmq_msg_t *part)
{
    int fd = zmq_msg_get(part, ZMQ_SRCFD);
    if (socket->closed)
        return;
    socket->delivering = part;
    socket->handlers->message(socket->owner, routing_id, fd, span_of(zmq_msg_data(part), zmq_msg_size(part)));
    socket->delivering = NULL;
    if (socket->is_secret) /* ours alone: ZeroMQ reads ahead into other bytes of the same block */
        sodium_memzero(zmq_msg_data(part), zmq_msg_size(part));
    socket->is_secret = false;
}

void link_socket_wipe_delivered(struct link_socket *socket)
{
    socket->is_secret = true;
}

/* Receives and hands on one message. False when there is none. */
static bool receive_message(struct link_socket *socket)
{
    char id[ROUTING_ID_MAX_BYTES];
    struct span routing_id = {id, 0};
    zmq_msg_t part;
    if (!receive_part(socket, &part))
        return false;
    if (socket->bound) {
        size_t length = zmq_msg_size(&part);
        bool usable = length <= sizeof id && zmq_msg_more(&part);
        if (usable)
            memcpy(id, zmq_msg_data(&part), length);
        routing_id.length = usable ? length : 0;
        zmq_msg_close(&part);
        if (!receive_part(socket, &part))
            return true; /* an identity alone: nothing to hand on */
    }
    bool more = zmq_msg_more(&part);
    socket->pumped_bytes += zmq_msg_size(&part);
    if (!more && (!socket->bound || routing_id.length > 0))
        deliver(socket, routing_id, &part);
    zmq_msg_close(&part);
    while (more && receive_part(socket, &part)) { /* a peer of ours never sends several parts: drop them */
        more = zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
    return true;
}

const char *link_socket_sender_role(struct link_socket *socket)
{
    return socket->delivering ? zmq_msg_gets(socket->delivering, LINK_KEYS_ROLE) : NULL;
}

bool link_socket_pump(struct link_socket *socket)
{
    if (!socket->monitor_armed) {
        socket->monitor_armed = true;
        monitor_pump(socket);
    }
    socket->pumped_bytes = 0;
    for (int i = 0; socket->unread && i < MESSAGES_PER_PUMP && socket->pumped_bytes < BYTES_PER_PUMP; i++)
        socket->unread = !socket->closed && receive_message(socket);
    return socket->unread;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct link_socket *socket = poll->data;
    (void)status;
    (void)events;
    socket->unread = true;
    if (!socket->closed)
        link_socket_pump(socket); /* what is left is found by the end of turn */
}

void link_socket_settle(struct link_socket *socket)
{
    monitor_pump(socket);
}

static void on_monitor_readable(uv_poll_t *poll, int status, int events)
{
    struct link_socket *socket = poll->data;
    (void)status;
    (void)events;
    monitor_pump(socket);
}

/* ---- sending ---- */

static void free_handed_over(void *data, void *hint)
{
    (void)hint;
    free(data); /* on ZeroMQ's thread */
}

static void free_secret(void *data, void *hint)
{
    (void)hint;
    sodium_memzero(data, malloc_usable_size(data));
    free(data);
}

static int message_from_train(zmq_msg_t *message, struct buffer *train)
{
    if (train->length >= HAND_OVER_BYTES || train->is_secret) {
        zmq_free_fn *release = train->is_secret ? free_secret : free_handed_over;
        if (zmq_msg_init_data(message, train->data, train->length, release, NULL) < 0)
            return ERR_NOMEM;
        *train = (struct buffer){0};
        return 0;
    }
    if (zmq_msg_init_size(message, train->length) < 0)
        return ERR_NOMEM;
    memcpy(zmq_msg_data(message), train->data, train->length);
    buffer_clear(train);
    if (train->capacity > KEEP_CAPACITY_BYTES)
        buffer_fini(train);
    return 0;
}

int link_socket_send(struct link_socket *socket, struct span routing_id, struct buffer *train)
{
    zmq_msg_t message;
    socket->unread = true; /* sending may take the descriptor's signal for itself */
    if (message_from_train(&message, train) < 0)
        return ERR_PEER_GONE;
    if (routing_id.length > 0 &&
        zmq_send(socket->handle, routing_id.data, routing_id.length, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        return ERR_PEER_GONE;
    }
    if (zmq_msg_send(&message, socket->handle, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        return ERR_PEER_GONE;
    }
    return 0;
}

/* ---- life ---- */

static int start_monitor(struct link_socket *socket)
{
    static unsigned number;
    char address[64];
    snprintf(address, sizeof address, "inproc://link-monitor-%u", ++number);
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    if (zmq_socket_monitor(socket->handle, address, events) < 0)
        return ERR_IO;
    socket->monitor = zmq_socket(zsys_init(), ZMQ_PAIR);
    int none = 0;
    if (!socket->monitor || zmq_setsockopt(socket->monitor, ZMQ_LINGER, &none, sizeof none) < 0)
        return ERR_NOMEM;
    return zmq_connect(socket->monitor, address) < 0 ? ERR_IO : 0;
}

static int watch(struct link_socket *socket, uv_poll_t *poll, void *handle, uv_poll_cb callback)
{
    int fd;
    size_t length = sizeof fd;
    if (zmq_getsockopt(handle, ZMQ_FD, &fd, &length) < 0 ||
        uv_poll_init(service_loop(socket->service), poll, fd) < 0)
        return ERR_IO;
    poll->data = socket;
    socket->open_polls++;
    return uv_poll_start(poll, UV_READABLE, callback) < 0 ? ERR_IO : 0;
}

static void set_options(struct link_socket *socket, bool is_tcp)
{
    zsock_set_linger(socket->zsock, LINGER_MS);
    zsock_set_sndhwm(socket->zsock, HIGH_WATER_MARK);
    zsock_set_rcvhwm(socket->zsock, HIGH_WATER_MARK);
    zsock_set_handshake_ivl(socket->zsock, HANDSHAKE_MS);
    zsock_set_maxmsgsize(socket->zsock, MAX_TRAIN_BYTES);
    zsock_set_ipv6(socket->zsock, 1);
    if (is_tcp) { /* a host or a cable that is gone says nothing: both ends give up, and connect anew */
        zsock_set_heartbeat_ivl(socket->zsock, HEARTBEAT_MS);
        zsock_set_heartbeat_timeout(socket->zsock, HEARTBEAT_TIMEOUT_MS);
        zsock_set_connect_timeout(socket->zsock, CONNECT_TIMEOUT_MS);
    }
    if (socket->bound) {
        zsock_set_router_mandatory(socket->zsock, 1);
    } else {
        zsock_set_immediate(socket->zsock, 1);
        zsock_set_reconnect_ivl(socket->zsock, RECONNECT_MS);
        zsock_set_reconnect_ivl_max(socket->zsock, RECONNECT_MAX_MS);
    }
}

static void warm_up(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    zsys_handler_set(NULL); /* signals are the service's */
    zsys_set_logsystem(false);
}

struct link_socket *link_socket_open(struct service *service, const char *endpoint, const char *server_role,
                                     const struct link_socket_handlers *handlers, void *owner)
{
    bool bound = !server_role;
    warm_up();
    struct link_socket *socket = calloc(1, sizeof *socket);
    if (!socket)
        return NULL;
    *socket = (struct link_socket){
        .service = service, .handlers = handlers, .owner = owner, .bound = bound, .unread = true};
    socket->zsock = zsock_new(bound ? ZMQ_ROUTER : ZMQ_DEALER);
    socket->handle = socket->zsock ? zsock_resolve(socket->zsock) : NULL;
    int error = socket->handle ? 0 : ERR_NOMEM;
    if (error == 0) {
        set_options(socket, span_starts_with(span_str(endpoint), SPAN("tcp://")));
        error = apply_curve(socket, endpoint, server_role);
    }
    if (error == 0)
        error = start_monitor(socket);
    if (error == 0)
        error = watch(socket, &socket->poll, socket->handle, on_readable);
    if (error == 0)
        error = watch(socket, &socket->monitor_poll, socket->monitor, on_monitor_readable);
    if (error == 0 &&
        (bound ? zmq_bind(socket->handle, endpoint) : zmq_connect(socket->handle, endpoint)) < 0) {
        log_error(NULL, "link_open_failed", LOG_STR("endpoint", endpoint),
                  LOG_STR("problem", zmq_strerror(zmq_errno())));
        error = ERR_IO;
    }
    if (error < 0) {
        log_error(NULL, "link_failed", LOG_STR("endpoint", endpoint), LOG_STR("problem", error_text(error)));
        link_socket_close(&socket);
    }
    return socket;
}

static void socket_free(struct link_socket *socket)
{
    if (socket->handle)
        zmq_socket_monitor(socket->handle, NULL, 0);
    if (socket->monitor)
        zmq_close(socket->monitor);
    zsock_destroy(&socket->zsock);
    free(socket);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct link_socket *socket = handle->data;
    if (--socket->open_polls == 0)
        socket_free(socket);
}

void link_socket_close(struct link_socket **socket_pointer)
{
    struct link_socket *socket = *socket_pointer;
    *socket_pointer = NULL;
    if (!socket || socket->closed)
        return;
    socket->closed = true;
    int polls = socket->open_polls;
    if (polls > 0)
        uv_close((uv_handle_t *)&socket->poll, on_poll_closed);
    if (polls > 1)
        uv_close((uv_handle_t *)&socket->monitor_poll, on_poll_closed);
    if (polls == 0)
        socket_free(socket);
}
