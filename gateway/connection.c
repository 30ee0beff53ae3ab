/* SPDX-License-Identifier: MIT */
#include "gateway/connection_private.h"
#include "gateway/leave.h"
#include "proto/error.h"
#include "proto/log.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum { MAX_STALLS = 2, UNSENT_BYTES = 128 << 10 };

static void on_timer(h2o_timeout_entry_t *entry);

/* ---- small things ---- */

struct connection *connection_from_socket(const h2o_socket_t *sock)
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

void connection_look_at_turn_end(struct connection *c)
{
    if (!c->on_turn)
        DL_APPEND2(c->set->turn, c, turn_prev, turn_next);
    c->on_turn = true;
}

static void forget_turn_end(struct connection *c)
{
    if (c->on_turn)
        DL_DELETE2(c->set->turn, c, turn_prev, turn_next);
    c->on_turn = c->is_resting = false;
}

/* The one place that changes the state; the table is in the header. */
void connection_enter(struct connection *c, enum connection_state state)
{
    struct connection_set *set = c->set;
    bool is_new = c->state == STATE_HANDSHAKE; /* where everyone begins */
    c->state = state;
    switch (state) {
    case STATE_HANDSHAKE:
    case STATE_HEAD:
        c->head_began_ms = connection_now_ms(c);
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
        connection_look_at_turn_end(c);
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
void connection_finish(struct connection *c)
{
    connection_enter(c, STATE_CLOSING);
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

/* ---- time ---- */

static uint64_t count_unsent(const struct connection *c)
{
    int queued = 0;
    if (ioctl(h2o_socket_get_fd(c->sock), SIOCOUTQ, &queued) < 0)
        queued = 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + (uint64_t)queued;
}

/* Looked at every half body_timeout, so that a write costs nothing: the second look in a row that finds
 * nothing taken is the end, one to one and a half body_timeout after the last byte. */
static void watch_reader(struct connection *c)
{
    uint64_t unsent_bytes = count_unsent(c);
    c->stall_count = unsent_bytes < c->unsent_bytes ? 0 : c->stall_count + 1;
    c->unsent_bytes = unsent_bytes;
    if (c->stall_count < MAX_STALLS) {
        timer_start(c, &c->set->stall_timeout);
        return;
    }
    log_info(NULL, "slow_reader_cut", LOG_INT("unsent_bytes", unsent_bytes));
    connection_cut(c);
}

static void on_timer(h2o_timeout_entry_t *entry)
{
    struct connection *c = H2O_STRUCT_FROM_MEMBER(struct connection, timer, entry);
    switch (c->state) {
    case STATE_HEAD:
    case STATE_BODY:
        connection_refuse(c, FAILURE_REQUEST_TIMEOUT, "", 0);
        break;
    case STATE_REQUEST:
        watch_reader(c);
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

void connection_write_begins(struct connection *c)
{
    if (c->state != STATE_REQUEST || !c->sock)
        return;
    c->unsent_bytes = UINT64_MAX; /* not looked at yet */
    c->stall_count = 0;
    timer_start(c, &c->set->stall_timeout);
}

void connection_write_ended(struct connection *c)
{
    if (c->state == STATE_REQUEST)
        timer_stop(c);
}

/* ---- leaving, and the end of a turn ---- */

void connection_tell_left(struct connection *c)
{
    void (*left)(void *context) = c->on_left;
    c->on_left = NULL;
    if (left)
        left(c->left_context);
}

void connection_on_left(void *item)
{
    struct connection *c = item;
    c->left = true;
    if (c->sock && c->state == STATE_REQUEST)
        connection_tell_left(c);
}

/* h2o reads again after an answer, or closed the connection (which takes TLS a while). */
static void settle(struct connection *c)
{
    if (c->sock->_cb.read != c->reader) {
        connection_enter(c, STATE_CLOSING);
        return;
    }
    connection_stand_before_h2o(c);
    if (c->sock->input->size > 0) /* cannot be: connection_is_last said so */
        connection_cut(c);
    connection_enter(c, STATE_IDLE);
}

bool connection_on_turn_end(void *context)
{
    struct connection_set *set = context;
    struct connection *c, *next;
    turn_budget_begin(&set->budget);
    DL_FOREACH_SAFE2(set->turn, c, next, turn_next)
    {
        if (c->state == STATE_ENDED) {
            forget_turn_end(c);
            settle(c);
        } else if (c->state == STATE_REQUEST) {
            forget_turn_end(c);
            if (c->left)
                connection_tell_left(c);
        } else if (c->state != STATE_BODY) {
            forget_turn_end(c);
        } else if (c->is_resting) {
            forget_turn_end(c);
            connection_read_start(c);
        } else if (c->sock->_cb.read == c->reader) { /* 100 Continue is out */
            forget_turn_end(c);
            connection_stand_before_h2o(c);
        }
    }
    return false;
}

/* ---- accepting ---- */

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct connection *c = connection_from_socket(sock);
    if (err) {
        connection_finish(c);
        return;
    }
    connection_enter(c, STATE_IDLE);
    connection_read_start(c);
    if (sock->input->size > 0)
        connection_on_read(sock, NULL);
}

static void prepare_descriptor(int fd)
{
    int one = 1, idle_s = 60, unsent_bytes = UNSENT_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* For a client that reads nothing the kernel would take up to 4 MiB more; what is on its way is not
     * counted. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
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
    bool is_open = uv_tcp_open(&c->tcp, fd) == 0;
    if (!is_open || leave_watch_add(set->leave, fd, c) < 0) {
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed); /* with the descriptor, once that is its own */
        if (!is_open)
            close(fd);
        return ERR_IO;
    }
    c->sock = h2o_uv_socket_create((uv_stream_t *)&c->tcp, on_handle_closed);
    c->sock->on_close.cb = on_socket_closed;
    c->sock->on_close.data = c;
    DL_APPEND(set->all, c);
    set->count++;
    if (set->accept.ssl_ctx) {
        connection_enter(c, STATE_HANDSHAKE);
        h2o_socket_ssl_handshake(c->sock, set->accept.ssl_ctx, NULL, on_handshake);
        return 0;
    }
    connection_enter(c, STATE_IDLE);
    connection_read_start(c);
    return 0;
}

/* ---- answering ---- */

struct connection *connection_of(const h2o_req_t *req)
{
    return connection_from_socket(req->conn->callbacks->get_socket(req->conn));
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

int64_t connection_request_ms(const struct connection *c)
{
    return connection_now_ms(c) - c->head_began_ms;
}

uint64_t connection_body_bytes(const struct connection *c)
{
    return c->intake.body_bytes;
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
        connection_look_at_turn_end(c);
}

void connection_request_ended(struct connection *c)
{
    connection_enter(c, STATE_ENDED);
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
