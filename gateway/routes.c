/* SPDX-License-Identifier: MIT */
#include "gateway/routes.h"
#include "gateway/handlers.h"
#include "proto/error.h"

#define OPEN           .audience = AUDIENCE_ANYONE
#define CLIENT         .audience = AUDIENCE_CLIENT, .is_model_api = true
#define ADMIN          .audience = AUDIENCE_ADMIN
#define JSON           .takes_body = true
#define REST           .takes_rest = true
#define ID(end)        .takes_rest = true, .suffix = (end)
#define CREDD(method)  .answer = answer_by_credd, .ask = (method), ADMIN
#define STATSD(method) .answer = answer_by_statsd, .ask = (method), ADMIN
#define QUERY(names)   .query = (names)

static const struct route table[] = {
    {"completions", "POST", "/v1/chat/completions", .answer = answer_completions, CLIENT, JSON},
    {"completions", "POST", "/codebuddy/v1/chat/completions", .answer = answer_completions, CLIENT, JSON},
    {"models", "GET", "/v1/models", .answer = answer_models, .ask = "models.list", CLIENT},
    {"models", "GET", "/codebuddy/v1/models", .answer = answer_models, .ask = "models.list", CLIENT},
    {"model", "GET", "/v1/models/", .answer = answer_models, .ask = "models.list", CLIENT, REST},
    {"model", "GET", "/codebuddy/v1/models/", .answer = answer_models, .ask = "models.list", CLIENT, REST},
    {"health", "GET", "/health", .answer = answer_health, OPEN},
    {"page", "GET", "/", .answer = answer_page, OPEN},
    {"page", "GET", "/admin", .answer = answer_page, OPEN},
    {"page", "GET", "/admin/", .answer = answer_page, OPEN},
    {"asset", "GET", "/assets/", .answer = answer_asset, OPEN, REST},
    {"login", "POST", "/api/login", .answer = answer_login, OPEN, JSON},
    {"logout", "POST", "/api/logout", .answer = answer_logout, OPEN},
    {"session", "GET", "/api/session", .answer = answer_session, OPEN},
    {"credentials", "GET", "/codebuddy/v1/credentials", CREDD("credentials.list")},
    {"credentials", "POST", "/codebuddy/v1/credentials", CREDD("credentials.add"), JSON},
    {"credentials", "POST", "/codebuddy/v1/credentials/select", CREDD("credentials.select"), JSON},
    {"credentials", "POST", "/codebuddy/v1/credentials/auto", CREDD("credentials.auto"), JSON},
    {"credentials", "POST", "/codebuddy/v1/credentials/toggle-rotation", CREDD("credentials.toggle_rotation"),
     JSON},
    {"credentials", "GET", "/codebuddy/v1/credentials/current", CREDD("credentials.current")},
    {"credentials", "POST", "/codebuddy/v1/credentials/delete", CREDD("credentials.delete"), JSON},
    {"credential", "POST", "/codebuddy/v1/credentials/", CREDD("credentials.refresh"), JSON, ID("/refresh")},
    {"credential", "POST", "/codebuddy/v1/credentials/", CREDD("credentials.enable"), JSON, ID("/enable")},
    {"credential", "POST", "/codebuddy/v1/credentials/", CREDD("credentials.disable"), JSON, ID("/disable")},
    {"credential_test", "POST", "/codebuddy/v1/credentials/", .answer = answer_credential_test, ADMIN,
     ID("/test")},
    {"auth", "GET", "/codebuddy/auth/start", CREDD("auth.start")},
    {"auth", "POST", "/codebuddy/auth/start", CREDD("auth.start"), JSON},
    {"auth", "POST", "/codebuddy/auth/poll", CREDD("auth.poll"), JSON},
    {"auth", "POST", "/codebuddy/auth/cancel", CREDD("auth.cancel"), JSON},
    {"auth", "GET", "/codebuddy/auth/callback", .answer = answer_callback, OPEN},
    {"settings", "GET", "/api/settings", CREDD("settings.get")},
    {"settings", "POST", "/api/settings", CREDD("settings.set"), JSON},
    {"keys", "GET", "/api/keys", CREDD("keys.list")},
    {"keys", "POST", "/api/keys", CREDD("keys.create"), JSON},
    {"keys", "DELETE", "/api/keys/", CREDD("keys.revoke"), ID("")},
    {"stats", "GET", "/api/stats", STATSD("stats")},
    {"usage", "GET", "/api/usage", STATSD("usage"), QUERY("from to step by format")},
    {"requests", "GET", "/api/requests", STATSD("requests"),
     QUERY("limit before model credential key status outcome")},
    {"processes", "GET", "/api/processes", STATSD("processes"), QUERY("")},
    {"live", "GET", "/api/live", .answer = answer_live, ADMIN, QUERY("")},
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

/* `rest` is what stands for the part of the path that is free. */
static bool path_fits(const struct route *route, struct span path, struct span *rest)
{
    struct span prefix = span_str(route->path), suffix = span_str(route->suffix);
    *rest = span_of(path.data, 0);
    if (!route->takes_rest)
        return span_equals(path, prefix);
    if (path.length <= prefix.length + suffix.length || !span_starts_with(path, prefix))
        return false;
    *rest = span_of(path.data + prefix.length, path.length - prefix.length - suffix.length);
    return !route->suffix || (span_equals(span_of(rest->data + rest->length, suffix.length), suffix) &&
                              !memchr(rest->data, '/', rest->length));
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
        struct span rest;
        if (!path_fits(&table[i], path, &rest))
            continue;
        match->route = &table[i];
        match->rest = rest;
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
        struct span rest;
        if (!path_fits(&table[i], path, &rest))
            continue;
        bool is_get = strcmp(table[i].method, "GET") == 0;
        error = buffer_printf(out, "%s%s", separator, is_get ? "GET, HEAD" : table[i].method);
        separator = ", ";
    }
    return error;
}
