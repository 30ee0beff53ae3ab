/* SPDX-License-Identifier: MIT */
#include "credd/credential_calls.h"
#include "credd/credential_list.h"
#include "credd/credential_new.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_LIFE_S = 1000000000 /* some 30 years */ };

struct credential_calls {
    struct credential_calls_parts parts;
};

static struct moment now(void)
{
    return (struct moment){.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
}

/* ---- which one ---- */

static const struct credential *by_index(const struct vault *vault, json_int_t i)
{
    return i >= 0 && (uint64_t)i < vault_count(vault) ? vault_at(vault, (size_t)i) : NULL;
}

static const struct credential *by_id(const struct vault *vault, const char *id)
{
    for (size_t i = 0; i < vault_count(vault); i++)
        if (strcmp(vault_at(vault, i)->id, id) == 0)
            return vault_at(vault, i);
    return NULL;
}

const struct credential *credential_calls_find(struct call *call, const json_t *arguments,
                                               const struct vault *vault)
{
    const json_t *id = json_object_get(arguments, "id"), *index = json_object_get(arguments, "index");
    const struct credential *found = NULL;
    if ((id != NULL) == (index != NULL)) {
        call_fail(call, FAILURE_BAD_FIELD, "id", "Give either id or index.");
    } else if (id && !json_is_string(id)) {
        call_fail(call, FAILURE_BAD_FIELD, "id", "id must be a string.");
    } else if (index && !json_is_integer(index)) {
        call_fail(call, FAILURE_BAD_FIELD, "index", "index must be a whole number.");
    } else {
        found = id ? by_id(vault, json_string_value(id)) : by_index(vault, json_integer_value(index));
        if (!found)
            call_fail(call, FAILURE_NOT_FOUND, id ? "id" : "index", "There is no such credential.");
    }
    return found;
}

/* The position in the list; the list is the vault's. */
static size_t index_of(const struct vault *vault, const struct credential *credential)
{
    size_t i = 0;
    while (vault_at(vault, i) != credential)
        i++;
    return i;
}

/* ---- reading ---- */

static void answer_list(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    struct moment moment = now();
    (void)arguments;
    call_reply(call, 200,
               credential_list_all(broker_rotation(calls->parts.broker), calls->parts.quotas, &moment));
}

static void answer_current(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    struct moment moment = now();
    (void)arguments;
    call_reply(call, 200,
               credential_list_current(calls->parts.vault, broker_rotation(calls->parts.broker), &moment,
                                       calls->parts.settings->rotation_count));
}

/* ---- what a person decides: answered when the state file has it ---- */

struct decision {
    struct call *call;
    json_t *reply;
};

static void on_decision_kept(void *context, int error)
{
    struct decision *decision = context;
    if (error < 0) {
        json_decref(decision->reply);
        call_fail_error(decision->call, error);
    } else {
        call_reply(decision->call, 200, decision->reply);
    }
    free(decision);
}

/* Takes reply. */
static void keep(struct credential_calls *calls, struct call *call, json_t *reply)
{
    struct decision *decision = calloc(1, sizeof *decision);
    if (decision && reply) {
        *decision = (struct decision){call, reply};
        if (state_store_save(calls->parts.store, on_decision_kept, decision) == 0)
            return;
    }
    json_decref(reply);
    free(decision);
    call_fail_error(call, ERR_NOMEM);
}

static void answer_select(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    const struct credential *credential = credential_calls_find(call, arguments, calls->parts.vault);
    if (!credential)
        return;
    rotation_pin(broker_rotation(calls->parts.broker), credential->number);
    call_audit(call, "credential_select", credential->id, credential->filename);
    keep(calls, call,
         json_pack("{s:s,s:s,s:I,s:s}", "message", "The credential is selected.", "id", credential->id,
                   "index", (json_int_t)index_of(calls->parts.vault, credential), "filename",
                   credential->filename));
}

static void answer_auto(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    (void)arguments;
    rotation_pin(broker_rotation(calls->parts.broker), 0);
    call_audit(call, "credential_auto", "", "");
    keep(calls, call, json_pack("{s:s}", "message", "No credential is selected any more."));
}

static void answer_toggle_rotation(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    struct rotation *rotation = broker_rotation(calls->parts.broker);
    bool is_auto = !rotation_is_auto(rotation);
    (void)arguments;
    rotation_set_auto(rotation, is_auto);
    call_audit(call, "credential_toggle_rotation", "", is_auto ? "on" : "off");
    keep(calls, call,
         json_pack("{s:s,s:b}", "message",
                   is_auto ? "Automatic rotation is on." : "Automatic rotation is off.",
                   "auto_rotation_enabled", is_auto));
}

static void switch_it(struct credential_calls *calls, struct call *call, const json_t *arguments, bool is_on)
{
    const struct credential *credential = credential_calls_find(call, arguments, calls->parts.vault);
    char reason[ROTATION_REASON_MAX_BYTES];
    struct rotation_view view;
    struct moment moment = now();
    if (!credential)
        return;
    if (is_on && credential->is_elsewhere) { /* a person says where its token may go */
        int error = calls->parts.rebind(calls->parts.owner, credential->number);
        if (error < 0) {
            call_fail_error(call, error);
            return;
        }
        call_audit(call, "credential_rebind", credential->id, credential->filename);
    }
    snprintf(reason, sizeof reason, "disabled by %s", call_actor(call));
    struct rotation *rotation = broker_rotation(calls->parts.broker);
    if (!rotation_switch(rotation, credential->number, is_on, span_str(reason))) {
        call_fail_error(call, ERR_NOMEM); /* withdrawn for lack of memory: broker_sync */
        return;
    }
    rotation_look(rotation, index_of(calls->parts.vault, credential), &moment, &view);
    if (is_on)
        quotas_want(calls->parts.quotas, credential->number);
    call_audit(call, is_on ? "credential_enable" : "credential_disable", credential->id,
               credential->filename);
    keep(calls, call,
         json_pack("{s:s,s:s,s:s}", "message",
                   is_on ? "The credential is enabled." : "The credential is disabled.", "id", credential->id,
                   "state", credential_state_word(view.state)));
}

static void answer_enable(void *owner, struct call *call, const json_t *arguments)
{
    switch_it(owner, call, arguments, true);
}

static void answer_disable(void *owner, struct call *call, const json_t *arguments)
{
    switch_it(owner, call, arguments, false);
}

/* ---- files ---- */

struct deleting {
    struct credential_calls *calls;
    struct call *call;
    uint32_t number;
    char id[CREDENTIAL_ID_BYTES];
};

static void on_deleted(void *context, int error, const char *filename)
{
    struct deleting *deleting = context;
    struct credential_calls *calls = deleting->calls;
    struct rotation *rotation = broker_rotation(calls->parts.broker);
    if (error < 0 && error != ERR_NOT_FOUND) { /* gone already is as good */
        call_fail_error(deleting->call, error);
    } else {
        call_audit(deleting->call, "credential_delete", deleting->id, filename);
        if (rotation_pinned(rotation) == deleting->number)
            rotation_pin(rotation, 0);
        calls->parts.rescan(calls->parts.owner);
        keep(calls, deleting->call,
             json_pack("{s:s,s:s,s:s}", "message", "The credential is deleted.", "id", deleting->id,
                       "filename", filename));
    }
    free(deleting);
}

static void answer_delete(void *owner, struct call *call, const json_t *arguments)
{
    struct credential_calls *calls = owner;
    const struct credential *credential = credential_calls_find(call, arguments, calls->parts.vault);
    if (!credential)
        return;
    struct deleting *deleting = calloc(1, sizeof *deleting);
    if (deleting) {
        *deleting = (struct deleting){.calls = calls, .call = call, .number = credential->number};
        memcpy(deleting->id, credential->id, sizeof deleting->id);
        if (file_maker_remove(calls->parts.maker, credential->filename, on_deleted, deleting) == 0)
            return;
    }
    free(deleting);
    call_fail_error(call, ERR_NOMEM);
}

struct adding {
    struct credential_calls *calls;
    struct call *call;
    bool is_named; /* by the asker */
    bool is_whole; /* a file as it came */
};

static void reply_added(struct adding *adding, const char *filename)
{
    char id[CREDENTIAL_ID_BYTES];
    uint32_t number;
    credential_id_of(filename, id, &number);
    call_audit(adding->call, "credential_add", id, filename);
    adding->calls->parts.rescan(adding->calls->parts.owner);
    call_reply(
        adding->call, 201,
        json_pack("{s:s,s:s,s:s}", "message", "The credential is added.", "id", id, "filename", filename));
}

static void on_added(void *context, int error, const char *filename)
{
    struct adding *adding = context;
    if (error == 0)
        reply_added(adding, filename);
    else if (error == ERR_EXISTS)
        call_fail(adding->call, FAILURE_BAD_FIELD, "filename", "There is a file of that name already.");
    else
        call_fail_error(adding->call, error);
    free(adding);
}

static const char not_a_text[] = "It must be a text that is not empty.";

/* A file as some other tool wrote it: nothing of it is changed or lost. NULL with the call answered. */
static json_t *whole_file_of(struct call *call, const json_t *arguments)
{
    const json_t *filename = json_object_get(arguments, "filename");
    json_t *file = json_deep_copy(json_object_get(arguments, "file"));
    if (!json_is_object(file) || json_object_size(arguments) != (filename ? 2u : 1u))
        call_fail(call, FAILURE_BAD_FIELD, "file",
                  "file must be an object, with nothing but filename beside it.");
    else if (filename && (!json_is_string(filename) || json_string_length(filename) == 0))
        call_fail(call, FAILURE_BAD_FIELD, "filename", not_a_text);
    else
        return file;
    json_decref(file);
    return NULL;
}

/* The kinds of argument are checked here, what they say by reading the file that comes of them. NULL with the
 * call answered. */
static json_t *file_of(struct call *call, const json_t *arguments)
{
    static const char *const texts[] = {"bearer_token", "user_id", "refresh_token", "site"};
    const json_t *expires_in = json_object_get(arguments, "expires_in");
    const json_t *filename = json_object_get(arguments, "filename");
    json_t *file =
        json_pack("{s:I,s:s}", "created_at", (json_int_t)(clock_wall_ms() / 1000), "token_type", "Bearer");
    const char *bad = NULL, *words = not_a_text;
    for (size_t i = 0; file && !bad && i < sizeof texts / sizeof texts[0]; i++) {
        json_t *value = json_object_get(arguments, texts[i]);
        if (value && !json_is_string(value))
            bad = texts[i];
        else if (value && json_object_set(file, texts[i], value) < 0)
            bad = ""; /* out of memory */
    }
    if (!bad && filename && (!json_is_string(filename) || json_string_length(filename) == 0))
        bad = "filename";
    json_int_t life_s = json_integer_value(expires_in);
    if (!bad && expires_in && (!json_is_integer(expires_in) || life_s <= 0 || life_s > MAX_LIFE_S)) {
        bad = "expires_in";
        words = "It must be a whole number of seconds, from 1 to 1,000,000,000.";
    }
    if (file && !bad && expires_in && json_object_set_new(file, "expires_in", json_integer(life_s)) < 0)
        bad = "";
    if (file && !bad)
        return file;
    json_decref(file);
    if (bad && *bad)
        call_fail(call, FAILURE_BAD_FIELD, bad, words);
    else
        call_fail_error(call, ERR_NOMEM);
    return NULL;
}

/* Says which field is at fault: the problem begins with its name. */
static void fail_with_problem(struct call *call, const char *problem)
{
    char field[CREDENTIAL_PROBLEM_BYTES];
    snprintf(field, sizeof field, "%.*s", (int)strcspn(problem, " "), problem);
    call_fail(call, FAILURE_BAD_FIELD, field, problem);
}

/* What we know beyond what was given: where the token belongs, and what it says of its owner. A whole file
 * keeps what it says itself. */
static int complete(struct adding *adding, json_t *file, struct buffer *wanted,
                    char problem[CREDENTIAL_PROBLEM_BYTES])
{
    int error = 0;
    if (!adding->is_whole || !credential_object_names_site(file))
        error = credential_object_tie(file, adding->calls->parts.sites, problem);
    return error || adding->is_whole ? error : credential_object_describe(file, wanted);
}

static int add(struct adding *adding, json_t *file, const json_t *filename)
{
    struct buffer wanted = {0}, text = {0};
    char name[CREDENTIAL_NAME_BYTES], problem[CREDENTIAL_PROBLEM_BYTES];
    const json_t *user_id = json_object_get(file, "user_id");
    int error = complete(adding, file, &wanted, problem);
    error = error ? error : credential_text_append(file, &text);
    error = error ? error : credential_text_check(buffer_span(&text), adding->calls->parts.sites, problem);
    if (error == ERR_INVALID) {
        fail_with_problem(adding->call, problem);
    } else if (error == 0) {
        const json_t *given = filename ? filename : json_string_length(user_id) > 0 ? user_id : NULL;
        credential_name_reduce(given ? span_of(json_string_value(given), json_string_length(given))
                                     : buffer_span(&wanted),
                               name);
        error = file_maker_create(adding->calls->parts.maker, buffer_span(&text), name, !adding->is_named,
                                  on_added, adding);
    }
    if (error < 0 && error != ERR_INVALID)
        call_fail_error(adding->call, error);
    buffer_fini_secret(&text);
    buffer_fini(&wanted);
    return error;
}

static void answer_add(void *owner, struct call *call, const json_t *arguments)
{
    bool is_whole = json_object_get(arguments, "file") != NULL;
    json_t *file = is_whole ? whole_file_of(call, arguments) : file_of(call, arguments);
    if (!file)
        return;
    const json_t *filename = json_object_get(arguments, "filename");
    struct adding *adding = calloc(1, sizeof *adding);
    if (!adding) {
        call_fail_error(call, ERR_NOMEM);
    } else {
        *adding = (struct adding){owner, call, filename != NULL, is_whole};
        if (add(adding, file, filename) < 0)
            free(adding);
    }
    /* on_added frees `adding`. NOLINTNEXTLINE(clang-analyzer-*) */
    json_decref(file);
}

/* ---- life ---- */

static const struct call_method methods[] = {
    {"credentials.list", answer_list, ""},
    {"credentials.add", answer_add, "bearer_token user_id filename refresh_token expires_in site file"},
    {"credentials.select", answer_select, "id index"},
    {"credentials.auto", answer_auto, ""},
    {"credentials.toggle_rotation", answer_toggle_rotation, ""},
    {"credentials.current", answer_current, ""},
    {"credentials.delete", answer_delete, "id index"},
    {"credentials.enable", answer_enable, "id index"},
    {"credentials.disable", answer_disable, "id index"},
    {NULL, NULL, NULL},
};

struct credential_calls *credential_calls_new(struct calls *calls, const struct credential_calls_parts *parts)
{
    struct credential_calls *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->parts = *parts;
    if (calls_add(calls, methods, made) < 0)
        credential_calls_free(&made);
    return made;
}

void credential_calls_free(struct credential_calls **calls)
{
    free(*calls);
    *calls = NULL;
}
