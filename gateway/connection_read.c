/* SPDX-License-Identifier: MIT */
/* connection_read - what a connection does with the bytes that come: judge them, let h2o have them, or
 * refuse. */
#include "gateway/connection_private.h"
#include "gateway/refusal.h"
#include "gateway/request_id.h"
#include "proto/clock.h"

#include <errno.h>
#include <h2o/http1.h>
#include <sodium.h>
#include <sys/socket.h>

enum {
    /* A body's buffer grows to its whole size once 1/16 of it is there: no copying after that, and a client
     * cannot make us allocate more than 16 times what it sent. */
    RESERVE_FRACTION = 16,
    RESERVE_SLACK_BYTES = 4096, /* what h2o wants free before each read */
    READ_LEAST_BYTES = 4096     /* a buffer of none would be an error to libuv */
};

/* ---- refusing ---- */

static void discard_input(struct connection *c)
{
    h2o_buffer_consume(&c->sock->input, c->sock->input->size);
}

/* The error is out; a close now, with bytes of the client unread, would be a reset that can destroy it on its
 * way. So: say that we are done, and drop what still comes. */
static void on_refusal_written(h2o_socket_t *sock, const char *err)
{
    struct connection *c = connection_from_socket(sock);
    buffer_fini(&c->refusal);
    if (err || c->left) {
        connection_finish(c);
        return;
    }
    if (!sock->ssl)
        shutdown(h2o_socket_get_fd(sock), SHUT_WR);
    connection_enter(c, STATE_LINGERING);
    discard_input(c);
    h2o_socket_read_start(sock, connection_on_read);
}

/* The head may be long known, or be the very thing that is wrong. */
static const struct head *refused_head(const struct connection *c, struct head *head)
{
    const char *reason;
    if (c->intake.head_bytes == 0 || c->intake.head_bytes > c->sock->input->size)
        return NULL;
    return head_parse(span_of(c->sock->input->bytes, c->intake.head_bytes), head, &reason) == 0 ? head : NULL;
}

void connection_refuse(struct connection *c, enum failure failure, const char *reason, uint32_t retry_after_s)
{
    struct connection_set *set = c->set;
    char id[REQUEST_ID_BYTES];
    unsigned char random[10];
    struct head head;
    randombytes_buf(random, sizeof random);
    request_id_make(id, clock_wall_ms(), random);
    const struct access_refusal refusal = {.id = id, .reason = reason, .failure = failure};
    set->hooks->refused(set->owner, c, refused_head(c, &head), &refusal);
    if (h2o_socket_is_writing(c->sock) ||
        refusal_format(&c->refusal, id, failure, reason, retry_after_s) < 0) {
        connection_cut(c); /* a 100 Continue that the client does not read, or no memory */
        return;
    }
    connection_enter(c, STATE_REFUSING);
    h2o_socket_read_stop(c->sock);
    h2o_iovec_t bytes = {c->refusal.data, c->refusal.length};
    h2o_socket_write(c->sock, &bytes, 1, on_refusal_written);
}

/* ---- how much ---- */

static void allocate_within_turn(uv_handle_t *handle, size_t suggested_bytes, uv_buf_t *buffer)
{
    struct connection *c = (struct connection *)(void *)handle; /* tcp is its first member */
    size_t left_bytes = turn_budget_left(&c->set->budget, &c->share);
    c->allocate(handle, suggested_bytes, buffer);
    if (left_bytes < READ_LEAST_BYTES)
        left_bytes = READ_LEAST_BYTES;
    if (buffer->len > left_bytes)
        buffer->len = left_bytes;
}

void connection_stand_before_h2o(struct connection *c)
{
    c->sock->_cb.read = connection_on_read;
    if (c->tcp.alloc_cb != allocate_within_turn)
        c->allocate = c->tcp.alloc_cb;
    c->tcp.alloc_cb = allocate_within_turn;
}

void connection_read_start(struct connection *c)
{
    h2o_socket_read_start(c->sock, connection_on_read);
    connection_stand_before_h2o(c);
}

/* libuv reads on while its buffer was filled, and there may be megabytes. Not while h2o says 100 Continue:
 * then it is h2o who stopped, and goes on. */
static void rest_if_enough(struct connection *c)
{
    if (!c->sock || c->state != STATE_BODY || c->sock->_cb.read != connection_on_read ||
        turn_budget_left(&c->set->budget, &c->share) > 0)
        return;
    h2o_socket_read_stop(c->sock);
    c->is_resting = true;
    connection_look_at_turn_end(c);
}

/* Makes room for so many bytes more. h2o would get a new buffer and copy all of the old one; realloc moves
 * the pages of a large one. */
static void grow_input(struct connection *c, size_t more_bytes)
{
    h2o_buffer_t *input = c->sock->input;
    size_t offset = (size_t)(input->bytes - input->_buf);
    size_t capacity = offset + input->size + more_bytes;
    if (capacity <= input->capacity)
        return;
    if (input->capacity == input->_prototype->_initial_buf.capacity) { /* from h2o's pool of small ones */
        h2o_buffer_reserve(&c->sock->input, more_bytes);
        return;
    }
    h2o_buffer_t *grown = realloc(input, offsetof(h2o_buffer_t, _buf) + capacity);
    if (!grown)
        return; /* h2o says so, with its next read */
    grown->capacity = capacity;
    grown->bytes = grown->_buf + offset;
    c->sock->input = grown;
}

static void make_room(struct connection *c)
{
    const struct intake *intake = &c->intake;
    const h2o_buffer_t *input = c->sock->input;
    size_t used_bytes = (size_t)(input->bytes - input->_buf) + input->size;
    if (intake->body == HEAD_BODY_LENGTH && !c->is_reserved &&
        intake->body_bytes >= intake->content_length / RESERVE_FRACTION) {
        c->is_reserved = true;
        grow_input(c, (size_t)(intake->content_length - intake->body_bytes) + RESERVE_SLACK_BYTES);
    } else if (input->capacity - used_bytes < RESERVE_SLACK_BYTES) {
        grow_input(c, input->capacity);
    }
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
    connection_stand_before_h2o(c);
}

/* Lets h2o look at the buffer. It may answer the request, and close the connection, in here. */
static void let_h2o_read(struct connection *c)
{
    if (!c->reader)
        adopt(c);
    if (c->state == STATE_BODY && c->intake.expects_continue)
        connection_look_at_turn_end(
            c); /* h2o stops reading to say 100 Continue, and starts with its own callback */
    c->intake.expects_continue = false;
    c->reader(c->sock, NULL);
}

/* Who sends a byte now and then keeps within body_timeout, and would hold its place for hours. Looked at when
 * bytes come, which they must. */
static bool is_too_late(const struct connection *c)
{
    return connection_request_ms(c) > c->set->body_total_timeout_ms;
}

static void take_in(struct connection *c, size_t fresh)
{
    struct connection_set *set = c->set;
    turn_budget_note(&set->budget, &c->share, fresh);
    struct head head;
    struct span input = {c->sock->input->bytes, c->sock->input->size};
    uint32_t retry_after_s = 0;
    enum failure failure;
    switch (intake_feed(&c->intake, &set->limits, input, fresh, &head)) {
    case INTAKE_MORE:
        if (c->intake.phase == INTAKE_IN_HEAD)
            return;
        if (is_too_late(c)) {
            connection_refuse(c, FAILURE_REQUEST_TIMEOUT, "the whole body took too long", 0);
            return;
        }
        connection_enter(c, STATE_BODY);
        break;
    case INTAKE_HEAD_DONE:
        failure = set->hooks->gate(set->owner, c, &head, &retry_after_s);
        if (failure != FAILURE_NONE) {
            connection_refuse(c, failure, "", retry_after_s);
            return;
        }
        connection_enter(c, STATE_BODY);
        break;
    case INTAKE_COMPLETE:
        connection_enter(c, STATE_REQUEST);
        break;
    case INTAKE_REFUSED:
        connection_refuse(c, c->intake.failure, c->intake.reason, 0);
        return;
    }
    if (c->state == STATE_BODY)
        make_room(c);
    let_h2o_read(c);
    rest_if_enough(c);
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

void connection_on_read(h2o_socket_t *sock, const char *err)
{
    struct connection *c = connection_from_socket(sock);
    if (err) {
        if (!is_false_alarm(c, err))
            connection_finish(c);
        return;
    }
    switch (c->state) {
    case STATE_LINGERING:
        discard_input(c);
        return;
    case STATE_IDLE:
        if (sock->input->size == 0)
            return; /* TLS's own bytes */
        connection_enter(c, STATE_HEAD);
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
