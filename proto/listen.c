/* SPDX-License-Identifier: MIT */
#include "proto/listen.h"
#include "proto/bytes.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 4096
}; /* clients that wait while a gateway restarts; the kernel caps it at somaxconn */

void listen_set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

static bool meant_for_us(void)
{
    const char *text = getenv("LISTEN_PID");
    uint64_t pid;
    return !text || (span_to_u64(span_str(text), &pid) && pid == (uint64_t)getpid());
}

int listen_inherited_count(void)
{
    const char *text = getenv("LISTEN_FDS");
    uint64_t count = 0;
    if (!text || !meant_for_us() || !span_to_u64(span_str(text), &count))
        return 0;
    return count < LISTEN_MAX ? (int)count : LISTEN_MAX;
}

void listen_set_inherit(struct listen_set *set)
{
    const char *names = getenv("LISTEN_FDNAMES");
    *set = (struct listen_set){.count = listen_inherited_count()};
    if (set->count == 0)
        return;
    for (int i = 0; i < set->count; i++) {
        size_t length = names ? strcspn(names, ":") : 0;
        set->fds[i] = LISTEN_FIRST_FD + i;
        snprintf(set->names[i], LISTEN_NAME_BYTES, "%.*s", (int)(length < LISTEN_NAME_BYTES ? length : 0),
                 names ? names : "");
        listen_set_cloexec(set->fds[i]);
        fcntl(set->fds[i], F_SETFL, fcntl(set->fds[i], F_GETFL) | O_NONBLOCK);
        if (names)
            names += length + (names[length] == ':');
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    unsetenv("LISTEN_PID");
}

int listen_set_take(struct listen_set *set, const char *name)
{
    for (int i = 0; i < set->count; i++)
        if (set->fds[i] >= 0 && strcmp(set->names[i], name) == 0) {
            int fd = set->fds[i];
            set->fds[i] = -1;
            return fd;
        }
    return -1;
}

void listen_set_close(struct listen_set *set)
{
    for (int i = 0; i < set->count; i++)
        if (set->fds[i] >= 0)
            close(set->fds[i]);
    set->count = 0;
}

static int listen_on(const struct addrinfo *address)
{
    static const int on = 1;
    int fd =
        socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

int listen_open(const char *host, int64_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", (int)port);
    int resolve_error = getaddrinfo(host, service, &hints, &addresses);
    if (resolve_error != 0) {
        log_error(NULL, "cannot_listen", LOG_STR("host", host), LOG_INT("port", port),
                  LOG_STR("problem", gai_strerror(resolve_error)));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *address = addresses; fd < 0 && address; address = address->ai_next)
        fd = listen_on(address);
    if (fd < 0)
        log_error(NULL, "cannot_listen", LOG_STR("host", host), LOG_INT("port", port),
                  LOG_STR("problem", strerror(errno)));
    freeaddrinfo(addresses);
    return fd;
}

int listen_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t length = sizeof address;
    if (getsockname(fd, &address.any, &length) < 0)
        return -1;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}
