/* SPDX-License-Identifier: MIT */
#include "credd/credential_new.h"
#include "credd/json_wipe.h"
#include "credd/jwt_claims.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <stdio.h>
#include <string.h>

enum {
    TEXT_FIRST_BYTES = 64 << 10 /* two tokens of the longest kind fit: no growing leaves copies behind */
};

static const char json_ending[] = ".json";

/* ---- names ---- */

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
}

void credential_name_reduce(struct span wanted, char name[CREDENTIAL_NAME_BYTES])
{
    const size_t ending = sizeof json_ending - 1, room = CREDENTIAL_NAME_BYTES - 1 - ending - 5; /* -1000 */
    size_t length = 0;
    if (wanted.length >= ending && memcmp(wanted.data + wanted.length - ending, json_ending, ending) == 0)
        wanted.length -= ending;
    for (size_t i = 0; i < wanted.length && length < room; i++) {
        char c = is_name_char(wanted.data[i]) ? wanted.data[i] : '_';
        bool is_front = length == 0 && (c == '.' || c == '-');
        if (!is_front && !(c == '_' && length > 0 && name[length - 1] == '_'))
            name[length++] = c;
    }
    name[length] = '\0';
    if (length == 0 || strcmp(name, "_") == 0 || strcmp(name, "manager_state") == 0)
        length = (size_t)snprintf(name, CREDENTIAL_NAME_BYTES, "credential");
    memcpy(name + length, json_ending, sizeof json_ending);
}

void credential_name_number(const char *name, unsigned n, char numbered[CREDENTIAL_NAME_BYTES])
{
    size_t stem = strlen(name) - (sizeof json_ending - 1);
    if (n <= 1)
        snprintf(numbered, CREDENTIAL_NAME_BYTES, "%s", name);
    else
        snprintf(numbered, CREDENTIAL_NAME_BYTES, "%.*s-%u%s", (int)stem, name, n, json_ending);
}

/* ---- text ---- */

static int append_piece(const char *piece, size_t length, void *context)
{
    return buffer_append(context, piece, length) < 0 ? -1 : 0;
}

int credential_text_append(const json_t *file, struct buffer *text)
{
    int error = buffer_reserve(text, TEXT_FIRST_BYTES);
    if (error == 0 && json_dump_callback(file, append_piece, text, JSON_INDENT(2)) < 0)
        error = ERR_NOMEM;
    return error ? error : buffer_append_char(text, '\n');
}

int credential_text_check(struct span text, const struct sites *sites, char problem[CREDENTIAL_PROBLEM_BYTES])
{
    struct credential_file file = {0};
    const char *site_problem = NULL;
    if (text.length > CREDENTIAL_TEXT_MAX_BYTES) {
        snprintf(problem, CREDENTIAL_PROBLEM_BYTES, "file is larger than 128 KiB");
        return ERR_INVALID;
    }
    int error = credential_file_parse(&file, text, problem);
    if (error == 0 && !sites_resolve(sites, &file, &site_problem)) {
        snprintf(problem, CREDENTIAL_PROBLEM_BYTES, "%s", site_problem);
        error = ERR_INVALID;
    }
    credential_file_fini(&file);
    return error;
}

/* ---- what an answer of the upstream puts into a file ---- */

static const json_t *text_or_null(const json_t *data, const char *key)
{
    const json_t *value = json_object_get(data, key);
    return json_is_string(value) && json_string_length(value) > 0 ? value : NULL;
}

/* 0 or -1, as jansson's. */
static int copy_value(json_t *to, const char *to_key, const json_t *value)
{
    return value ? json_object_set_new(to, to_key, json_deep_copy(value)) : 0;
}

/* The first of the names that the object has; NULL if none. */
static const char *name_used(const json_t *object, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(object, *names))
            return *names;
    return NULL;
}

static int set_token(json_t *file, const char *const *top_names, const char *auth_name, const json_t *token)
{
    json_t *auth = json_object_get(file, "auth");
    const char *used = name_used(file, top_names);
    if (!used && json_is_object(auth))
        return copy_value(auth, auth_name, token);
    return copy_value(file, used ? used : top_names[0], token);
}

static void drop_times(json_t *object)
{
    static const char *const names[] = {"created_at", "createdAt", "expires_in",         "expiresIn",
                                        "expires_at", "expiresAt", "refresh_expires_at", "refreshExpiresAt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        json_object_del(object, names[i]);
}

static int set_times(json_t *file, const json_t *data, int64_t wall_ms)
{
    const json_t *expires_in = json_object_get(data, "expiresIn");
    const json_t *expires_at = json_object_get(data, "expiresAt");
    const json_t *refresh_at = json_object_get(data, "refreshExpiresAt");
    drop_times(file);
    drop_times(json_object_get(file, "auth"));
    int failed = json_object_set_new(file, "created_at", json_integer(wall_ms / 1000));
    if (!failed && json_is_number(expires_in))
        failed = copy_value(file, "expires_in", expires_in);
    if (!failed && json_is_number(expires_at))
        failed = copy_value(file, "expires_at", expires_at);
    if (!failed && json_is_number(refresh_at))
        failed = copy_value(file, "refresh_expires_at", refresh_at);
    return failed;
}

int credential_object_take(json_t *file, const json_t *data, int64_t wall_ms)
{
    static const char *const token_names[] = {"bearer_token", "access_token", "accessToken", NULL};
    static const char *const refresh_names[] = {"refresh_token", "refreshToken", NULL};
    static const char *const others[][2] = {
        {"token_type", "tokenType"}, {"session_state", "sessionState"}, {"scope", "scope"},
        {"domain", "domain"},        {"enterprise_id", "enterpriseId"}, {"tenant_id", "tenantId"}};
    const json_t *token = text_or_null(data, "accessToken");
    if (!token)
        return ERR_INVALID;
    json_object_del(file, "full_response");
    int failed = set_token(file, token_names, "accessToken", token);
    if (!failed)
        failed = set_token(file, refresh_names, "refreshToken", text_or_null(data, "refreshToken"));
    for (size_t i = 0; !failed && i < sizeof others / sizeof others[0]; i++)
        failed = copy_value(file, others[i][0], text_or_null(data, others[i][1]));
    if (!failed)
        failed = set_times(file, data, wall_ms);
    return failed ? ERR_NOMEM : 0;
}

bool credential_object_names_site(const json_t *file)
{
    static const char *const names[] = {"site", "site_type", "siteType", "api_endpoint", "apiEndpoint"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (text_or_null(file, names[i]))
            return true;
    return false;
}

int credential_object_name_site(json_t *file, const struct site *site)
{
    if (!site || credential_object_names_site(file)) /* no site: its file is broken, nothing is known */
        return 0;
    int failed = json_object_set_new(file, "site", json_string(site_name(site)));
    if (!failed && site_is_custom(site))
        failed = json_object_set_new(file, "api_endpoint", json_string(site_base_url(site)));
    return failed ? ERR_NOMEM : 0;
}

int credential_object_tie(json_t *file, const struct sites *sites, char problem[CREDENTIAL_PROBLEM_BYTES])
{
    const char *named = json_string_value(text_or_null(file, "site")), *site_problem = NULL;
    struct credential_file asked = {.site = named ? span_dup(span_str(named)) : NULL};
    if (named && !asked.site)
        return ERR_NOMEM;
    const struct site *site = sites_resolve(sites, &asked, &site_problem);
    credential_file_fini(&asked);
    if (!site) {
        snprintf(problem, CREDENTIAL_PROBLEM_BYTES, "%s", site_problem);
        return ERR_INVALID;
    }
    int failed = json_object_set_new(file, "site", json_string(site_name(site)));
    if (!failed && site_is_custom(site))
        failed = json_object_set_new(file, "api_endpoint", json_string(site_base_url(site)));
    return failed ? ERR_NOMEM : 0;
}

static int copy_claims(json_t *file, const json_t *claims)
{
    static const char *const kept[] = {"sub", "email", "preferred_username", "name", "exp", "iat", "iss"};
    json_t *info = json_object();
    int failed = info ? 0 : -1;
    for (size_t i = 0; !failed && i < sizeof kept / sizeof kept[0]; i++) {
        const json_t *value = json_object_get(claims, kept[i]);
        if (json_is_string(value) || json_is_number(value))
            failed = copy_value(info, kept[i], value);
    }
    if (failed || json_object_size(info) == 0) {
        json_decref(info);
        return failed;
    }
    return json_object_set_new(file, "user_info", info);
}

int credential_object_describe(json_t *file, struct buffer *name)
{
    static const char *const names[] = {"email", "preferred_username", "name", "sub"};
    const json_t *token = json_object_get(file, "bearer_token");
    json_t *claims = NULL;
    int error = jwt_claims_read(span_of(json_string_value(token), json_string_length(token)), &claims);
    if (error == 0 && claims && copy_claims(file, claims) < 0)
        error = ERR_NOMEM;
    for (size_t i = 0; error == 0 && i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = text_or_null(claims, names[i]);
        if (!value)
            continue;
        buffer_clear(name);
        error = buffer_append(name, json_string_value(value), json_string_length(value));
        break;
    }
    json_decref(claims);
    return error;
}
