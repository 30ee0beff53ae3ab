/* SPDX-License-Identifier: MIT */
/* listener - accepts from the listening socket, many per turn, never blocking.
 *
 * At max_connections it stops accepting: the kernel's queue keeps the newcomers until one leaves (or another
 * gateway on the same socket takes them), where accepting only to close would show them an error. Out of
 * descriptors, it tries again after 100 ms. Owns the descriptor. */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include "gateway/connection.h"

struct listener;

/* Takes `fd`, listening and non-blocking; accepts nothing yet. Raises the process's descriptor limit as far
 * as max_connections needs and the hard limit allows. Borrows the set. Returns owned; NULL on failure
 * (logged). */
struct listener *listener_new(struct service *service, int fd, struct connection_set *connections);
/* Begins to accept. NULL-safe. */
void listener_open(struct listener *listener);
/* To be called when a connection is gone: there may be room again. */
void listener_on_room(struct listener *listener);
/* Stops accepting for good and closes the descriptor (others that share the socket go on). NULL-safe. */
void listener_free(struct listener **listener);

#endif
