/* SPDX-License-Identifier: MIT */
/* The small pure modules: routes, cors, models, request_id, refusal. */
#include "gateway/cors.h"
#include "gateway/models.h"
#include "gateway/percent.h"
#include "gateway/refusal.h"
#include "gateway/request_id.h"
#include "gateway/routes.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

static void test_routes(void **state)
{
    static const struct {
        const char *method, *path, *name, *rest;
        enum failure failure;
    } cases[] = {
        {"POST", "/v1/chat/completions", "completions", "", FAILURE_NONE},
        {"POST", "/codebuddy/v1/chat/completions", "completions", "", FAILURE_NONE},
        {"GET", "/v1/models", "models", "", FAILURE_NONE},
        {"HEAD", "/v1/models", "models", "", FAILURE_NONE},
        {"GET", "/codebuddy/v1/models/gpt-5", "model", "gpt-5", FAILURE_NONE},
        {"GET", "/v1/models/a/b", "model", "a/b", FAILURE_NONE},
        {"GET", "/health", "health", "", FAILURE_NONE},
        {"GET", "/", "page", "", FAILURE_NONE},
        {"GET", "/admin", "page", "", FAILURE_NONE},
        {"GET", "/admin/", "page", "", FAILURE_NONE},
        {"GET", "/admin/x", NULL, "", FAILURE_NOT_FOUND},
        {"GET", "/assets/main-1.js", "asset", "main-1.js", FAILURE_NONE},
        {"HEAD", "/assets/main-1.js", "asset", "main-1.js", FAILURE_NONE},
        {"POST", "/assets/main-1.js", "asset", "main-1.js", FAILURE_METHOD_NOT_ALLOWED},
        {"GET", "/assets/", NULL, "", FAILURE_NOT_FOUND},
        {"GET", "/api/session", "session", "", FAILURE_NONE},
        {"GET", "/api/stats", "stats", "", FAILURE_NONE},
        {"GET", "/codebuddy/v1/credentials", "credentials", "", FAILURE_NONE},
        {"POST", "/codebuddy/v1/credentials/select", "credentials", "", FAILURE_NONE},
        {"GET", "/codebuddy/v1/credentials/select", "credentials", "", FAILURE_METHOD_NOT_ALLOWED},
        {"POST", "/codebuddy/v1/credentials/current", "credentials", "", FAILURE_METHOD_NOT_ALLOWED},
        {"POST", "/codebuddy/v1/credentials/ab12/refresh", "credential", "ab12", FAILURE_NONE},
        {"POST", "/codebuddy/v1/credentials/ab12/test", "credential_test", "ab12", FAILURE_NONE},
        {"GET", "/codebuddy/v1/credentials/ab12/test", "credential_test", "ab12", FAILURE_METHOD_NOT_ALLOWED},
        {"POST", "/codebuddy/v1/credentials//test", NULL, "", FAILURE_NOT_FOUND},
        {"POST", "/codebuddy/v1/credentials/a/b/test", NULL, "", FAILURE_NOT_FOUND},
        {"POST", "/codebuddy/v1/credentials/ab12/tes", NULL, "", FAILURE_NOT_FOUND},
        {"DELETE", "/api/keys/key_1", "keys", "key_1", FAILURE_NONE},
        {"DELETE", "/api/keys", "keys", "", FAILURE_METHOD_NOT_ALLOWED},
        {"GET", "/api/keys/key_1", "keys", "key_1", FAILURE_METHOD_NOT_ALLOWED},
        {"POST", "/api/login", "login", "", FAILURE_NONE},
        {"GET", "/v1/chat/completions", "completions", "", FAILURE_METHOD_NOT_ALLOWED},
        {"HEAD", "/v1/chat/completions", "completions", "", FAILURE_METHOD_NOT_ALLOWED},
        {"get", "/health", "health", "", FAILURE_METHOD_NOT_ALLOWED},
        {"GET", "/v1/models/", NULL, "", FAILURE_NOT_FOUND},
        {"GET", "/v1/chat/completions/", NULL, "", FAILURE_NOT_FOUND},
        {"GET", "/V1/models", NULL, "", FAILURE_NOT_FOUND},
        {"GET", "//health", NULL, "", FAILURE_NOT_FOUND},
        {"POST", "/nowhere", NULL, "", FAILURE_NOT_FOUND},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route_match match;
        assert_int_equal(routes_find(span_str(cases[i].method), span_str(cases[i].path), &match),
                         cases[i].failure);
        if (!cases[i].name) {
            assert_null(match.route);
            continue;
        }
        assert_string_equal(match.route->name, cases[i].name);
        assert_true(span_equals(match.rest, span_str(cases[i].rest)));
    }
}

static void test_every_route_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < routes_count(); i++) {
        const struct route *route = routes_at(i);
        assert_non_null(route->answer);
        assert_int_equal(route->path[0], '/');
        assert_true(!route->is_model_api || route->audience == AUDIENCE_CLIENT);
        bool is_login = strncmp(route->name, "log", 3) == 0 || strcmp(route->name, "session") == 0;
        assert_true(is_login || strncmp(route->path, "/api/", 5) != 0 || route->audience == AUDIENCE_ADMIN);
        assert_true(strncmp(route->name, "credential", 10) != 0 || route->audience == AUDIENCE_ADMIN);
    }
}

static void test_allow(void **state)
{
    struct buffer out = {0};
    (void)state;
    assert_int_equal(routes_append_allow(&out, SPAN("/health")), 0);
    assert_true(span_equals(buffer_span(&out), SPAN("GET, HEAD")));
    buffer_clear(&out);
    assert_int_equal(routes_append_allow(&out, SPAN("/v1/chat/completions")), 0);
    assert_true(span_equals(buffer_span(&out), SPAN("POST")));
    buffer_fini(&out);
}

static void check_cors(const char *origins, const char *origin, const char *allowed)
{
    char text[128];
    const char *reason;
    struct head head;
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nOrigin: %s\r\n\r\n", origin);
    assert_int_equal(head_parse(span_str(text), &head, &reason), 0);
    if (!span_equals(cors_allow(origins, &head), span_str(allowed)))
        fail_msg("%s %s", origins, origin);
}

static void test_cors(void **state)
{
    (void)state;
    check_cors("", "https://a.example", "");
    check_cors("https://a.example, https://b.example", "https://b.example", "https://b.example");
    check_cors("https://a.example", "https://a.example.evil", "");
    check_cors("https://a.example", "null", "");
    check_cors("https://a.example,*", "https://c.example", "*");
    check_cors("*", "", "");
}

static void test_models(void **state)
{
    struct buffer out = {0};
    (void)state;
    assert_int_equal(models_append_list(&out, "a, b/c ,\"q\"", 7), 0);
    json_t *list = json_loadb(out.data, out.length, 0, NULL);
    json_t *data = json_object_get(list, "data");
    assert_int_equal(json_array_size(data), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(data, 1), "id")), "b/c");
    assert_string_equal(json_string_value(json_object_get(json_array_get(data, 2), "id")), "\"q\"");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(data, 0), "created")), 7);
    json_decref(list);
    buffer_clear(&out);
    assert_int_equal(models_append_one(&out, "a,b/c,b/c", SPAN("b/c"), 7), 0);
    json_t *one = json_loadb(out.data, out.length, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(one, "id")), "b/c");
    json_decref(one);
    buffer_clear(&out);
    static const char *const absent[] = {"", "b", "A"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(models_append_one(&out, "a,b/c", span_str(absent[i]), 7), ERR_NOT_FOUND);
    assert_int_equal(out.length, 0);
    buffer_fini(&out);
}

static void test_percent(void **state)
{
    static const char *const bad[] = {"%", "%2", "%zz", "a%", "12345"};
    char text[4];
    (void)state;
    assert_int_equal(percent_decode(SPAN("b%2Fc"), text, sizeof text), 3);
    assert_memory_equal(text, "b/c", 3);
    assert_int_equal(percent_decode(SPAN("%00%ff"), text, sizeof text), 2);
    assert_int_equal(percent_decode(SPAN(""), text, sizeof text), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(percent_decode(span_str(bad[i]), text, sizeof text), -1);
}

static void test_request_id(void **state)
{
    static const unsigned char random[10] = {0xab, 0xcd};
    char id[REQUEST_ID_BYTES], later[REQUEST_ID_BYTES];
    (void)state;
    request_id_make(id, 0x19ab3cd4ef5, random);
    assert_string_equal(id, "019ab3cd4ef5abcd0000000000000000");
    request_id_make(later, 0x19ab3cd4ef6, random);
    assert_true(strcmp(id, later) < 0); /* in the order of time */
}

static void test_refusal(void **state)
{
    struct buffer out = {0};
    (void)state;
    assert_int_equal(refusal_format(&out, "0123", FAILURE_TOO_MANY_ATTEMPTS, "", 12), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_non_null(strstr(out.data, "HTTP/1.1 429 Too Many Requests\r\n"));
    assert_non_null(strstr(out.data, "\r\nRetry-After: 12\r\n"));
    assert_non_null(strstr(out.data, "\r\nX-Request-ID: "));
    assert_non_null(strstr(out.data, "\r\nConnection: close\r\n"));
    const char *body = strstr(out.data, "\r\n\r\n") + 4;
    char length[64];
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", strlen(body));
    assert_non_null(strstr(out.data, length));
    json_t *error = json_loads(body, 0, NULL);
    assert_non_null(json_object_get(error, "error"));
    json_decref(error);
    for (int i = 1; i < FAILURE_COUNT; i++)
        if (i != FAILURE_CANCELLED)
            assert_string_not_equal(status_phrase(failure_status((enum failure)i)), "Other");
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),     cmocka_unit_test(test_every_route_is_sound),
        cmocka_unit_test(test_allow),      cmocka_unit_test(test_cors),
        cmocka_unit_test(test_models),     cmocka_unit_test(test_percent),
        cmocka_unit_test(test_request_id), cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
