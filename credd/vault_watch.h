/* SPDX-License-Identifier: MIT */
/* vault_watch - scans the vault when its directory changes: soon after the file system says so, gathered so
 * that a file being written is read once it is whole; and every few seconds regardless, for file systems that
 * say nothing. Owned by its service; on its loop. */
#ifndef CREDD_VAULT_WATCH_H
#define CREDD_VAULT_WATCH_H

#include "credd/vault.h"

#include <uv.h>

enum {
    WATCH_QUIET_MS = 50,   /* a scan follows this much quiet after a change … */
    WATCH_LATEST_MS = 300, /* … or this long after the first of many: a change counts within a second */
    WATCH_RESCAN_MS = 3000,
};

struct vault_watch;
/* Calls `changed` after each scan that found something. Borrows the vault. Returns owned, NULL on failure
 * (logged). */
struct vault_watch *vault_watch_new(uv_loop_t *loop, struct vault *vault, void (*changed)(void *owner),
                                    void *owner);
/* `changed` is not called any more. The loop must run once more to free the rest. */
void vault_watch_free(struct vault_watch **watch);

#endif
