/* SPDX-License-Identifier: MIT */
#include "proto/data_directory.h"
#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What each kept beside the others' files, by how the names begin (a file that was put aside has its name and
 * more). `last` is the one that makes the others count: SQLite reads a -wal only beside its database. `lock`
 * was held while they were in use; it is not moved. */
static const struct keeper {
    const char *role, *beginnings[8], *last, *lock;
} keepers[] = {
    {"statsd", {"usage.db"}, "usage.db", "usage.lock"},
    {"credd",
     {"credentials_state.json", "credential_sites.json", "key_paces.json", "keys.json", "session.key",
      "settings.json", ".credd-" /* of a killed writer: removed there */},
     NULL,
     NULL},
};

struct move {
    const struct keeper *keeper;
    int from_fd, to_fd, lock_fd;
    const char *data_dir, *own;
    unsigned moved_count;
};

bool data_directory_of(char path[PATH_MAX], const char *data_dir, const char *role)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", data_dir, role);
    if (length >= 0 && length < PATH_MAX)
        return true;
    path[0] = '\0';
    return false;
}

static bool is_directory(const char *path)
{
    struct stat status;
    bool is_there = stat(path, &status) == 0;
    if (is_there && !S_ISDIR(status.st_mode))
        errno = ENOTDIR;
    return is_there && S_ISDIR(status.st_mode);
}

int data_directory_make(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno == ENOENT) {
        const char *slash = strrchr(path, '/');
        char *above = slash && slash > path ? span_dup(span_of(path, (size_t)(slash - path))) : NULL;
        if (above && mkdir(above, 0700) == 0)
            mkdir(path, 0700);
        free(above);
    }
    return is_directory(path) ? 0 : ERR_IO;
}

static const struct keeper *find_keeper(const char *role)
{
    for (size_t i = 0; i < sizeof keepers / sizeof *keepers; i++)
        if (strcmp(keepers[i].role, role) == 0)
            return &keepers[i];
    abort(); /* a role without a row */
}

static bool is_its(const struct keeper *keeper, const char *name)
{
    for (const char *const *beginning = keeper->beginnings; *beginning; beginning++)
        if (strncmp(name, *beginning, strlen(*beginning)) == 0)
            return true;
    return false;
}

static int fail(const struct move *move, const char *name, int error, const char *problem)
{
    log_error(NULL, "data_not_moved", LOG_STR("directory", move->data_dir), LOG_STR("file", name),
              LOG_STR("to", move->own), LOG_STR("problem", problem));
    return error;
}

static bool is_taken(const struct move *move, const char *name)
{
    struct stat status;
    return fstatat(move->to_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Never over another: nobody else makes files there meanwhile, so a look before is enough. */
static int move_file(struct move *move, const char *name)
{
    if (is_taken(move, name)) {
        log_warning(NULL, "data_left", LOG_STR("directory", move->data_dir), LOG_STR("file", name),
                    LOG_STR("problem", "its new place has one of this name, which is used"));
        return 0;
    }
    if (renameat(move->from_fd, name, move->to_fd, name) == 0) {
        move->moved_count++;
        return 0;
    }
    if (errno == ENOENT)
        return 0;
    if (errno == EXDEV)
        return fail(move, name, ERR_CONFIG, "is on another file system: move it there by hand");
    return fail(move, name, ERR_IO, strerror(errno));
}

/* Calls `act` for each of its files but the last one. */
static int each_file(struct move *move, int (*act)(struct move *move, const char *name))
{
    int fd = openat(move->from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        if (fd >= 0)
            close(fd);
        return fail(move, ".", ERR_IO, strerror(errno));
    }
    for (struct dirent *entry; error == 0 && (entry = readdir(entries));)
        if (is_its(move->keeper, entry->d_name) &&
            (!move->keeper->last || strcmp(entry->d_name, move->keeper->last) != 0))
            error = act(move, entry->d_name);
    closedir(entries);
    return error;
}

static int note_one(struct move *move, const char *name)
{
    (void)move;
    (void)name;
    return ERR_EXISTS;
}

static bool has_last(const struct move *move)
{
    struct stat status;
    return move->keeper->last &&
           fstatat(move->from_fd, move->keeper->last, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A database that is there already must not meet the -wal of another. */
static bool must_stay(const struct move *move)
{
    if (!move->keeper->last || !is_taken(move, move->keeper->last))
        return false;
    log_warning(NULL, "data_left", LOG_STR("directory", move->data_dir), LOG_STR("file", move->keeper->last),
                LOG_STR("problem", "its new place has one already, which is used"));
    return true;
}

static int take_lock(struct move *move)
{
    const char *name = move->keeper->lock;
    if (!name)
        return 0;
    move->lock_fd = openat(move->from_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (move->lock_fd < 0)
        return errno == ENOENT ? 0 : fail(move, name, ERR_IO, strerror(errno));
    if (flock(move->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return fail(move, name, errno == EWOULDBLOCK ? ERR_BUSY : ERR_IO,
                errno == EWOULDBLOCK ? "another process has it open" : strerror(errno));
}

static int open_own(struct move *move)
{
    if (data_directory_make(move->own) == 0)
        move->to_fd = open(move->own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return move->to_fd >= 0 ? 0 : fail(move, ".", ERR_IO, strerror(errno));
}

static int move_all(struct move *move)
{
    int error = take_lock(move);
    if (error == 0)
        error = open_own(move);
    if (error < 0 || must_stay(move))
        return error;
    error = each_file(move, move_file);
    if (error == 0 && (fsync(move->to_fd) < 0 || fsync(move->from_fd) < 0)) /* the others before the last */
        error = fail(move, ".", ERR_IO, strerror(errno));
    if (error == 0 && move->keeper->last)
        error = move_file(move, move->keeper->last);
    if (error == 0 && (fsync(move->to_fd) < 0 || fsync(move->from_fd) < 0))
        error = fail(move, ".", ERR_IO, strerror(errno));
    if (error == 0 && move->lock_fd >= 0)
        unlinkat(move->from_fd, move->keeper->lock, 0);
    if (error == 0)
        log_info(NULL, "data_moved", LOG_STR("to", move->own), LOG_INT("files", move->moved_count));
    return error;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

int data_directory_adopt(char path[PATH_MAX], const char *data_dir, const char *role)
{
    struct move move = {.keeper = find_keeper(role),
                        .from_fd = -1,
                        .to_fd = -1,
                        .lock_fd = -1,
                        .data_dir = data_dir,
                        .own = path};
    if (!data_directory_of(path, data_dir, role))
        return fail(&move, ".", ERR_CONFIG, "the name of the directory is too long");
    move.from_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (move.from_fd < 0) /* nothing to move; whoever needs the directory says what is wrong with it */
        return 0;
    int error = has_last(&move) ? ERR_EXISTS : each_file(&move, note_one);
    if (error == ERR_EXISTS)
        error = move_all(&move);
    close_if_open(move.lock_fd);
    close_if_open(move.to_fd);
    close_if_open(move.from_fd);
    return error;
}
