/* SPDX-License-Identifier: MIT */
#include "credd/office.h"
#include "credd/durable_file.h"
#include "credd/run_settings.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <sodium.h>
#include <stdlib.h>
#include <utlist.h>

#define SESSION_FILE "session.key"

enum { SESSION_KEY_BYTES = 32, SESSION_HEX_BYTES = 2 * SESSION_KEY_BYTES };

struct office;
struct change;

/* A kind of change: of one file, planned, written off the loop, settled. */
struct change_kind {
    const char *file;
    /* Appends what the file is to say. 0; negative: nothing is to be written, and its call is answered. */
    int (*plan)(struct change *change, struct buffer *document);
    /* `error`: of the write. Answers its call. */
    void (*settle)(struct change *change, int error);
};

struct change {
    struct office *office;
    const struct change_kind *kind;
    struct call *call; /* NULL: nobody asked */
    json_t *arguments, *reply;
    char key_text[KEY_TEXT_BYTES];
    struct change *prev, *next;
};

struct office {
    uv_loop_t *loop;
    const char *directory;
    struct change *changes;  /* the first one is being written */
    struct durable_job *job; /* its write; NULL: none */
    struct live *live;
    struct keys *keys;
    struct run_settings *settings;
    struct secret session_key; /* hex */
    uint64_t version;
    void (*changed)(void *context);
    void *context;
};

/* ---- the session key ---- */

static bool is_session_key(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!strchr("0123456789abcdef", text.data[i]))
            return false;
    return text.length == SESSION_HEX_BYTES;
}

static int make_session_key(const char *directory, struct buffer *text)
{
    unsigned char key[SESSION_KEY_BYTES];
    int error = buffer_reserve(text, SESSION_HEX_BYTES + 1);
    if (error < 0)
        return error;
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(text->data, SESSION_HEX_BYTES + 1, key, sizeof key);
    sodium_memzero(key, sizeof key);
    text->length = SESSION_HEX_BYTES;
    const struct durable_write write = {
        .directory = directory, .name = SESSION_FILE, .content = buffer_span(text), .mode = DURABLE_CREATE};
    return durable_file_write(&write);
}

/* It outlives a restart of credd, so that people stay logged in. */
static int load_session_key(struct office *office, const char *directory)
{
    struct buffer text = {0};
    int error = durable_file_read(directory, SESSION_FILE, SESSION_HEX_BYTES, &text);
    if (error == ERR_NOT_FOUND)
        error = make_session_key(directory, &text);
    else if (error == 0 && !is_session_key(buffer_span(&text)))
        error = ERR_INVALID;
    if (error == 0)
        error = secret_set(&office->session_key, buffer_span(&text));
    buffer_fini_secret(&text);
    if (error < 0)
        log_error(NULL, "cannot_read_session_key", LOG_STR("directory", directory),
                  LOG_STR("file", SESSION_FILE), LOG_STR("problem", error_text(error)));
    return error == ERR_INVALID || error == ERR_TOO_LARGE ? ERR_CONFIG : error;
}

/* ---- changes: one after the other, each durable before it counts ---- */

static void log_not_written(const struct office *office, const char *file, int error)
{
    log_error(NULL, "not_written", LOG_STR("directory", office->directory), LOG_STR("file", file),
              LOG_STR("problem", error_text(error)));
}

static void change_free(struct change *change)
{
    DL_DELETE(change->office->changes, change);
    json_decref(change->arguments);
    json_decref(change->reply);
    sodium_memzero(change->key_text, sizeof change->key_text);
    free(change);
}

static void run_changes(struct office *office);

static void settle_first(struct office *office, int error)
{
    struct change *change = office->changes;
    office->job = NULL;
    if (error < 0)
        log_not_written(office, change->kind->file, error);
    change->kind->settle(change, error);
    change_free(change);
}

static void on_written(void *context, int error)
{
    struct office *office = context;
    settle_first(office, error);
    run_changes(office);
}

/* Starts what can be started; a plan that fails is over at once. */
static void run_changes(struct office *office)
{
    while (office->changes && !office->job) {
        struct change *change = office->changes;
        struct buffer document = {0};
        /* The analyzer does not know that change_free() takes it off the list.
         * NOLINTNEXTLINE(clang-analyzer-*) */
        if (change->kind->plan(change, &document) < 0) {
            change_free(change);
        } else {
            const struct durable_write write = {.directory = office->directory,
                                                .name = change->kind->file,
                                                .content = buffer_span(&document),
                                                .mode = DURABLE_PUT};
            office->job = durable_job_start(office->loop, &write, on_written, office);
            if (!office->job)
                settle_first(office, ERR_NOMEM);
        }
        buffer_fini(&document);
    }
}

/* `arguments`: borrowed; may be NULL, as `call`. */
static void enqueue(struct office *office, const struct change_kind *kind, struct call *call,
                    const json_t *arguments)
{
    struct change *change = calloc(1, sizeof *change);
    if (!change) {
        if (call)
            call_fail_error(call, ERR_NOMEM);
        return;
    }
    change->office = office;
    change->kind = kind;
    change->call = call;
    change->arguments = json_incref((json_t *)(uintptr_t)arguments);
    DL_APPEND(office->changes, change);
    run_changes(office);
}

bool office_is_busy(const struct office *office)
{
    return office->changes != NULL;
}

void office_stop(struct office *office)
{
    struct durable_job *job = office->job;
    if (job)
        settle_first(office, durable_job_finish(&job));
    while (office->changes) {
        if (office->changes->call)
            call_fail(office->changes->call, FAILURE_UNAVAILABLE, NULL, "The service is stopping.");
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        change_free(office->changes);
    }
}

/* ---- life ---- */

struct office *office_open(const char *directory, struct live *live, int *error)
{
    struct office *office = calloc(1, sizeof *office);
    *error = ERR_NOMEM;
    if (!office)
        return NULL;
    office->live = live;
    office->directory = directory;
    office->version = (uint64_t)clock_wall_ms() * 1000; /* beyond any of an earlier run */
    office->keys = keys_open(directory, error);
    if (office->keys)
        office->settings = run_settings_open(directory, live, error);
    if (office->settings)
        *error = load_session_key(office, directory);
    if (*error < 0)
        office_close(&office);
    return office;
}

/* What keys have been used for since the last report; blocks: nobody is served any more. */
static void write_last_uses(struct office *office)
{
    struct buffer document = {0};
    if (keys_plan_uses(office->keys, &document) == 0) {
        const struct durable_write write = {.directory = office->directory,
                                            .name = KEYS_FILE,
                                            .content = buffer_span(&document),
                                            .mode = DURABLE_PUT};
        int error = durable_file_write(&write);
        if (error < 0)
            log_not_written(office, KEYS_FILE, error);
        keys_settle(office->keys, error == 0);
    }
    buffer_fini(&document);
}

void office_close(struct office **office_pointer)
{
    struct office *office = *office_pointer;
    *office_pointer = NULL;
    if (!office)
        return;
    office_stop(office);
    if (office->keys)
        write_last_uses(office);
    keys_close(&office->keys);
    run_settings_close(&office->settings);
    secret_fini(&office->session_key);
    free(office);
}

struct keys *office_keys(struct office *office)
{
    return office->keys;
}

/* ---- the state ---- */

uint64_t office_version(const struct office *office)
{
    return office->version;
}

static json_t *state_of(const struct office *office, bool for_gateway)
{
    json_t *settings = run_settings_values(office->settings);
    json_t *keys = for_gateway ? keys_state(office->keys) : NULL;
    if (!for_gateway)
        return json_pack("{s:o}", "settings", settings);
    return json_pack("{s:o, s:o, s:s}", "settings", settings, "keys", keys, "session_key",
                     office->session_key.data);
}

int office_append_state(const struct office *office, bool for_gateway, struct buffer *body)
{
    json_t *state = state_of(office, for_gateway);
    char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
    int error = text ? buffer_append(body, text, strlen(text)) : ERR_NOMEM;
    json_decref(state);
    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
    return error;
}

static void note_change(struct office *office)
{
    office->version++;
    office->changed(office->context);
}

/* ---- keys.* ---- */

static void answer_list(void *owner, struct call *call, const json_t *arguments)
{
    const struct office *office = owner;
    (void)arguments;
    call_reply(call, 200, json_pack("{s:o}", "keys", keys_list(office->keys, clock_wall_ms())));
}

/* An answer for each way that a change may fail. */
static void fail_change(struct call *call, int error, const struct field_problem *problem)
{
    if (error == ERR_INVALID)
        call_fail(call, FAILURE_BAD_FIELD, problem->field, problem->text);
    else if (error == ERR_EXISTS)
        call_fail(call, FAILURE_CHANGED_MEANWHILE, problem->field, problem->text);
    else if (error == ERR_TOO_LARGE)
        call_fail(call, FAILURE_BAD_FIELD, NULL, "There are as many API keys as there may be.");
    else
        call_fail_error(call, error);
}

static int plan_create(struct change *change, struct buffer *document)
{
    unsigned char random[KEYS_RANDOM_BYTES];
    struct field_problem problem;
    int error;
    randombytes_buf(random, sizeof random);
    change->reply = keys_plan_create(change->office->keys, change->arguments, random, clock_wall_ms(),
                                     change->key_text, &problem, &error, document);
    sodium_memzero(random, sizeof random);
    if (!change->reply)
        fail_change(change->call, error, &problem);
    return change->reply ? 0 : error;
}

/* Takes the reply out of the change, with the key in it. */
static json_t *reply_with_key(struct change *change)
{
    json_t *reply = change->reply;
    change->reply = NULL;
    if (json_object_set_new(reply, "key", json_string(change->key_text)) == 0)
        return reply;
    json_decref(reply);
    return NULL; /* the key is there, but nobody has seen it: it can be revoked */
}

static void settle_create(struct change *change, int error)
{
    int settled = keys_settle(change->office->keys, error == 0);
    error = error ? error : settled;
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    call_audit(change->call, "key_created", json_string_value(json_object_get(change->reply, "id")),
               json_string_value(json_object_get(change->reply, "name")));
    note_change(change->office);
    call_reply(change->call, 201, reply_with_key(change));
}

static void answer_create(void *owner, struct call *call, const json_t *arguments)
{
    static const struct change_kind kind = {KEYS_FILE, plan_create, settle_create};
    enqueue(owner, &kind, call, arguments);
}

static int plan_revoke(struct change *change, struct buffer *document)
{
    const json_t *id = json_object_get(change->arguments, "id");
    int error = keys_plan_revoke(change->office->keys, span_of(json_string_value(id), json_string_length(id)),
                                 document);
    if (error == ERR_NOT_FOUND)
        call_fail(change->call, FAILURE_NOT_FOUND, "id", "There is no such key.");
    else if (error < 0)
        call_fail_error(change->call, error);
    return error;
}

static void settle_revoke(struct change *change, int error)
{
    json_t *id = json_object_get(change->arguments, "id");
    keys_settle(change->office->keys, error == 0);
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    call_audit(change->call, "key_revoked", json_string_value(id), "");
    note_change(change->office);
    call_reply(change->call, 200, json_pack("{s:s, s:O}", "message", "The key is revoked.", "id", id));
}

static void answer_revoke(void *owner, struct call *call, const json_t *arguments)
{
    static const struct change_kind kind = {KEYS_FILE, plan_revoke, settle_revoke};
    if (json_is_string(json_object_get(arguments, "id")))
        enqueue(owner, &kind, call, arguments);
    else
        call_fail(call, FAILURE_BAD_FIELD, "id", "The id of the key is missing.");
}

static int plan_uses(struct change *change, struct buffer *document)
{
    return keys_plan_uses(change->office->keys, document);
}

static void settle_uses(struct change *change, int error)
{
    keys_settle(change->office->keys, error == 0);
}

void office_save_uses(struct office *office)
{
    static const struct change_kind kind = {KEYS_FILE, plan_uses, settle_uses};
    enqueue(office, &kind, NULL, NULL);
}

/* ---- settings.* ---- */

static void answer_get(void *owner, struct call *call, const json_t *arguments)
{
    const struct office *office = owner;
    (void)arguments;
    call_reply(call, 200, json_pack("{s:o}", "settings", run_settings_describe(office->settings)));
}

static void audit_settings(const struct call *call, const json_t *changes)
{
    const char *name;
    json_t *value, *members = (json_t *)(uintptr_t)changes; /* jansson's iteration takes no const */
    json_object_foreach (members, name, value) {
        call_audit(call, json_is_null(value) ? "setting_unset" : "setting_set", name, "");
    }
}

static int plan_set(struct change *change, struct buffer *document)
{
    struct field_problem problem;
    struct run_settings *settings = change->office->settings;
    int error = run_settings_expect(settings, json_object_get(change->arguments, "expected"), &problem);
    if (error == 0)
        error = run_settings_plan(settings, json_object_get(change->arguments, "settings"),
                                  call_actor(change->call), clock_wall_ms(), &problem, document);
    if (error < 0)
        fail_change(change->call, error, &problem);
    return error;
}

static void settle_set(struct change *change, int error)
{
    int settled = run_settings_settle(change->office->settings, error == 0);
    error = error ? error : settled;
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    audit_settings(change->call, json_object_get(change->arguments, "settings"));
    note_change(change->office);
    answer_get(change->office, change->call, change->arguments);
}

static void answer_set(void *owner, struct call *call, const json_t *arguments)
{
    static const struct change_kind kind = {RUN_SETTINGS_FILE, plan_set, settle_set};
    const json_t *expected = json_object_get(arguments, "expected");
    if (!json_is_object(json_object_get(arguments, "settings")))
        call_fail(call, FAILURE_BAD_FIELD, "settings", "It must be an object of settings.");
    else if (expected && !json_is_object(expected))
        call_fail(call, FAILURE_BAD_FIELD, "expected", "It must be an object of settings.");
    else
        enqueue(owner, &kind, call, arguments);
}

int office_serve(struct office *office, uv_loop_t *loop, struct calls *calls, void (*changed)(void *context),
                 void *context)
{
    static const struct call_method methods[] = {
        {"keys.list", answer_list, ""},
        {"keys.create", answer_create, "name models rpm max_in_flight expires_at"},
        {"keys.revoke", answer_revoke, "id"},
        {"settings.get", answer_get, ""},
        {"settings.set", answer_set, "settings expected"},
        {NULL, NULL, NULL},
    };
    office->loop = loop;
    office->changed = changed;
    office->context = context;
    return calls_add(calls, methods, office);
}
