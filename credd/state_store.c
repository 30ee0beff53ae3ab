/* SPDX-License-Identifier: MIT */
#include "credd/state_store.h"
#include "credd/state_text.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define STATE_FILE     "credentials_state.json"
#define STATE_FILE_BAD STATE_FILE ".bad"
#define MIGRATED_FILE  "manager_state.json"

enum { STATE_FILE_MAX_BYTES = 64 << 20, MIGRATED_MAX_BYTES = 64 << 10 };

struct saver {
    void (*done)(void *context, int error);
    void *context;
    struct saver *prev, *next;
};

struct state_store {
    uv_loop_t *loop;
    char *directory;
    const struct vault *vault;
    struct rotation *rotation;
    struct durable_job *job;   /* the write under way; NULL: none */
    struct saver *served;      /* wait for that one */
    struct saver *next;        /* came later: wait for the next */
    uint64_t written_changes;  /* as of the write under way, else of the last one */
    struct rotation_turn turn; /* the same */
    int64_t started_ms;        /* of that write */
    bool must_write;           /* the last one failed */
};

/* ---- writing ---- */

static void call_savers(struct saver **list, int error)
{
    struct saver *saver;
    while ((saver = *list)) {
        DL_DELETE(*list, saver);
        saver->done(saver->context, error);
        free(saver);
    }
}

static void note_error(struct state_store *store, int error)
{
    store->must_write = error < 0;
    if (error < 0)
        log_error(NULL, "state_not_kept", LOG_STR("directory", store->directory),
                  LOG_STR("error", error_text(error)));
}

static int describe(struct state_store *store, struct buffer *text)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    store->written_changes = rotation_change_count(store->rotation);
    store->turn = rotation_turn(store->rotation);
    store->started_ms = moment.now_ms;
    return state_text_append(text, store->vault, store->rotation, &moment);
}

static struct durable_write write_of(const struct state_store *store, const struct buffer *text)
{
    return (struct durable_write){
        .directory = store->directory, .name = STATE_FILE, .content = buffer_span(text), .mode = DURABLE_PUT};
}

static void start(struct state_store *store);

static void on_written(void *context, int error)
{
    struct state_store *store = context;
    store->job = NULL;
    note_error(store, error);
    call_savers(&store->served, error);
    if (store->next)
        start(store);
}

static void start(struct state_store *store)
{
    struct buffer text = {0};
    store->served = store->next;
    store->next = NULL;
    int error = describe(store, &text);
    if (error == 0) {
        const struct durable_write write = write_of(store, &text);
        store->job = durable_job_start(store->loop, &write, on_written, store);
    }
    buffer_fini(&text);
    if (store->job)
        return;
    note_error(store, ERR_NOMEM);
    store->next = store->served; /* the next tick tries again */
    store->served = NULL;
}

static bool is_due(const struct state_store *store, int64_t now_ms)
{
    const struct rotation_turn turn = rotation_turn(store->rotation);
    int64_t age_ms = now_ms - store->started_ms;
    if (store->next || store->must_write || rotation_change_count(store->rotation) != store->written_changes)
        return age_ms >= STATE_SPACING_MS;
    bool has_turned = turn.current != store->turn.current || turn.served != store->turn.served;
    return has_turned && age_ms >= STATE_TURNS_MS;
}

void state_store_tick(struct state_store *store)
{
    if (!store->job && is_due(store, clock_now_ms()))
        start(store);
}

int state_store_save(struct state_store *store, void (*done)(void *context, int error), void *context)
{
    struct saver *saver = calloc(1, sizeof *saver);
    if (!saver)
        return ERR_NOMEM;
    saver->done = done;
    saver->context = context;
    DL_APPEND(store->next, saver);
    if (!store->job)
        start(store);
    return 0;
}

/* ---- reading ---- */

static void put_aside(const struct state_store *store)
{
    char from[4096], to[4096];
    snprintf(from, sizeof from, "%s/" STATE_FILE, store->directory);
    snprintf(to, sizeof to, "%s/" STATE_FILE_BAD, store->directory);
    rename(from, to);
    log_error(NULL, "state_bad", LOG_STR("file", from), LOG_STR("kept_as", STATE_FILE_BAD));
}

static int migrate(struct state_store *store)
{
    struct buffer text = {0};
    int error = durable_file_read(vault_directory(store->vault), MIGRATED_FILE, MIGRATED_MAX_BYTES, &text);
    if (error == 0) {
        error = state_text_migrate(buffer_span(&text), store->vault, store->rotation);
        log_info(NULL, "state_migrated", LOG_STR("file", MIGRATED_FILE),
                 LOG_STR("result", error < 0 ? error_text(error) : "ok"));
        store->must_write = true; /* once: from then on our own file is there */
    }
    buffer_fini(&text);
    return error == ERR_NOMEM ? error : 0;
}

static int load(struct state_store *store, const struct moment *moment)
{
    struct buffer text = {0};
    int error = durable_file_read(store->directory, STATE_FILE, STATE_FILE_MAX_BYTES, &text);
    if (error == ERR_NOT_FOUND) {
        error = migrate(store);
    } else {
        if (error == 0)
            error = state_text_apply(buffer_span(&text), store->vault, store->rotation, moment);
        if (error == ERR_INVALID || error == ERR_TOO_LARGE) {
            put_aside(store);
            error = 0;
        }
    }
    buffer_fini(&text);
    return error;
}

/* ---- life ---- */

struct state_store *state_store_open(uv_loop_t *loop, const char *directory, const struct vault *vault,
                                     struct rotation *rotation, const struct moment *moment)
{
    struct state_store *store = calloc(1, sizeof *store);
    int error = store && (store->directory = strdup(directory)) ? 0 : ERR_NOMEM;
    errno = 0;
    if (error == 0) {
        store->loop = loop;
        store->vault = vault;
        store->rotation = rotation;
        store->started_ms = moment->now_ms;
        error = durable_directory_prepare(directory);
    }
    if (error == 0)
        error = load(store, moment);
    if (error < 0) {
        log_error(NULL, "cannot_start", LOG_STR("problem", "the state of credentials cannot be read"),
                  LOG_STR("directory", directory),
                  LOG_STR("error", errno ? strerror(errno) : error_text(error)));
        if (store)
            free(store->directory);
        free(store);
        return NULL;
    }
    store->written_changes = rotation_change_count(rotation);
    store->turn = rotation_turn(rotation);
    return store;
}

void state_store_close(struct state_store **store_at)
{
    struct state_store *store = *store_at;
    if (!store)
        return;
    durable_job_finish(&store->job);
    struct buffer text = {0};
    int error = describe(store, &text);
    if (error == 0) {
        const struct durable_write write = write_of(store, &text);
        error = durable_file_write(&write);
    }
    note_error(store, error);
    buffer_fini(&text);
    call_savers(&store->served, error);
    call_savers(&store->next, error);
    free(store->directory);
    free(store);
    *store_at = NULL;
}
