/* SPDX-License-Identifier: MIT */
/* confine_disk - leaves this thread, and those that it makes, the files and TCP ports that it needs
 * (Landlock), for good. Nothing but what is named here can be opened afterwards; what is open stays usable.
 * See confine.h. */
#ifndef PROTO_CONFINE_DISK_H
#define PROTO_CONFINE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFINE_PATHS_MAX = 24, CONFINE_PORTS_MAX = 72 };

enum confine_access {
    CONFINE_READ,   /* a file, or all below a directory */
    CONFINE_WRITE,  /* all below a directory: read, make, change, remove; or a file: read and change */
    CONFINE_SOCKET, /* a directory: to make and remove sockets in it. To connect to one needs nothing */
};

struct confine_disk {
    struct {
        const char *path; /* borrows; what is not there is passed over */
        enum confine_access access;
    } paths[CONFINE_PATHS_MAX];
    size_t path_count;
    uint16_t connects[CONFINE_PORTS_MAX], binds[CONFINE_PORTS_MAX]; /* TCP; 0 among binds: any free one */
    size_t connect_count, bind_count;
    bool connects_anywhere;
    bool abstract_sockets; /* has links over ipc://@name */
};

/* The kernel's version of Landlock, 0 without. TCP ports need 4, and 6 keeps signals and abstract sockets
 * among ourselves. */
int confine_disk_version(void);
/* 0, or a negative errno: then nothing has changed. Sets no_new_privs. */
int confine_disk_apply(const struct confine_disk *may);

#endif
