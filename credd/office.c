/* SPDX-License-Identifier: MIT */
#include "credd/office.h"
#include "credd/changes.h"
#include "credd/durable_file.h"
#include "credd/run_settings.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <sodium.h>
#include <stdlib.h>

#define SESSION_FILE "session.key"

enum {
    SESSION_KEY_BYTES = 32,
    SESSION_HEX_BYTES = 2 * SESSION_KEY_BYTES,
    USES_EVERY_S = 60,
};

struct office {
    const char *directory;
    struct changes *changes;
    unsigned seconds; /* calls of office_save */
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

bool office_is_busy(const struct office *office)
{
    return !changes_are_done(office->changes);
}

void office_stop(struct office *office)
{
    changes_stop(office->changes);
}

/* ---- life ---- */

/* Blocks: nobody is served any more. */
static int write_now(const struct office *office, const char *file, const struct buffer *document)
{
    const struct durable_write write = {
        .directory = office->directory, .name = file, .content = buffer_span(document), .mode = DURABLE_PUT};
    int error = durable_file_write(&write);
    if (error < 0)
        changes_log_lost(office->directory, file, error);
    return error;
}

/* What keys have been used for since the last office_save. */
static void write_last_uses(struct office *office)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    struct buffer uses = {0}, paces = {0};
    if (keys_plan_uses(office->keys, &uses) == 0)
        keys_settle(office->keys, write_now(office, KEYS_FILE, &uses) == 0);
    if (keys_plan_paces(office->keys, &moment, &paces) == 0)
        keys_settle_paces(office->keys, write_now(office, KEY_PACES_FILE, &paces) == 0);
    buffer_fini(&uses);
    buffer_fini(&paces);
}

/* Without it, or if it is not understood, requests per minute begin at zero: no reason not to start. */
static void read_paces(struct office *office)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    struct buffer text = {0};
    int error = durable_file_read(office->directory, KEY_PACES_FILE, KEY_PACES_FILE_MAX_BYTES, &text);
    if (error == 0)
        error = keys_restore_paces(office->keys, buffer_span(&text), &moment);
    if (error < 0 && error != ERR_NOT_FOUND)
        log_warning(NULL, "key_paces_lost", LOG_STR("file", KEY_PACES_FILE),
                    LOG_STR("problem", error_text(error)));
    buffer_fini(&text);
}

struct office *office_open(const char *directory, struct live *live, int *error)
{
    struct office *office = calloc(1, sizeof *office);
    *error = ERR_NOMEM;
    if (!office)
        return NULL;
    office->live = live;
    office->directory = directory;
    office->version = (uint64_t)clock_wall_ms() * 1000; /* beyond any of an earlier run */
    office->changes = changes_new(directory);
    if (office->changes)
        office->keys = keys_open(directory, error);
    if (office->keys)
        office->settings = run_settings_open(directory, live, error);
    if (office->settings)
        *error = load_session_key(office, directory);
    if (*error < 0)
        office_close(&office);
    else
        read_paces(office);
    return office;
}

void office_close(struct office **office_pointer)
{
    struct office *office = *office_pointer;
    *office_pointer = NULL;
    if (!office)
        return;
    if (office->changes)
        office_stop(office);
    if (office->keys)
        write_last_uses(office);
    changes_free(&office->changes);
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

static void add_change(struct office *office, const struct change_kind *kind, struct call *call,
                       const json_t *arguments)
{
    changes_add(office->changes, kind, office, call, arguments);
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
    struct office *office = change->owner;
    unsigned char random[KEYS_RANDOM_BYTES];
    struct field_problem problem;
    int error;
    randombytes_buf(random, sizeof random);
    change->reply = keys_plan_create(office->keys, change->arguments, random, clock_wall_ms(), change->secret,
                                     &problem, &error, document);
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
    if (json_object_set_new(reply, "key", json_string(change->secret)) == 0)
        return reply;
    json_decref(reply);
    return NULL; /* the key is there, but nobody has seen it: it can be revoked */
}

static void settle_create(struct change *change, int error)
{
    struct office *office = change->owner;
    int settled = keys_settle(office->keys, error == 0);
    error = error ? error : settled;
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    call_audit(change->call, "key_created", json_string_value(json_object_get(change->reply, "id")),
               json_string_value(json_object_get(change->reply, "name")));
    note_change(office);
    call_reply(change->call, 201, reply_with_key(change));
}

static void answer_create(void *owner, struct call *call, const json_t *arguments)
{
    static const struct change_kind kind = {KEYS_FILE, plan_create, settle_create};
    add_change(owner, &kind, call, arguments);
}

static int plan_revoke(struct change *change, struct buffer *document)
{
    struct office *office = change->owner;
    const json_t *id = json_object_get(change->arguments, "id");
    int error =
        keys_plan_revoke(office->keys, span_of(json_string_value(id), json_string_length(id)), document);
    if (error == ERR_NOT_FOUND)
        call_fail(change->call, FAILURE_NOT_FOUND, "id", "There is no such key.");
    else if (error < 0)
        call_fail_error(change->call, error);
    return error;
}

static void settle_revoke(struct change *change, int error)
{
    struct office *office = change->owner;
    json_t *id = json_object_get(change->arguments, "id");
    keys_settle(office->keys, error == 0);
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    call_audit(change->call, "key_revoked", json_string_value(id), "");
    note_change(office);
    call_reply(change->call, 200, json_pack("{s:s, s:O}", "message", "The key is revoked.", "id", id));
}

static void answer_revoke(void *owner, struct call *call, const json_t *arguments)
{
    static const struct change_kind kind = {KEYS_FILE, plan_revoke, settle_revoke};
    if (json_is_string(json_object_get(arguments, "id")))
        add_change(owner, &kind, call, arguments);
    else
        call_fail(call, FAILURE_BAD_FIELD, "id", "The id of the key is missing.");
}

static int plan_uses(struct change *change, struct buffer *document)
{
    struct office *office = change->owner;
    return keys_plan_uses(office->keys, document);
}

static void settle_uses(struct change *change, int error)
{
    struct office *office = change->owner;
    keys_settle(office->keys, error == 0);
}

static int plan_paces(struct change *change, struct buffer *document)
{
    struct office *office = change->owner;
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    return keys_plan_paces(office->keys, &moment, document);
}

static void settle_paces(struct change *change, int error)
{
    struct office *office = change->owner;
    keys_settle_paces(office->keys, error == 0);
}

void office_save(struct office *office)
{
    static const struct change_kind uses = {KEYS_FILE, plan_uses, settle_uses};
    static const struct change_kind paces = {KEY_PACES_FILE, plan_paces, settle_paces};
    office->seconds++;
    if (office_is_busy(office)) /* a slow disk: people go first, and next second is early enough */
        return;
    add_change(office, &paces, NULL, NULL);
    if (office->seconds < USES_EVERY_S)
        return;
    office->seconds = 0;
    add_change(office, &uses, NULL, NULL);
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
    struct office *office = change->owner;
    struct field_problem problem;
    int error =
        run_settings_expect(office->settings, json_object_get(change->arguments, "expected"), &problem);
    if (error == 0)
        error = run_settings_plan(office->settings, json_object_get(change->arguments, "settings"),
                                  call_actor(change->call), clock_wall_ms(), &problem, document);
    if (error < 0)
        fail_change(change->call, error, &problem);
    return error;
}

static void settle_set(struct change *change, int error)
{
    struct office *office = change->owner;
    int settled = run_settings_settle(office->settings, error == 0);
    error = error ? error : settled;
    if (error < 0) {
        call_fail_error(change->call, error);
        return;
    }
    audit_settings(change->call, json_object_get(change->arguments, "settings"));
    note_change(office);
    answer_get(office, change->call, change->arguments);
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
        add_change(owner, &kind, call, arguments);
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
    changes_serve(office->changes, loop);
    office->changed = changed;
    office->context = context;
    return calls_add(calls, methods, office);
}
