/* SPDX-License-Identifier: MIT */
#include "credd/vault_watch.h"
#include "proto/log.h"

#include <stdlib.h>

struct vault_watch {
    struct vault *vault;
    void (*changed)(void *owner);
    void *owner;
    uv_fs_event_t directory;
    uv_timer_t gather; /* active while a change waits for its scan */
    uv_timer_t rescan;
    uint64_t first_change_ms;
    dev_t device; /* of the directory that is watched */
    ino_t inode;
    bool is_watching;
    int open_handles;
};

static void on_directory_event(uv_fs_event_t *handle, const char *filename, int events, int status);

/* Watches the directory that the path leads to now: it may have been replaced. */
static void follow_directory(struct vault_watch *watch)
{
    dev_t device;
    ino_t inode;
    vault_identity(watch->vault, &device, &inode);
    if (watch->is_watching && device == watch->device && inode == watch->inode)
        return;
    uv_fs_event_stop(&watch->directory);
    int status = uv_fs_event_start(&watch->directory, on_directory_event, vault_directory(watch->vault), 0);
    if (status < 0)
        log_warning(NULL, "watch_failed", LOG_STR("directory", vault_directory(watch->vault)),
                    LOG_STR("error", uv_strerror(status)), LOG_INT("rescan_ms", WATCH_RESCAN_MS));
    watch->is_watching = status == 0;
    watch->device = device;
    watch->inode = inode;
}

static void scan(struct vault_watch *watch)
{
    bool changed = vault_scan(watch->vault);
    follow_directory(watch);
    if (changed)
        watch->changed(watch->owner);
}

static void on_gathered(uv_timer_t *timer)
{
    scan(timer->data);
}

static void on_rescan(uv_timer_t *timer)
{
    scan(timer->data);
}

static void on_directory_event(uv_fs_event_t *handle, const char *filename, int events, int status)
{
    struct vault_watch *watch = handle->data;
    uint64_t now_ms = uv_now(handle->loop);
    (void)filename;
    (void)events;
    (void)status;
    if (!uv_is_active((const uv_handle_t *)&watch->gather))
        watch->first_change_ms = now_ms;
    uint64_t latest_ms = watch->first_change_ms + WATCH_LATEST_MS;
    uint64_t left_ms = latest_ms > now_ms ? latest_ms - now_ms : 0;
    uv_timer_start(&watch->gather, on_gathered, left_ms < WATCH_QUIET_MS ? left_ms : WATCH_QUIET_MS, 0);
}

struct vault_watch *vault_watch_new(uv_loop_t *loop, struct vault *vault, void (*changed)(void *owner),
                                    void *owner)
{
    struct vault_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        log_error(NULL, "watch_failed", LOG_STR("error", "out of memory"));
        return NULL;
    }
    watch->vault = vault;
    watch->changed = changed;
    watch->owner = owner;
    uv_fs_event_init(loop, &watch->directory);
    uv_timer_init(loop, &watch->gather);
    uv_timer_init(loop, &watch->rescan);
    watch->directory.data = watch->gather.data = watch->rescan.data = watch;
    watch->open_handles = 3;
    follow_directory(watch);
    /* The first comes at once: what changed between vault_open and the watch was said to nobody. */
    uv_timer_start(&watch->rescan, on_rescan, 0, WATCH_RESCAN_MS);
    return watch;
}

static void on_closed(uv_handle_t *handle)
{
    struct vault_watch *watch = handle->data;
    if (--watch->open_handles == 0)
        free(watch);
}

void vault_watch_free(struct vault_watch **watch)
{
    if (!*watch)
        return;
    uv_close((uv_handle_t *)&(*watch)->directory, on_closed);
    uv_close((uv_handle_t *)&(*watch)->gather, on_closed);
    uv_close((uv_handle_t *)&(*watch)->rescan, on_closed);
    *watch = NULL;
}
