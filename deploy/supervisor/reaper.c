/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/reaper.h"

#include "proto/log.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { LOOK_AGAIN_MS = 10 };

struct reaper {
    uv_signal_t on_child;
    uv_timer_t again; /* one of ours stands before the others: libuv takes it before this fires */
    bool (*is_ours)(void *context, int pid);
    void *context;
    unsigned open_handles;
};

static void reap(struct reaper *reaper);

static void on_again(uv_timer_t *timer)
{
    reap(timer->data);
}

static void on_child(uv_signal_t *handle, int number)
{
    (void)number;
    reap(handle->data);
}

/* Looks at who has ended before waiting for it. */
static void reap(struct reaper *reaper)
{
    for (;;) {
        siginfo_t info = {0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        if (reaper->is_ours(reaper->context, info.si_pid)) {
            uv_timer_start(&reaper->again, on_again, LOOK_AGAIN_MS, 0);
            return;
        }
        waitpid(info.si_pid, NULL, WNOHANG);
        log_debug(NULL, "orphan_reaped", LOG_INT("orphan_pid", info.si_pid));
    }
}

struct reaper *reaper_new(uv_loop_t *loop, bool (*is_ours)(void *context, int pid), void *context)
{
    struct reaper *reaper = calloc(1, sizeof(*reaper));

    if (!reaper) {
        log_error(NULL, "out_of_memory");
        return NULL;
    }
    reaper->is_ours = is_ours;
    reaper->context = context;
    reaper->open_handles = 2;
    uv_signal_init(loop, &reaper->on_child);
    uv_timer_init(loop, &reaper->again);
    reaper->on_child.data = reaper->again.data = reaper;
    uv_signal_start(&reaper->on_child, on_child, SIGCHLD);
    return reaper;
}

static void on_closed(uv_handle_t *handle)
{
    struct reaper *reaper = handle->data;

    if (--reaper->open_handles == 0)
        free(reaper);
}

void reaper_free(struct reaper **reaper_pointer)
{
    struct reaper *reaper = *reaper_pointer;

    *reaper_pointer = NULL;
    if (!reaper)
        return;
    uv_close((uv_handle_t *)&reaper->on_child, on_closed);
    uv_close((uv_handle_t *)&reaper->again, on_closed);
}
