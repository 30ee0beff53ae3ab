/* SPDX-License-Identifier: MIT */
#include "gateway/connection.h"
#include "gateway/leave.h"
#include "gateway/refusal.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <h2o/http1.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    LINGER_MS = 2000,
    DRAIN_IDLE_MS = 1000,
    /* A body's buffer grows to its whole size once 1/16 of it is there: no copying after that, and a client
     * cannot make us allocate more than 16 times what it sent. */
    RESERVE_FRACTION = 16,
    RESERVE_SLACK_BYTES = 4096 /* what h2o wants free before each read */
};

enum connection_state {
    STATE_HANDSHAKE,
    STATE_IDLE,
    STATE_HEAD,
    STATE_BODY,
    STATE_REQUEST,
    STATE_ENDED,
    STATE_REFUSING,
    STATE_LINGERING,
    STATE_CLOSING
};

struct connection {
    uv_tcp_t tcp; /* first: libuv's handle is ours */
    struct connection_set *set;
    h2o_socket_t *sock;   /* NULL once closed */
    h2o_socket_cb reader; /* h2o's read callback, which ours stands before; NULL until h2o adopts */
    enum connection_state state;
    bool left;        /* the client's FIN or reset is here */
    bool on_turn;     /* on the list of those to look at when the turn ends */
    bool is_reserved; /* the body's buffer has its final size */
    struct intake intake;
    h2o_timeout_entry_t timer;
    uint64_t unsent_bytes; /* when progress was last looked at */
    struct buffer refusal; /* the error being written */
    void (*on_left)(void *context);
    void *left_context;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
    struct connection *prev, *next;
    struct connection *turn_prev, *turn_next;
};

struct connection_set {
    struct service *service;
    h2o_context_t *h2o;
    h2o_accept_ctx_t accept;
    const struct connection_hooks *hooks;
    void *owner;
    struct intake_limits limits;
    struct leave_watch *leave;
    struct turn_hook *hook;
    h2o_timeout_t header_timeout, body_timeout, idle_timeout, linger_timeout, drain_timeout;
    struct connection *all, *turn;
    size_t count;
    bool draining;
};

static void connection_on_read(h2o_socket_t *sock, const char *err);
static void on_timer(h2o_timeout_entry_t *entry);

/* ---- small things ---- */

static struct connection *from_socket(const h2o_socket_t *sock)
{
    return sock->on_close.data;
}

static void timer_start(struct connection *c, h2o_timeout_t *timeout)
{
    h2o_timeout_unlink(&c->timer);
    c->timer.cb = on_timer;
    h2o_timeout_link(c->set->h2o->loop, timeout, &c->timer);
}

static void timer_stop(struct connection *c)
{
    h2o_timeout_unlink(&c->timer);
}

static void look_at_turn_end(struct connection *c)
{
    if (!c->on_turn)
        DL_APPEND2(c->set->turn, c, turn_prev, turn_next);
    c->on_turn = true;
}

static void forget_turn_end(struct connection *c)
{
    if (c->on_turn)
        DL_DELETE2(c->set->turn, c, turn_prev, turn_next);
    c->on_turn = false;
}

/* The one place that changes the state; the table is in the header. */
static void enter(struct connection *c, enum connection_state state)
{
    struct connection_set *set = c->set;
    bool is_new = c->state == STATE_HANDSHAKE; /* where everyone begins */
    c->state = state;
    switch (state) {
    case STATE_HANDSHAKE:
    case STATE_HEAD:
        timer_start(c, &set->header_timeout);
        break;
    case STATE_IDLE:
        c->intake = (struct intake){0};
        c->is_reserved = false;
        timer_start(c, set->draining ? &set->drain_timeout
                       : is_new      ? &set->header_timeout
                                     : &set->idle_timeout);
        break;
    case STATE_BODY:
    case STATE_REFUSING:
        timer_start(c, &set->body_timeout);
        break;
    case STATE_LINGERING:
    case STATE_CLOSING:
        timer_start(c, &set->linger_timeout);
        break;
    case STATE_REQUEST:
        timer_stop(c);
        break;
    case STATE_ENDED:
        timer_stop(c);
        c->on_left = NULL;
        look_at_turn_end(c);
        break;
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = (struct connection *)(void *)handle; /* tcp is its first member */
    free(c);
}

static void on_socket_closed(void *data)
{
    struct connection *c = data;
    struct connection_set *set = c->set;
    c->sock = NULL;
    timer_stop(c);
    forget_turn_end(c);
    buffer_fini(&c->refusal);
    DL_DELETE(set->all, c);
    set->count--;
    set->hooks->closed(set->owner);
}

/* Closes a connection that is not answering. h2o's way of being told is a failed read. */
static void finish(struct connection *c)
{
    enter(c, STATE_CLOSING);
    if (c->reader)
        c->reader(c->sock, h2o_socket_error_closed);
    else
        h2o_socket_close(c->sock);
}

void connection_cut(struct connection *c)
{
    if (c->sock)
        shutdown(h2o_socket_get_fd(c->sock), SHUT_RDWR);
}

/* ---- refusing ---- */

static void discard_input(struct connection *c)
{
    h2o_buffer_consume(&c->sock->input, c->sock->input->size);
}

/* The error is out; a close now, with bytes of the client unread, would be a reset that can destroy it on its
 * way. So: say that we are done, and drop what still comes. */
static void on_refusal_written(h2o_socket_t *sock, const char *err)
{
    struct connection *c = from_socket(sock);
    buffer_fini(&c->refusal);
    if (err || c->left) {
        finish(c);
        return;
    }
    if (!sock->ssl)
        shutdown(h2o_socket_get_fd(sock), SHUT_WR);
    enter(c, STATE_LINGERING);
    discard_input(c);
    h2o_socket_read_start(sock, connection_on_read);
}

static void refuse(struct connection *c, enum failure failure, const char *reason, uint32_t retry_after_s,
                   const struct head *head)
{
    struct connection_set *set = c->set;
    set->hooks->refused(set->owner, failure);
    if (h2o_socket_is_writing(c->sock) ||
        refusal_format(&c->refusal, failure, reason, retry_after_s, head) < 0) {
        connection_cut(c); /* a 100 Continue that the client does not read, or no memory */
        return;
    }
    enter(c, STATE_REFUSING);
    h2o_socket_read_stop(c->sock);
    h2o_iovec_t bytes = {c->refusal.data, c->refusal.length};
    h2o_socket_write(c->sock, &bytes, 1, on_refusal_written);
}

/* ---- reading ---- */

/* h2o takes over with its first whole head. It must not see the bytes before its reader is known to us, so
 * the buffer is out of its sight while it begins to read. */
static void adopt(struct connection *c)
{
    struct timeval now = *h2o_get_timestamp(c->set->h2o, NULL, NULL);
    h2o_buffer_t *input = c->sock->input;
    h2o_buffer_init(&c->sock->input, &h2o_socket_buffer_prototype);
    h2o_http1_accept(&c->set->accept, c->sock, now);
    c->sock->input = input;
    c->reader = c->sock->_cb.read;
    c->sock->_cb.read = connection_on_read;
}

/* Lets h2o look at the buffer. It may answer the request, and close the connection, in here. */
static void let_h2o_read(struct connection *c)
{
    if (!c->reader)
        adopt(c);
    if (c->state == STATE_BODY && c->intake.expects_continue)
        look_at_turn_end(c); /* h2o stops reading to say 100 Continue, and starts with its own callback */
    c->intake.expects_continue = false;
    c->reader(c->sock, NULL);
}

static void reserve_body(struct connection *c)
{
    const struct intake *intake = &c->intake;
    if (c->is_reserved || intake->body != HEAD_BODY_LENGTH)
        return;
    if (intake->body_bytes < intake->content_length / RESERVE_FRACTION)
        return;
    c->is_reserved = true;
    size_t rest_bytes = (size_t)(intake->content_length - intake->body_bytes);
    h2o_buffer_reserve(&c->sock->input, rest_bytes + RESERVE_SLACK_BYTES);
}

static void take_in(struct connection *c, size_t fresh)
{
    struct connection_set *set = c->set;
    struct head head;
    struct span input = {c->sock->input->bytes, c->sock->input->size};
    uint32_t retry_after_s = 0;
    const char *reason;
    enum failure failure;
    switch (intake_feed(&c->intake, &set->limits, input, fresh, &head)) {
    case INTAKE_MORE:
        if (c->intake.phase == INTAKE_IN_HEAD)
            return;
        enter(c, STATE_BODY);
        break;
    case INTAKE_HEAD_DONE:
        failure = set->hooks->gate(set->owner, c, &head, &retry_after_s);
        if (failure != FAILURE_NONE) {
            refuse(c, failure, "", retry_after_s, &head);
            return;
        }
        enter(c, STATE_BODY);
        break;
    case INTAKE_COMPLETE:
        enter(c, STATE_REQUEST);
        break;
    case INTAKE_REFUSED:
        input.length = c->intake.head_bytes; /* 0 when the head itself is bad */
        refuse(c, c->intake.failure, c->intake.reason, 0,
               head_parse(input, &head, &reason) == 0 ? &head : NULL);
        return;
    }
    if (c->state == STATE_BODY)
        reserve_body(c);
    let_h2o_read(c);
}

/* h2o reports a TLS read that found nothing (EAGAIN, after one that filled its buffer) as an error. */
static bool is_false_alarm(const struct connection *c, const char *err)
{
    char byte;
    if (!c->sock->ssl || err != h2o_socket_error_io)
        return false;
    ssize_t count = recv(h2o_socket_get_fd(c->sock), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void connection_on_read(h2o_socket_t *sock, const char *err)
{
    struct connection *c = from_socket(sock);
    if (err) {
        if (!is_false_alarm(c, err))
            finish(c);
        return;
    }
    switch (c->state) {
    case STATE_LINGERING:
        discard_input(c);
        return;
    case STATE_IDLE:
        if (sock->input->size == 0)
            return; /* TLS's own bytes */
        enter(c, STATE_HEAD);
        take_in(c, sock->input->size);
        return;
    case STATE_HEAD:
    case STATE_BODY:
        if (sock->bytes_read > 0)
            take_in(c, sock->bytes_read);
        return;
    case STATE_HANDSHAKE:
    case STATE_REQUEST:
    case STATE_ENDED:
    case STATE_REFUSING:
    case STATE_CLOSING:
        return; /* not reading */
    }
}

/* ---- time ---- */

static uint64_t count_unsent(const struct connection *c)
{
    int queued = 0;
    if (ioctl(h2o_socket_get_fd(c->sock), SIOCOUTQ, &queued) < 0)
        queued = 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + (uint64_t)queued;
}

static void on_timer(h2o_timeout_entry_t *entry)
{
    struct connection *c = H2O_STRUCT_FROM_MEMBER(struct connection, timer, entry);
    uint64_t unsent_bytes;
    switch (c->state) {
    case STATE_HEAD:
    case STATE_BODY:
        refuse(c, FAILURE_REQUEST_TIMEOUT, "", 0, NULL);
        break;
    case STATE_REQUEST:
        unsent_bytes = count_unsent(c);
        if (unsent_bytes < c->unsent_bytes) { /* slow, but it takes something */
            c->unsent_bytes = unsent_bytes;
            timer_start(c, &c->set->body_timeout);
            break;
        }
        log_info(NULL, "slow_reader_cut", LOG_INT("unsent_bytes", unsent_bytes));
        connection_cut(c);
        break;
    case STATE_HANDSHAKE:
    case STATE_IDLE:
    case STATE_ENDED:
    case STATE_REFUSING:
    case STATE_LINGERING:
    case STATE_CLOSING:
        connection_cut(c);
        break;
    }
}

void connection_write_begins(struct connection *c, size_t bytes)
{
    if (c->state != STATE_REQUEST || !c->sock)
        return;
    c->unsent_bytes = count_unsent(c) + bytes;
    timer_start(c, &c->set->body_timeout);
}

void connection_write_ended(struct connection *c)
{
    if (c->state == STATE_REQUEST)
        timer_stop(c);
}

/* ---- leaving, and the end of a turn ---- */

static void tell_left(struct connection *c)
{
    void (*left)(void *context) = c->on_left;
    c->on_left = NULL;
    if (left)
        left(c->left_context);
}

static void on_left(void *item)
{
    struct connection *c = item;
    c->left = true;
    if (c->sock && c->state == STATE_REQUEST)
        tell_left(c);
}

/* h2o reads again after an answer, or closed the connection (which takes TLS a while). */
static void settle(struct connection *c)
{
    if (c->sock->_cb.read != c->reader) {
        enter(c, STATE_CLOSING);
        return;
    }
    c->sock->_cb.read = connection_on_read;
    if (c->sock->input->size > 0) /* cannot be: connection_is_last said so */
        connection_cut(c);
    enter(c, STATE_IDLE);
}

static bool on_turn_end(void *context)
{
    struct connection_set *set = context;
    struct connection *c, *next;
    DL_FOREACH_SAFE2(set->turn, c, next, turn_next)
    {
        if (c->state == STATE_ENDED) {
            forget_turn_end(c);
            settle(c);
        } else if (c->state == STATE_REQUEST) {
            forget_turn_end(c);
            if (c->left)
                tell_left(c);
        } else if (c->state != STATE_BODY) {
            forget_turn_end(c);
        } else if (c->sock->_cb.read == c->reader) { /* 100 Continue is out */
            forget_turn_end(c);
            c->sock->_cb.read = connection_on_read;
        }
    }
    return false;
}

/* ---- accepting ---- */

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct connection *c = from_socket(sock);
    if (err) {
        finish(c);
        return;
    }
    enter(c, STATE_IDLE);
    h2o_socket_read_start(sock, connection_on_read);
    if (sock->input->size > 0)
        connection_on_read(sock, NULL);
}

static void prepare_descriptor(int fd)
{
    int one = 1, idle_s = 60;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* A client that vanished without a word is found in minutes, not hours. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
}

int connection_accept(struct connection_set *set, int fd, const struct sockaddr *peer)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return ERR_NOMEM;
    }
    c->set = set;
    memcpy(&c->peer, peer, peer->sa_family == AF_INET6 ? sizeof c->peer.v6 : sizeof c->peer.v4);
    prepare_descriptor(fd);
    if (uv_tcp_init(set->h2o->loop, &c->tcp) < 0) {
        close(fd);
        free(c);
        return ERR_IO;
    }
    if (uv_tcp_open(&c->tcp, fd) < 0 || leave_watch_add(set->leave, fd, c) < 0) {
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed); /* closes the descriptor if it was taken */
        return ERR_IO;
    }
    c->sock = h2o_uv_socket_create((uv_stream_t *)&c->tcp, on_handle_closed);
    c->sock->on_close.cb = on_socket_closed;
    c->sock->on_close.data = c;
    DL_APPEND(set->all, c);
    set->count++;
    if (set->accept.ssl_ctx) {
        enter(c, STATE_HANDSHAKE);
        h2o_socket_ssl_handshake(c->sock, set->accept.ssl_ctx, NULL, on_handshake);
        return 0;
    }
    enter(c, STATE_IDLE);
    h2o_socket_read_start(c->sock, connection_on_read);
    return 0;
}

/* ---- answering ---- */

struct connection *connection_of(const h2o_req_t *req)
{
    return from_socket(req->conn->callbacks->get_socket(req->conn));
}

const struct sockaddr *connection_peer(const struct connection *c)
{
    return &c->peer.any;
}

bool connection_head(const struct connection *c, struct head *head)
{
    const char *reason;
    if (c->state != STATE_REQUEST || c->intake.phase != INTAKE_DONE)
        return false;
    return head_parse(span_of(c->sock->input->bytes, c->intake.head_bytes), head, &reason) == 0;
}

bool connection_is_last(const struct connection *c)
{
    return c->intake.surplus_bytes > 0 || c->set->draining || c->left;
}

void connection_request_begins(struct connection *c, void (*left)(void *context), void *context)
{
    c->on_left = left;
    c->left_context = context;
    if (c->left)
        look_at_turn_end(c);
}

void connection_request_ended(struct connection *c)
{
    enter(c, STATE_ENDED);
}

/* h2o will still consume the request's bytes from the buffer when the answer is over. It gets a husk that
 * claims as many bytes as there were, and is freed when they are consumed (or with the socket). */
void connection_release_input(struct connection *c)
{
    if (!c->sock || c->state != STATE_REQUEST || c->intake.body == HEAD_BODY_NONE ||
        c->intake.surplus_bytes > 0)
        return;
    h2o_buffer_t *full = c->sock->input;
    h2o_buffer_t *husk = h2o_mem_alloc(sizeof *husk);
    *husk = (h2o_buffer_t){.capacity = 1, .size = full->size, ._prototype = full->_prototype, ._fd = -1};
    husk->bytes = husk->_buf;
    c->sock->input = husk;
    h2o_buffer_dispose(&full);
}

/* ---- the set ---- */

static void init_timeouts(struct connection_set *set, const struct settings *settings)
{
    uv_loop_t *loop = set->h2o->loop;
    h2o_timeout_init(loop, &set->header_timeout, (uint64_t)settings->header_timeout_s * 1000);
    h2o_timeout_init(loop, &set->body_timeout, (uint64_t)settings->body_timeout_s * 1000);
    h2o_timeout_init(loop, &set->idle_timeout, (uint64_t)settings->client_idle_timeout_s * 1000);
    h2o_timeout_init(loop, &set->linger_timeout, LINGER_MS);
    h2o_timeout_init(loop, &set->drain_timeout, DRAIN_IDLE_MS);
}

struct connection_set *connection_set_new(struct service *service, h2o_context_t *h2o, SSL_CTX *tls,
                                          const struct connection_hooks *hooks, void *owner)
{
    const struct settings *settings = service_settings(service);
    struct connection_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->service = service;
    set->h2o = h2o;
    set->accept = (h2o_accept_ctx_t){.ctx = h2o, .hosts = h2o->globalconf->hosts, .ssl_ctx = tls};
    set->hooks = hooks;
    set->owner = owner;
    set->limits.max_header_bytes = (uint64_t)settings->max_header_bytes;
    set->limits.max_body_bytes = (uint64_t)settings->max_body_bytes;
    init_timeouts(set, settings);
    set->leave = leave_watch_new(h2o->loop, on_left);
    set->hook = service_at_turn_end(service, on_turn_end, set);
    if (!set->leave || !set->hook)
        connection_set_free(&set);
    return set;
}

static void dispose_timeouts(struct connection_set *set)
{
    uv_loop_t *loop = set->h2o->loop;
    h2o_timeout_dispose(loop, &set->header_timeout);
    h2o_timeout_dispose(loop, &set->body_timeout);
    h2o_timeout_dispose(loop, &set->idle_timeout);
    h2o_timeout_dispose(loop, &set->linger_timeout);
    h2o_timeout_dispose(loop, &set->drain_timeout);
}

void connection_set_free(struct connection_set **set_pointer)
{
    struct connection_set *set = *set_pointer;
    struct connection *c;
    *set_pointer = NULL;
    if (!set)
        return;
    DL_FOREACH (set->all, c)
        connection_cut(c);
    for (int turns = 0; set->all && turns < 1000; turns++)
        uv_run(set->h2o->loop, UV_RUN_NOWAIT);
    if (set->all) { /* freeing under them would be worse than leaving it all to the process's end */
        log_warning(NULL, "connections_left", LOG_INT("count", set->count));
        return;
    }
    dispose_timeouts(set);
    leave_watch_free(&set->leave);
    service_remove_hook(set->service, &set->hook);
    uv_run(set->h2o->loop, UV_RUN_NOWAIT); /* closed handles are inside the set */
    free(set);
}

size_t connection_set_count(const struct connection_set *set)
{
    return set->count;
}

void connection_set_drain(struct connection_set *set)
{
    struct connection *c;
    set->draining = true;
    set->h2o->shutdown_requested = 1; /* further answers say Connection: close */
    DL_FOREACH (set->all, c)
        if (c->state == STATE_IDLE)
            timer_start(c, &set->drain_timeout);
}
