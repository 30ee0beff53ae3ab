/* SPDX-License-Identifier: MIT */
#include "credd/changes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <utlist.h>

enum { RETRY_S = 1 };

struct changes {
    uv_loop_t *loop;
    const char *directory;
    struct change *list; /* the first one is being written */
    size_t count;
    struct durable_job *job; /* its write; NULL: none */
};

struct changes *changes_new(const char *directory)
{
    struct changes *changes = calloc(1, sizeof *changes);
    if (changes)
        changes->directory = directory;
    return changes;
}

void changes_free(struct changes **changes)
{
    assert(!*changes || changes_are_done(*changes));
    free(*changes);
    *changes = NULL;
}

void changes_serve(struct changes *changes, uv_loop_t *loop)
{
    changes->loop = loop;
}

bool changes_are_done(const struct changes *changes)
{
    return changes->list == NULL;
}

void changes_log_lost(const char *directory, const char *file, int error)
{
    log_error(NULL, "not_written", LOG_STR("directory", directory), LOG_STR("file", file),
              LOG_STR("problem", error_text(error)));
}

static void change_free(struct change *change)
{
    DL_DELETE(change->changes->list, change);
    change->changes->count--;
    json_decref(change->arguments);
    json_decref(change->reply);
    sodium_memzero(change->secret, sizeof change->secret);
    free(change);
}

static void settle_first(struct changes *changes, int error)
{
    struct change *change = changes->list;
    changes->job = NULL;
    if (error < 0)
        changes_log_lost(changes->directory, change->kind->file, error);
    change->kind->settle(change, error);
    change_free(change);
}

static void run(struct changes *changes);

static void on_written(void *context, int error)
{
    struct changes *changes = context;
    settle_first(changes, error);
    run(changes);
}

/* Starts what can be started; a plan that fails is over at once. */
static void run(struct changes *changes)
{
    while (changes->list && !changes->job) {
        struct change *change = changes->list;
        struct buffer document = {0};
        /* The analyzer does not know that change_free() takes it off the list.
         * NOLINTNEXTLINE(clang-analyzer-*) */
        if (change->kind->plan(change, &document) < 0) {
            change_free(change);
        } else {
            const struct durable_write write = {.directory = changes->directory,
                                                .name = change->kind->file,
                                                .content = buffer_span(&document),
                                                .mode = DURABLE_PUT};
            changes->job = durable_job_start(changes->loop, &write, on_written, changes);
            if (!changes->job)
                settle_first(changes, ERR_NOMEM);
        }
        buffer_fini(&document);
    }
}

void changes_add(struct changes *changes, const struct change_kind *kind, void *owner, struct call *call,
                 const json_t *arguments)
{
    struct change *change = changes->count < CHANGES_MAX ? calloc(1, sizeof *change) : NULL;
    if (!change) {
        if (call)
            call_fail_until(call, FAILURE_OVERLOADED, "",
                            "Too many changes wait to be written; try again shortly.", RETRY_S);
        return;
    }
    change->changes = changes;
    change->kind = kind;
    change->owner = owner;
    change->call = call;
    change->arguments = json_incref((json_t *)(uintptr_t)arguments);
    DL_APPEND(changes->list, change);
    changes->count++;
    run(changes);
}

void changes_stop(struct changes *changes)
{
    struct durable_job *job = changes->job;
    if (job)
        settle_first(changes, durable_job_finish(&job));
    while (changes->list) {
        /* The analyzer does not see that freeing the head moves it. NOLINTBEGIN(clang-analyzer-*) */
        if (changes->list->call)
            call_fail(changes->list->call, FAILURE_UNAVAILABLE, NULL, "The service is stopping.");
        change_free(changes->list);
        /* NOLINTEND(clang-analyzer-*) */
    }
}
