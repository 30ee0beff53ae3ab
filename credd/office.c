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

#define SESSION_FILE "session.key"

enum { SESSION_KEY_BYTES = 32, SESSION_HEX_BYTES = 2 * SESSION_KEY_BYTES };

struct office {
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

/* ---- life ---- */

struct office *office_open(const char *directory, struct live *live, int *error)
{
    struct office *office = calloc(1, sizeof *office);
    *error = ERR_NOMEM;
    if (!office)
        return NULL;
    office->live = live;
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

void office_close(struct office **office_pointer)
{
    struct office *office = *office_pointer;
    *office_pointer = NULL;
    if (!office)
        return;
    if (office->keys)
        keys_save_uses(office->keys);
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
    else if (error == ERR_TOO_LARGE)
        call_fail(call, FAILURE_BAD_FIELD, NULL, "There are as many API keys as there may be.");
    else
        call_fail_error(call, error);
}

static void answer_create(void *owner, struct call *call, const json_t *arguments)
{
    struct office *office = owner;
    unsigned char random[KEYS_RANDOM_BYTES];
    char text[KEY_TEXT_BYTES];
    struct field_problem problem;
    int error;
    randombytes_buf(random, sizeof random);
    json_t *made = keys_create(office->keys, arguments, random, clock_wall_ms(), text, &problem, &error);
    sodium_memzero(random, sizeof random);
    if (!made) {
        fail_change(call, error, &problem);
    } else {
        call_audit(call, "key_created", json_string_value(json_object_get(made, "id")),
                   json_string_value(json_object_get(made, "name")));
        note_change(office);
        if (json_object_set_new(made, "key", json_string(text)) < 0) {
            json_decref(made);
            made = NULL; /* the key is there, but nobody has seen it: it can be revoked */
        }
        call_reply(call, 201, made);
    }
    sodium_memzero(text, sizeof text);
}

static void answer_revoke(void *owner, struct call *call, const json_t *arguments)
{
    struct office *office = owner;
    const json_t *id = json_object_get(arguments, "id");
    if (!json_is_string(id)) {
        call_fail(call, FAILURE_BAD_FIELD, "id", "The id of the key is missing.");
        return;
    }
    int error = keys_revoke(office->keys, span_of(json_string_value(id), json_string_length(id)));
    if (error == ERR_NOT_FOUND) {
        call_fail(call, FAILURE_NOT_FOUND, "id", "There is no such key.");
        return;
    }
    if (error < 0) {
        call_fail_error(call, error);
        return;
    }
    call_audit(call, "key_revoked", json_string_value(id), "");
    note_change(office);
    call_reply(call, 200, json_pack("{s:s, s:O}", "message", "The key is revoked.", "id", id));
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

static void answer_set(void *owner, struct call *call, const json_t *arguments)
{
    struct office *office = owner;
    struct field_problem problem;
    const json_t *changes = json_object_get(arguments, "settings");
    if (!json_is_object(changes)) {
        call_fail(call, FAILURE_BAD_FIELD, "settings", "It must be an object of settings.");
        return;
    }
    int error = run_settings_change(office->settings, changes, call_actor(call), clock_wall_ms(), &problem);
    if (error < 0) {
        fail_change(call, error, &problem);
        return;
    }
    audit_settings(call, changes);
    note_change(office);
    answer_get(owner, call, arguments);
}

int office_serve(struct office *office, struct calls *calls, void (*changed)(void *context), void *context)
{
    static const struct call_method methods[] = {
        {"keys.list", answer_list, ""},
        {"keys.create", answer_create, "name models rpm max_in_flight expires_at"},
        {"keys.revoke", answer_revoke, "id"},
        {"settings.get", answer_get, ""},
        {"settings.set", answer_set, "settings"},
        {NULL, NULL, NULL},
    };
    office->changed = changed;
    office->context = context;
    return calls_add(calls, methods, office);
}
