/* SPDX-License-Identifier: MIT */
#include "credd/state_text.h"
#include "credd/json_wipe.h"
#include "proto/error.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>

enum { STATE_VERSION = 1, DIGEST_HEX_BYTES = 2 * DURABLE_DIGEST_BYTES + 1 };

static void digest_hex(const struct credential *credential, char hex[DIGEST_HEX_BYTES])
{
    sodium_bin2hex(hex, DIGEST_HEX_BYTES, credential->token_digest, DURABLE_DIGEST_BYTES);
}

/* ---- writing ---- */

static const char *id_of(const struct vault *vault, uint32_t number)
{
    const struct credential *credential = vault_find(vault, number);
    return credential ? credential->id : "";
}

static int append_cooling(struct buffer *text, const struct rotation_memory *memory, int64_t to_wall_ms)
{
    int error = 0;
    for (size_t i = 0; error == 0 && i < memory->cooling_count; i++) {
        error = buffer_printf(text, "%s{\"model\":", i > 0 ? "," : "");
        error = error ? error : buffer_append_json_string(text, memory->coolings[i].model);
        error = error ? error
                      : buffer_printf(text, ",\"until_wall_ms\":%" PRId64 "}",
                                      memory->coolings[i].until_ms + to_wall_ms);
    }
    return error;
}

static int append_credential(struct buffer *text, const struct credential *credential,
                             const struct rotation_memory *memory, int64_t to_wall_ms)
{
    char hex[DIGEST_HEX_BYTES];
    digest_hex(credential, hex);
    int error = buffer_printf(
        text,
        "\"%s\":{\"token\":\"%s\",\"state\":\"%s\",\"is_off\":%s,\"uses\":%" PRIu64
        ",\"until_wall_ms\":%" PRId64 ",\"reason\":",
        credential->id, hex, credential_state_word(memory->verdict), memory->is_off ? "true" : "false",
        memory->uses,
        memory->verdict == CREDENTIAL_EXHAUSTED ? memory->exhausted_until_ms + to_wall_ms : (int64_t)0);
    error = error ? error : buffer_append_json_string(text, memory->reason);
    error = error ? error : buffer_append_span(text, SPAN(",\"cooling\":["));
    error = error ? error : append_cooling(text, memory, to_wall_ms);
    return error ? error : buffer_append_span(text, SPAN("]}"));
}

int state_text_append(struct buffer *text, const struct vault *vault, const struct rotation *rotation,
                      const struct moment *moment)
{
    const struct rotation_turn turn = rotation_turn(rotation);
    int64_t to_wall_ms = moment->wall_ms - moment->now_ms;
    int error = buffer_printf(text,
                              "{\"version\":%d,\"auto_rotation_enabled\":%s,\"current\":\"%s\","
                              "\"served\":%" PRId64 ",\"pinned\":\"%s\",\"credentials\":{",
                              STATE_VERSION, turn.is_auto ? "true" : "false", id_of(vault, turn.current),
                              turn.served, id_of(vault, turn.pinned));
    for (size_t i = 0; error == 0 && i < rotation_size(rotation); i++) {
        struct rotation_memory memory;
        struct rotation_view view;
        rotation_recall(rotation, i, &memory);
        rotation_look(rotation, i, moment, &view);
        error = i > 0 ? buffer_append_char(text, ',') : 0;
        error = error ? error : append_credential(text, view.subject, &memory, to_wall_ms);
    }
    return error ? error : buffer_append_span(text, SPAN("}}\n"));
}

/* ---- reading ---- */

static uint32_t number_of(const struct vault *vault, const char *id)
{
    for (size_t i = 0; id && i < vault_count(vault); i++)
        if (strcmp(vault_at(vault, i)->id, id) == 0)
            return vault_at(vault, i)->number;
    return 0;
}

static int64_t until_of(const json_t *object, const struct moment *moment)
{
    int64_t away_ms = json_integer_value(json_object_get(object, "until_wall_ms")) - moment->wall_ms;
    return moment->now_ms + (away_ms < STATE_MAX_AWAY_MS ? away_ms : STATE_MAX_AWAY_MS);
}

static enum credential_state state_of(const char *word)
{
    for (int state = CREDENTIAL_EXHAUSTED; word && state < CREDENTIAL_STATE_COUNT; state++)
        if (strcmp(credential_state_word((enum credential_state)state), word) == 0)
            return (enum credential_state)state;
    return CREDENTIAL_READY;
}

static struct span text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return span_of(json_string_value(value), json_string_length(value));
}

static void read_cooling(const json_t *list, struct rotation_memory *memory, const struct moment *moment)
{
    size_t i;
    json_t *cooling;
    json_array_foreach (list, i, cooling) {
        if (memory->cooling_count == ROTATION_MAX_MODELS)
            return;
        memory->coolings[memory->cooling_count++] =
            (struct rotation_cooling){text_of(cooling, "model"), until_of(cooling, moment)};
    }
}

static int apply_credential(const json_t *kept, const struct credential *credential,
                            struct rotation *rotation, const struct moment *moment)
{
    char hex[DIGEST_HEX_BYTES];
    digest_hex(credential, hex);
    struct rotation_memory memory = {
        .is_off = json_is_true(json_object_get(kept, "is_off")),
        .uses = (uint64_t)json_integer_value(json_object_get(kept, "uses")),
    };
    bool is_same_token = span_equals(text_of(kept, "token"), span_str(hex));
    if (is_same_token || memory.is_off)
        memory.reason = text_of(kept, "reason");
    if (is_same_token) {
        memory.verdict = state_of(json_string_value(json_object_get(kept, "state")));
        memory.exhausted_until_ms = until_of(kept, moment);
        read_cooling(json_object_get(kept, "cooling"), &memory, moment);
    }
    int error = rotation_restore(rotation, credential->number, &memory, moment->now_ms);
    return error == ERR_NOMEM ? error : 0;
}

static int apply(const json_t *root, const struct vault *vault, struct rotation *rotation,
                 const struct moment *moment)
{
    const json_t *credentials = json_object_get(root, "credentials");
    int error = 0;
    if (json_integer_value(json_object_get(root, "version")) != STATE_VERSION || !json_is_object(credentials))
        return ERR_INVALID;
    for (size_t i = 0; error == 0 && i < vault_count(vault); i++) {
        const struct credential *credential = vault_at(vault, i);
        const json_t *kept = json_object_get(credentials, credential->id);
        if (json_is_object(kept))
            error = apply_credential(kept, credential, rotation, moment);
    }
    const struct rotation_turn turn = {
        .current = number_of(vault, json_string_value(json_object_get(root, "current"))),
        .served = json_integer_value(json_object_get(root, "served")),
        .pinned = number_of(vault, json_string_value(json_object_get(root, "pinned"))),
        .is_auto = !json_is_false(json_object_get(root, "auto_rotation_enabled"))};
    rotation_set_turn(rotation, &turn);
    return error;
}

/* NULL with the error. */
static json_t *parse(struct span text, int *error)
{
    json_wipe_ran_out();
    json_t *root = json_loadb(text.data, text.length, 0, NULL);
    *error = json_wipe_ran_out() ? ERR_NOMEM : json_is_object(root) ? 0 : ERR_INVALID;
    if (*error == 0)
        return root;
    json_decref(root);
    return NULL;
}

int state_text_apply(struct span text, const struct vault *vault, struct rotation *rotation,
                     const struct moment *moment)
{
    int error;
    json_t *root = parse(text, &error);
    if (root)
        error = apply(root, vault, rotation, moment);
    json_decref(root);
    return error;
}

/* ---- the reference's ---- */

/* By file name, else by index; 0: none. The reference may have kept a path. */
static uint32_t number_by_name_or_index(const struct vault *vault, const json_t *name, const json_t *index)
{
    const char *text = json_string_value(name);
    const char *slash = text ? strrchr(text, '/') : NULL;
    text = slash ? slash + 1 : text;
    for (size_t i = 0; text && i < vault_count(vault); i++)
        if (strcmp(vault_at(vault, i)->filename, text) == 0)
            return vault_at(vault, i)->number;
    json_int_t i = json_integer_value(index);
    bool is_there = !text && json_is_integer(index) && i >= 0 && (uint64_t)i < vault_count(vault);
    return is_there ? vault_at(vault, (size_t)i)->number : 0;
}

int state_text_migrate(struct span text, const struct vault *vault, struct rotation *rotation)
{
    int error;
    json_t *root = parse(text, &error);
    if (!root)
        return error;
    const struct rotation_turn turn = {
        .current = number_by_name_or_index(vault, NULL, json_object_get(root, "current_index")),
        .pinned = number_by_name_or_index(vault, json_object_get(root, "manual_selected_filename"),
                                          json_object_get(root, "manual_selected_index")),
        .is_auto = !json_is_false(json_object_get(root, "auto_rotation_enabled"))};
    rotation_set_turn(rotation, &turn);
    json_decref(root);
    return 0;
}
