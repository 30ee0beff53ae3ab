/* SPDX-License-Identifier: MIT */
#include "credd/model_lists.h"
#include "credd/upstream_answer.h"
#include "credd/vault.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdlib.h>
#include <utlist.h>

#define MODELS_PATH "/console/enterprises/personal/models"

enum { SITES_MAX = 64 };

struct site_list {
    struct model_lists *home;
    uint32_t site;
    json_t *ids;            /* NULL: none yet */
    struct http_call *call; /* NULL: none under way */
    int64_t ask_again_ms;
    bool is_in_use; /* a credential of it could serve */
};

struct waiting_call {
    struct call *call;
    struct waiting_call *prev, *next;
};

struct model_lists {
    struct model_lists_parts parts;
    struct site_list sites[SITES_MAX];
    size_t site_count;
    size_t asking_count;
    struct waiting_call *waiting;
};

/* ---- pure ---- */

static bool is_id(const json_t *value)
{
    struct span text = span_of(json_string_value(value), json_string_length(value));
    return text.length > 0 && text.length <= MODEL_ID_MAX_BYTES && span_is_header_safe(text);
}

static const json_t *cli_models(const json_t *data)
{
    size_t i;
    json_t *agent;
    json_array_foreach (json_object_get(data, "agents"), i, agent) {
        const char *name = json_string_value(json_object_get(agent, "name"));
        if (name && strcmp(name, "cli") == 0)
            return json_object_get(agent, "models");
    }
    return NULL;
}

/* The ids of `models` as keys, disabled ones with true. Owned. */
static json_t *index_models(const json_t *data)
{
    json_t *index = json_object(), *model;
    size_t i;
    int failed = index ? 0 : -1;
    json_array_foreach (json_object_get(data, "models"), i, model) {
        const json_t *id = json_object_get(model, "id");
        if (!failed && is_id(id))
            failed = json_object_set_new(index, json_string_value(id),
                                         json_boolean(json_is_true(json_object_get(model, "disabled"))));
    }
    if (!failed)
        return index;
    json_decref(index);
    return NULL;
}

json_t *model_lists_read(const json_t *data)
{
    const json_t *cli = cli_models(data);
    json_t *index = index_models(data), *ids = json_array(), *id, *disabled;
    const char *name;
    size_t i;
    int failed = index && ids ? 0 : -1;
    if (!failed && cli) {
        json_array_foreach (cli, i, id) {
            bool is_disabled = is_id(id) && json_is_true(json_object_get(index, json_string_value(id)));
            if (!failed && is_id(id) && !is_disabled && i < MODELS_MAX)
                failed = json_array_append(ids, id);
        }
    } else if (!failed) {
        json_object_foreach (index, name, disabled) {
            if (!failed && !json_is_true(disabled) && json_array_size(ids) < MODELS_MAX)
                failed = json_array_append_new(ids, json_string(name));
        }
    }
    json_decref(index);
    if (!failed)
        return ids;
    json_decref(ids);
    return NULL;
}

struct merging {
    json_t *list, *seen;
    int64_t created_s;
    int failed;
};

static void merge_one(void *context, struct span id)
{
    struct merging *merging = context;
    if (merging->failed || json_object_getn(merging->seen, id.data, id.length))
        return;
    merging->failed = json_object_setn_new(merging->seen, id.data, id.length, json_true());
    if (!merging->failed)
        merging->failed = json_array_append_new(
            merging->list, json_pack("{s:s#,s:s,s:I,s:s}", "id", id.data, (int)id.length, "object", "model",
                                     "created", (json_int_t)merging->created_s, "owned_by", "codebuddy"));
}

json_t *model_lists_merge(const char *configured, const json_t *const *arrays, size_t count,
                          int64_t created_s)
{
    struct merging merging = {json_array(), json_object(), created_s, 0};
    settings_each_in_list(configured, merge_one, &merging);
    for (size_t i = 0; i < count; i++) {
        size_t k;
        json_t *id;
        json_array_foreach (arrays[i], k, id) {
            merge_one(&merging, span_of(json_string_value(id), json_string_length(id)));
        }
    }
    json_decref(merging.seen);
    if (!merging.failed && merging.list)
        return json_pack("{s:s,s:o}", "object", "list", "data", merging.list);
    json_decref(merging.list);
    return NULL;
}

/* ---- asking ---- */

static json_t *merged(const struct model_lists *lists)
{
    const json_t *arrays[SITES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < lists->site_count; i++)
        if (lists->sites[i].ids && lists->sites[i].is_in_use)
            arrays[count++] = lists->sites[i].ids;
    return model_lists_merge(lists->parts.settings->models, arrays, count, clock_wall_ms() / 1000);
}

static void answer_waiting(struct model_lists *lists)
{
    struct waiting_call *waiting;
    while ((waiting = lists->waiting)) {
        DL_DELETE(lists->waiting, waiting);
        call_reply(waiting->call, 200, merged(lists));
        free(waiting);
    }
}

static void on_answer(void *context, const struct http_answer *http)
{
    struct site_list *site = context;
    struct upstream_answer answer;
    site->call = NULL;
    upstream_answer_read(http, &answer);
    json_t *ids = answer.meaning == UPSTREAM_OK ? model_lists_read(answer.data) : NULL;
    if (ids) {
        json_decref(site->ids);
        site->ids = ids;
    } else {
        log_warning(NULL, "models_unknown", LOG_STR("why", answer.words));
    }
    site->ask_again_ms = clock_now_ms() + (ids ? MODELS_LIFE_MS : MODELS_AGAIN_MS);
    upstream_answer_fini(&answer);
    if (--site->home->asking_count == 0)
        answer_waiting(site->home);
}

static struct site_list *site_find_or_add(struct model_lists *lists, uint32_t number)
{
    for (size_t i = 0; i < lists->site_count; i++)
        if (lists->sites[i].site == number)
            return &lists->sites[i];
    if (lists->site_count == SITES_MAX)
        return NULL;
    lists->sites[lists->site_count] = (struct site_list){.home = lists, .site = number};
    return &lists->sites[lists->site_count++];
}

static void ask_site(struct model_lists *lists, const struct credential *credential, int64_t now_ms)
{
    struct site_list *site = site_find_or_add(lists, site_number(credential->site));
    if (site)
        site->is_in_use = true;
    if (!site || site->call || site->ask_again_ms > now_ms)
        return;
    const struct http_question question = {.base_url = span_str(site_base_url(credential->site)),
                                           .path = MODELS_PATH,
                                           .lines = buffer_span(&credential->headers),
                                           .more_lines = "",
                                           .token = secret_span(&credential->file.token)};
    site->call = http_call_start(lists->parts.http, &question, on_answer, site);
    if (site->call)
        lists->asking_count++;
}

/* Each site with a credential that could serve. */
static void ask_all(struct model_lists *lists)
{
    const struct rotation *rotation = broker_rotation(lists->parts.broker);
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    for (size_t i = 0; i < lists->site_count; i++)
        lists->sites[i].is_in_use = false;
    for (size_t i = 0; i < rotation_size(rotation); i++) {
        struct rotation_view view;
        rotation_look(rotation, i, &moment, &view);
        if (view.state <= CREDENTIAL_EXHAUSTED)
            ask_site(lists, view.subject, moment.now_ms);
    }
}

static void answer_list(void *owner, struct call *call, const json_t *arguments)
{
    struct model_lists *lists = owner;
    (void)arguments;
    ask_all(lists);
    struct waiting_call *waiting = lists->asking_count > 0 ? calloc(1, sizeof *waiting) : NULL;
    if (!waiting) {
        call_reply(call, 200, merged(lists));
        return;
    }
    waiting->call = call;
    DL_APPEND(lists->waiting, waiting);
}

static const struct call_method methods[] = {
    {"models.list", answer_list, ""},
    {NULL, NULL, NULL},
};

/* ---- life ---- */

struct model_lists *model_lists_new(struct calls *calls, const struct model_lists_parts *parts)
{
    struct model_lists *lists = calloc(1, sizeof *lists);
    if (!lists)
        return NULL;
    lists->parts = *parts;
    if (calls_add(calls, methods, lists) < 0)
        model_lists_free(&lists);
    return lists;
}

void model_lists_free(struct model_lists **lists)
{
    if (!*lists)
        return;
    answer_waiting(*lists);
    for (size_t i = 0; i < (*lists)->site_count; i++) {
        http_call_cancel(&(*lists)->sites[i].call);
        json_decref((*lists)->sites[i].ids);
    }
    free(*lists);
    *lists = NULL;
}
