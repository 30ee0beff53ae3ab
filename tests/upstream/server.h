/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 server of the stand-in: one thread, one epoll, one timer wheel. It reads requests, hands
 * each to a handler, and plays the script the handler answers with. It knows nothing of CodeBuddy.
 *
 * Life of a connection (enum conn_state in server.c): HEAD -> BODY -> PLAYING or PARKED -> HEAD ... -> DEAD.
 * One request at a time: what a client pipelines waits. A client that closes or half-closes while its
 * answer is under way has left: that is how the stand-in notices aborts, at once. */
#ifndef UPSTREAM_SERVER_H
#define UPSTREAM_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/upstream/body_scan.h"
#include "tests/upstream/http.h"
#include "tests/upstream/sse_script.h"
#include "tests/upstream/stats.h"
#include "tests/upstream/wheel.h"

#define SERVER_BODY_KEEP_BYTES (64 * 1024)

struct server;
struct conn;

/* A request that has come in whole. All borrowed for the call. */
struct server_request {
    const struct http_request *http;
    struct span head;
    struct span body; /* the first SERVER_BODY_KEEP_BYTES */
    size_t body_bytes;
    const unsigned char *sha256; /* of the whole body, when body is not all of it */
    const struct body_scan *scan;
};

enum server_outcome {
    OUTCOME_COMPLETE,
    OUTCOME_CUT,    /* the scenario broke it off */
    OUTCOME_ABORTED /* the client left */
};

/* What the handler remembers of a request while it is answered; the server only carries it. */
struct server_exchange {
    bool is_chat; /* counted in the chat counters */
    uint64_t record;
    struct stats_credential *credential;
    void *parked;
    /* kept by the server */
    int64_t started_us, events;
};

struct server_handler {
    void *context;
    /* Must answer with server_play or server_park before it returns. */
    void (*on_request)(void *context, struct conn *conn, const struct server_request *request);
    /* Once per request, when its answer is over; script is NULL if it was parked to the end. */
    void (*on_end)(void *context, struct server_exchange *exchange, const struct script *script,
                   enum server_outcome outcome);
    /* After each turn of the loop. */
    void (*on_turn)(void *context);
};

struct server_options {
    const char *host;
    uint16_t port;    /* 0: any */
    bool keep_bodies; /* collect bodies and digests; else only the scan is made */
};

/* A timer of the handler's. */
struct server_timer {
    struct wheel_timer timer; /* first: the wheel gives this back */
    void (*on_fire)(struct server_timer *timer);
};

/* Binds and listens. Returns NULL after a line on standard error. Borrows handler and stats for its life. */
struct server *server_new(const struct server_options *options, const struct server_handler *handler,
                          struct stats *stats);
uint16_t server_port(const struct server *server);
/* Runs until SIGTERM or SIGINT. Returns 0, -1 on a system error. */
int server_run(struct server *server);
/* Closes every connection without a word; on_end is called for none. */
void server_free(struct server **server);

/* Takes script. */
void server_play(struct conn *conn, struct script *script);
/* The answer comes later, by server_play; or the client leaves first and on_end says so. */
void server_park(struct conn *conn);
struct server_exchange *server_conn_exchange(struct conn *conn);

void server_timer_start(struct server *server, struct server_timer *timer, int64_t after_ms);
void server_timer_stop(struct server *server, struct server_timer *timer);
int64_t server_now_us(const struct server *server);

#endif
