/* SPDX-License-Identifier: MIT */
/* leave - notices at once when the far end of a TCP connection stops sending.
 *
 * While a request is being answered nobody reads its connection: the client's going would show only when a
 * write fails, which for a plain answer is never in time. So each accepted descriptor is also in one epoll
 * set of ours, edge-triggered, for nothing but the peer's FIN or a reset; the loop watches that set. Never
 * blocks.
 *
 * A half-close (shutdown(SHUT_WR), e.g. `nc -N`) cannot be told from leaving and counts as leaving, as in
 * most HTTP servers: a client that wants an answer keeps its side open. */
#ifndef GATEWAY_LEAVE_H
#define GATEWAY_LEAVE_H

#include <uv.h>

struct leave_watch;

/* `left` is called on the loop, once per leaving, with the item given to leave_watch_add. Returns owned; NULL
 * on failure (logged). */
struct leave_watch *leave_watch_new(uv_loop_t *loop, void (*left)(void *item));
/* The set forgets a descriptor by itself when it is closed. 0 or ERR_IO. */
int leave_watch_add(struct leave_watch *watch, int fd, void *item);
void leave_watch_free(struct leave_watch **watch);

#endif
