/* SPDX-License-Identifier: MIT */
#include "credd/credential_new.h"
#include "credd/json_wipe.h"
#include "credd/refresher.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_names(void **state)
{
    static const char *const cases[][2] = {
        {"user@example.com", "user_example.com.json"},
        {"a.json", "a.json"},
        {"../../etc/passwd", "_.._etc_passwd.json"},
        {"...hidden", "hidden.json"},
        {"-rf", "rf.json"},
        {"\xe4\xb8\x96\xe7\x95\x8c", "credential.json"},
        {"", "credential.json"},
        {".json", "credential.json"},
        {"manager_state", "credential.json"},
        {"manager_state.json", "credential.json"},
        {"a b  c", "a_b_c.json"},
    };
    char name[CREDENTIAL_NAME_BYTES], long_name[400];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        credential_name_reduce(span_str(cases[i][0]), name);
        assert_string_equal(name, cases[i][1]);
    }
    memset(long_name, 'x', sizeof long_name);
    credential_name_reduce(span_of(long_name, sizeof long_name), name);
    char numbered[CREDENTIAL_NAME_BYTES];
    credential_name_number(name, CREDENTIAL_NAME_TRIES, numbered);
    assert_non_null(strstr(numbered, "x-1000.json"));
    credential_name_number("a.json", 1, numbered);
    assert_string_equal(numbered, "a.json");
    credential_name_number("a.b.json", 2, numbered);
    assert_string_equal(numbered, "a.b-2.json");
}

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* What the upstream's `data` makes of a file. */
static void takes(const char *before, const char *data, const char *after)
{
    json_t *file = parse(before), *given = parse(data), *expected = parse(after);
    assert_int_equal(credential_object_take(file, given, 1700000000000), 0);
    if (!json_equal(file, expected)) {
        char *text = json_dumps(file, 0);
        fail_msg("%s", text);
    }
    json_decref(file);
    json_decref(given);
    json_decref(expected);
}

static void test_takes_tokens(void **state)
{
    (void)state;
    takes("{}",
          "{\"accessToken\":\"A\",\"refreshToken\":\"R\",\"tokenType\":\"Bearer\",\"expiresIn\":60,"
          "\"domain\":\"d\"}",
          "{\"bearer_token\":\"A\",\"refresh_token\":\"R\",\"token_type\":\"Bearer\",\"expires_in\":60,"
          "\"created_at\":1700000000,\"domain\":\"d\"}");
    /* no new refresh token: the old one stays; so does what it does not say, but not the old times */
    takes(
        "{\"access_token\":\"O\",\"refresh_token\":\"R\",\"user_id\":\"u\",\"expires_at\":5,\"scope\":\"s\","
        "\"full_response\":{\"accessToken\":\"O\"}}",
        "{\"accessToken\":\"A\",\"expiresAt\":1800000000000}",
        "{\"access_token\":\"A\",\"refresh_token\":\"R\",\"user_id\":\"u\",\"expires_at\":1800000000000,"
        "\"scope\":\"s\",\"created_at\":1700000000}");
    /* the desktop client's form stays one */
    takes("{\"auth\":{\"accessToken\":\"O\",\"refreshToken\":\"R\",\"expiresAt\":7},\"account\":{\"uid\":"
          "\"u\"}}",
          "{\"accessToken\":\"A\",\"refreshToken\":\"S\",\"expiresIn\":9}",
          "{\"auth\":{\"accessToken\":\"A\",\"refreshToken\":\"S\"},\"account\":{\"uid\":\"u\"},"
          "\"created_at\":1700000000,\"expires_in\":9}");
    json_t *file = json_object(), *nothing = parse("{\"accessToken\":\"\"}");
    assert_int_equal(credential_object_take(file, nothing, 0), ERR_INVALID);
    assert_int_equal(json_object_size(file), 0);
    json_decref(file);
    json_decref(nothing);
}

static void test_describes(void **state)
{
    /* {"email":"e@x","sub":"s1","name":"N"} as a JWT's payload */
    json_t *file = parse("{\"bearer_token\":\"h.eyJlbWFpbCI6ImVAeCIsInN1YiI6InMxIiwibmFtZSI6Ik4ifQ.s\"}");
    struct buffer name = {0};
    (void)state;
    assert_int_equal(credential_object_describe(file, &name), 0);
    assert_true(span_equals(buffer_span(&name), SPAN("e@x")));
    const json_t *info = json_object_get(file, "user_info");
    assert_string_equal(json_string_value(json_object_get(info, "sub")), "s1");
    json_decref(file);
    file = parse("{\"bearer_token\":\"opaque\"}");
    buffer_clear(&name);
    assert_int_equal(credential_object_describe(file, &name), 0);
    assert_int_equal(name.length, 0);
    assert_null(json_object_get(file, "user_info"));
    json_decref(file);
    buffer_fini(&name);
}

static void assert_tied(const struct sites *sites, const char *text, const char *site, const char *endpoint)
{
    json_t *file = parse(text), *data = parse("{\"accessToken\":\"new\",\"site\":\"b\"}");
    char problem[CREDENTIAL_PROBLEM_BYTES];
    assert_int_equal(credential_object_tie(file, sites, problem), 0);
    assert_int_equal(credential_object_take(file, data, 1700000000000), 0); /* a refresh keeps it */
    assert_string_equal(json_string_value(json_object_get(file, "site")), site);
    const char *found = json_string_value(json_object_get(file, "api_endpoint"));
    assert_true(!found == !endpoint && (!found || strcmp(found, endpoint) == 0));
    json_decref(file);
    json_decref(data);
}

static void test_ties(void **state)
{
    const char *why;
    char problem[CREDENTIAL_PROBLEM_BYTES] = "";
    struct sites *sites = sites_new();
    json_t *unknown = parse("{\"site\":\"mars\"}");
    (void)state;
    assert_int_equal(sites_add(sites, SPAN("a"),
                               SPAN("{\"base_url\":\"https://a.example\",\"aliases\":[\"alpha\"]}"), &why),
                     0);
    assert_int_equal(sites_add(sites, SPAN("custom"), SPAN("{}"), &why), 0);
    assert_int_equal(sites_set_endpoint(sites, "https://own.example/x/", &why), 0);
    assert_tied(sites, "{}", "custom", "https://own.example/x");
    assert_tied(sites, "{\"site\":\"\"}", "custom", "https://own.example/x");
    assert_tied(sites, "{\"site\":\"ALPHA\"}", "a", NULL);
    assert_int_equal(credential_object_tie(unknown, sites, problem), ERR_INVALID);
    assert_int_equal(strncmp(problem, "site ", 5), 0);
    json_decref(unknown);
    sites_free(&sites);
}

static void test_when_a_refresh_is_due(void **state)
{
    const int64_t hour_ms = 3600000, base_ms = 1700000000000;
    struct credential_file file = {.created_wall_ms = base_ms, .expires_wall_ms = base_ms + 100 * hour_ms};
    (void)state;
    assert_int_equal(refresh_due_wall_ms(&file), base_ms + 76 * hour_ms); /* a day ahead … */
    file.expires_wall_ms = base_ms + 10 * hour_ms;
    assert_int_equal(refresh_due_wall_ms(&file), base_ms + 5 * hour_ms); /* … or half its life */
    file.created_wall_ms = 0;
    assert_int_equal(refresh_due_wall_ms(&file), base_ms - 14 * hour_ms);
    file.expires_wall_ms = 0;
    assert_true(refresh_due_wall_ms(&file) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_takes_tokens),
        cmocka_unit_test(test_describes),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_when_a_refresh_is_due),
    };
    if (sodium_init() < 0)
        return 1;
    json_wipe_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
