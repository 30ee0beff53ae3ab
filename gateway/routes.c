/* SPDX-License-Identifier: MIT */
#include "gateway/routes.h"
#include "gateway/handlers.h"
#include "proto/error.h"

#define OPEN   .audience = AUDIENCE_ANYONE
#define CLIENT .audience = AUDIENCE_CLIENT, .is_model_api = true
#define ADMIN  .audience = AUDIENCE_ADMIN
#define JSON   .takes_body = true
#define REST   .takes_rest = true

static const struct route table[] = {
    {"completions", "POST", "/v1/chat/completions", .answer = answer_completions, CLIENT, JSON},
    {"completions", "POST", "/codebuddy/v1/chat/completions", .answer = answer_completions, CLIENT, JSON},
    {"models", "GET", "/v1/models", .answer = answer_models, CLIENT},
    {"models", "GET", "/codebuddy/v1/models", .answer = answer_models, CLIENT},
    {"model", "GET", "/v1/models/", .answer = answer_model, CLIENT, REST},
    {"model", "GET", "/codebuddy/v1/models/", .answer = answer_model, CLIENT, REST},
    {"health", "GET", "/health", .answer = answer_health, OPEN},
    {"page", "GET", "/", .answer = answer_page, OPEN},
    {"page", "GET", "/admin", .answer = answer_page, OPEN},
    {"stats", "GET", "/api/stats", .answer = answer_stats, ADMIN},
};

enum { COUNT = sizeof table / sizeof table[0] };

size_t routes_count(void)
{
    return COUNT;
}

const struct route *routes_at(size_t i)
{
    return &table[i];
}

static bool path_fits(const struct route *route, struct span path)
{
    struct span wanted = span_str(route->path);
    if (!route->takes_rest)
        return span_equals(path, wanted);
    return path.length > wanted.length && span_starts_with(path, wanted);
}

static bool method_fits(const struct route *route, struct span method)
{
    struct span wanted = span_str(route->method);
    return span_equals(method, wanted) ||
           (span_equals(wanted, SPAN("GET")) && span_equals(method, SPAN("HEAD")));
}

enum failure routes_find(struct span method, struct span path, struct route_match *match)
{
    *match = (struct route_match){0};
    for (size_t i = 0; i < COUNT; i++) {
        if (!path_fits(&table[i], path))
            continue;
        match->route = &table[i];
        size_t used = strlen(table[i].path);
        match->rest = span_of(path.data + used, path.length - used);
        if (method_fits(&table[i], method))
            return FAILURE_NONE;
    }
    return match->route ? FAILURE_METHOD_NOT_ALLOWED : FAILURE_NOT_FOUND;
}

int routes_append_allow(struct buffer *out, struct span path)
{
    int error = 0;
    const char *separator = "";
    for (size_t i = 0; error == 0 && i < COUNT; i++) {
        if (!path_fits(&table[i], path))
            continue;
        bool is_get = strcmp(table[i].method, "GET") == 0;
        error = buffer_printf(out, "%s%s", separator, is_get ? "GET, HEAD" : table[i].method);
        separator = ", ";
    }
    return error;
}
