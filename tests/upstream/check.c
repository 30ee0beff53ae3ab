/* SPDX-License-Identifier: MIT */
#include "tests/upstream/check.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct header_rule {
    const char *name;
    const char *value; /* NULL: anything but nothing */
};

static const struct header_rule chat_headers[] = {
    {"Accept", "application/json"},
    {"Content-Type", "application/json"},
    {"X-Requested-With", "XMLHttpRequest"},
    {"X-Product", "SaaS"},
    {"X-Agent-Intent", "craft"},
    {"X-IDE-Type", "CLI"},
    {"X-IDE-Name", "CLI"},
    {"X-Domain", NULL},
    {"X-User-Id", NULL},
    {"X-Conversation-ID", NULL},
    {"X-Conversation-Request-ID", NULL},
    {"X-Conversation-Message-ID", NULL},
    {"X-Request-ID", NULL},
    {"User-Agent", NULL},
    {NULL, NULL},
};

static const struct header_rule login_headers[] = {
    {"X-No-Authorization", "true"},
    {"X-No-User-Id", "true"},
    {"X-No-Enterprise-Id", "true"},
    {"X-No-Department-Info", "true"},
    {"Cache-Control", "no-cache"},
    {"Pragma", "no-cache"},
    {NULL, NULL},
};

static const struct header_rule account_headers[] = {
    {"X-Domain", NULL},
    {NULL, NULL},
};

static const struct header_rule refresh_headers[] = {
    {"X-Refresh-Token", NULL},
    {"X-Auth-Refresh-Source", "plugin"},
    {NULL, NULL},
};

static void fail(struct check_result *result, const char *what, const char *detail)
{
    if (result->count == CHECK_MAX_COUNT)
        return;
    snprintf(result->texts[result->count++], sizeof(result->texts[0]), "%.60s%.55s", what, detail);
}

static void check_headers(const struct server_request *request, const struct header_rule *rule,
                          struct check_result *result)
{
    for (; rule->name; rule++) {
        struct span value = http_request_header(request->http, rule->name);

        if (!value.data || value.size == 0)
            fail(result, "header missing: ", rule->name);
        else if (rule->value && !span_equal_nocase(value, rule->value))
            fail(result, "header with another value: ", rule->name);
    }
}

static void check_bearer(const struct server_request *request, struct check_result *result)
{
    struct span value = http_request_header(request->http, "Authorization");

    if (!span_has_prefix(value, "Bearer ") || value.size < 8)
        fail(result, "no bearer token", "");
}

/* jansson for what is small; a large body was scanned as it came, and that has to do. */
static void check_json(const struct server_request *request, struct check_result *result)
{
    json_error_t error;
    json_t *root;

    if (!body_scan_is_whole(request->scan)) {
        fail(result, "the body is not a JSON object", "");
        return;
    }
    if (request->body_bytes > request->body.size)
        return;
    root = json_loadb(request->body.data, request->body.size, 0, &error);
    if (!root)
        fail(result, "the body is not JSON: ", error.text);
    json_decref(root);
}

static void refuse(struct check_result *result, int code, const char *msg)
{
    if (result->refuse_code)
        return;
    result->refuse_code = code;
    result->refuse_msg = msg;
}

static void check_body(const struct server_request *request, const struct check_rules *rules,
                       struct check_result *result)
{
    const struct body_scan *scan = request->scan;

    if (!body_scan_is_whole(scan))
        refuse(result, 11101, "the body is not a JSON object");
    else if (scan->stream != BODY_TRUE)
        refuse(result, 11101, "stream must be true");
    else if (scan->has_developer)
        refuse(result, 11101, "role developer is not supported");
    else if (scan->message_count == 0)
        refuse(result, 11101, "no messages");
    else if (rules->intl && !scan->first_is_system)
        refuse(result, 11128, "first message must be system");
    if (result->refuse_code)
        fail(result, result->refuse_msg, "");
}

void check_chat(const struct server_request *request, const struct check_rules *rules,
                struct check_result *result)
{
    const struct body_scan *scan = request->scan;

    result->count = 0;
    result->refuse_code = 0;
    check_body(request, rules, result);
    if (rules->fast)
        return;
    check_bearer(request, result);
    check_headers(request, chat_headers, result);
    check_json(request, result);
    if (!scan->model_seen || scan->model_size == 0 || scan->model_too_long)
        fail(result, "no model", "");
    if (scan->include_usage != BODY_TRUE)
        fail(result, "stream_options.include_usage is not true", "");
    if (!scan->first_is_system)
        fail(result, "the first message is not a system message", "");
    if (!http_request_header(request->http, "X-Enterprise-Id").data !=
        !http_request_header(request->http, "X-Tenant-Id").data)
        fail(result, "X-Enterprise-Id and X-Tenant-Id do not come together", "");
}

void check_login(const struct server_request *request, bool poll, struct check_result *result)
{
    result->count = 0;
    result->refuse_code = 0;
    check_headers(request, login_headers, result);
    if (poll && !http_request_header(request->http, "b3").data &&
        !http_request_header(request->http, "X-B3-TraceId").data)
        fail(result, "no B3 trace header", "");
    if (http_request_header(request->http, "Authorization").data)
        fail(result, "a login call must not carry a token", "");
}

void check_account(const struct server_request *request, bool refresh, struct check_result *result)
{
    result->count = 0;
    result->refuse_code = 0;
    check_bearer(request, result);
    check_headers(request, account_headers, result);
    if (refresh)
        check_headers(request, refresh_headers, result);
}
