/* SPDX-License-Identifier: MIT */
/* changes - what people change of the files in the data directory, one after the other: planned, written on
 * libuv's pool, settled; so that a change is in effect and answered once it is durable, and a slow disk
 * delays nothing else. How many wait is bounded: more are answered 503 at once. Owned by office. */
#ifndef CREDD_CHANGES_H
#define CREDD_CHANGES_H

#include "credd/calls.h"
#include "credd/durable_file.h"

enum { CHANGES_MAX = 64 /* each may hold the 512 KiB of a CALL */, CHANGE_SECRET_BYTES = 64 };

struct changes;
struct change;

/* A kind of change, of one file. Its functions get the change when its turn has come. */
struct change_kind {
    const char *file;
    /* Appends what the file is to say. 0; negative: nothing is to be written, and its call is answered. */
    int (*plan)(struct change *change, struct buffer *document);
    /* `error`: of the write. Answers its call. */
    void (*settle)(struct change *change, int error);
};

struct change {
    void *owner;
    struct call *call; /* NULL: nobody asked */
    json_t *arguments; /* borrowed; NULL if there were none */
    /* For the kind's own use, between plan and settle. */
    json_t *reply;                    /* freed with the change */
    char secret[CHANGE_SECRET_BYTES]; /* wiped with it */
    /* The rest is changes.c's. */
    struct changes *changes;
    const struct change_kind *kind;
    struct change *prev, *next;
};

/* Of files in `directory` (borrowed). Returns owned, NULL when out of memory. */
struct changes *changes_new(const char *directory);
/* All must be done, or stopped. NULL-safe. */
void changes_free(struct changes **changes);
/* Writes on the pool of `loop`; before the first is added. */
void changes_serve(struct changes *changes, uv_loop_t *loop);
/* Adds one, which may begin, and even be over, in here. Borrows `owner` for as long as it takes; `call`, and
 * `arguments` which it counts a reference to, may be NULL. */
void changes_add(struct changes *changes, const struct change_kind *kind, void *owner, struct call *call,
                 const json_t *arguments);
bool changes_are_done(const struct changes *changes);
/* Finishes the write under way (blocks for it), and answers 503 to all that wait. */
void changes_stop(struct changes *changes);
/* The log line of a write that failed. */
void changes_log_lost(const char *directory, const char *file, int error);

#endif
