/* SPDX-License-Identifier: MIT */
/* control - the supervisor's socket, RUN/supervisor.sock (0600 in a directory of 0700): one command a
 * connection, one line, answered and closed.
 *
 *   status   one JSON object (supervisor.c makes it)
 *   reload   `reloading`, then `reloaded` or `failed: …` once it is over
 *   stop     `stopping`, then the end of file once all is gone
 *
 * Anything else gets `failed: …`. A connection has five seconds to say its line of at most 64 bytes; at most
 * 32 are open at a time. On the loop; nothing blocks. */
#ifndef SUPERVISOR_CONTROL_H
#define SUPERVISOR_CONTROL_H

#include <stdbool.h>
#include <uv.h>

#define CONTROL_SOCKET_NAME "supervisor.sock"

struct control;

struct control_options {
    const char *run_dir; /* borrows; its lock is ours, so a socket that lies there is a dead one */
    /* Returns owned text (malloc), NULL when out of memory. */
    char *(*status)(void *context);
    /* 0: control_tell_reloaded follows; or a negative enum error. */
    int (*reload)(void *context);
    void (*stop)(void *context);
    void *context;
};

/* Returns owned, NULL on failure (logged). */
struct control *control_open(uv_loop_t *loop, const struct control_options *options);
/* Answers those who wait for a reload. */
void control_tell_reloaded(struct control *control, bool whole);
/* Takes the socket's name away: nobody new. Who waits for the stop stays connected. Idempotent. */
void control_stop_listening(struct control *control);
/* Closes all connections, which tells who waits that the tree is gone. The loop must turn once more.
 * NULL-safe. */
void control_free(struct control **control);

#endif
