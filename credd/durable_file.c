/* SPDX-License-Identifier: MIT */
#include "credd/durable_file.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_PREFIX ".credd-"

enum { TEMPORARY_NAME_BYTES = 40 };

void durable_digest(struct span content, unsigned char digest[DURABLE_DIGEST_BYTES])
{
    crypto_generichash(digest, DURABLE_DIGEST_BYTES, (const unsigned char *)content.data, content.length,
                       NULL, 0);
}

static int open_directory(const char *directory)
{
    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* close, keeping errno of what went wrong before. */
static void close_quietly(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
}

static void unlink_quietly(int directory_fd, const char *name)
{
    int saved = errno;
    unlinkat(directory_fd, name, 0);
    errno = saved;
}

int durable_directory_prepare(const char *directory)
{
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return ERR_IO;
    DIR *entries = opendir(directory);
    if (!entries)
        return ERR_IO;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strncmp(entry->d_name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0)
            unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    return 0;
}

static int write_all(int fd, struct span content)
{
    while (content.length > 0) {
        ssize_t length = write(fd, content.data, content.length);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return ERR_IO;
        content = span_of(content.data + length, content.length - (size_t)length);
    }
    return 0;
}

/* Writes the content under a new name, on disk when it returns 0. */
static int write_temporary(int directory_fd, struct span content, char name[TEMPORARY_NAME_BYTES])
{
    unsigned char random[8];
    char hex[2 * sizeof random + 1];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    snprintf(name, TEMPORARY_NAME_BYTES, TEMPORARY_PREFIX "%s.tmp", hex);
    int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    int error = write_all(fd, content);
    if (error == 0 && fsync(fd) < 0)
        error = ERR_IO;
    close_quietly(fd);
    if (error < 0)
        unlink_quietly(directory_fd, name);
    return error;
}

static int read_fd(int fd, size_t max_bytes, struct buffer *content)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return ERR_IO;
    if ((size_t)status.st_size > max_bytes)
        return ERR_TOO_LARGE;
    if (buffer_reserve(content, (size_t)status.st_size + 1) < 0) /* at once: growing leaves copies behind */
        return ERR_NOMEM;
    for (size_t left = (size_t)status.st_size; left > 0;) {
        ssize_t length = read(fd, content->data + content->length, left);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return ERR_IO;
        if (length == 0)
            break;
        content->length += (size_t)length;
        left -= (size_t)length;
    }
    return 0;
}

static int read_at(int directory_fd, const char *name, size_t max_bytes, struct buffer *content)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int error = read_fd(fd, max_bytes, content);
    close_quietly(fd);
    return error;
}

/* Whether `name` holds what was read. 0, ERR_BUSY if not, ERR_NOT_FOUND. */
static int check_unchanged(int directory_fd, const char *name, const unsigned char *read_digest)
{
    struct buffer content = {0};
    unsigned char digest[DURABLE_DIGEST_BYTES];
    int error = read_at(directory_fd, name, 1 << 20, &content);
    if (error == 0) {
        durable_digest(buffer_span(&content), digest);
        error = memcmp(digest, read_digest, sizeof digest) == 0 ? 0 : ERR_BUSY;
    }
    buffer_fini_secret(&content);
    return error == ERR_NOT_FOUND || error == 0 ? error : ERR_BUSY;
}

/* A file system that cannot exchange names: a change in the moment between look and rename is lost. */
static int update_by_rename(int directory_fd, const char *temporary, const struct durable_write *write)
{
    int error = check_unchanged(directory_fd, write->name, write->read_digest);
    if (error == 0 && renameat(directory_fd, temporary, directory_fd, write->name) < 0)
        error = ERR_IO;
    return error;
}

/* Exchanges the two names: that fails if the file is gone, and what comes out can still be looked at. */
static int update(int directory_fd, const char *temporary, const struct durable_write *write)
{
    if (renameat2(directory_fd, temporary, directory_fd, write->name, RENAME_EXCHANGE) < 0) {
        if (errno == ENOENT)
            return ERR_NOT_FOUND;
        return errno == EINVAL || errno == ENOSYS ? update_by_rename(directory_fd, temporary, write) : ERR_IO;
    }
    int error = check_unchanged(directory_fd, temporary, write->read_digest);
    if (error < 0) /* somebody else's new version: put it back */
        renameat2(directory_fd, temporary, directory_fd, write->name, RENAME_EXCHANGE);
    return error;
}

static int put_in_place(int directory_fd, const char *temporary, const struct durable_write *write)
{
    switch (write->mode) {
    case DURABLE_CREATE: /* link, unlike rename, never replaces */
        if (linkat(directory_fd, temporary, directory_fd, write->name, 0) == 0)
            return 0;
        return errno == EEXIST ? ERR_EXISTS : ERR_IO;
    case DURABLE_UPDATE:
        return update(directory_fd, temporary, write);
    case DURABLE_PUT:
    case DURABLE_REMOVE:
        break;
    }
    return renameat(directory_fd, temporary, directory_fd, write->name) == 0 ? 0 : ERR_IO;
}

int durable_file_write(const struct durable_write *write)
{
    char temporary[TEMPORARY_NAME_BYTES];
    if (write->mode == DURABLE_REMOVE)
        return durable_file_remove(write->directory, write->name);
    int directory_fd = open_directory(write->directory);
    if (directory_fd < 0)
        return ERR_IO;
    int error = write_temporary(directory_fd, write->content, temporary);
    if (error == 0) {
        error = put_in_place(directory_fd, temporary, write);
        unlink_quietly(directory_fd, temporary); /* gone already if it was renamed */
    }
    if (error == 0 && fsync(directory_fd) < 0)
        error = ERR_IO;
    close_quietly(directory_fd);
    return error;
}

int durable_file_remove(const char *directory, const char *name)
{
    int directory_fd = open_directory(directory), error = 0;
    if (directory_fd < 0)
        return ERR_IO;
    if (unlinkat(directory_fd, name, 0) < 0)
        error = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    else if (fsync(directory_fd) < 0)
        error = ERR_IO;
    close_quietly(directory_fd);
    return error;
}

int durable_file_read(const char *directory, const char *name, size_t max_bytes, struct buffer *content)
{
    int directory_fd = open_directory(directory);
    if (directory_fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int error = read_at(directory_fd, name, max_bytes, content);
    close_quietly(directory_fd);
    return error;
}

/* ---- off the loop ---- */

struct durable_job {
    uv_work_t work;
    uv_sem_t is_over;
    struct durable_write write;
    char *directory, *name;
    struct secret content;
    int error;
    void (*done)(void *context, int error); /* NULL: forgotten */
    void *context;
};

static void job_free(struct durable_job *job)
{
    uv_sem_destroy(&job->is_over);
    secret_fini(&job->content);
    free(job->directory);
    free(job->name);
    free(job);
}

/* In a thread of libuv's: touches nothing but the job. */
static void job_work(uv_work_t *work)
{
    struct durable_job *job = work->data;
    job->error = durable_file_write(&job->write);
    uv_sem_post(&job->is_over);
}

static void job_after(uv_work_t *work, int status)
{
    struct durable_job *job = work->data;
    if (job->done)
        job->done(job->context, status < 0 ? ERR_IO : job->error);
    job_free(job);
}

struct durable_job *durable_job_start(uv_loop_t *loop, const struct durable_write *write,
                                      void (*done)(void *context, int error), void *context)
{
    struct durable_job *job = calloc(1, sizeof *job);
    if (!job || uv_sem_init(&job->is_over, 0) < 0) {
        free(job);
        return NULL;
    }
    job->directory = strdup(write->directory);
    job->name = strdup(write->name);
    job->done = done;
    job->context = context;
    job->work.data = job;
    job->write = *write;
    job->write.directory = job->directory;
    job->write.name = job->name;
    if (!job->directory || !job->name || secret_set(&job->content, write->content) < 0) {
        job_free(job);
        return NULL;
    }
    job->write.content = secret_span(&job->content);
    if (uv_queue_work(loop, &job->work, job_work, job_after) < 0) {
        job_free(job);
        return NULL;
    }
    return job;
}

void durable_job_forget(struct durable_job **job)
{
    if (*job)
        (*job)->done = NULL;
    *job = NULL;
}

int durable_job_finish(struct durable_job **job)
{
    if (!*job)
        return 0;
    if (uv_cancel((uv_req_t *)&(*job)->work) == 0)
        job_work(&(*job)->work); /* it had not begun */
    uv_sem_wait(&(*job)->is_over);
    int error = (*job)->error;
    durable_job_forget(job);
    return error;
}
