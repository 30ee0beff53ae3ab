/* SPDX-License-Identifier: MIT */
/* child - one process: started with what it inherits, heard line by line, signalled, and its end told.
 * The other end of the contract in proto/service.h. One loop, nothing blocks (but fork and exec). */
#ifndef SUPERVISOR_CHILD_H
#define SUPERVISOR_CHILD_H

#include "deploy/supervisor/report.h"
#include "deploy/supervisor/starved.h"

#include <uv.h>

struct child;

enum { CHILD_SOCKETS_MAX = 2 };

struct child_spec {        /* borrows all */
    const char *directory; /* of the program, which is codebuddy2api-ROLE */
    const char *role;
    int instance;
    size_t sockets_count; /* listening sockets to inherit, as descriptors 3 and up */
    int sockets[CHILD_SOCKETS_MAX];
    const char *socket_names; /* LISTEN_FDNAMES; ignored without sockets */
    int keep_fd; /* inherited between them and SUPERVISOR_FD, not announced: the tree's lock. -1: none */
    const char *const *variables; /* NULL-terminated NAME=VALUE that replace what we inherited */
};

struct child_events {
    /* A line that is a report; anything else is logged and dropped. */
    void (*on_report)(void *context, const struct report *report);
    /* Once, and last: exit status, or -signal. Free the child in it or later. */
    void (*on_exit)(void *context, int exit_status);
    void *context;
};

/* Starts the process in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone and
 * the drain keeps its order. 0 and `child` is owned; ERR_IO or ERR_NOMEM (logged): then no event ever comes.
 */
int child_start(uv_loop_t *loop, const struct child_spec *spec, const struct child_events *events,
                struct child **child);
int child_pid(const struct child *child);
/* How its main thread fares just now. */
void child_sample(const struct child *child, struct starved_sample *sample);
void child_signal(struct child *child, int signal_number);
/* After on_exit only (or when the loop runs no more). NULL-safe. The memory goes once the loop has closed the
 * handles. */
void child_free(struct child **child);

#endif
