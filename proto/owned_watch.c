/* SPDX-License-Identifier: MIT */
#include "proto/owned_watch.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/stat.h>

static bool look_at(const char *path, dev_t *device, ino_t *inode)
{
    struct stat status;
    bool is_there = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    *device = is_there ? status.st_dev : 0;
    *inode = is_there ? status.st_ino : 0;
    return is_there;
}

void owned_watch_init(struct owned_watch *watch, const char *const *paths, size_t count)
{
    assert(count <= OWNED_WATCH_MAX);
    *watch = (struct owned_watch){.count = count};
    for (size_t i = 0; i < count; i++) {
        watch->directories[i].path = paths[i];
        look_at(paths[i], &watch->directories[i].device, &watch->directories[i].inode);
    }
}

const char *owned_watch_look(struct owned_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        dev_t device;
        ino_t inode;
        look_at(watch->directories[i].path, &device, &inode);
        if (device == watch->directories[i].device && inode == watch->directories[i].inode)
            watch->directories[i].misses = 0;
        else if (++watch->directories[i].misses >= OWNED_WATCH_LOOKS)
            return watch->directories[i].path;
    }
    return NULL;
}
