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
    RESERVE_SLACK_BYTES = 4096 /* what h2o wants free before each read */
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
        connection_look_at_turn_end(
            c); /* h2o stops reading to say 100 Continue, and starts with its own callback */
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

/* Who sends a byte now and then keeps within body_timeout, and would hold its place for hours. Looked at when
 * bytes come, which they must. */
static bool is_too_late(const struct connection *c)
{
    return connection_request_ms(c) > c->set->body_total_timeout_ms;
}

static void take_in(struct connection *c, size_t fresh)
{
    struct connection_set *set = c->set;
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
