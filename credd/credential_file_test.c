/* SPDX-License-Identifier: MIT */
#include "credd/credential_file.h"
#include "credd/json_wipe.h"
#include "proto/error.h"

#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- the n-th malloc of the parser and of jansson fails (linked with --wrap=malloc) ---- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
static int fail_in = -1; /* -1: never */

void *__wrap_malloc(size_t size)
{
    if (fail_in == 0)
        return NULL;
    if (fail_in > 0)
        fail_in--;
    return __real_malloc(size);
}

/* ---- helpers ---- */

static struct credential_file file;
static char problem[CREDENTIAL_PROBLEM_BYTES];

static int parse(const char *text)
{
    credential_file_fini(&file);
    return credential_file_parse(&file, span_str(text), problem);
}

static void assert_refused(const char *text, const char *why)
{
    assert_int_equal(parse(text), ERR_INVALID);
    assert_non_null(strstr(problem, why));
    credential_file_fini(&file);
}

/* A JWT with this payload; static. */
static const char *jwt(const char *payload)
{
    static char token[2048];
    char encoded[1024];
    sodium_bin2base64(encoded, sizeof encoded, (const unsigned char *)payload, strlen(payload),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(token, sizeof token, "eyJhbGciOiJSUzI1NiJ9.%s.c2ln", encoded);
    return token;
}

static const char *with_token(const char *token, const char *rest)
{
    static char text[4096];
    snprintf(text, sizeof text, "{\"bearer_token\":\"%s\"%s}", token, rest);
    return text;
}

/* ---- what must load ---- */

static const char reference_file[] =
    "{\n  \"bearer_token\": \"aaa.bbb.ccc\",\n  \"user_id\": \"someone@example.com\",\n"
    "  \"created_at\": 1760000000,\n  \"expires_in\": 31536000,\n  \"refresh_token\": \"rrr\",\n"
    "  \"token_type\": \"Bearer\",\n  \"scope\": \"openid profile\",\n  \"domain\": \"www.codebuddy.cn\",\n"
    "  \"session_state\": \"s-1\",\n  \"user_info\": {\"sub\": \"u-1\", \"email\": \"someone@example.com\",\n"
    "    \"preferred_username\": \"someone\", \"name\": \"Some One\", \"exp\": 1, \"iat\": 2},\n"
    "  \"full_response\": {\"code\": 0, \"data\": {\"accessToken\": \"zzz\"}}\n}";

static void test_reference_file_loads_unchanged(void **state)
{
    (void)state;
    assert_int_equal(parse(reference_file), 0);
    assert_string_equal(file.token.data, "aaa.bbb.ccc");
    assert_string_equal(file.refresh_token.data, "rrr");
    assert_string_equal(file.user_id, "someone@example.com");
    assert_string_equal(file.domain, "www.codebuddy.cn");
    assert_string_equal(file.email, "someone@example.com");
    assert_string_equal(file.name, "Some One");
    assert_string_equal(file.token_type, "Bearer");
    assert_string_equal(file.scope, "openid profile");
    assert_null(file.account_uid);
    assert_null(file.enterprise_id);
    assert_null(file.site);
    assert_int_equal(file.created_wall_ms, 1760000000000);
    assert_int_equal(file.expires_wall_ms, 1791536000000);
}

static void test_desktop_file_loads(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"auth\":{\"accessToken\":\"t\",\"refreshToken\":\"r\",\"expiresAt\":1790000000123,"
              "\"domain\":\"www.codebuddy.ai\"},\"account\":{\"uid\":\"u-9\",\"nickname\":\"Nick\"}}"),
        0);
    assert_string_equal(file.token.data, "t");
    assert_string_equal(file.refresh_token.data, "r");
    assert_string_equal(file.account_uid, "u-9");
    assert_string_equal(file.name, "Nick");
    assert_string_equal(file.domain, "www.codebuddy.ai");
    assert_int_equal(file.expires_wall_ms, 1790000000123);
}

static void test_aliases_and_precedence(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"access_token\":\"t2\",\"enterpriseId\":\"e\",\"tenantId\":\"n\",\"account_uid\":7,"
              "\"api_endpoint\":\"https://x.example\",\"site_type\":\"intl\"}"),
        0);
    assert_string_equal(file.token.data, "t2");
    assert_string_equal(file.enterprise_id, "e");
    assert_string_equal(file.tenant_id, "n");
    assert_string_equal(file.account_uid, "7");
    assert_string_equal(file.api_endpoint, "https://x.example");
    assert_string_equal(file.site, "intl");
    assert_int_equal(parse("{\"bearer_token\":\"\",\"access_token\":\"a\",\"refresh_token\":null}"), 0);
    assert_string_equal(file.token.data, "a");
    assert_true(secret_is_empty(&file.refresh_token));
    assert_int_equal(parse("{\"access_token\":\"a\",\"bearer_token\":\"b\"}"), 0);
    assert_string_equal(file.token.data, "b");
    assert_int_equal(parse("\xEF\xBB\xBF{\"bearer_token\":\"b\"}"), 0);
}

static void test_expiry(void **state)
{
    static const struct {
        const char *rest;
        int64_t expires_wall_ms;
    } cases[] = {
        {"", 0},
        {",\"expires_at\":1790000000", 1790000000000},
        {",\"expires_at\":1790000000.5", 1790000000500},
        {",\"expires_at\":1790000000456", 1790000000456},
        {",\"expires_at\":\"1790000000\"", 1790000000000},
        {",\"expires_at\":0,\"created_at\":1000,\"expires_in\":60", 1060000},
        {",\"expires_at\":1790000000,\"created_at\":1000,\"expires_in\":60", 1790000000000},
        {",\"created_at\":1000,\"expires_in\":null", 0},
        {",\"expires_in\":60", 0},
        {",\"created_at\":1000", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(with_token("t", cases[i].rest)), 0);
        assert_int_equal(file.expires_wall_ms, cases[i].expires_wall_ms);
    }
}

static void test_claims_are_hints(void **state)
{
    (void)state;
    const char *claims = "{\"exp\":1790000000,\"sub\":\"s-1\",\"email\":\"e@x\",\"name\":\"N\"}";
    assert_int_equal(parse(with_token(jwt(claims), "")), 0);
    assert_int_equal(file.expires_wall_ms, 1790000000000);
    assert_string_equal(file.user_id, "s-1");
    assert_string_equal(file.email, "e@x");
    assert_string_equal(file.name, "N");
    assert_int_equal(parse(with_token(jwt(claims), ",\"user_id\":\"u\",\"expires_at\":1780000000")), 0);
    assert_string_equal(file.user_id, "u");
    assert_int_equal(file.expires_wall_ms, 1780000000000);
    /* an odd claim is no claim */
    assert_int_equal(parse(with_token(jwt("{\"exp\":\"never\",\"sub\":\"a\\nb\"}"), "")), 0);
    assert_int_equal(file.expires_wall_ms, 0);
    assert_null(file.user_id);
    assert_int_equal(parse(with_token("a.!!!.c", "")), 0);
    assert_int_equal(parse(with_token("a.", "")), 0);
}

/* ---- what must not ---- */

static void test_bad_files_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("", "not valid JSON");
    assert_refused("{\"bearer_token\":\"SECRETSECRET", "not valid JSON at line 1");
    assert_null(strstr(problem, "SECRET"));
    assert_refused("[]", "not a JSON object");
    assert_refused("{}", "bearer_token is missing");
    assert_refused("{\"bearer_token\":17}", "bearer_token is not a string");
    assert_refused("{\"bearer_token\":\"a b\"}", "bearer_token holds");
    assert_refused("{\"bearer_token\":\"a\\r\\nX-Evil: 1\"}", "bearer_token holds");
    assert_refused("{\"bearer_token\":\"\xC3\xA4\"}", "bearer_token holds");
    assert_refused("{\"bearer_token\":\"a\\u0000b\"}", "not valid JSON");
    assert_refused("{\"bearer_token\":\"t\",\"refresh_token\":\"a\\tb\"}", "refresh_token holds");
    assert_refused("{\"bearer_token\":\"t\",\"user_id\":\"a\\nb\"}", "user_id holds");
    assert_refused("{\"bearer_token\":\"t\",\"user_id\":[]}", "user_id is not a string");
    assert_refused("{\"bearer_token\":\"t\",\"enterprise_id\":\"\\u007f\"}", "enterprise_id holds");
    assert_refused("{\"bearer_token\":\"t\",\"domain\":\"a/b\"}", "domain holds");
    assert_refused("{\"bearer_token\":\"t\",\"expires_at\":\"soon\"}", "expires_at is not a time");
    assert_refused("{\"bearer_token\":\"t\",\"expires_at\":-1}", "expires_at is not a time");
    assert_refused("{\"bearer_token\":\"t\",\"expires_at\":1e300}", "expires_at is not a time");
    assert_refused("{\"bearer_token\":\"t\",\"created_at\":true}", "created_at is not a time");
    assert_refused("{\"bearer_token\":\"t\",\"expires_in\":-5}", "expires_in is not a number");
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    struct buffer text = {0};
    assert_int_equal(buffer_printf(&text, "{\"bearer_token\":\"t\"}%*s", CREDENTIAL_FILE_MAX_BYTES, ""), 0);
    assert_int_equal(credential_file_parse(&file, span_of(text.data, CREDENTIAL_FILE_MAX_BYTES), problem), 0);
    credential_file_fini(&file);
    assert_int_equal(credential_file_parse(&file, span_of(text.data, CREDENTIAL_FILE_MAX_BYTES + 1), problem),
                     ERR_TOO_LARGE);
    for (int extra = 0; extra < 2; extra++) {
        buffer_clear(&text);
        assert_int_equal(
            buffer_printf(&text, "{\"bearer_token\":\"%0*d\"}", CREDENTIAL_TOKEN_MAX_BYTES + extra, 7), 0);
        assert_int_equal(credential_file_parse(&file, buffer_span(&text), problem), extra ? ERR_INVALID : 0);
        assert_int_equal(file.token.length, extra ? 0 : CREDENTIAL_TOKEN_MAX_BYTES);
        assert_string_equal(problem, extra ? "bearer_token is too long" : "");
        credential_file_fini(&file);
    }
    buffer_fini(&text);
}

/* What is only shown is dropped, not fatal. */
static void test_odd_display_fields_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"bearer_token\":\"t\",\"scope\":[1],\"token_type\":\"a\\nb\",\"user_info\":\"x\"}"), 0);
    assert_null(file.scope);
    assert_null(file.token_type);
    credential_file_fini(&file);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t length = 0; length + 1 < sizeof reference_file; length++) {
        assert_int_equal(credential_file_parse(&file, span_of(reference_file, length), problem), ERR_INVALID);
        credential_file_fini(&file);
    }
}

static void test_out_of_memory_anywhere(void **state)
{
    (void)state;
    int n = 0, error = 0;
    do {
        credential_file_fini(&file);
        fail_in = n++;
        error = credential_file_parse(&file, SPAN(reference_file), problem);
        fail_in = -1;
        assert_true(error == 0 || error == ERR_NOMEM);
    } while (error == ERR_NOMEM);
    assert_true(n > 20); /* it did fail on the way */
    assert_string_equal(file.token.data, "aaa.bbb.ccc");
}

static int forget(void **state)
{
    (void)state;
    credential_file_fini(&file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_file_loads_unchanged),
        cmocka_unit_test(test_desktop_file_loads),
        cmocka_unit_test(test_aliases_and_precedence),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_claims_are_hints),
        cmocka_unit_test(test_bad_files_are_refused_by_name),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_odd_display_fields_are_dropped),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_out_of_memory_anywhere),
    };
    if (sodium_init() < 0)
        return 1;
    json_wipe_install();
    return cmocka_run_group_tests(tests, NULL, forget);
}
