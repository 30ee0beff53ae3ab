/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_body.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

static const struct request_options plain_options = {.default_model = {"default-model", 13},
                                                     .system_text = {"Be \"good\".", 10}};

/* Scans `body` as it arrives in pieces of `step` bytes, each time at another address. Returns the final
 * status; *kept is the memory that the payload borrows, to be freed after the request. */
static int scan(struct request_body *request, struct span body, size_t step, char **kept)
{
    int status = REQUEST_MORE;
    *kept = NULL;
    for (size_t arrived = 0; status == REQUEST_MORE;) {
        arrived = body.length - arrived < step ? body.length : arrived + step;
        char *moved = malloc(arrived + 1);
        assert_non_null(moved);
        if (arrived > 0)
            memcpy(moved, body.data, arrived);
        free(*kept);
        *kept = moved;
        do
            status = request_body_scan(request, span_of(moved, arrived), arrived == body.length, 7);
        while (status == REQUEST_MORE && (request_body_offset(request) < arrived || arrived == body.length));
    }
    assert_int_equal(request_body_scan(request, span_of(*kept, body.length), true, 7), status);
    return status;
}

static void expect_payload_with(const struct request_options *options, const char *body, const char *payload)
{
    for (size_t step = 1; step < 400; step += step < 60 ? 1 : 300) {
        struct request_body *request = request_body_new(options);
        struct buffer said = {0};
        char *kept;
        assert_non_null(request);
        int status = scan(request, span_str(body), step, &kept);
        if (status != REQUEST_READY)
            fail_msg("status %d: %.*s", status, (int)request_body_message(request).length,
                     request_body_message(request).data);
        assert_int_equal(payload_flatten(request_body_payload(request), &said), 0);
        assert_int_equal(said.length, request_body_payload(request)->length);
        assert_int_equal(buffer_append_char(&said, '\0'), 0);
        assert_string_equal(said.data, payload);
        json_t *json = json_loads(said.data, 0, NULL);
        assert_non_null(json);
        assert_true(json_is_true(json_object_get(json, "stream")));
        assert_true(json_is_true(json_object_get(json_object_get(json, "stream_options"), "include_usage")));
        json_decref(json);
        buffer_fini(&said);
        request_body_free(&request);
        assert_null(request);
        free(kept);
    }
}

static void expect_payload(const char *body, const char *payload)
{
    expect_payload_with(&plain_options, body, payload);
}

static void expect_refusal(const char *body, const char *param, const char *message)
{
    for (size_t step = 1; step < 1000; step += step < 60 ? 1 : 300) {
        struct request_body *request = request_body_new(&plain_options);
        char *kept;
        int status = scan(request, span_str(body), step, &kept);
        struct span problem = request_body_message(request), field = request_body_param(request);
        if (status != ERR_INVALID || !span_equals(problem, span_str(message)) ||
            !span_equals(field, span_str(param)))
            fail_msg("%s: status %d, [%.*s] %.*s", body, status, (int)field.length,
                     field.data ? field.data : "", (int)problem.length, problem.data);
        request_body_free(&request);
        free(kept);
    }
}

#define SYSTEM  "{\"role\":\"system\",\"content\":\"s\"}"
#define USER    "{\"role\":\"user\",\"content\":\"u\"}"
#define OPTIONS "\"stream_options\":{\"include_usage\":true},"
#define ALL     "\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"

static void what_is_complete_passes_as_it_is(void **state)
{
    (void)state;
    expect_payload(" {" ALL "\"x\" : [1.0, {\"y\":null}], \"messages\":[" SYSTEM "," USER "]} ",
                   " {" ALL "\"x\" : [1.0, {\"y\":null}], \"messages\":[" SYSTEM "," USER "]} ");
}

static void missing_members_are_added(void **state)
{
    (void)state;
    expect_payload("{\"messages\":[" SYSTEM "]}",
                   "{\"model\":\"default-model\",\"stream\":true," OPTIONS "\"messages\":[" SYSTEM "]}");
    expect_payload("{\"stream\": false ,\"messages\":[" SYSTEM "],\"model\":\"m\"}",
                   "{" OPTIONS "\"stream\": true ,\"messages\":[" SYSTEM "],\"model\":\"m\"}");
}

static void other_stream_options_are_kept(void **state)
{
    (void)state;
    expect_payload("{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"a\":[1, "
                   "2],\"include_usage\":false,\"\\u0062\":{} },\"messages\":[" SYSTEM "]}",
                   "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"a\":[1, "
                   "2],\"\\u0062\":{}},\"messages\":[" SYSTEM "]}");
    expect_payload(
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":null,\"messages\":[" SYSTEM "]}",
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[" SYSTEM
        "]}");
    expect_payload(
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{},\"messages\":[" SYSTEM "]}",
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[" SYSTEM
        "]}");
}

static void a_system_message_comes_first(void **state)
{
    (void)state;
    expect_payload("{" ALL "\"messages\":[ " USER "]}",
                   "{" ALL "\"messages\":[{\"role\":\"system\",\"content\":\"Be \\\"good\\\".\"}, " USER
                   "]}");
    expect_payload("{" ALL "\"messages\":[ " USER " , " SYSTEM " ]}",
                   "{" ALL "\"messages\":[ " SYSTEM "," USER " ]}");
    expect_payload("{" ALL "\"messages\":[" USER "," USER "," SYSTEM "," USER "," SYSTEM "],\"z\":1}",
                   "{" ALL "\"messages\":[" SYSTEM "," USER "," USER "," USER "," SYSTEM "],\"z\":1}");
}

static void developers_become_system(void **state)
{
    (void)state;
    expect_payload("{" ALL "\"messages\":[{\"role\":\"developer\",\"content\":\"d\"}," SYSTEM "]}",
                   "{" ALL "\"messages\":[{\"role\":\"system\",\"content\":\"d\"}," SYSTEM "]}");
    expect_payload("{" ALL "\"messages\":[" USER ",{\"content\":\"d\",\"role\":\"d\\u0065veloper\"}," SYSTEM
                   "],\"a\":{\"role\":\"developer\"}}",
                   "{" ALL "\"messages\":[{\"content\":\"d\",\"role\":\"system\"}," USER "," SYSTEM
                   "],\"a\":{\"role\":\"developer\"}}");
}

static void tools_and_images_pass(void **state)
{
    static const char rest[] = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                               "\"parameters\":{\"model\":1,\"stream\":[]}}}],\"messages\":[" SYSTEM
                               ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\"},{"
                               "\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]},"
                               "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call_1\",\"type\":"
                               "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                               "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"\"},{\"role\":"
                               "\"assistant\",\"content\":null}]}";
    struct buffer body = {0};
    (void)state;
    assert_int_equal(buffer_printf(&body, "{%s%s%c", ALL, rest, 0), 0);
    expect_payload(body.data, body.data);
    buffer_fini(&body);
}

static void the_model_loses_its_prefix(void **state)
{
    struct request_options options = plain_options;
    (void)state;
    options.model_prefix = SPAN("cb/");
    expect_payload_with(&options,
                        "{\"stream\":true," OPTIONS "\"model\":\"cb/m\\u00e9\",\"messages\":[" SYSTEM "]}",
                        "{\"stream\":true," OPTIONS "\"model\":\"m\xC3\xA9\",\"messages\":[" SYSTEM "]}");
    expect_payload_with(&options, "{\"stream\":true," OPTIONS "\"model\":\"cb/\",\"messages\":[" SYSTEM "]}",
                        "{\"stream\":true," OPTIONS "\"model\":\"cb/\",\"messages\":[" SYSTEM "]}");
    expect_payload_with(&options,
                        "{\"stream\":true," OPTIONS "\"model\":\"x/cb/m\",\"messages\":[" SYSTEM "]}",
                        "{\"stream\":true," OPTIONS "\"model\":\"x/cb/m\",\"messages\":[" SYSTEM "]}");
    options.default_model = SPAN("cb/d");
    expect_payload_with(&options, "{\"stream\":true," OPTIONS "\"messages\":[" SYSTEM "]}",
                        "{\"model\":\"d\",\"stream\":true," OPTIONS "\"messages\":[" SYSTEM "]}");
}

static void rules_apply_to_system_messages_only(void **state)
{
    static const struct keyword_rule rules[] = {
        {{"cat", 3}, {"dog", 3}}, {{"dog", 3}, {"\"\n", 2}}, {{"x", 1}, {"", 0}}};
    struct request_options options = plain_options;
    (void)state;
    options.rules = rules;
    options.rule_count = 3;
    expect_payload_with(&options,
                        "{" ALL "\"messages\":[{\"role\":\"user\",\"content\":\"cat\"},{\"content\":\"a "
                        "c\\u0061t x\",\"role\":\"system\"},"
                        "{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"dog\"},{\"text\":"
                        "\"same\\u0020\"},{\"t\":\"cat\",\"u\":{\"text\":\"cat\"}}]},"
                        "{\"role\":\"user\",\"content\":[{\"text\":\"cat\"}]}]}",
                        "{" ALL "\"messages\":[{\"content\":\"a \\\"\\n "
                        "\",\"role\":\"system\"},{\"role\":\"user\",\"content\":\"cat\"},"
                        "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"\\\"\\n\"},{"
                        "\"text\":\"same\\u0020\"},{\"t\":\"cat\",\"u\":{\"text\":\"cat\"}}]},"
                        "{\"role\":\"user\",\"content\":[{\"text\":\"cat\"}]}]}");
}

static void refuses_by_name(void **state)
{
#define NOT_JSON(reason) "The request body is not valid JSON: " reason
    static const struct {
        const char *body, *param, *message;
    } rows[] = {
        {"[]", "", "The request body must be a JSON object."},
        {"\"x\"", "", "The request body must be a JSON object."},
        {"7", "", "The request body must be a JSON object."},
        {"null", "", "The request body must be a JSON object."},
        {"", "", NOT_JSON("the text ends too early, at byte 0.")},
        {"{\"messages\":", "", NOT_JSON("the text ends too early, at byte 12.")},
        {"{\"messages\":[" USER "]} x", "", NOT_JSON("text after the value, at byte 45.")},
        {"{\"a\":\"\xFF\",\"messages\":[" USER "]}", "", "The request body is not valid UTF-8."},
        {"{\"\xFF\":1,\"messages\":[" USER "]}", "", "The request body is not valid UTF-8."},
        {"{}", "messages", "messages is missing."},
        {"{\"messages\":{}}", "messages", "messages must be an array."},
        {"{\"messages\":null}", "messages", "messages must be an array."},
        {"{\"messages\":[]}", "messages", "messages must not be empty."},
        {"{\"messages\":[" USER ",7]}", "messages[1]", "messages[1] must be an object."},
        {"{\"messages\":[[]]}", "messages[0]", "messages[0] must be an object."},
        {"{\"messages\":[{}]}", "messages[0].role", "messages[0].role is missing."},
        {"{\"messages\":[{\"content\":\"x\"}]}", "messages[0].role", "messages[0].role is missing."},
        {"{\"messages\":[{\"role\":7}]}", "messages[0].role", "messages[0].role must be a string."},
        {"{\"messages\":[{\"role\":{}}]}", "messages[0].role", "messages[0].role must be a string."},
        {"{\"messages\":[{\"role\":\"user\",\"r\\u006fle\":\"system\",\"content\":\"\"}]}",
         "messages[0].role", "messages[0].role is given twice."},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"content\":\"\"}]}", "messages[0].content",
         "messages[0].content is given twice."},
        {"{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", "messages[0].content is missing."},
        {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages[0].content",
         "messages[0].content must not be null."},
        {"{\"messages\":[{\"role\":\"user\",\"tool_calls\":[{}]}]}", "messages[0].content",
         "messages[0].content is missing."},
        {"{\"messages\":[{\"role\":\"assistant\"}]}", "messages[0].content",
         "messages[0].content is missing."},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[]}]}", "messages[0].content",
         "messages[0].content is missing."},
        {"{\"messages\":[" USER "],\"stream\":1}", "stream", "stream must be a boolean."},
        {"{\"messages\":[" USER "],\"stream\":null}", "stream", "stream must be a boolean."},
        {"{\"messages\":[" USER "],\"stream\":\"true\"}", "stream", "stream must be a boolean."},
        {"{\"messages\":[" USER "],\"stream\":[true]}", "stream", "stream must be a boolean."},
        {"{\"messages\":[" USER "],\"stream_options\":[]}", "stream_options",
         "stream_options must be an object."},
        {"{\"messages\":[" USER "],\"stream_options\":true}", "stream_options",
         "stream_options must be an object."},
        {"{\"messages\":[" USER "],\"stream_options\":{\"include_usage\":1}}", "stream_options.include_usage",
         "stream_options.include_usage must be a boolean."},
        {"{\"messages\":[" USER "],\"model\":7}", "model", "model must be a string."},
        {"{\"messages\":[" USER "],\"model\":null}", "model", "model must be a string."},
        {"{\"messages\":[" USER "],\"model\":\"\"}", "model", "model must not be empty."},
        {"{\"messages\":[" USER "],\"model\":\"a\",\"model\":\"b\"}", "model", "model is given twice."},
        {"{\"messages\":[" USER "],\"m\\u006fdel\":\"a\",\"model\":\"b\"}", "model", "model is given twice."},
        {"{\"messages\":[" USER "],\"messages\":[" USER "]}", "messages", "messages is given twice."},
        {"{\"stream\":true,\"stream\":true}", "stream", "stream is given twice."},
        {"{\"stream_options\":{},\"stream_options\":{}}", "stream_options", "stream_options is given twice."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_refusal(rows[i].body, rows[i].param, rows[i].message);
}

static void nesting_is_bounded(void **state)
{
    char body[2000];
    (void)state;
    for (int depth = 511; depth <= 512; depth++) { /* the root is the first level */
        char open[520] = {0}, closed[520] = {0};
        memset(open, '[', (size_t)depth);
        memset(closed, ']', (size_t)depth);
        snprintf(body, sizeof body, "{\"x\":%s%s," ALL "\"messages\":[" SYSTEM "]}", open, closed);
        if (depth == 511)
            expect_payload(body, body);
        else
            expect_refusal(body, "", "The request body is nested more than 512 levels deep.");
    }
}

static void lengths_are_bounded(void **state)
{
    char body[2000], model[REQUEST_MODEL_MAX_BYTES + 2];
    (void)state;
    memset(model, 'm', sizeof model);
    model[REQUEST_MODEL_MAX_BYTES] = '\0';
    snprintf(body, sizeof body, "{\"stream\":true," OPTIONS "\"model\":\"%s\",\"messages\":[" SYSTEM "]}",
             model);
    expect_payload(body, body);
    model[REQUEST_MODEL_MAX_BYTES] = 'm';
    model[REQUEST_MODEL_MAX_BYTES + 1] = '\0';
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"messages\":[" SYSTEM "]}", model);
    expect_refusal(body, "model", "model is too long.");
}

static void too_many_system_messages_are_refused(void **state)
{
    struct buffer body = {0};
    char *kept;
    (void)state;
    assert_int_equal(buffer_append_span(&body, SPAN("{\"messages\":[" SYSTEM)), 0);
    for (int i = 0; i < REQUEST_SYSTEM_MESSAGES_MAX; i++)
        assert_int_equal(buffer_append_span(&body, SPAN("," SYSTEM)), 0);
    assert_int_equal(buffer_append_span(&body, SPAN("]}")), 0);
    struct request_body *request = request_body_new(&plain_options);
    assert_int_equal(scan(request, buffer_span(&body), body.length, &kept), ERR_INVALID);
    assert_true(span_equals(request_body_message(request), SPAN("messages has too many system messages.")));
    request_body_free(&request);
    free(kept);
    buffer_fini(&body);
}

static void long_ruled_texts_are_refused(void **state)
{
    /* A long word, that it is found hundreds of times and not hundreds of thousands: ThreadSanitizer marks,
     * at each memmem(), all of the text that is left. */
    enum { WORD_BYTES = 512 };
    char word[WORD_BYTES], twice[2 * WORD_BYTES];
    memset(word, 'a', sizeof word);
    memset(twice, 'b', sizeof twice);
    const struct keyword_rule rule = {{word, sizeof word}, {twice, sizeof twice}};
    struct request_options options = plain_options;
    struct buffer body = {0};
    (void)state;
    options.rules = &rule;
    options.rule_count = 1;
    for (int i = 0; i < 3; i++) {
        size_t length = (size_t[]){REQUEST_RULED_TEXT_MAX_BYTES / 2, REQUEST_RULED_TEXT_MAX_BYTES - 10,
                                   REQUEST_RULED_TEXT_MAX_BYTES}[i];
        buffer_clear(&body);
        assert_int_equal(
            buffer_append_span(&body, SPAN("{\"messages\":[{\"role\":\"system\",\"content\":\"")), 0);
        assert_int_equal(buffer_reserve(&body, length), 0);
        memset(body.data + body.length, 'a', length);
        body.length += length;
        assert_int_equal(buffer_append_span(&body, SPAN("\"}]}")), 0);
        struct request_body *request = request_body_new(&options);
        int status = REQUEST_MORE;
        while (status == REQUEST_MORE)
            status = request_body_scan(request, buffer_span(&body), true, REQUEST_SLICE_BYTES);
        assert_int_equal(status, i == 0 ? REQUEST_READY : ERR_INVALID);
        request_body_free(&request);
    }
    buffer_fini(&body);
}

static void says_what_the_client_wants(void **state)
{
    static const struct {
        const char *body, *model;
        bool wants_stream, wants_usage;
    } rows[] = {
        {"{\"messages\":[" USER "]}", "default-model", false, false},
        {"{\"messages\":[" USER "],\"model\":\"a\\u0062\",\"stream\":true}", "ab", true, false},
        {"{\"messages\":[" USER "],\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "default-model", true, true},
        {"{\"messages\":[" USER "],\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
         "default-model", true, false},
        {"{\"messages\":[" USER "],\"stream_options\":{\"include_usage\":true}}", "default-model", false,
         false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request_body *request = request_body_new(&plain_options);
        char *kept;
        assert_int_equal(scan(request, span_str(rows[i].body), 10, &kept), REQUEST_READY);
        assert_true(span_equals(request_body_model(request), span_str(rows[i].model)));
        assert_int_equal(request_body_wants_stream(request), rows[i].wants_stream);
        assert_int_equal(request_body_wants_usage(request), rows[i].wants_usage);
        request_body_free(&request);
        free(kept);
    }
}

static void many_tokens_take_many_calls(void **state)
{
    struct buffer body = {0};
    int status = REQUEST_MORE, calls = 0;
    (void)state;
    assert_int_equal(buffer_append_span(&body, SPAN("{\"messages\":[" SYSTEM "],\"x\":[")), 0);
    for (int i = 0; i < 500000; i++)
        assert_int_equal(buffer_append_span(&body, SPAN("0,")), 0);
    assert_int_equal(buffer_append_span(&body, SPAN("0]}")), 0);
    struct request_body *request = request_body_new(&plain_options);
    while (status == REQUEST_MORE) {
        size_t before = request_body_offset(request);
        status = request_body_scan(request, buffer_span(&body), true, body.length);
        assert_true(request_body_offset(request) > before && request_body_offset(request) - before < 200000);
        calls++;
    }
    assert_int_equal(status, REQUEST_READY);
    assert_int_equal(calls, 11);
    struct buffer said = {0};
    assert_int_equal(payload_flatten(request_body_payload(request), &said), 0);
    assert_memory_equal(said.data + said.length - 100, body.data + body.length - 100, 100);
    buffer_fini(&said);
    request_body_free(&request);
    buffer_fini(&body);
}

static void big_bodies_are_not_copied(void **state)
{
    struct buffer body = {0};
    (void)state;
    assert_int_equal(buffer_append_span(&body, SPAN("{\"messages\":[")), 0);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(buffer_append_span(&body, SPAN("{\"role\":\"user\",\"content\":\"")), 0);
        assert_int_equal(buffer_reserve(&body, 2000), 0);
        memset(body.data + body.length, 'x', 2000);
        body.length += 2000;
        assert_int_equal(buffer_append_span(&body, SPAN("\"},")), 0);
    }
    assert_int_equal(buffer_append_span(&body, SPAN(SYSTEM "]}")), 0);
    struct request_body *request = request_body_new(&plain_options);
    int status = REQUEST_MORE, calls = 0;
    while (status == REQUEST_MORE) {
        status = request_body_scan(request, buffer_span(&body), true, 100000);
        calls++;
    }
    assert_int_equal(status, REQUEST_READY);
    assert_true(calls >= (int)(body.length / 100000));
    const struct payload *payload = request_body_payload(request);
    assert_true(payload->count < 12);
    size_t borrowed_bytes = 0;
    for (size_t i = 0; i < payload->count; i++)
        if (payload->pieces[i].data >= body.data && payload->pieces[i].data < body.data + body.length)
            borrowed_bytes += payload->pieces[i].length;
    assert_true(borrowed_bytes + 200 > body.length);
    request_body_free(&request);
    buffer_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_complete_passes_as_it_is),
        cmocka_unit_test(missing_members_are_added),
        cmocka_unit_test(other_stream_options_are_kept),
        cmocka_unit_test(a_system_message_comes_first),
        cmocka_unit_test(developers_become_system),
        cmocka_unit_test(tools_and_images_pass),
        cmocka_unit_test(the_model_loses_its_prefix),
        cmocka_unit_test(rules_apply_to_system_messages_only),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(too_many_system_messages_are_refused),
        cmocka_unit_test(long_ruled_texts_are_refused),
        cmocka_unit_test(says_what_the_client_wants),
        cmocka_unit_test(many_tokens_take_many_calls),
        cmocka_unit_test(big_bodies_are_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
