/* SPDX-License-Identifier: MIT */
/* durable_file - writes small files so that a crash at any moment leaves the old one or the new one, whole:
 * temporary name, fsync, rename, fsync of the directory. Files are 0600, directories 0700.
 *
 * Temporary names begin with `.credd-`; what a killed process left of them is removed by the next
 * durable_directory_prepare. The functions that block do so for an fsync; durable_job does the same on
 * libuv's pool, for use on a loop that serves. */
#ifndef CREDD_DURABLE_FILE_H
#define CREDD_DURABLE_FILE_H

#include "proto/bytes.h"

#include <uv.h>

enum durable_mode {
    DURABLE_PUT,    /* whether or not there is such a file */
    DURABLE_CREATE, /* ERR_EXISTS if there is one */
    DURABLE_REMOVE, /* durable_file_remove, for a job; no content */
    DURABLE_UPDATE /* only over the file that was read; ERR_NOT_FOUND if it is gone, ERR_BUSY if it changed */
};

enum { DURABLE_DIGEST_BYTES = 16 };

/* One write. Borrows all but `content` for as long as it takes. */
struct durable_write {
    const char *directory;
    const char *name;
    struct span content;
    enum durable_mode mode;
    /* For UPDATE: the digest of what was read. */
    unsigned char read_digest[DURABLE_DIGEST_BYTES];
};

/* Makes the directory if it is missing, and removes what killed writers left. 0 or ERR_IO with errno. */
int durable_directory_prepare(const char *directory);
/* Blocks. 0; ERR_EXISTS, ERR_NOT_FOUND, ERR_BUSY by mode; ERR_IO with errno. */
int durable_file_write(const struct durable_write *write);
/* Removes a file, durably. Blocks. 0, ERR_NOT_FOUND, ERR_IO. */
int durable_file_remove(const char *directory, const char *name);
/* Appends the file's content; a file over `max_bytes` is ERR_TOO_LARGE. Blocks. Follows no link. 0,
 * ERR_NOT_FOUND, ERR_IO, ERR_NOMEM. */
int durable_file_read(const char *directory, const char *name, size_t max_bytes, struct buffer *content);
void durable_digest(struct span content, unsigned char digest[DURABLE_DIGEST_BYTES]);

struct durable_job;
/* The same write off the loop. Copies all (and wipes the copy of the content after). `done` is called once,
 * on the loop, not in here; its error is durable_file_write's. Returns NULL, and never calls, when out of
 * memory. */
struct durable_job *durable_job_start(uv_loop_t *loop, const struct durable_write *write,
                                      void (*done)(void *context, int error), void *context);
/* `done` will not be called; the write itself goes on. NULL-safe. */
void durable_job_forget(struct durable_job **job);
/* The same, but blocks until the write is over. Returns its error; 0 for NULL. */
int durable_job_finish(struct durable_job **job);

#endif
