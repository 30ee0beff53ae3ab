/* SPDX-License-Identifier: MIT */
/* relay - one request's way back to its gateway: HEAD, DATA within the window, END or FAIL.
 *
 * The gateway lets WINDOW_BYTES of DATA be on their way to the client's socket; each WINDOW gives back what
 * arrived there. What does not fit is held here, in order, until it does; END and FAIL wait for it. Whoever
 * fills the relay stops when relay_pending_bytes says so.
 *
 * Embedded. Nothing blocks. All times are the loop's milliseconds. */
#ifndef UPSTREAM_WORKER_RELAY_H
#define UPSTREAM_WORKER_RELAY_H

#include "proto/link.h"

struct relay {
    struct peer *peer; /* the gateway; NULL once it is gone: then everything is dropped */
    uint64_t request;  /* its number of the request */
    size_t window_bytes;
    struct buffer held;
    size_t held_offset; /* what of `held` was sent */
    int64_t last_sent_ms;
    bool is_head_sent;
};

void relay_init(struct relay *relay, struct peer *peer, uint64_t request, int64_t now_ms);
void relay_fini(struct relay *relay);
/* Sends the status line and headers; at most once. 0 or a negative enum error of peer_send. */
int relay_send_head(struct relay *relay, const struct msg_head *head, int64_t now_ms);
/* Sends what the window lets through and holds the rest. Empties `bytes` (may take its memory). 0 or a
 * negative enum error: the answer has a hole now and must be given up. */
int relay_send(struct relay *relay, struct buffer *bytes, int64_t now_ms);
/* The client took so many bytes. Sends on what is held. As relay_send. */
int relay_credit(struct relay *relay, size_t bytes, int64_t now_ms);
/* Held, not sent. */
static inline size_t relay_held_bytes(const struct relay *relay)
{
    return relay->held.length - relay->held_offset;
}
/* END or FAIL. Nothing may be held. */
void relay_finish(struct relay *relay, enum message_type type, const void *message);

#endif
