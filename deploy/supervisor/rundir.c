/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/rundir.h"

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The longest socket name that anyone makes in the run directory. */
#define LONGEST_SOCKET "/gateway-1063.sock"

struct rundir {
    int own_fd;  /* supervisor.lock */
    int tree_fd; /* tree.lock */
};

static int refuse(int error, const char *path, const char *problem)
{
    log_error(NULL, "run_dir_refused", LOG_STR("path", path), LOG_STR("problem", problem));
    return error;
}

int rundir_make(const char *setting, const char *path)
{
    struct stat status;
    char *partial = span_dup(span_str(path));
    int failed = partial ? 0 : ENOMEM;

    for (char *c = partial; failed == 0 && *c;) {
        c += strspn(c, "/");
        c += strcspn(c, "/");
        char rest = *c;
        *c = '\0';
        if (mkdir(partial, 0700) < 0 && errno != EEXIST)
            failed = errno;
        *c = rest;
    }
    free(partial);
    if (failed == 0 && stat(path, &status) < 0)
        failed = errno;
    if (failed == 0 && S_ISDIR(status.st_mode))
        return 0;
    log_error(NULL, "no_directory", LOG_STR("setting", setting), LOG_STR("path", path),
              LOG_STR("problem", strerror(failed ? failed : ENOTDIR)));
    return failed && failed != ENOTDIR ? ERR_IO : ERR_CONFIG;
}

/* Others who could write here could put their own sockets in the place of ours. */
static int verify(const char *path, int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return refuse(ERR_IO, path, strerror(errno));
    if (status.st_uid != geteuid())
        return refuse(ERR_CONFIG, path,
                      "belongs to another user: set CODEBUDDY_RUN_DIR to a directory of yours");
    if (status.st_mode & 077)
        return refuse(ERR_CONFIG, path, "is open to others: chmod 700 it, or set CODEBUDDY_RUN_DIR");
    return 0;
}

static int open_verified(const char *path, int *fd)
{
    if (strlen(path) + sizeof(LONGEST_SOCKET) > sizeof(((struct sockaddr_un *)0)->sun_path))
        return refuse(ERR_CONFIG, path,
                      "is too long for socket names: set CODEBUDDY_RUN_DIR to a shorter one");
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd >= 0)
        return verify(path, *fd);
    if (errno == ENOTDIR || errno == ELOOP)
        return refuse(ERR_CONFIG, path, "is not a directory (a symbolic link will not do)");
    return refuse(ERR_IO, path, strerror(errno));
}

static int open_lock(const char *path, int directory_fd, const char *name, int *fd)
{
    *fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *fd < 0 ? refuse(ERR_IO, path, strerror(errno)) : 0;
}

/* Says who holds the lock: its holder wrote its pid into the file. */
static int lock_own(const char *path, int fd)
{
    char pid[16] = "";

    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return refuse(ERR_IO, path, strerror(errno));
        ssize_t length = pread(fd, pid, sizeof(pid) - 1, 0);
        log_error(NULL, "already_running", LOG_STR("run_dir", path),
                  LOG_SPAN("holder_pid", span_of(pid, length > 0 ? (size_t)length : 0)),
                  LOG_STR("problem",
                          "another supervisor uses this run directory: stop it, or set CODEBUDDY_RUN_DIR"));
        return ERR_EXISTS;
    }
    int length = snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)length, 0) != length)
        return refuse(ERR_IO, path, strerror(errno));
    return 0;
}

static void on_alarm(int signal_number)
{
    (void)signal_number; /* its only effect is EINTR */
}

static int lock_tree(const char *path, int fd, int64_t wait_s)
{
    struct sigaction interrupt = {.sa_handler = on_alarm}, former;
    int result = flock(fd, LOCK_EX | LOCK_NB);

    if (result < 0 && errno == EWOULDBLOCK) {
        log_warning(NULL, "waiting_for_former_tree", LOG_STR("run_dir", path), LOG_INT("limit_s", wait_s));
        sigaction(SIGALRM, &interrupt, &former);
        alarm((unsigned)wait_s);
        result = flock(fd, LOCK_EX);
        int reason = errno;
        alarm(0);
        sigaction(SIGALRM, &former, NULL);
        errno = reason;
    }
    if (result == 0)
        return 0;
    if (errno == EINTR)
        return refuse(ERR_TIMEOUT, path,
                      "processes of a former supervisor do not end: look for codebuddy2api-*");
    return refuse(ERR_IO, path, strerror(errno));
}

int rundir_acquire(const char *path, int64_t wait_s, struct rundir **rundir)
{
    struct rundir *created = malloc(sizeof(*created));
    int directory_fd = -1;
    int error = created ? rundir_make("CODEBUDDY_RUN_DIR", path) : ERR_NOMEM;

    if (!created)
        return error;
    *created = (struct rundir){-1, -1};
    if (error == 0)
        error = open_verified(path, &directory_fd);
    if (error == 0)
        error = open_lock(path, directory_fd, "supervisor.lock", &created->own_fd);
    if (error == 0)
        error = lock_own(path, created->own_fd);
    if (error == 0)
        error = open_lock(path, directory_fd, "tree.lock", &created->tree_fd);
    if (error == 0)
        error = lock_tree(path, created->tree_fd, wait_s);
    if (directory_fd >= 0)
        close(directory_fd);
    if (error < 0)
        rundir_release(&created);
    *rundir = created;
    return error;
}

bool rundir_wait_for_orphans(const char *path)
{
    int directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = directory_fd < 0 ? -1 : openat(directory_fd, "tree.lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool waited = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

    while (waited && flock(fd, LOCK_SH) < 0 && errno == EINTR)
        ;
    if (fd >= 0)
        close(fd);
    if (directory_fd >= 0)
        close(directory_fd);
    return waited;
}

void rundir_release(struct rundir **rundir_pointer)
{
    struct rundir *rundir = *rundir_pointer;

    *rundir_pointer = NULL;
    if (!rundir)
        return;
    if (rundir->tree_fd >= 0)
        close(rundir->tree_fd);
    if (rundir->own_fd >= 0)
        close(rundir->own_fd);
    free(rundir);
}

int rundir_tree_fd(const struct rundir *rundir)
{
    return rundir->tree_fd;
}
