/* SPDX-License-Identifier: MIT */
#include "credd/keys_private.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>

/* ---- limits ---- */

static enum failure judge(const struct key *key, const struct msg_lease *lease, const struct moment *moment,
                          const char **message, uint32_t *retry_after_s)
{
    const struct key_rules *rules = &key->rules;
    int64_t free_in_s;
    if (rules->expires_at_s && rules->expires_at_s <= moment->wall_ms / 1000) {
        *message = "Invalid API key: it has expired.";
        return FAILURE_INVALID_API_KEY;
    }
    if (!key_rules_allow_model(rules, lease->model)) { /* as OpenAI words it, for both cases */
        *message = "The model does not exist or this API key has no access to it.";
        return FAILURE_MODEL_NOT_FOUND;
    }
    if (rules->max_in_flight && (int64_t)key->in_flight >= rules->max_in_flight) {
        *retry_after_s = 1;
        *message = "This API key has as many requests in flight as it may.";
        return FAILURE_RATE_LIMITED;
    }
    if (rules->rpm && lease->exclude.length == 0 &&
        key_pace_count(&key->pace, moment, &free_in_s) >= rules->rpm) {
        *retry_after_s = (uint32_t)free_in_s;
        *message = "This API key has made as many requests in a minute as it may.";
        return FAILURE_RATE_LIMITED;
    }
    return FAILURE_NONE;
}

enum failure keys_begin(struct keys *keys, const struct msg_lease *lease, const struct moment *moment,
                        struct key **key_pointer, const char **message, uint32_t *retry_after_s)
{
    *key_pointer = NULL;
    *message = "";
    *retry_after_s = 0;
    if (lease->key_id.length == 0 || span_equals(lease->key_id, SPAN("password")))
        return FAILURE_NONE;
    struct key *key = keys_find(keys, lease->key_id);
    if (!key) {
        *message = "Invalid API key: it has been revoked.";
        return FAILURE_INVALID_API_KEY;
    }
    enum failure failure = judge(key, lease, moment, message, retry_after_s);
    if (failure != FAILURE_NONE)
        return failure;
    if (lease->exclude.length == 0) {
        key_pace_note(&key->pace, moment);
        keys->is_pace_news = keys->is_pace_news || key->rules.rpm;
    }
    int64_t used_s = moment->wall_ms / 1000;
    keys->is_use_news = keys->is_use_news || used_s != key->last_used_at_s;
    key->last_used_at_s = used_s;
    key->in_flight++;
    *key_pointer = key;
    return FAILURE_NONE;
}

struct key *keys_adopt(struct keys *keys, uint64_t number)
{
    char id[KEY_ID_BYTES];
    key_id_write(number, id);
    struct key *key = number ? keys_find(keys, span_str(id)) : NULL;
    if (key)
        key->in_flight++;
    return key;
}

void keys_end(struct keys *keys, struct key *key)
{
    (void)keys;
    if (!key)
        return;
    assert(key->in_flight > 0);
    key->in_flight--;
    if (key->is_revoked && key->in_flight == 0)
        key_free(key);
}

/* ---- what was begun lately outlives the process ---- */

/* {id: pace} of the keys whose requests per minute are limited. */
static json_t *describe_paces(const struct keys *keys, const struct moment *moment)
{
    json_t *paces = json_object();
    for (const struct key *key = keys->table; paces && key; key = key->hh.next) {
        int64_t free_in_s;
        if (!key->rules.rpm || key_pace_count(&key->pace, moment, &free_in_s) == 0)
            continue;
        if (json_object_set_new(paces, key->id, key_pace_describe(&key->pace, moment)) < 0) {
            json_decref(paces);
            paces = NULL;
        }
    }
    return paces;
}

int keys_plan_paces(struct keys *keys, const struct moment *moment, struct buffer *document)
{
    if (!keys->is_pace_news)
        return ERR_NOT_FOUND;
    json_t *root = json_pack("{s:i, s:o}", "version", 1, "keys", describe_paces(keys, moment));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    int error = text ? buffer_append(document, text, strlen(text)) : ERR_NOMEM;
    free(text);
    keys->is_pace_news = error < 0; /* what comes meanwhile is news again */
    return error;
}

void keys_settle_paces(struct keys *keys, bool is_durable)
{
    keys->is_pace_news = keys->is_pace_news || !is_durable;
}

int keys_restore_paces(struct keys *keys, struct span text, const struct moment *moment)
{
    const char *id;
    json_t *pace,
        *document = json_loadb(text.data ? text.data : "", text.length, JSON_REJECT_DUPLICATES, NULL);
    json_t *paces = json_object_get(document, "keys");
    bool is_ours = json_integer_value(json_object_get(document, "version")) == 1 && json_is_object(paces);
    int error = is_ours ? 0 : ERR_INVALID;
    json_object_foreach (paces, id, pace) {
        struct key *key = error == 0 ? keys_find(keys, span_str(id)) : NULL;
        if (key) /* else it was revoked */
            error = key_pace_restore(&key->pace, pace, moment);
    }
    json_decref(document);
    return error;
}
