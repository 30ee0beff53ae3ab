/* SPDX-License-Identifier: MIT */
/* link_socket - one ZeroMQ socket on the loop: its messages, and what its monitor says of its connections.
 * Internal to link.
 *
 * Order that matters: a connection's end must be known before a later connection that got the same descriptor
 * is greeted (ZMQ_SRCFD), so whoever hears a HELLO calls link_socket_settle first. ZeroMQ's descriptors are
 * edge-triggered, and signal only to a reader that has found the socket empty: whoever opens or sends calls
 * link_socket_pump before the loop sleeps. */
#ifndef PROTO_LINK_SOCKET_H
#define PROTO_LINK_SOCKET_H

#include "proto/service.h"

#include <zmq.h>

struct link_socket;

enum { ROUTING_ID_MAX_BYTES = 16 };

struct link_socket_handlers {
    /* A whole message. `routing_id` is empty on the connected side. `fd` is its connection's, -1 if unknown.
     */
    void (*message)(void *owner, struct span routing_id, int fd, struct span train);
    void (*connected)(void *owner);            /* connected side: the handshake is over */
    void (*disconnected)(void *owner, int fd); /* either side */
    void (*refused)(void *owner);              /* a handshake failed: a wrong key, or no peer of ours */
};

/* `server_role` NULL: ROUTER and bind; else DEALER and connect to a server of that role. CURVE for tcp
 * endpoints if the settings name keys (link_keys.h). Borrows handlers and owner. Returns owned, NULL on
 * failure (logged). */
struct link_socket *link_socket_open(struct service *service, const char *endpoint, const char *server_role,
                                     const struct link_socket_handlers *handlers, void *owner);
/* Stops callbacks now; the memory goes when the loop has closed the handles. */
void link_socket_close(struct link_socket **socket);
/* In message(): the role that our allow-list gives the sender's key. NULL where the link has no keys. */
const char *link_socket_sender_role(struct link_socket *socket);
/* In message(): overwrites the received bytes once the handler is done with them. */
void link_socket_wipe_delivered(struct link_socket *socket);
/* Sends a train: takes the bytes of `train` when large (then leaves it empty), else copies them and clears
 * it. Takes those of a secret one, and wipes them when ZeroMQ is done with them. `routing_id` empty on the
 * connected side. 0, or ERR_PEER_GONE when ZeroMQ cannot queue it. */
int link_socket_send(struct link_socket *socket, struct span routing_id, struct buffer *train);
/* Receives up to a cap, if the descriptor alone would not tell. True if there may be more. */
bool link_socket_pump(struct link_socket *socket);
/* Hands on what the monitor has said by now. */
void link_socket_settle(struct link_socket *socket);

#endif
