/* SPDX-License-Identifier: MIT */
#include "upstream-worker/upstream_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json_tree tree;

static int setup(void **state)
{
    (void)state;
    json_tree_init(&tree, 10000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_tree_fini(&tree);
    return 0;
}

static void judges_the_table(void **state)
{
    static const struct {
        uint16_t status;
        const char *body, *retry_after;
        enum failure failure;
        enum upstream_action action;
        enum outcome outcome;
        int64_t retry_after_s;
    } rows[] = {
        {401, "<html>401</html>", "", FAILURE_NO_CREDENTIAL, UPSTREAM_REFRESH_OR_OTHER, OUTCOME_UNAUTHORIZED,
         0},
        {401, "{\"code\":401,\"msg\":\"token\"}", "", FAILURE_NO_CREDENTIAL, UPSTREAM_REFRESH_OR_OTHER,
         OUTCOME_UNAUTHORIZED, 0},
        {403, "", "", FAILURE_NO_CREDENTIAL, UPSTREAM_REFRESH_OR_OTHER, OUTCOME_UNAUTHORIZED, 0},
        {403, "{\"code\":11140,\"msg\":\"risk\"}", "", FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_RISK_CONTROL,
         0},
        {429, "", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER, OUTCOME_RATE_LIMITED, 60},
        {429, "", "7", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER, OUTCOME_RATE_LIMITED, 7},
        {429, "", "1000000", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER, OUTCOME_RATE_LIMITED, 86400},
        {429, "{\"code\":1,\"msg\":\"again in 3 minutes\"}", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_RATE_LIMITED, 180},
        {429, "{\"code\":1,\"msg\":\"again in 3 minutes\"}", "5", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_RATE_LIMITED, 5},
        {429, "{\"code\":14018,\"msg\":\"no credits\"}", "5", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_EXHAUSTED, 0},
        {400, "{\"code\":11102,\"msg\":\"no model\"}", "", FAILURE_MODEL_NOT_FOUND, UPSTREAM_TRY_OTHER_SITE,
         OUTCOME_MODEL_NOT_SERVED, 0},
        {400, "{\"code\":11101,\"msg\":\"stream\"}", "", FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_BLAMELESS,
         0},
        {400, "{\"code\":11128,\"msg\":\"system\"}", "", FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_BLAMELESS,
         0},
        {422, "{\"error\":{\"message\":\"x\"}}", "", FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_BLAMELESS, 0},
        {500, "oops", "", FAILURE_UPSTREAM, UPSTREAM_RETRY_ONCE, OUTCOME_TRANSIENT, 0},
        {503, "{\"error\":\"busy\"}", "", FAILURE_UPSTREAM, UPSTREAM_RETRY_ONCE, OUTCOME_TRANSIENT, 0},
        {302, "", "", FAILURE_UPSTREAM_PROTOCOL, UPSTREAM_FAIL, OUTCOME_TRANSIENT, 0},
        /* inside a 200 */
        {200, "{\"code\":14018,\"msg\":\"no credits\"}", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_EXHAUSTED, 0},
        {200, "{\"code\":429,\"msg\":\"slow\"}", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_RATE_LIMITED, 60},
        {200, "{\"error\":{\"type\":\"rate_limit_error\"}}", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_RATE_LIMITED, 60},
        {200, "{\"error\":{\"code\":\"rate_limit_exceeded\"}}", "", FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER,
         OUTCOME_RATE_LIMITED, 60},
        {200, "{\"error\":{\"code\":401}}", "", FAILURE_NO_CREDENTIAL, UPSTREAM_REFRESH_OR_OTHER,
         OUTCOME_UNAUTHORIZED, 0},
        {200, "{\"error\":{\"code\":\"500\"}}", "", FAILURE_UPSTREAM, UPSTREAM_RETRY_ONCE, OUTCOME_TRANSIENT,
         0},
        {200, "{\"error\":\"text\"}", "", FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_TRANSIENT, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct upstream_error error;
        struct upstream_verdict verdict;
        upstream_error_read_body(rows[i].status, span_str(rows[i].body), &tree, &error);
        assert_int_equal(error.status, rows[i].status);
        upstream_error_judge(&error, span_str(rows[i].retry_after), 1735689600, &verdict);
        if (verdict.failure != rows[i].failure || verdict.action != rows[i].action ||
            verdict.outcome != rows[i].outcome || verdict.retry_after_s != rows[i].retry_after_s)
            fail_msg("%u %s: failure %d, action %d, outcome %d, %lld s", rows[i].status, rows[i].body,
                     (int)verdict.failure, (int)verdict.action, (int)verdict.outcome,
                     (long long)verdict.retry_after_s);
        assert_int_not_equal(failure_status(verdict.failure), 401);
    }
}

static void judges_connections(void **state)
{
    struct upstream_verdict verdict;
    (void)state;
    upstream_error_judge_connection(false, &verdict);
    assert_int_equal(verdict.failure, FAILURE_UPSTREAM);
    assert_int_equal(verdict.action, UPSTREAM_RETRY_ONCE);
    assert_int_equal(verdict.outcome, OUTCOME_TRANSIENT);
    upstream_error_judge_connection(true, &verdict);
    assert_int_equal(verdict.failure, FAILURE_UPSTREAM_TIMEOUT);
    assert_int_equal(verdict.action, UPSTREAM_FAIL);
}

/* What the client is told for this body. */
static void expect_client(uint16_t status, const char *body, const char *json)
{
    struct upstream_error error;
    struct upstream_verdict verdict;
    struct buffer out = {0};
    upstream_error_read_body(status, span_str(body), &tree, &error);
    upstream_error_judge(&error, (struct span){0}, 0, &verdict);
    assert_int_equal(upstream_error_append_json(&error, &verdict, &out), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_string_equal(out.data, json);
    buffer_fini(&out);
}

#define BODY(message, type, code)                                                                            \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"" type "\",\"param\":null,\"code\":\"" code "\"}}"

static void copies_short_texts_only(void **state)
{
    char body[3000], text[1100];
    (void)state;
    expect_client(500, "{\"error\":{\"message\":\"m\\u00e9\",\"type\":\"t\",\"code\":\"c\"}}",
                  BODY("m\xC3\xA9", "t", "c"));
    expect_client(500, "{\"error\":\"text\"}", BODY("text", "upstream_error", "upstream_error"));
    expect_client(500, "{\"code\":11101,\"msg\":\"text\",\"requestId\":\"r\"}",
                  BODY("text", "upstream_error", "upstream_error"));
    expect_client(500, "{\"error\":{\"message\":7,\"type\":[],\"code\":{}}}",
                  BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "{\"error\":\" <b>x\"}",
                  BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "{\"error\":\"see <HTML>\"}",
                  BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "<html>x", BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "{\"error\":\"cut", BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "{\"error\":\"\xFF\"}",
                  BODY("The upstream failed.", "upstream_error", "upstream_error"));
    expect_client(500, "", BODY("The upstream failed.", "upstream_error", "upstream_error"));
    /* Our credential's trouble is not the client's business. */
    expect_client(401, "{\"error\":\"token of bob\"}",
                  BODY("No usable credential is configured.", "server_error", "no_credential"));
    /* A rate limit keeps its type. */
    expect_client(429, "{\"error\":{\"message\":\"slow\",\"type\":\"t\",\"code\":\"c\"}}",
                  BODY("slow", "rate_limit_error", "rate_limit_exceeded"));
    for (int length = 1023; length <= 1024; length++) {
        memset(text, 'x', (size_t)length);
        text[length] = '\0';
        char expected[2000];
        snprintf(body, sizeof body, "{\"error\":\"%s\"}", text);
        snprintf(expected, sizeof expected, BODY("%s", "upstream_error", "upstream_error"),
                 length == 1023 ? text : "The upstream failed.");
        expect_client(500, body, expected);
    }
}

static void knows_an_error_when_it_sees_one(void **state)
{
    static const struct {
        const char *json;
        bool is_error;
        int64_t code;
    } rows[] = {
        {"{\"error\":{\"message\":\"x\",\"code\":5}}", true, 5},
        {"{\"error\":\"x\"}", true, 0},
        {"{\"error\":true}", true, 0},
        {"{\"error\":[1]}", true, 0},
        {"{\"error\":\"x\",\"code\":7}", true, 7},
        {"{\"code\":7,\"msg\":\"x\"}", true, 7},
        {"{\"code\":\"7\"}", true, 7},
        {"{\"code\":7,\"choices\":[]}", true, 7},
        {"{\"code\":7,\"choices\":null}", true, 7},
        {"{\"code\":7,\"choices\":[{}]}", false, 0},
        {"{\"code\":0,\"msg\":\"ok\"}", false, 0},
        {"{\"code\":\"x\"}", false, 0},
        {"{\"error\":null}", false, 0},
        {"{\"error\":false}", false, 0},
        {"{\"error\":\"\"}", false, 0},
        {"{\"error\":{}}", false, 0},
        {"{}", false, 0},
        {"[]", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct upstream_error error;
        assert_int_equal(json_tree_parse(&tree, span_str(rows[i].json)), 0);
        bool is_error = upstream_error_read(&tree, JSON_ROOT, 200, &error);
        if (is_error != rows[i].is_error || error.code != rows[i].code)
            fail_msg("%s: %d, %lld", rows[i].json, is_error, (long long)error.code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_the_table),
        cmocka_unit_test(judges_connections),
        cmocka_unit_test(copies_short_texts_only),
        cmocka_unit_test(knows_an_error_when_it_sees_one),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
