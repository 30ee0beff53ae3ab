/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/process.h"

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/listen.h"
#include "proto/log.h"
#include "proto/process_usage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_INHERITED_FD = 3 };

static void keep_descriptors_to_ourselves(void)
{
    if (close_range(FIRST_INHERITED_FD, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (int fd = FIRST_INHERITED_FD; fd < 1024; fd++) /* a kernel before 5.11 */
        listen_set_cloexec(fd);
}

void process_prepare(void)
{
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log at its limit is a write that fails */
    keep_descriptors_to_ourselves();
    process_usage_allow_descriptors(); /* its children's, too */
}

static void on_stop_signal(int number)
{
    (void)number;
    _exit(EXIT_OK); /* nothing was started; the kernel gives the locks back */
}

void process_ends_on_signals(void)
{
    const struct sigaction action = {.sa_handler = on_stop_signal};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int process_find_directory(char *directory, size_t size)
{
    const char *given = getenv("SUPERVISOR_BIN_DIR");
    ssize_t length;

    if (given && *given) {
        snprintf(directory, size, "%s", given);
        return 0;
    }
    length = readlink("/proc/self/exe", directory, size - 1);
    if (length < 0) {
        log_error(NULL, "no_program_directory", LOG_STR("problem", "/proc/self/exe cannot be read"));
        return ERR_IO;
    }
    directory[length] = '\0';
    *strrchr(directory, '/') = '\0';
    return 0;
}

int process_inherited_fd(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t fd;
    bool is_good = text && span_to_u64(span_str(text), &fd) && fd >= FIRST_INHERITED_FD && fd <= INT32_MAX;

    return is_good ? (int)fd : -1;
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
