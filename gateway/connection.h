/* SPDX-License-Identifier: MIT */
/* connection - a client's connection, from accept to close: what h2o leaves to be wished for is done here.
 *
 * Each read passes through intake.h before h2o sees it, which gives strict framing, our limits, our time
 * limits and errors in our JSON; h2o adopts a connection with its first whole head and parses, frames and
 * writes. Requests are answered one at a time: a connection with pipelined bytes is closed after the running
 * answer.
 *
 *   state     | waits for                    | time limit, s                | when it is over
 *   HANDSHAKE | TLS                          | header_timeout               | cut
 *   IDLE      | the first byte of a head     | client_idle_timeout; 1 while | cut
 *             |                              | draining; header_timeout (new)|
 *   HEAD      | the rest of it               | header_timeout               | 408
 *   BODY      | the rest of the body         | body_timeout without a byte, | 408
 *             |                              | body_total_timeout in all    |
 *   REQUEST   | its handler to answer        | body_timeout (to 1.5 times)  | cut
 *             |                              | without a byte taken, while  |
 *             |                              | writing                      |
 *   ENDED     | the end of this turn         |                              |
 *   REFUSING  | our own error to be written  | body_timeout                 | cut
 *   LINGERING | the client to read it        | 2                            | cut
 *   CLOSING   | TLS's and libuv's goodbye    | 2                            | cut
 *
 *   HANDSHAKE → IDLE → HEAD → BODY → REQUEST → ENDED → IDLE; HEAD → REQUEST when the body came along; any of
 *   HEAD, BODY → REFUSING → LINGERING → CLOSING; ENDED → CLOSING when h2o closed it. A cut (shutdown(2) both
 *   ways) lets h2o find out by itself, whatever it is doing.
 *
 * Ownership: the set owns its connections; h2o owns the socket. A pointer is valid until its close callback,
 * which never runs inside a call to this module. */
#ifndef GATEWAY_CONNECTION_H
#define GATEWAY_CONNECTION_H

#include "gateway/access_log.h"
#include "gateway/intake.h"
#include "proto/service.h"

#include <h2o.h>

struct connection;
struct connection_set;

struct connection_hooks {
    /* A head is there but its body is not: FAILURE_NONE, or why it need not be sent (with `*retry_after_s`).
     */
    enum failure (*gate)(void *owner, struct connection *connection, const struct head *head,
                         uint32_t *retry_after_s);
    /* An error was answered here, not by a handler. `head`: NULL if it was not understood. */
    void (*refused)(void *owner, const struct connection *connection, const struct head *head,
                    const struct access_refusal *refusal);
    /* A connection is gone. */
    void (*closed)(void *owner);
};

/* Borrows all for the set's life; `tls` NULL for plain HTTP. Returns owned; NULL on failure (logged). */
struct connection_set *connection_set_new(struct service *service, h2o_context_t *h2o, SSL_CTX *tls,
                                          const struct connection_hooks *hooks, void *owner);
/* Cuts what is left and turns the loop until it is gone. Answers must be over (call_abort). NULL-safe. */
void connection_set_free(struct connection_set **set);
size_t connection_set_count(const struct connection_set *set);
/* Idle connections are closed once they have been idle for another second (a busy client meets its next
 * answer's `Connection: close` before that), the others when their answer is out. */
void connection_set_drain(struct connection_set *set);

/* Takes an accepted, non-blocking descriptor. 0, or ERR_NOMEM, ERR_IO (closed then). */
int connection_accept(struct connection_set *set, int fd, const struct sockaddr *peer);

/* ---- for whoever answers a request ---- */

/* The connection that a request came on. */
struct connection *connection_of(const h2o_req_t *req);
const struct sockaddr *connection_peer(const struct connection *connection);
/* Parses the current request's head again: false if it did not pass through here. Spans borrow until
 * connection_release_input. */
bool connection_head(const struct connection *connection, struct head *head);
/* Since the first byte of the current request's head, ms; the bytes of its body so far. */
int64_t connection_request_ms(const struct connection *connection);
uint64_t connection_body_bytes(const struct connection *connection);
/* True if no request can follow on this connection. */
bool connection_is_last(const struct connection *connection);
/* A request is being answered. `left(context)` is called at most once, on the loop, when the client leaves.
 */
void connection_request_begins(struct connection *connection, void (*left)(void *context), void *context);
/* h2o has disposed of the request. */
void connection_request_ended(struct connection *connection);
/* Before something is written, and when it is: in between, the client must take a byte every body_timeout_s.
 */
void connection_write_begins(struct connection *connection);
void connection_write_ended(struct connection *connection);
/* Frees the request's bytes (head and body) although its answer is not over. h2o must have copied what it
 * needs of the head, which it does when there is a body. */
void connection_release_input(struct connection *connection);
/* Ends it now, both ways. h2o hears of it when it next reads or writes. */
void connection_cut(struct connection *connection);

#endif
