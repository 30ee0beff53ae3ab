/* SPDX-License-Identifier: MIT */
/* owned_watch - notices when the path of a directory leads to another one than at the start: replaced,
 * mounted over, or a link that was turned. A confined process may not touch that one (confine.h). */
#ifndef PROTO_OWNED_WATCH_H
#define PROTO_OWNED_WATCH_H

#include <stddef.h>
#include <sys/types.h>

enum { OWNED_WATCH_MAX = 2, OWNED_WATCH_LOOKS = 3 };

struct owned_watch { /* all zero watches nothing */
    struct {
        const char *path; /* borrows */
        dev_t device;
        ino_t inode;     /* 0: there was none */
        unsigned misses; /* looks in a row that did not find it: it may be on its way back */
    } directories[OWNED_WATCH_MAX];
    size_t count;
};

void owned_watch_init(struct owned_watch *watch, const char *const *paths, size_t count);
/* Call it once a second. The path that has led elsewhere for OWNED_WATCH_LOOKS looks, or NULL. */
const char *owned_watch_look(struct owned_watch *watch);

#endif
