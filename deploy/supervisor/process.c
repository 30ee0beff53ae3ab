/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/process.h"

#include "proto/listen.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FIRST_INHERITED_FD = 3,
    OPEN_FILES_MAX = 1 << 20, /* some engines allow a billion, which makes programs that walk them crawl */
};

static void keep_descriptors_to_ourselves(void)
{
    if (close_range(FIRST_INHERITED_FD, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (int fd = FIRST_INHERITED_FD; fd < 1024; fd++) /* a kernel before 5.11 */
        listen_set_cloexec(fd);
}

void process_prepare(void)
{
    struct rlimit limit;

    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log at its limit is a write that fails */
    keep_descriptors_to_ourselves();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < OPEN_FILES_MAX) {
        limit.rlim_cur = limit.rlim_max < OPEN_FILES_MAX ? limit.rlim_max : OPEN_FILES_MAX;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

bool process_has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool process_stops_on_hangup(void)
{
    struct sigaction former;

    sigaction(SIGHUP, NULL, &former);
    return former.sa_handler != SIG_IGN && process_has_terminal();
}
