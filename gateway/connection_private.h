/* SPDX-License-Identifier: MIT */
/* connection_private - what connection.c (states, time, leaving, answering), connection_read.c and
 * connection_set.c share. For nobody else. */
#ifndef GATEWAY_CONNECTION_PRIVATE_H
#define GATEWAY_CONNECTION_PRIVATE_H

#include "gateway/connection.h"
#include "proto/turn_budget.h"

#include <netinet/in.h>

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
    bool is_resting;  /* has read enough for this turn: not reading until it ends */
    struct turn_share share;
    uv_alloc_cb allocate; /* h2o's, which ours stands before */
    struct intake intake;
    int64_t head_began_ms; /* by the loop's clock */
    h2o_timeout_entry_t timer;
    uint64_t unsent_bytes; /* when progress was last looked at */
    uint8_t stall_count;   /* looks in a row that found none */
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
    struct turn_budget budget; /* of what clients send */
    h2o_timeout_t header_timeout, body_timeout, stall_timeout, idle_timeout, linger_timeout, drain_timeout;
    int64_t body_total_timeout_ms;
    struct connection *all, *turn;
    size_t count;
    bool draining;
};

static inline int64_t connection_now_ms(const struct connection *c)
{
    return (int64_t)uv_now(c->set->h2o->loop);
}
/* The one place that changes the state; the table is in connection.h. */
void connection_enter(struct connection *c, enum connection_state state);
/* Closes a connection that is not answering. h2o's way of being told is a failed read. */
void connection_finish(struct connection *c);
/* Has the end of this turn, and of those after it, look whether h2o took the read callback
 * (connection_on_turn_end). */
void connection_look_at_turn_end(struct connection *c);
bool connection_on_turn_end(void *set);
void connection_on_left(void *connection);
void connection_tell_left(struct connection *c);
struct connection *connection_from_socket(const h2o_socket_t *sock);
/* Begins to read, or goes on. */
void connection_read_start(struct connection *c);
/* Puts our callbacks before those that h2o has just set: every byte is judged, and no more are read than fit
 * into the turn. */
void connection_stand_before_h2o(struct connection *c);
/* The read callback that stands before h2o's. */
void connection_on_read(h2o_socket_t *sock, const char *err);
/* Answers with an error and closes, slowly enough for the client to read it. */
void connection_refuse(struct connection *c, enum failure failure, const char *reason,
                       uint32_t retry_after_s);

#endif
