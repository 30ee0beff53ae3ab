/* SPDX-License-Identifier: MIT */
/* turn_bytes - preloaded (LD_PRELOAD), has a process say on standard error how many bytes a turn of its loop
 * has read, whenever that is more than in any turn before: `turn_bytes PROGRAM BYTES`. Counts what the main
 * thread gets from read(2), with which libuv reads sockets, between two waits. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIGNALS_BYTES = 8 }; /* of the kernel's set */

static int loop_fd = -1; /* what the main thread first waited for: other sets are part of a turn */
static ssize_t turn_bytes, most_bytes;

static bool is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

static void end_turn(int fd)
{
    if (!is_main_thread())
        return;
    if (loop_fd < 0) {
        loop_fd = fd;
        turn_bytes = 0; /* of the start */
    }
    if (fd != loop_fd)
        return;
    if (turn_bytes > most_bytes) {
        most_bytes = turn_bytes;
        dprintf(STDERR_FILENO, "turn_bytes %s %zd\n", program_invocation_short_name, most_bytes);
    }
    turn_bytes = 0;
}

int epoll_pwait(int fd, struct epoll_event *events, int count, int timeout_ms, const sigset_t *signals)
{
    end_turn(fd);
    return (int)syscall(SYS_epoll_pwait, fd, events, count, timeout_ms, signals, SIGNALS_BYTES);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    return epoll_pwait(fd, events, count, timeout_ms, NULL);
}

ssize_t read(int fd, void *data, size_t size)
{
    ssize_t got = syscall(SYS_read, fd, data, size);

    if (got > 0 && is_main_thread())
        turn_bytes += got;
    return got;
}
