/* SPDX-License-Identifier: MIT */
/* The real program over real sockets: chat, its scenarios, checks and control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/sha.h>
#include <unistd.h>

#include "tests/upstream/scenario.h"
#include "tests/upstream/wire.h"

static struct wire wire;

static int start(void **state)
{
    (void)state;
    wire = wire_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return wire_stop(&wire);
}

static int reset(void **state)
{
    (void)state;
    wire_post(&wire, "/_control/reset", "");
    return 0;
}

/* The answer's status on a connection of its own. */
static int chat_status(const char *model, const char *token)
{
    struct wire_reply reply = wire_chat(&wire, model, token);
    int status = reply.status;

    wire_reply_fini(&reply);
    return status;
}

static void expect_failure(const char *text)
{
    json_t *stats = wire_get(&wire, "/_control/stats");
    json_t *failures = json_object_get(stats, "failures"), *failure;
    bool found = false;
    size_t index;

    json_array_foreach (failures, index, failure) {
        found |= strstr(json_string_value(json_object_get(failure, "text")), text) != NULL;
    }
    if (!found)
        fail_msg("no failed check says: %s", text);
    json_decref(stats);
}

/* ---- scenarios ---- */

/* How the answer to a scenario ends, from the scenario's own values. */
static enum wire_end expected_end(const struct scenario *scenario)
{
    switch (scenario->end) {
    case END_RESET:
        return WIRE_RESET;
    case END_ABORT:
        return WIRE_CLOSED;
    case END_HANG:
        return WIRE_SILENT;
    case END_ENDLESS:
    case END_LINE:
        return WIRE_STOPPED;
    case END_DONE:
    case END_EOF:
        break;
    }
    return scenario->transfer == TRANSFER_CLOSE && scenario->body == BODY_STREAM ? WIRE_CLOSED : WIRE_KEPT;
}

static void play_preset(const char *name)
{
    struct buffer request = {0}, model = {0};
    struct scenario scenario;
    struct wire_reply reply;
    int fd = wire_connect(&wire), silent_ms = 0;
    bool endless;
    char *why;

    buffer_printf(&model, "s:%s", name);
    assert_true(scenario_parse((struct span){model.data, model.size}, &scenario, &why));
    buffer_append(&model, "", 1);
    wire_append_chat(&request, model.data, "t");
    wire_send(fd, (struct span){request.data, request.size});
    endless = scenario.end == END_ENDLESS || scenario.end == END_LINE;
    if (scenario.end == END_HANG) /* silence is told from slowness by time only */
        silent_ms = scenario.at == AT_HEADER ? -100 : 100;
    reply = wire_read(fd, endless ? 20000 : 0, silent_ms);
    close(fd);
    if (reply.end != expected_end(&scenario))
        fail_msg("%s ends with %d, not %d", model.data, reply.end, expected_end(&scenario));
    if (reply.status != (scenario.at == AT_HEADER ? 0 : (int)scenario.status))
        fail_msg("%s has status %d", model.data, reply.status);
    if (scenario.end == END_RESET && scenario.at == 2) /* what was sent before the reset arrives */
        assert_non_null(strstr(reply.body.data, "t1 "));
    wire_reply_fini(&reply);
    buffer_fini(&model);
    buffer_fini(&request);
}

static void every_preset_ends_as_it_says(void **state)
{
    unsigned count = 0;

    (void)state;
    while (scenario_preset_name(count))
        play_preset(scenario_preset_name(count++));
    wire_wait(&wire, "chat", count);
    /* Each request is one of: sent whole, broken off by the scenario, left by us. */
    assert_int_equal(wire_counter(&wire, "streams_now"), 0);
    assert_int_equal(wire_counter(&wire, "completed") + wire_counter(&wire, "cut_short") +
                         wire_counter(&wire, "aborts"),
                     count);
    assert_int_equal(wire_counter(&wire, "aborts"), 6); /* three silent, three endless */
    assert_int_equal(wire_counter(&wire, "check_failures"), 0);
}

static void cut_answer_has_the_same_bytes(void **state)
{
    struct wire_reply whole, cut;

    (void)state;
    wire_post(&wire, "/_control/default", "{\"scenario\":\"s:tools-text\"}");
    whole = wire_chat(&wire, "m", "t");
    wire_post(&wire, "/_control/default", "{\"scenario\":\"s:tools-text?cut=1\"}");
    cut = wire_chat(&wire, "m", "t");
    assert_string_equal(cut.body.data, whole.body.data);
    assert_true(cut.pieces >= whole.body.size);
    wire_reply_fini(&whole);
    wire_reply_fini(&cut);
}

static void big_answers_arrive_whole(void **state)
{
    struct wire_reply reply;

    (void)state;
    reply = wire_chat(&wire, "s:big-body", "t");
    assert_int_equal(reply.end, WIRE_KEPT);
    assert_true(reply.body.size > 8388608);
    assert_non_null(strstr(reply.body.data, "\"t2047 x"));
    wire_reply_fini(&reply);
}

static void fail_times_counts_per_text(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(chat_status("s:500?fail_times=2", "t"), 500);
    assert_int_equal(chat_status("s:500?fail_times=2&key=other", "t"), 500);
    assert_int_equal(chat_status("s:500?fail_times=2", "t"), 200);
    assert_int_equal(chat_status("s:500?fail_times=2", "t"), 200);
    assert_int_equal(chat_status("s:reset-header?fail_times=1", "t"), 0);
    assert_int_equal(chat_status("s:reset-header?fail_times=1", "t"), 200);
    wire_post(&wire, "/_control/reset", "");
    assert_int_equal(chat_status("s:500?fail_times=2", "t"), 500);
}

static void echo_says_the_last_message(void **state)
{
    struct wire_reply reply;

    (void)state;
    reply = wire_chat(&wire, "s:echo", "t");
    assert_non_null(strstr(reply.body.data, "\"content\":\"hello é\""));
    wire_reply_fini(&reply);
}

static void model_may_be_escaped(void **state)
{
    struct wire_reply reply;

    (void)state;
    reply = wire_chat(&wire, "s:chunks?n=1\\u0026size=9", "t");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body.data, "\"content\":\"t0 xxxxxx\""));
    assert_non_null(strstr(reply.body.data, "\"model\":\"s:chunks?n=1&size=9\""));
    wire_reply_fini(&reply);
}

/* ---- which scenario ---- */

static void rules_come_first(void **state)
{
    (void)state;
    wire_post(&wire, "/_control/rule", "{\"token\":\"X\",\"scenario\":\"s:401-html\"}");
    wire_post(&wire, "/_control/rule",
              "{\"token\":\"Y\",\"model\":\"glm\",\"scenario\":\"s:429\",\"times\":2}");
    assert_int_equal(chat_status("glm", "X"), 401);
    assert_int_equal(chat_status("s:chunks", "X"), 401);
    assert_int_equal(chat_status("glm", "Y"), 429);
    assert_int_equal(chat_status("other", "Y"), 200);
    assert_int_equal(chat_status("glm", "Y"), 429);
    assert_int_equal(chat_status("glm", "Y"), 200); /* used up */
    assert_int_equal(chat_status("glm", "Z"), 200);
    wire_post(&wire, "/_control/rule", "{\"token\":\"X\",\"scenario\":\"\"}");
    assert_int_equal(chat_status("glm", "X"), 200);
}

static void unserved_models(void **state)
{
    struct wire_reply reply;

    (void)state;
    wire_post(&wire, "/_control/site", "{\"models\":[\"glm-4.6\",\"claude-*\"]}");
    assert_int_equal(chat_status("glm-4.6", "t"), 200);
    assert_int_equal(chat_status("claude-4.5", "t"), 200);
    reply = wire_chat(&wire, "gpt-9", "t");
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body.data, "{\"code\":11102,"));
    wire_reply_fini(&reply);
    assert_int_equal(chat_status("s:chunks", "t"), 200);
}

static void wrong_scenarios_are_told(void **state)
{
    struct wire_reply reply;

    (void)state;
    reply = wire_chat(&wire, "s:chunks?nope=1", "t");
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body.data, "unknown key: nope"));
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "POST", "/_control/default", "", "{\"scenario\":\"s:nope\"}");
    assert_int_equal(reply.status, 400);
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "POST", "/_control/default", "", "not json");
    assert_int_equal(reply.status, 400);
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "POST", "/_control/nope", "", "{}");
    assert_int_equal(reply.status, 404);
    wire_reply_fini(&reply);
}

/* ---- checks ---- */

static struct wire_reply chat_body(const char *body)
{
    return wire_call(&wire, "POST", "/v2/chat/completions", "Authorization: Bearer t\r\n", body);
}

static void expect_code(const char *body, const char *code)
{
    struct wire_reply reply = chat_body(body);

    assert_int_equal(reply.status, 400);
    if (!strstr(reply.body.data, code))
        fail_msg("%s lacks %s", reply.body.data, code);
    wire_reply_fini(&reply);
}

#define USER "{\"role\":\"user\",\"content\":\"x\"}"

static void malformed_requests_are_refused(void **state)
{
    (void)state;
    expect_code("{\"model\":\"m\",\"messages\":[" USER "]}", "11101");
    expect_code("{\"model\":\"m\",\"stream\":false,\"messages\":[" USER "]}", "11101");
    expect_code("{\"model\":\"m\",\"stream\":true,\"messages\":[]}", "11101");
    expect_code("{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"developer\"}]}", "11101");
    expect_code("[]", "11101");
    expect_failure("role developer");
    assert_int_equal(wire_counter(&wire, "status_400"), 0); /* no such key in stats itself */
    wire_wait(&wire, "status_400", 5);
    wire_post(&wire, "/_control/site", "{\"intl\":true}");
    expect_code("{\"model\":\"m\",\"stream\":true,\"messages\":[" USER "]}", "11128");
}

static void missing_things_are_noted(void **state)
{
    struct wire_reply reply;

    (void)state;
    reply = chat_body("{\"stream\":true,\"messages\":[" USER "]}");
    assert_int_equal(reply.status, 200);
    wire_reply_fini(&reply);
    expect_failure("header missing: X-Product");
    expect_failure("header missing: X-Conversation-ID");
    expect_failure("stream_options.include_usage is not true");
    expect_failure("the first message is not a system message");
    expect_failure("no model");
    reply = wire_call(&wire, "POST", "/v2/chat/completions", "", "{}");
    assert_int_equal(reply.status, 401);
    assert_non_null(strstr(reply.body.data, "openresty"));
    wire_reply_fini(&reply);
    expect_failure("no bearer token");
    reply = wire_call(&wire, "GET", "/v2/chat/completions", "", NULL);
    assert_int_equal(reply.status, 405);
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "POST", "/v2/other", "", "{}");
    assert_int_equal(reply.status, 404);
    wire_reply_fini(&reply);
    assert_int_equal(wire_counter(&wire, "unknown"), 1);
}

/* ---- what is counted and kept ---- */

static void usage_is_summed_by_credential(void **state)
{
    json_t *stats, *row;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(chat_status("s:chunks?credit=0.25&prompt_tokens=7&cached_tokens=2", "A"), 200);
    assert_int_equal(chat_status("s:429", "A"), 429);
    assert_int_equal(chat_status("s:reset-middle", "A"), 200);
    stats = wire_get(&wire, "/_control/stats");
    row = json_object_get(json_object_get(stats, "credentials"), "A");
    assert_int_equal(json_integer_value(json_object_get(row, "requests")), 5);
    assert_int_equal(json_integer_value(json_object_get(row, "refused")), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "answers")), 3);
    assert_int_equal(json_integer_value(json_object_get(row, "prompt_tokens")), 21);
    assert_int_equal(json_integer_value(json_object_get(row, "completion_tokens")), 15);
    assert_int_equal(json_integer_value(json_object_get(row, "credit_nano")), 750000000);
    assert_int_equal(json_integer_value(json_object_get(stats, "tokens")), 15);
    json_decref(stats);
}

static void requests_are_kept(void **state)
{
    json_t *all, *last;

    (void)state;
    assert_int_equal(chat_status("s:chunks?n=2", "secret"), 200);
    all = wire_get(&wire, "/_control/requests?limit=5&kind=chat");
    last = json_array_get(json_object_get(all, "requests"), 0);
    assert_int_equal(json_array_size(json_object_get(all, "requests")), 1);
    assert_string_equal(json_string_value(json_object_get(last, "path")), "/v2/chat/completions");
    assert_string_equal(json_string_value(json_object_get(json_object_get(last, "headers"), "authorization")),
                        "Bearer secret");
    assert_non_null(strstr(json_string_value(json_object_get(last, "body")), "\"model\":\"s:chunks?n=2\""));
    assert_string_equal(json_string_value(json_object_get(last, "scenario")), "s:chunks?n=2");
    assert_string_equal(json_string_value(json_object_get(last, "outcome")), "complete");
    assert_int_equal(json_integer_value(json_object_get(last, "events")), 4);
    json_decref(all);
}

static void aborts_are_noticed(void **state)
{
    struct buffer request = {0};
    int fd = wire_connect(&wire);
    struct wire_reply reply;

    (void)state;
    wire_append_chat(&request, "s:slow", "t");
    wire_send(fd, (struct span){request.data, request.size});
    reply = wire_read(fd, 300, 0);
    assert_int_equal(reply.end, WIRE_STOPPED);
    close(fd);
    wire_reply_fini(&reply);
    wire_wait(&wire, "aborts", 1);
    assert_int_equal(wire_counter(&wire, "aborts_early"), 0);
    fd = wire_connect(&wire);
    buffer_clear(&request);
    wire_append_chat(&request, "s:silent-header", "t");
    wire_send(fd, (struct span){request.data, request.size});
    wire_wait(&wire, "streams_now", 1);
    close(fd);
    wire_wait(&wire, "aborts_early", 1);
    assert_int_equal(wire_counter(&wire, "streams_now"), 0);
    assert_int_equal(wire_counter(&wire, "streams_peak"), 1);
    buffer_fini(&request);
}

static void wait_is_answered_by_the_event(void **state)
{
    static const char request[] =
        "GET /_control/wait?counter=chat&at_least=1&timeout_ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n";
    int fd = wire_connect(&wire);
    struct wire_reply reply;

    (void)state;
    wire_send(fd, span_of(request));
    assert_int_equal(chat_status("s:chunks", "t"), 200);
    reply = wire_read(fd, 0, 0);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body.data, "\"reached\": true"));
    wire_reply_fini(&reply);
    close(fd);
    reply = wire_call(&wire, "GET", "/_control/wait?counter=chat&at_least=9&timeout_ms=20", "", NULL);
    assert_int_equal(reply.status, 504);
    wire_reply_fini(&reply);
    reply = wire_call(&wire, "GET", "/_control/wait?counter=nope", "", NULL);
    assert_int_equal(reply.status, 400);
    wire_reply_fini(&reply);
}

/* ---- HTTP ---- */

static void one_connection_many_requests(void **state)
{
    struct buffer request = {0};
    int fd = wire_connect(&wire);
    int64_t before = wire_counter(&wire, "connections_accepted");

    (void)state;
    wire_append_chat(&request, "s:chunks?n=1&gap_ms=1", "t");
    for (int i = 0; i < 3; i++) {
        struct wire_reply reply;

        wire_send(fd, (struct span){request.data, request.size});
        reply = wire_read(fd, 0, 0);
        assert_int_equal(reply.end, WIRE_KEPT);
        wire_reply_fini(&reply);
    }
    close(fd);
    assert_int_equal(wire_counter(&wire, "connections_accepted"), before + 1); /* this control call's own */
    buffer_fini(&request);
}

static void a_request_in_single_bytes(void **state)
{
    struct buffer request = {0};
    int fd = wire_connect(&wire);
    struct wire_reply reply;

    (void)state;
    wire_append_chat(&request, "s:chunks", "t");
    for (size_t i = 0; i < request.size; i++)
        wire_send(fd, (struct span){request.data + i, 1});
    reply = wire_read(fd, 0, 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.end, WIRE_KEPT);
    assert_int_equal(wire_counter(&wire, "check_failures"), 0);
    wire_reply_fini(&reply);
    close(fd);
    buffer_fini(&request);
}

static void pipelined_requests_wait_their_turn(void **state)
{
    struct buffer requests = {0};
    int fd = wire_connect(&wire);
    size_t answers = 0;
    char data[65536];
    size_t size = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        wire_append_chat(&requests, i == 0 ? "s:chunks?gap_ms=2" : "s:close?n=1&close=0", "t");
    wire_send(fd, (struct span){requests.data, requests.size});
    while (answers < 3) {
        ssize_t got = read(fd, data + size, sizeof(data) - 1 - size);

        assert_true(got > 0);
        size += (size_t)got;
        data[size] = '\0';
        answers = 0;
        for (const char *at = data; (at = strstr(at, "data: [DONE]")); at++)
            answers++;
    }
    assert_non_null(strstr(data, "t4 "));
    close(fd);
    buffer_fini(&requests);
}

static void chunked_bodies_and_continue(void **state)
{
    static const char head[] = "POST /_control/default HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                               "Expect: 100-continue\r\n\r\n";
    static const char body[] = "d\r\n{\"scenario\":\"\r\nc\r\ns:no-done\"}\n\r\n0\r\n\r\n";
    int fd = wire_connect(&wire);
    char data[100] = "";
    struct wire_reply reply;

    (void)state;
    wire_send(fd, span_of(head));
    assert_true(read(fd, data, sizeof(data) - 1) > 0);
    assert_string_equal(data, "HTTP/1.1 100 Continue\r\n\r\n");
    wire_send(fd, span_of(body));
    reply = wire_read(fd, 0, 0);
    assert_int_equal(reply.status, 200);
    wire_reply_fini(&reply);
    close(fd);
    reply = wire_chat(&wire, "m", "t");
    assert_null(strstr(reply.body.data, "[DONE]"));
    wire_reply_fini(&reply);
}

static void what_is_not_http_is_refused(void **state)
{
    static const char *const bad[] = {
        "NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = wire_connect(&wire);
        struct wire_reply reply;

        wire_send(fd, span_of(bad[i]));
        reply = wire_read(fd, 0, 0);
        assert_int_equal(reply.status, 400);
        wire_reply_fini(&reply);
        close(fd);
    }
    assert_int_equal(wire_counter(&wire, "malformed"), 3);
}

static void large_bodies_are_digested(void **state)
{
    static const char start_text[] =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":\"";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct buffer request = {0}, body = {0};
    char hex[2 * sizeof(digest) + 1];
    struct wire_reply reply;
    json_t *all, *last;
    int fd = wire_connect(&wire);

    (void)state;
    buffer_append_text(&body, start_text);
    buffer_append_fill(&body, 'y', 24 << 20);
    buffer_append_text(&body, "\"}]}");
    buffer_printf(&request,
                  "POST /v2/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
                  "t\r\nContent-Length: %zu\r\n\r\n",
                  body.size);
    wire_send(fd, (struct span){request.data, request.size});
    wire_send(fd, (struct span){body.data, body.size});
    reply = wire_read(fd, 0, 0);
    assert_int_equal(reply.status, 200);
    all = wire_get(&wire, "/_control/requests?limit=1");
    last = json_array_get(json_object_get(all, "requests"), 0);
    assert_int_equal(json_integer_value(json_object_get(last, "body_bytes")), body.size);
    assert_int_equal(json_string_length(json_object_get(last, "body")), 65536);
    SHA256((const unsigned char *)body.data, body.size, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(json_string_value(json_object_get(last, "body_sha256")), hex);
    json_decref(all);
    wire_reply_fini(&reply);
    close(fd);
    buffer_fini(&request);
    buffer_fini(&body);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_preset_ends_as_it_says),
        TEST(cut_answer_has_the_same_bytes),
        TEST(big_answers_arrive_whole),
        TEST(fail_times_counts_per_text),
        TEST(echo_says_the_last_message),
        TEST(model_may_be_escaped),
        TEST(rules_come_first),
        TEST(unserved_models),
        TEST(wrong_scenarios_are_told),
        TEST(malformed_requests_are_refused),
        TEST(missing_things_are_noted),
        TEST(usage_is_summed_by_credential),
        TEST(requests_are_kept),
        TEST(aborts_are_noticed),
        TEST(wait_is_answered_by_the_event),
        TEST(one_connection_many_requests),
        TEST(a_request_in_single_bytes),
        TEST(pipelined_requests_wait_their_turn),
        TEST(chunked_bodies_and_continue),
        TEST(what_is_not_http_is_refused),
        TEST(large_bodies_are_digested),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
