/* SPDX-License-Identifier: MIT */
#include "credd/site.h"
#include "credd/endpoint.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- endpoints ---- */

static void test_endpoints_get_one_spelling(void **state)
{
    static const struct {
        const char *url, *base_url, *origin, *host;
        bool is_safe;
    } cases[] = {
        {"https://a.example", "https://a.example", "https://a.example", "a.example", true},
        {"HTTPS://A.Example:443/", "https://a.example", "https://a.example", "a.example", true},
        {"https://a.example:8443/x/", "https://a.example:8443/x", "https://a.example:8443", "a.example:8443",
         true},
        {"http://127.0.0.1:9000", "http://127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1:9000", true},
        {"http://localhost:80", "http://localhost", "http://localhost", "localhost", true},
        {"http://[::1]:1/", "http://[::1]:1", "http://[::1]:1", "[::1]:1", true},
        {"http://a.example", "http://a.example", "http://a.example", "a.example", false},
        {"http://127.evil.com", "http://127.evil.com", "http://127.evil.com", "127.evil.com", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct endpoint endpoint;
        assert_int_equal(endpoint_parse(&endpoint, cases[i].url), 0);
        assert_string_equal(endpoint.base_url, cases[i].base_url);
        assert_string_equal(endpoint.origin, cases[i].origin);
        assert_string_equal(endpoint.host, cases[i].host);
        assert_int_equal(endpoint.is_safe, cases[i].is_safe);
        endpoint_fini(&endpoint);
    }
}

static void test_endpoints_that_are_none(void **state)
{
    static const char *const bad[] = {"",
                                      "a.example",
                                      "ftp://a.example",
                                      "file:///etc/passwd",
                                      "https://",
                                      "https://u@a.example",
                                      "https://u:p@a.example",
                                      "https://a.example?",
                                      "https://a.example/?q=1",
                                      "https://a.example/#f",
                                      "https://a.example\\@b.example",
                                      "https://a.example/\r\nX: y",
                                      "https://a exam.ple",
                                      "https://a.example:99999"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct endpoint endpoint;
        assert_int_equal(endpoint_parse(&endpoint, bad[i]), ERR_INVALID);
        endpoint_fini(&endpoint);
    }
}

/* ---- profiles ---- */

static struct sites *load(const char *api_endpoint)
{
    struct sites *sites = sites_load("deploy/sites", api_endpoint);
    assert_non_null(sites);
    return sites;
}

static void test_default_site_is_the_endpoints(void **state)
{
    (void)state;
    struct sites *sites = load("https://copilot.tencent.com/");
    assert_string_equal(site_name(sites_default(sites)), "cn");
    assert_string_equal(site_base_url(sites_default(sites)), "https://copilot.tencent.com");
    sites_free(&sites);
    sites = load("https://www.codebuddy.ai");
    assert_string_equal(site_name(sites_default(sites)), "intl");
    sites_free(&sites);
    sites = load("http://127.0.0.1:9000/base/");
    assert_string_equal(site_name(sites_default(sites)), "custom");
    assert_string_equal(site_base_url(sites_default(sites)), "http://127.0.0.1:9000/base");
    sites_free(&sites);
}

static void assert_resolves(const struct sites *sites, const char *site, const char *api_endpoint,
                            const char *expected)
{
    const char *problem;
    struct credential_file file = {.site = site ? span_dup(span_str(site)) : NULL,
                                   .api_endpoint = api_endpoint ? span_dup(span_str(api_endpoint)) : NULL};
    const struct site *found = sites_resolve(sites, &file, &problem);
    credential_file_fini(&file);
    if (expected) {
        assert_non_null(found);
        assert_string_equal(site_name(found), expected);
    } else {
        assert_null(found);
        assert_non_null(problem);
    }
}

static void test_a_token_goes_to_its_own_site_only(void **state)
{
    (void)state;
    struct sites *sites = load("http://127.0.0.1:9000");
    assert_resolves(sites, NULL, NULL, "custom");
    assert_resolves(sites, "CN", NULL, "cn");
    assert_resolves(sites, "international", NULL, "intl");
    assert_resolves(sites, NULL, "https://www.codebuddy.ai/", "intl");
    assert_resolves(sites, NULL, "http://127.0.0.1:9000", "custom");
    assert_resolves(sites, "custom", "http://127.0.0.1:9000", "custom");
    assert_resolves(sites, NULL, "https://evil.example", NULL);
    assert_resolves(sites, NULL, "https://copilot.tencent.com.evil.example", NULL);
    assert_resolves(sites, NULL, "https://copilot.tencent.com@evil.example", NULL);
    assert_resolves(sites, NULL, "http://copilot.tencent.com", NULL);
    assert_resolves(sites, NULL, "http://127.0.0.1:9001", NULL);
    assert_resolves(sites, "mars", NULL, NULL);
    assert_resolves(sites, "cn", "https://www.codebuddy.ai", NULL);
    sites_free(&sites);
    sites = load("https://copilot.tencent.com"); /* custom points nowhere now */
    assert_resolves(sites, NULL, NULL, "cn");
    assert_resolves(sites, "custom", NULL, NULL);
    assert_resolves(sites, "custom", "http://127.0.0.1:9000", NULL);
    sites_free(&sites);
    sites = load("http://127.0.0.1:9001"); /* custom points elsewhere */
    assert_resolves(sites, "custom", "http://127.0.0.1:9000", NULL);
    sites_free(&sites);
}

static void assert_bad_profile(const char *text, const char *why)
{
    const char *problem = NULL;
    struct sites *sites = sites_new();
    assert_int_equal(sites_add(sites, SPAN("a"), SPAN("{\"base_url\":\"https://a.example\"}"), &problem), 0);
    assert_int_equal(sites_add(sites, SPAN("b"), span_str(text), &problem), ERR_CONFIG);
    assert_non_null(problem);
    assert_non_null(strstr(problem, why));
    sites_free(&sites);
}

static void test_bad_profiles_are_refused(void **state)
{
    (void)state;
    assert_bad_profile("", "not a JSON object");
    assert_bad_profile("{}", "base_url is missing");
    assert_bad_profile("{\"base_url\":\"http://b.example\"}", "base_url is not https");
    assert_bad_profile("{\"base_url\":\"https://A.example:443/x\"}", "another profile's");
    assert_bad_profile("{\"base_url\":\"https://b\",\"\":1}", "no profile has");
    assert_bad_profile("{\"base_url\":\"https://b\",\"url\":1}", "no profile has");
    assert_bad_profile("{\"base_url\":\"https://b\",\"domain\":\"a\\nb\"}", "domain");
    assert_bad_profile("{\"base_url\":\"https://b\",\"credential_domain\":1}", "credential_domain");
    assert_bad_profile("{\"base_url\":\"https://b\",\"clock_ahead_minutes\":\"8\"}", "clock_ahead_minutes");
    assert_bad_profile("{\"base_url\":\"https://b\",\"clock_ahead_minutes\":841}", "clock_ahead_minutes");
    assert_bad_profile("{\"base_url\":\"https://b\",\"clock_ahead_minutes\":-841}", "clock_ahead_minutes");
    assert_bad_profile("{\"base_url\":\"https://b\",\"aliases\":[1]}", "aliases");
    assert_bad_profile("{\"base_url\":\"https://b\",\"headers\":{\"A:\":\"\"}}", "name");
    assert_bad_profile("{\"base_url\":\"https://b\",\"headers\":{\"A\":\"x\\r\\ny\"}}", "value");
    assert_bad_profile("{\"base_url\":\"https://b\",\"headers\":{\"authorization\":\"x\"}}",
                       "not a profile's");
    assert_bad_profile("{\"base_url\":\"https://b\",\"headers\":{\"X-Conversation-ID\":\"x\"}}",
                       "not a profile's");
}

/* ---- headers ---- */

static void test_headers_of_an_enterprise_account(void **state)
{
    (void)state;
    struct sites *sites = load("https://copilot.tencent.com");
    char uid[] = "u-1", enterprise[] = "e-1", domain[] = "www.codebuddy.cn", user[] = "someone";
    struct credential_file file = {
        .user_id = user, .account_uid = uid, .enterprise_id = enterprise, .domain = domain};
    struct buffer lines = {0};
    assert_int_equal(site_append_headers(sites_default(sites), &file, &lines), 0);
    assert_int_equal(buffer_append_char(&lines, '\0'), 0);
    assert_string_equal(lines.data,
                        "Accept: application/json\nContent-Type: application/json\n"
                        "X-Requested-With: XMLHttpRequest\nX-Product: SaaS\nX-Agent-Intent: craft\n"
                        "X-IDE-Type: CLI\nX-IDE-Name: CLI\nX-Domain: www.codebuddy.cn\n"
                        "X-User-Id: u-1\nX-Enterprise-Id: e-1\nX-Tenant-Id: e-1");
    buffer_fini(&lines);
    sites_free(&sites);
}

static void test_profile_overrides(void **state)
{
    (void)state;
    const char *problem;
    struct sites *sites = sites_new();
    struct span profile = SPAN(
        "{\"base_url\":\"https://a.example:8443\",\"credential_domain\":false,\"clock_ahead_minutes\":-300,"
        "\"headers\":{\"x-user-id\":\"fixed\"}}");
    assert_int_equal(sites_add(sites, SPAN("a"), profile, &problem), 0);
    assert_int_equal(sites_set_endpoint(sites, "https://a.example:8443", &problem), 0);
    assert_int_equal(site_clock_ahead_s(sites_default(sites)), -5 * 3600);
    char domain[] = "ignored.example", user[] = "someone";
    struct credential_file file = {.user_id = user, .domain = domain};
    struct buffer lines = {0};
    assert_int_equal(site_append_headers(sites_default(sites), &file, &lines), 0);
    assert_int_equal(buffer_append_char(&lines, '\0'), 0);
    assert_string_equal(lines.data, "x-user-id: fixed\nX-Domain: a.example:8443");
    buffer_fini(&lines);
    assert_int_equal(sites_set_endpoint(sites, "https://other.example", &problem), ERR_CONFIG);
    sites_free(&sites);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_get_one_spelling),
        cmocka_unit_test(test_endpoints_that_are_none),
        cmocka_unit_test(test_default_site_is_the_endpoints),
        cmocka_unit_test(test_a_token_goes_to_its_own_site_only),
        cmocka_unit_test(test_bad_profiles_are_refused),
        cmocka_unit_test(test_headers_of_an_enterprise_account),
        cmocka_unit_test(test_profile_overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
