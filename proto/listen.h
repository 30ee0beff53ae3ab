/* SPDX-License-Identifier: MIT */
/* listen - listening TCP sockets: opening them, and inheriting them in systemd's manner (sd_listen_fds(3)):
 * LISTEN_FDS=N descriptors from 3 on, LISTEN_FDNAMES their names, LISTEN_PID (if set) who they are for.
 * Blocks only on resolving a host name. */
#ifndef PROTO_LISTEN_H
#define PROTO_LISTEN_H

#include <stdint.h>

enum { LISTEN_FIRST_FD = 3, LISTEN_MAX = 8, LISTEN_NAME_BYTES = 32 };

struct listen_set {
    int count;
    int fds[LISTEN_MAX]; /* -1 once taken */
    char names[LISTEN_MAX][LISTEN_NAME_BYTES];
};

/* How many the environment announces to us; looks only. */
int listen_inherited_count(void);
/* Takes over what the environment announces, and removes the announcement. */
void listen_set_inherit(struct listen_set *set);
/* The descriptor of that name, now the caller's; -1 if there is none (left). */
int listen_set_take(struct listen_set *set, const char *name);
void listen_set_close(struct listen_set *set); /* closes what nobody took */
void listen_set_cloexec(int fd);

/* A new listening socket on host:port, non-blocking, close-on-exec, SO_REUSEADDR. `port` 0 takes a free one.
 * -1 on failure, logged with the address and the reason. */
int listen_open(const char *host, int64_t port);
/* The port a socket is bound to, -1 on failure. */
int listen_port(int fd);

#endif
