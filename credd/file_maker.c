/* SPDX-License-Identifier: MIT */
#include "credd/file_maker.h"
#include "credd/credential_new.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

struct making {
    struct file_maker *maker;
    struct durable_job *job;
    struct secret text; /* for another try */
    char name[CREDENTIAL_NAME_BYTES];
    char *numbered; /* the name of this try */
    unsigned number;
    bool may_number;
    void (*done)(void *context, int error, const char *name);
    void *context;
    struct making *prev, *next;
};

struct file_maker {
    uv_loop_t *loop;
    const struct vault *vault;
    struct making *list;
};

struct file_maker *file_maker_new(uv_loop_t *loop, const struct vault *vault)
{
    struct file_maker *maker = calloc(1, sizeof *maker);
    if (!maker || durable_directory_prepare(vault_directory(vault)) < 0) {
        log_error(NULL, "cannot_start", LOG_STR("problem", "the credentials directory cannot be written"),
                  LOG_STR("error", maker ? strerror(errno) : error_text(ERR_NOMEM)));
        free(maker);
        return NULL;
    }
    maker->loop = loop;
    maker->vault = vault;
    return maker;
}

static void making_free(struct making *making)
{
    DL_DELETE(making->maker->list, making);
    secret_fini(&making->text);
    free(making->numbered);
    free(making);
}

void file_maker_free(struct file_maker **maker)
{
    if (!*maker)
        return;
    while ((*maker)->list) {
        struct making *making = (*maker)->list;
        int error = durable_job_finish(&making->job);
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        making->done(making->context, error, making->numbered);
        making_free(making);
    }
    free(*maker);
    *maker = NULL;
}

static int start(struct making *making, struct durable_write *write);

static void on_written(void *context, int error)
{
    struct making *making = context;
    struct durable_write again = {.mode = DURABLE_CREATE};
    making->job = NULL;
    if (error == ERR_EXISTS && making->may_number && making->number < CREDENTIAL_NAME_TRIES) {
        making->number++;
        error = start(making, &again);
        if (error == 0)
            return;
    }
    making->done(making->context, error, making->numbered);
    making_free(making);
}

static int start(struct making *making, struct durable_write *write)
{
    if (making->number > 0)
        credential_name_number(making->name, making->number, making->numbered);
    write->directory = vault_directory(making->maker->vault);
    write->name = making->numbered;
    write->content = secret_span(&making->text);
    making->job = durable_job_start(making->maker->loop, write, on_written, making);
    return making->job ? 0 : ERR_NOMEM;
}

static struct making *making_new(struct file_maker *maker, struct span text, size_t name_bytes)
{
    struct making *making = calloc(1, sizeof *making);
    if (!making)
        return NULL;
    making->maker = maker;
    struct buffer sealed = {0};
    making->numbered = calloc(1, name_bytes);
    DL_APPEND(maker->list, making);
    int error = making->numbered ? seal_wrap(vault_seal(maker->vault), text, &sealed) : ERR_NOMEM;
    error = error ? error : secret_set(&making->text, buffer_span(&sealed));
    buffer_fini_secret(&sealed);
    if (error == 0)
        return making;
    making_free(making);
    return NULL;
}

int file_maker_create(struct file_maker *maker, struct span text, const char *name, bool may_number,
                      void (*done)(void *context, int error, const char *name), void *context)
{
    struct durable_write write = {.mode = DURABLE_CREATE};
    struct making *making = making_new(maker, text, CREDENTIAL_NAME_BYTES);
    if (!making)
        return ERR_NOMEM;
    credential_name_number(name, 1, making->name);
    making->number = 1;
    making->may_number = may_number;
    making->done = done;
    making->context = context;
    int error = start(making, &write);
    if (error < 0)
        making_free(making);
    return error;
}

/* Writes, or removes, the file of exactly this name. */
static int write_named(struct file_maker *maker, struct span text, const char *name,
                       struct durable_write *write, void (*done)(void *context, int error, const char *name),
                       void *context)
{
    struct making *making = making_new(maker, text, strlen(name) + 1);
    if (!making)
        return ERR_NOMEM;
    memcpy(making->numbered, name, strlen(name) + 1);
    making->done = done;
    making->context = context;
    int error = start(making, write);
    if (error < 0)
        making_free(making);
    return error;
}

int file_maker_update(struct file_maker *maker, struct span text, const char *name,
                      const unsigned char read_digest[DURABLE_DIGEST_BYTES],
                      void (*done)(void *context, int error, const char *name), void *context)
{
    struct durable_write write = {.mode = DURABLE_UPDATE};
    memcpy(write.read_digest, read_digest, DURABLE_DIGEST_BYTES);
    return write_named(maker, text, name, &write, done, context);
}

int file_maker_remove(struct file_maker *maker, const char *name,
                      void (*done)(void *context, int error, const char *name), void *context)
{
    struct durable_write write = {.mode = DURABLE_REMOVE};
    return write_named(maker, span_of(NULL, 0), name, &write, done, context);
}
