/* SPDX-License-Identifier: MIT */
#include "credd/durable_file.h"
#include "credd/keys_private.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>

enum { SECRET_BYTES = 32, NUMBER_BYTES = 8 };

void key_free(struct key *key)
{
    key_rules_fini(&key->rules);
    free(key);
}

struct key *keys_find(const struct keys *keys, struct span id)
{
    struct key *key = NULL;
    HASH_FIND(hh, keys->table, id.data, id.length, key);
    return key;
}

static void drop(struct keys *keys, struct key *key)
{
    HASH_DEL(keys->table, key);
    key->is_revoked = true;
    if (key->in_flight == 0)
        key_free(key);
}

/* Takes the key. 0 or ERR_NOMEM. */
static int insert(struct keys *keys, struct key *key)
{
    HASH_ADD_KEYPTR(hh, keys->table, key->id, strlen(key->id), key);
    if (!key->is_lost)
        return 0;
    key_free(key);
    return ERR_NOMEM;
}

/* ---- the file ---- */

static json_t *time_or_null(int64_t time_s)
{
    return time_s ? json_integer(time_s) : json_null();
}

/* What the file and the list have in common. */
static json_t *describe(const struct key *key)
{
    json_t *object = json_object();
    if (object && json_object_set_new(object, "id", json_string(key->id)) == 0 &&
        key_rules_write(&key->rules, object) == 0 &&
        json_object_set_new(object, "created_at", json_integer(key->created_at_s)) == 0 &&
        json_object_set_new(object, "last_used_at", time_or_null(key->last_used_at_s)) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *describe_for_file(const struct key *key)
{
    json_t *object = describe(key);
    if (!object || json_object_set_new(object, "sha256", json_string(key->sha256)) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *describe_for_people(const struct key *key, int64_t wall_ms)
{
    bool is_expired = key->rules.expires_at_s && key->rules.expires_at_s <= wall_ms / 1000;
    json_t *object = describe(key);
    if (!object || (json_object_set_new(object, "in_flight", json_integer((json_int_t)key->in_flight)) == 0 &&
                    json_object_set_new(object, "is_expired", json_boolean(is_expired)) == 0))
        return object;
    json_decref(object);
    return NULL;
}

/* Appends the file's text with `keys->added` and without `keys->removed`. */
static int append_document(const struct keys *keys, struct buffer *document)
{
    json_t *list = json_array(), *root = NULL;
    int error = list ? 0 : ERR_NOMEM;
    for (const struct key *key = keys->table; key && error == 0; key = key->hh.next)
        if (key != keys->removed)
            error = json_array_append_new(list, describe_for_file(key)) < 0 ? ERR_NOMEM : 0;
    if (error == 0 && keys->added)
        error = json_array_append_new(list, describe_for_file(keys->added)) < 0 ? ERR_NOMEM : 0;
    if (error == 0)
        root = json_pack("{s:i, s:O}", "version", 1, "keys", list);
    json_decref(list);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return ERR_NOMEM;
    error = strlen(text) > KEYS_FILE_MAX_BYTES ? ERR_TOO_LARGE : buffer_append(document, text, strlen(text));
    free(text);
    return error;
}

static bool is_key_id(const char *id)
{
    return id && strlen(id) == KEY_ID_BYTES - 1 && strncmp(id, "key_", 4) == 0 &&
           strspn(id + 4, "0123456789abcdef") == KEY_ID_BYTES - 5;
}

static bool is_hash(const char *text)
{
    return text && strlen(text) == KEY_HASH_HEX_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == KEY_HASH_HEX_BYTES - 1;
}

/* Takes a key's own members out of a copy, so that the rest are its rules. */
static int read_key(struct keys *keys, const json_t *stored)
{
    static const char *const own[] = {"id", "sha256", "created_at", "last_used_at"};
    struct field_problem problem;
    const char *id = json_string_value(json_object_get(stored, "id"));
    const char *hash = json_string_value(json_object_get(stored, "sha256"));
    if (!is_key_id(id) || !is_hash(hash) || keys_find(keys, span_str(id)))
        return ERR_INVALID;
    struct key *key = calloc(1, sizeof *key);
    json_t *rest = json_copy((json_t *)(uintptr_t)stored);
    int error = key && rest ? 0 : ERR_NOMEM;
    if (error == 0) {
        memcpy(key->id, id, KEY_ID_BYTES);
        memcpy(key->sha256, hash, KEY_HASH_HEX_BYTES);
        key->created_at_s = json_integer_value(json_object_get(stored, "created_at"));
        key->last_used_at_s = json_integer_value(json_object_get(stored, "last_used_at"));
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            json_object_del(rest, own[i]);
        error = key_rules_read(&key->rules, rest, &problem);
    }
    json_decref(rest);
    if (error == 0)
        return insert(keys, key);
    if (key)
        key_free(key);
    return error;
}

static int load(struct keys *keys)
{
    struct buffer text = {0};
    json_t *stored, *document = NULL;
    size_t i;
    int error = durable_file_read(keys->directory, KEYS_FILE, 2 * KEYS_FILE_MAX_BYTES, &text);
    if (error == ERR_NOT_FOUND)
        return 0;
    if (error == 0) {
        document = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
        const json_t *list = json_object_get(document, "keys");
        error = json_integer_value(json_object_get(document, "version")) == 1 && json_is_array(list)
                    ? 0
                    : ERR_INVALID;
        json_array_foreach (list, i, stored) {
            if (error == 0)
                error = read_key(keys, stored);
        }
    }
    json_decref(document);
    buffer_fini(&text);
    return error;
}

struct keys *keys_open(const char *directory, int *error)
{
    struct keys *keys = calloc(1, sizeof *keys);
    *error = ERR_NOMEM;
    if (keys) {
        keys->directory = directory;
        *error = durable_directory_prepare(directory);
        if (*error == 0)
            *error = load(keys);
    }
    if (*error == 0)
        return keys;
    log_error(NULL, "cannot_read_keys", LOG_STR("directory", directory), LOG_STR("file", KEYS_FILE),
              LOG_STR("problem", error_text(*error)));
    keys_close(&keys);
    if (*error == ERR_INVALID || *error == ERR_TOO_LARGE)
        *error = ERR_CONFIG;
    return NULL;
}

void keys_close(struct keys **keys)
{
    while (*keys && (*keys)->table) {
        /* The analyzer does not know that drop() unlinks. NOLINTNEXTLINE(clang-analyzer-*) */
        assert((*keys)->table->in_flight == 0);
        drop(*keys, (*keys)->table);
    }
    if (*keys && (*keys)->added)
        key_free((*keys)->added);
    free(*keys);
    *keys = NULL;
}

/* ---- making and revoking ---- */

/* Fills in what is made from random bytes: 32 for the key, 8 for its id. */
static void make_text(struct key *key, const unsigned char *random, char text[KEY_TEXT_BYTES])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    memcpy(text, "cb-", sizeof "cb-");
    sodium_bin2base64(text + 3, KEY_TEXT_BYTES - 3, random, SECRET_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(key->sha256, sizeof key->sha256, hash, sizeof hash);
    memcpy(key->id, "key_", sizeof "key_");
    sodium_bin2hex(key->id + 4, sizeof key->id - 4, random + SECRET_BYTES, NUMBER_BYTES);
}

static int make_key(struct keys *keys, struct key *key, const json_t *wish, int64_t wall_ms,
                    struct field_problem *problem)
{
    int error = key_rules_read(&key->rules, wish, problem);
    if (error < 0)
        return error;
    if (key->rules.expires_at_s && key->rules.expires_at_s <= wall_ms / 1000)
        return field_problem_set(problem, "expires_at", "is in the past (seconds since 1970)");
    if (keys_count(keys) >= KEYS_MAX)
        return ERR_TOO_LARGE;
    return keys_find(keys, span_str(key->id)) ? ERR_EXISTS : 0;
}

static bool is_planning(const struct keys *keys)
{
    return keys->added || keys->removed || keys->are_uses;
}

json_t *keys_plan_create(struct keys *keys, const json_t *rules,
                         const unsigned char random[KEYS_RANDOM_BYTES], int64_t wall_ms,
                         char text[KEY_TEXT_BYTES], struct field_problem *problem, int *error,
                         struct buffer *document)
{
    struct key *key = calloc(1, sizeof *key);
    json_t *description = NULL;
    assert(!is_planning(keys));
    *error = ERR_NOMEM;
    if (!key)
        return NULL;
    key->created_at_s = wall_ms / 1000;
    make_text(key, random, text);
    *error = make_key(keys, key, rules, wall_ms, problem);
    if (*error == 0) {
        keys->added = key;
        description = describe_for_people(key, wall_ms);
        *error = description ? append_document(keys, document) : ERR_NOMEM;
    }
    if (*error == 0)
        return description;
    json_decref(description);
    keys->added = NULL;
    key_free(key);
    return NULL;
}

int keys_plan_revoke(struct keys *keys, struct span id, struct buffer *document)
{
    assert(!is_planning(keys));
    keys->removed = keys_find(keys, id);
    if (!keys->removed)
        return ERR_NOT_FOUND;
    int error = append_document(keys, document);
    if (error < 0)
        keys->removed = NULL;
    return error;
}

int keys_plan_uses(struct keys *keys, struct buffer *document)
{
    assert(!is_planning(keys));
    if (!keys->is_use_news)
        return ERR_NOT_FOUND;
    int error = append_document(keys, document);
    keys->are_uses = error == 0;
    keys->is_use_news = error < 0; /* what comes meanwhile is news again */
    return error;
}

int keys_settle(struct keys *keys, bool is_durable)
{
    struct key *added = keys->added, *removed = keys->removed;
    keys->is_use_news = keys->is_use_news || (keys->are_uses && !is_durable);
    keys->added = keys->removed = NULL;
    keys->are_uses = false;
    if (removed && is_durable)
        drop(keys, removed);
    if (added && is_durable)
        return insert(keys, added);
    if (added)
        key_free(added);
    return 0;
}

/* ---- what others are shown ---- */

json_t *keys_list(const struct keys *keys, int64_t wall_ms)
{
    json_t *list = json_array();
    for (const struct key *key = keys->table; list && key; key = key->hh.next)
        if (json_array_append_new(list, describe_for_people(key, wall_ms)) < 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

json_t *keys_state(const struct keys *keys)
{
    json_t *list = json_array();
    for (const struct key *key = keys->table; list && key; key = key->hh.next)
        if (json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "id", key->id, "sha256", key->sha256,
                                                  "expires_at", (json_int_t)key->rules.expires_at_s)) < 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

size_t keys_count(const struct keys *keys)
{
    return HASH_COUNT(keys->table);
}
