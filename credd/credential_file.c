/* SPDX-License-Identifier: MIT */
#include "credd/credential_file.h"
#include "credd/json_wipe.h"
#include "credd/jwt_claims.h"
#include "proto/error.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HEADER_TEXT_MAX_BYTES = 256,
    OTHER_TEXT_MAX_BYTES = 512,
    NAMES_PER_FIELD = 6,
};

/* The objects of a file that fields are looked for in. */
enum place { TOP, AUTH, ACCOUNT, USER_INFO, CLAIMS, PLACE_COUNT };

enum check {
    CHECK_TOKEN,  /* visible ASCII */
    CHECK_HEADER, /* no control characters */
    CHECK_HOST,   /* characters of host[:port] */
};

struct source {
    enum place place;
    const char *name; /* NULL ends the list */
};

struct text_field {
    size_t offset; /* of a char * in struct credential_file */
    size_t max_bytes;
    enum check check;
    bool strict; /* a bad value refuses the file, else it is as if absent */
    struct source sources[NAMES_PER_FIELD];
};

#define FIELD(member) offsetof(struct credential_file, member)
/* clang-format off */
static const struct text_field text_fields[] = {
    {FIELD(user_id), HEADER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "user_id"}, {TOP, "userId"}, {USER_INFO, "sub"}, {CLAIMS, "sub"}}},
    {FIELD(account_uid), HEADER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "account_uid"}, {TOP, "accountUid"}, {ACCOUNT, "uid"}}},
    {FIELD(enterprise_id), HEADER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "enterprise_id"}, {TOP, "enterpriseId"}, {AUTH, "enterpriseId"}, {ACCOUNT, "enterpriseId"}}},
    {FIELD(tenant_id), HEADER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "tenant_id"}, {TOP, "tenantId"}, {AUTH, "tenantId"}, {ACCOUNT, "tenantId"}}},
    {FIELD(domain), HEADER_TEXT_MAX_BYTES, CHECK_HOST, true, {{TOP, "domain"}, {AUTH, "domain"}}},
    {FIELD(site), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "site"}, {TOP, "site_type"}, {TOP, "siteType"}}},
    {FIELD(api_endpoint), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, true,
     {{TOP, "api_endpoint"}, {TOP, "apiEndpoint"}}},
    {FIELD(email), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, false,
     {{TOP, "email"}, {USER_INFO, "email"}, {CLAIMS, "email"}}},
    {FIELD(name), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, false,
     {{USER_INFO, "name"}, {ACCOUNT, "nickname"}, {USER_INFO, "preferred_username"}, {CLAIMS, "name"},
      {CLAIMS, "preferred_username"}}},
    {FIELD(token_type), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, false,
     {{TOP, "token_type"}, {TOP, "tokenType"}, {AUTH, "tokenType"}}},
    {FIELD(scope), OTHER_TEXT_MAX_BYTES, CHECK_HEADER, false, {{TOP, "scope"}, {AUTH, "scope"}}},
};
static const struct source token_sources[] = {
    {TOP, "bearer_token"}, {TOP, "access_token"}, {TOP, "accessToken"}, {AUTH, "accessToken"}, {TOP, NULL}};
static const struct source refresh_token_sources[] = {
    {TOP, "refresh_token"}, {TOP, "refreshToken"}, {AUTH, "refreshToken"}, {TOP, NULL}};
static const struct source created_sources[] = {{TOP, "created_at"}, {TOP, "createdAt"}, {TOP, NULL}};
static const struct source lifetime_sources[] = {
    {TOP, "expires_in"}, {TOP, "expiresIn"}, {AUTH, "expiresIn"}, {TOP, NULL}};
static const struct source expires_sources[] = {
    {TOP, "expires_at"}, {TOP, "expiresAt"}, {AUTH, "expiresAt"}, {TOP, NULL}};
static const struct source claimed_expiry_sources[] = {{CLAIMS, "exp"}, {TOP, NULL}};
static const struct source refresh_expires_sources[] = {
    {TOP, "refresh_expires_at"}, {TOP, "refreshExpiresAt"}, {AUTH, "refreshExpiresAt"}, {TOP, NULL}};
/* clang-format on */

struct parser {
    json_t *places[PLACE_COUNT]; /* borrowed from root, but for CLAIMS */
    char *problem;
};

static int complain(struct parser *parser, const char *field, const char *what)
{
    snprintf(parser->problem, CREDENTIAL_PROBLEM_BYTES, "%s %s", field, what);
    return ERR_INVALID;
}

/* null, "" and an absent member are one: other writers leave such holes. */
static bool is_absent(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

/* Claims of the token (the reference keeps a copy as user_info): odd ones are no reason to refuse a file. */
static bool is_hint(const struct source *source)
{
    return source->place == CLAIMS || source->place == USER_INFO;
}

/* The first source that has a value; NULL if none. */
static const json_t *find_value(const struct parser *parser, const struct source *sources,
                                const struct source **found)
{
    for (; sources->name; sources++) {
        const json_t *value = json_object_get(parser->places[sources->place], sources->name);
        if (!is_absent(value)) {
            *found = sources;
            return value;
        }
    }
    return NULL;
}

static bool bytes_pass(struct span text, enum check check)
{
    static const char host_marks[] = ".-_:[]";
    if (!span_is_header_safe(text))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (check == CHECK_TOKEN && (c <= ' ' || c > '~'))
            return false;
        if (check == CHECK_HOST && !alphanumeric && !strchr(host_marks, c))
            return false;
    }
    return true;
}

static const char *text_fault(struct span text, size_t max_bytes, enum check check)
{
    if (text.length > max_bytes)
        return "is too long";
    if (!bytes_pass(text, check))
        return "holds characters that no header may carry";
    return NULL;
}

/* A user id may be written as a number. `digits` is room for it. */
static bool text_of(const json_t *value, char *digits, size_t digits_bytes, struct span *text)
{
    if (json_is_integer(value)) {
        int length = snprintf(digits, digits_bytes, "%lld", (long long)json_integer_value(value));
        *text = span_of(digits, (size_t)length);
        return true;
    }
    if (!json_is_string(value))
        return false;
    *text = span_of(json_string_value(value), json_string_length(value));
    return true;
}

static int take_text(struct parser *parser, const struct text_field *field, struct credential_file *file)
{
    const struct source *found = NULL;
    const json_t *value = find_value(parser, field->sources, &found);
    struct span text = {0};
    char digits[24];
    const char *fault = NULL;
    if (!value)
        return 0;
    if (!text_of(value, digits, sizeof digits, &text))
        fault = "is not a string";
    else
        fault = text_fault(text, field->max_bytes, field->check);
    if (fault && (!field->strict || is_hint(found)))
        return 0;
    if (fault)
        return complain(parser, found->name, fault);
    char *copy = span_dup(text);
    if (!copy)
        return ERR_NOMEM;
    memcpy((char *)file + field->offset, &copy, sizeof copy);
    return 0;
}

static int take_token(struct parser *parser, const struct source *sources, struct secret *token)
{
    const struct source *found = NULL;
    const json_t *value = find_value(parser, sources, &found);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return complain(parser, found->name, "is not a string");
    struct span text = span_of(json_string_value(value), json_string_length(value));
    const char *fault = text_fault(text, CREDENTIAL_TOKEN_MAX_BYTES, CHECK_TOKEN);
    return fault ? complain(parser, found->name, fault) : secret_set(token, text);
}

/* A number, also one written as a string of digits; NAN if it is neither. */
static double number_of(const json_t *value)
{
    uint64_t digits;
    if (json_is_string(value)) {
        struct span text = span_of(json_string_value(value), json_string_length(value));
        return span_to_u64(text, &digits) ? (double)digits : (double)NAN;
    }
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* A point in time in seconds or, from 1e11 on, milliseconds since 1970; 0 and absent are 0 (unknown). */
static int take_time(struct parser *parser, const struct source *sources, int64_t *wall_ms)
{
    const struct source *found = NULL;
    const json_t *value = find_value(parser, sources, &found);
    if (!value)
        return 0;
    double number = number_of(value);
    if (!(number >= 0 && number < 1e15)) {
        if (is_hint(found))
            return 0;
        return complain(parser, found->name, "is not a time in seconds or milliseconds since 1970");
    }
    *wall_ms = (int64_t)(number >= 1e11 ? number : number * 1000);
    return 0;
}

/* Seconds, at most a century of them; 0 and absent are 0 (unknown). */
static int take_lifetime(struct parser *parser, int64_t *lifetime_ms)
{
    const struct source *found = NULL;
    const json_t *value = find_value(parser, lifetime_sources, &found);
    if (!value)
        return 0;
    double number = number_of(value);
    if (!(number >= 0 && number <= 100 * 366 * 86400.0))
        return complain(parser, found->name, "is not a number of seconds");
    *lifetime_ms = (int64_t)(number * 1000);
    return 0;
}

/* expires_at, else created_at + expires_in, else the token's own claim, else unknown. */
static int take_times(struct parser *parser, struct credential_file *file)
{
    int64_t lifetime_ms = 0;
    int error = take_time(parser, created_sources, &file->created_wall_ms);
    if (error == 0)
        error = take_lifetime(parser, &lifetime_ms);
    if (error == 0)
        error = take_time(parser, refresh_expires_sources, &file->refresh_expires_wall_ms);
    if (error == 0)
        error = take_time(parser, expires_sources, &file->expires_wall_ms);
    if (error == 0 && file->expires_wall_ms == 0 && file->created_wall_ms > 0 && lifetime_ms > 0)
        file->expires_wall_ms = file->created_wall_ms + lifetime_ms;
    if (error == 0 && file->expires_wall_ms == 0)
        error = take_time(parser, claimed_expiry_sources, &file->expires_wall_ms);
    return error;
}

static int take_fields(struct parser *parser, struct credential_file *file)
{
    int error = take_token(parser, token_sources, &file->token);
    if (error == 0 && secret_is_empty(&file->token))
        error = complain(parser, "bearer_token", "is missing");
    if (error < 0)
        return error;
    error = jwt_claims_read(secret_span(&file->token), &parser->places[CLAIMS]);
    if (error == 0)
        error = take_token(parser, refresh_token_sources, &file->refresh_token);
    for (size_t i = 0; error == 0 && i < sizeof text_fields / sizeof text_fields[0]; i++)
        error = take_text(parser, &text_fields[i], file);
    if (error == 0)
        error = take_times(parser, file);
    json_decref(parser->places[CLAIMS]);
    return error;
}

static int parse_text(struct parser *parser, struct credential_file *file, struct span text)
{
    json_error_t where;
    json_wipe_ran_out();
    json_t *root = json_loadb(text.data, text.length, 0, &where);
    int error = 0;
    if (json_wipe_ran_out()) {
        json_decref(root);
        return ERR_NOMEM;
    }
    if (!root) { /* only the position: the parser's own words quote the text, and so the token */
        snprintf(parser->problem, CREDENTIAL_PROBLEM_BYTES, "not valid JSON at line %d, column %d",
                 where.line, where.column);
        return ERR_INVALID;
    }
    if (json_is_object(root)) {
        parser->places[TOP] = root;
        parser->places[AUTH] = json_object_get(root, "auth");
        parser->places[ACCOUNT] = json_object_get(root, "account");
        parser->places[USER_INFO] = json_object_get(root, "user_info");
        error = take_fields(parser, file);
    } else {
        error = complain(parser, "the file", "is not a JSON object");
    }
    json_decref(root);
    return error;
}

int credential_file_parse(struct credential_file *file, struct span text,
                          char problem[CREDENTIAL_PROBLEM_BYTES])
{
    struct parser parser = {.problem = problem};
    *file = (struct credential_file){0};
    problem[0] = '\0';
    if (text.length > CREDENTIAL_FILE_MAX_BYTES) {
        snprintf(problem, CREDENTIAL_PROBLEM_BYTES, "larger than %d KiB", CREDENTIAL_FILE_MAX_BYTES >> 10);
        return ERR_TOO_LARGE;
    }
    if (span_starts_with(text, SPAN("\xEF\xBB\xBF")))
        text = span_of(text.data + 3, text.length - 3);
    int error = parse_text(&parser, file, text);
    if (error == ERR_NOMEM)
        snprintf(problem, CREDENTIAL_PROBLEM_BYTES, "%s", error_text(error));
    return error;
}

void credential_file_fini(struct credential_file *file)
{
    secret_fini(&file->token);
    secret_fini(&file->refresh_token);
    for (size_t i = 0; i < sizeof text_fields / sizeof text_fields[0]; i++) {
        char *text;
        memcpy(&text, (char *)file + text_fields[i].offset, sizeof text);
        free(text);
    }
    *file = (struct credential_file){0};
}
