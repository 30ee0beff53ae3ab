/* SPDX-License-Identifier: MIT */
#include "tests/upstream/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "tests/upstream/body_scan.h"

#define KEEP_MAX_COUNT   512
#define KEEP_MAX_BYTES   ((size_t)256 << 20)
#define SCENES_MAX_COUNT 5000 /* a test's model names; past it the counts of failures start again */
#define KEY_MAX_BYTES    (SCENARIO_TEXT_MAX_BYTES + 1 + BODY_SCAN_MODEL_MAX_BYTES)

/* A scenario text that was asked for. Failures are counted here, so per text. */
struct scene {
    char *text;
    struct scenario scenario, recovered;
    int64_t failed;
    UT_hash_handle hh;
};

/* A script made for a scene and a model name. */
struct kept {
    char *key; /* text NUL model, or text NUL model NUL once recovered */
    size_t key_size;
    struct script *script;
    UT_hash_handle hh;
};

struct rule {
    char *token, *model, *text;
    int64_t left; /* uses; -1: for ever */
    struct rule *prev, *next;
};

struct catalog {
    char *default_text;
    struct scene *scenes;
    struct kept *kept;
    size_t kept_bytes;
    struct rule *rules; /* newest first */
    json_t *models;
};

static void forget_scripts(struct catalog *catalog)
{
    struct kept *kept = catalog->kept, *next;

    HASH_CLEAR(hh, catalog->kept); /* the table goes, the list of its members stays */
    for (; kept; kept = next) {
        next = kept->hh.next;
        script_unref(&kept->script);
        free(kept->key);
        free(kept);
    }
    catalog->kept_bytes = 0;
}

static void forget_scenes(struct catalog *catalog)
{
    struct scene *scene = catalog->scenes, *next;

    forget_scripts(catalog);
    HASH_CLEAR(hh, catalog->scenes);
    for (; scene; scene = next) {
        next = scene->hh.next;
        free(scene->text);
        free(scene);
    }
}

static void rule_remove(struct catalog *catalog, struct rule *rule)
{
    DL_DELETE(catalog->rules, rule);
    free(rule->token);
    free(rule->model);
    free(rule->text);
    free(rule);
}

struct catalog *catalog_new(void)
{
    struct catalog *catalog = memory_new_zero(1, sizeof(*catalog));

    catalog_reset(catalog);
    return catalog;
}

void catalog_reset(struct catalog *catalog)
{
    struct rule *rule, *next;

    forget_scenes(catalog);
    DL_FOREACH_SAFE (catalog->rules, rule, next)
        rule_remove(catalog, rule);
    free(catalog->default_text);
    catalog->default_text = memory_copy_text("s:chunks", 8);
    json_decref(catalog->models);
    catalog->models = json_array();
}

void catalog_free(struct catalog **catalog)
{
    if (!*catalog)
        return;
    catalog_reset(*catalog);
    free((*catalog)->default_text);
    json_decref((*catalog)->models);
    free(*catalog);
    *catalog = NULL;
}

/* NULL and *why if text is no scenario. */
static struct scene *find_scene(struct catalog *catalog, struct span text, char **why)
{
    struct scene *scene;

    HASH_FIND(hh, catalog->scenes, text.data, text.size, scene);
    if (scene)
        return scene;
    scene = memory_new_zero(1, sizeof(*scene));
    if (!scenario_parse(text, &scene->scenario, why)) {
        free(scene);
        return NULL;
    }
    if (HASH_COUNT(catalog->scenes) >= SCENES_MAX_COUNT)
        forget_scenes(catalog);
    scene->recovered = scene->scenario;
    scenario_recover(&scene->recovered);
    scene->text = memory_copy_text(text.data, text.size);
    HASH_ADD_KEYPTR(hh, catalog->scenes, scene->text, text.size, scene);
    return scene;
}

bool catalog_set_default(struct catalog *catalog, struct span text, char **why)
{
    char *copy;

    if (!find_scene(catalog, text, why))
        return false;
    copy = memory_copy_text(text.data, text.size);
    free(catalog->default_text);
    catalog->default_text = copy;
    return true;
}

bool catalog_set_rule(struct catalog *catalog, struct span token, struct span model, struct span text,
                      int64_t times, char **why)
{
    struct rule *rule, *next;

    if (text.size && !find_scene(catalog, text, why))
        return false;
    DL_FOREACH_SAFE (catalog->rules, rule, next)
        if (span_equal(token, rule->token) && span_equal(model, rule->model))
            rule_remove(catalog, rule);
    if (text.size == 0)
        return true;
    rule = memory_new_zero(1, sizeof(*rule));
    rule->token = memory_copy_text(token.data, token.size);
    rule->model = memory_copy_text(model.data, model.size);
    rule->text = memory_copy_text(text.data, text.size);
    rule->left = times > 0 ? times : -1;
    DL_PREPEND(catalog->rules, rule);
    return true;
}

void catalog_set_models(struct catalog *catalog, const json_t *models)
{
    json_decref(catalog->models);
    catalog->models = json_deep_copy(models);
    if (!catalog->models)
        catalog->models = json_array();
}

const json_t *catalog_models(const struct catalog *catalog)
{
    return catalog->models;
}

static bool is_served(const struct catalog *catalog, struct span model)
{
    size_t index;
    json_t *entry;

    if (json_array_size(catalog->models) == 0)
        return true;
    json_array_foreach (catalog->models, index, entry) {
        const char *name = json_string_value(entry);
        size_t size = name ? strlen(name) : 0;

        if (!name)
            continue;
        if (span_equal(model, name))
            return true;
        if (size > 0 && name[size - 1] == '*' && model.size >= size - 1 &&
            memcmp(model.data, name, size - 1) == 0)
            return true;
    }
    return false;
}

/* The newest rule that matches and has uses left. */
static struct rule *find_rule(const struct catalog *catalog, const struct catalog_request *request)
{
    struct rule *rule;

    DL_FOREACH (catalog->rules, rule) {
        if (rule->left == 0 || (*rule->token && !span_equal(request->token, rule->token)) ||
            (*rule->model && !span_equal(request->model, rule->model)))
            continue;
        return rule;
    }
    return NULL;
}

static struct span choose_text(struct catalog *catalog, const struct catalog_request *request)
{
    struct rule *rule = find_rule(catalog, request);

    if (rule) {
        rule->left -= rule->left > 0;
        return span_of(rule->text);
    }
    if (scenario_is_text(request->model))
        return request->model;
    if (!is_served(catalog, request->model))
        return span_of("s:11102");
    return span_of(catalog->default_text);
}

static struct script *make_script(const struct scenario *scenario, const struct catalog_request *request)
{
    struct script_input input = {.scenario = scenario,
                                 .model = request->model,
                                 .echo = request->echo,
                                 .request_id = request->request_id,
                                 .wall_s = request->wall_s};

    return script_new(&input);
}

static struct script *keep_script(struct catalog *catalog, const char *key, size_t key_size,
                                  const struct scenario *scenario, const struct catalog_request *request)
{
    struct kept *kept = memory_new_zero(1, sizeof(*kept));

    kept->script = make_script(scenario, request);
    if (HASH_COUNT(catalog->kept) >= KEEP_MAX_COUNT ||
        catalog->kept_bytes + kept->script->bytes_total > KEEP_MAX_BYTES)
        forget_scripts(catalog);
    kept->key = memory_new(key_size);
    memcpy(kept->key, key, key_size);
    kept->key_size = key_size;
    catalog->kept_bytes += kept->script->bytes_total;
    HASH_ADD_KEYPTR(hh, catalog->kept, kept->key, key_size, kept);
    return script_ref(kept->script);
}

/* The script of one scene for one model name, from those kept if there is one. */
static struct script *scene_script(struct catalog *catalog, struct scene *scene,
                                   const struct catalog_request *request)
{
    bool recovered = scene->scenario.fail_times > 0 && scene->failed >= scene->scenario.fail_times;
    const struct scenario *scenario = recovered ? &scene->recovered : &scene->scenario;
    size_t text_size = strlen(scene->text), key_size;
    char key[KEY_MAX_BYTES + 1];
    struct kept *kept;

    scene->failed += !recovered;
    if (scenario_is_fresh(scenario) || request->model.size > BODY_SCAN_MODEL_MAX_BYTES)
        return make_script(scenario, request);
    memcpy(key, scene->text, text_size + 1);
    if (request->model.size)
        memcpy(key + text_size + 1, request->model.data, request->model.size);
    key_size = text_size + 1 + request->model.size;
    if (recovered)
        key[key_size++] = '\0';
    HASH_FIND(hh, catalog->kept, key, key_size, kept);
    return kept ? script_ref(kept->script) : keep_script(catalog, key, key_size, scenario, request);
}

struct script *catalog_find_script(struct catalog *catalog, const struct catalog_request *request,
                                   const char **text, char **why)
{
    struct scene *scene = find_scene(catalog, choose_text(catalog, request), why);

    if (!scene)
        return NULL;
    *text = scene->text;
    return scene_script(catalog, scene, request);
}

bool catalog_wants_echo(const struct catalog *catalog, struct span model)
{
    struct rule *rule;

    if (memmem(model.data, model.size, "echo", 4) || strstr(catalog->default_text, "echo"))
        return true;
    DL_FOREACH (catalog->rules, rule)
        if (strstr(rule->text, "echo"))
            return true;
    return false;
}

json_t *catalog_to_json(const struct catalog *catalog)
{
    json_t *rules = json_array();
    struct rule *rule;

    DL_FOREACH (catalog->rules, rule)
        json_array_append_new(rules,
                              json_pack("{s:s,s:s,s:s,s:I}", "token", rule->token, "model", rule->model,
                                        "scenario", rule->text, "left", (json_int_t)rule->left));
    return json_pack("{s:s,s:o,s:O,s:i,s:I}", "default", catalog->default_text, "rules", rules, "models",
                     catalog->models, "scripts_kept", (int)HASH_COUNT(catalog->kept), "scripts_bytes",
                     (json_int_t)catalog->kept_bytes);
}
