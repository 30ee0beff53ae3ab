/* SPDX-License-Identifier: MIT */
#include "upstream-worker/answer.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEAD(kind)                                                                                           \
    "{\"id\":\"chatcmpl-r1\",\"object\":\"chat.completion" kind                                              \
    "\",\"created\":1700000000,\"model\":\"m\\\"1\""
#define CHUNK(rest)  "data: " HEAD(".chunk") rest "}\n\n"
#define DELTA(delta) CHUNK(",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}]")
#define FINISH(delta, reason)                                                                                \
    CHUNK(",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":\"" reason "\"}]")
#define DONE        "data: [DONE]\n\n"
#define PLAIN(rest) HEAD("") rest "}"
/* message without content null etc.: written out where it matters */
#define CHOICE(message, reason)                                                                              \
    ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message                                \
    "},\"logprobs\":null,\"finish_reason\":\"" reason "\"}]"

static struct scratch scratch;

static int group_setup(void **state)
{
    (void)state;
    scratch_init(&scratch);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    scratch_fini(&scratch);
    return 0;
}

enum { STREAM = 1, USAGE = 2 };

/* What the client gets for `upstream`, fed `step` bytes at a time. Returns the final status. */
static int run(struct span upstream, size_t step, int mode, struct buffer *out)
{
    struct answer_options options = {.id = SPAN("r1"),
                                     .model = SPAN("m\"1"),
                                     .created_s = 1700000000,
                                     .wants_stream = mode & STREAM,
                                     .wants_usage = (mode & USAGE) != 0};
    struct answer *answer = answer_new(&options, &scratch);
    int status = ANSWER_MORE;
    assert_non_null(answer);
    buffer_clear(out);
    for (size_t at = 0; at < upstream.length && status == ANSWER_MORE; at += step) {
        size_t length = upstream.length - at < step ? upstream.length - at : step;
        char *piece = malloc(length); /* so that a read past the piece is seen */
        assert_non_null(piece);
        memcpy(piece, upstream.data + at, length);
        status = answer_feed(answer, span_of(piece, length), out);
        free(piece);
    }
    if (status == ANSWER_MORE)
        status = answer_finish(answer, out);
    assert_int_equal(answer_finish(answer, out), status);
    if (status == ANSWER_REFUSED)
        assert_non_null(answer_refusal(answer));
    answer_free(&answer);
    assert_null(answer);
    return status;
}

static void expect_as(const char *upstream, int mode, int status, const char *client)
{
    struct buffer out = {0};
    struct span text = span_str(upstream);
    for (size_t step = 1; step <= text.length + 1; step += step < 40 ? 1 : 97) {
        int got = run(text, step, mode, &out);
        assert_int_equal(buffer_append_char(&out, '\0'), 0);
        if (got != status || strcmp(out.data, client) != 0)
            fail_msg("steps of %zu, mode %d: status %d\n got      %s\n expected %s", step, mode, got,
                     out.data, client);
    }
    buffer_fini(&out);
}

/* What a streaming client (without usage) and a plain one get. */
static void expect(const char *upstream, const char *streamed, const char *plain)
{
    expect_as(upstream, STREAM, ANSWER_COMPLETE, streamed);
    expect_as(upstream, 0, ANSWER_COMPLETE, plain);
}

#define UP(rest)                                                                                             \
    "data: {\"id\":\"u\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"up\"" rest "}\n\n"
#define UP_DELTA(delta)   UP(",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}]")
#define UP_FINISH(reason) UP(",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]")

static void passes_text(void **state)
{
    (void)state;
    expect(UP_DELTA("\"role\":\"assistant\",\"content\":\"\"") UP_DELTA("\"content\":\"Hel\\u00e9 \\\"\"")
               UP_DELTA("\"content\":\"\xE4\xBD\xA0\"") UP_FINISH("stop") "data: [DONE]\n\n",
           DELTA("\"role\":\"assistant\"") DELTA("\"content\":\"Hel\\u00e9 \\\"\"")
               DELTA("\"content\":\"\xE4\xBD\xA0\"") FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"Hel\\u00e9 \\\"\xE4\xBD\xA0\",\"refusal\":null", "stop")));
}

static void drops_noise_and_adds_the_role(void **state)
{
    (void)state;
    expect(
        UP_DELTA("\"role\":\"\",\"content\":\"\",\"tool_calls\":[],\"function_call\":{\"name\":\"\","
                 "\"arguments\":\"\"},"
                 "\"refusal\":\"\",\"extra_fields\":{\"a\":1}")
            UP_DELTA(
                "\"content\":null,\"function_call\":null,\"refusal\":null,\"tool_calls\":null,\"role\":null")
                UP_DELTA("\"role\":\"\",\"content\":\"a\",\"extra_fields\":null")
                    UP_DELTA("\"role\":\"assistant\",\"content\":\"b\"") UP_DELTA("\"role\":\"assistant\"")
                        UP(",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"\"}],"
                           "\"usage\":null") UP(",\"choices\":[]") UP_FINISH("length")
                            UP_FINISH("length") "data: [DONE]\n\n",
        DELTA("\"role\":\"assistant\",\"content\":\"a\"") DELTA("\"content\":\"b\"") FINISH("", "length")
            DONE,
        PLAIN(CHOICE("\"content\":\"ab\",\"refusal\":null", "length")));
}

static void unknown_members_pass_byte_for_byte(void **state)
{
    (void)state;
    expect(UP(",\"system_fingerprint\":\"fp\",\"x\":[1.50, {\"y\" "
              ":null}],\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"z\":1E5},"
              "\"logprobs\":{\"content\":[{\"token\":\"a\"}],\"refusal\":null},\"w\":\"\\u0041\"}]")
               UP(",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"delta\":{\"z\":2},\"logprobs\":"
                  "{\"content\":[{\"token\":\"b\"},3]},"
                  "\"finish_reason\":\"stop\",\"w\":true}]"),
           CHUNK(",\"system_fingerprint\":\"fp\",\"x\":[1.50, {\"y\" "
                 ":null}],\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                 "\"content\":\"a\",\"z\":1E5},\"logprobs\":{\"content\":[{\"token\":\"a\"}],\"refusal\":"
                 "null},\"w\":\"\\u0041\","
                 "\"finish_reason\":null}]")
               CHUNK(",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"delta\":{\"z\":2},"
                     "\"logprobs\":{\"content\":"
                     "[{\"token\":\"b\"},3]},\"w\":true,\"finish_reason\":\"stop\"}]") DONE,
           PLAIN(",\"system_fingerprint\":\"fp\",\"x\":[1.50, {\"y\" "
                 ":null}],\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                 "\"content\":\"a\",\"refusal\":null,\"z\":2},\"logprobs\":{\"content\":[{\"token\":\"a\"},{"
                 "\"token\":\"b\"},3],"
                 "\"refusal\":null},\"w\":true,\"finish_reason\":\"stop\"}]"));
}

static void reasoning_has_one_name(void **state)
{
    (void)state;
    expect(UP_DELTA("\"reasoning_content\":\"r1\"") UP_DELTA("\"reasoning\":\"r2\"")
               UP_DELTA("\"reasoning\":\"r3\",\"reasoning_content\":\"r3\"")
                   UP_DELTA("\"reasoning\":\"r4\",\"reasoning_content\":\"\"")
                       UP_DELTA("\"content\":\"c\",\"reasoning\":null")
                           UP_DELTA("\"reasoning_content\":null,\"reasoning\":\"\"") UP_FINISH("stop"),
           DELTA("\"role\":\"assistant\",\"reasoning_content\":\"r1\"") DELTA("\"reasoning_content\":\"r2\"")
               DELTA("\"reasoning_content\":\"r3\"") DELTA("\"reasoning_content\":\"r4\"")
                   DELTA("\"content\":\"c\"") FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"c\",\"reasoning_content\":\"r1r2r3r4\",\"refusal\":null", "stop")));
}

#define CALL(index, members) "\"tool_calls\":[{\"index\":" index "," members "}]"
#define FIRST(index, id, name, arguments)                                                                    \
    "{\"index\":" index ",\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name            \
    "\",\"arguments\":\"" arguments "\"}}"
#define NEXT(index, arguments) "{\"index\":" index ",\"function\":{\"arguments\":\"" arguments "\"}}"
#define KEPT(id, name, arguments)                                                                            \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                                \
    "\",\"arguments\":\"" arguments "\"}}"

static const char two_calls_streamed[] =
    DELTA("\"role\":\"assistant\",\"tool_calls\":[" FIRST("0", "call_a", "get", "{\\\"x\\\":") "]")
        DELTA("\"tool_calls\":[" NEXT("0", "1}") "]")
            DELTA("\"tool_calls\":[" FIRST("1", "call_tooluse_b", "put", "{}") "]") FINISH("", "tool_calls")
                DONE;
static const char two_calls_plain[] =
    PLAIN(CHOICE("\"content\":null,\"refusal\":null,\"tool_calls\":[" KEPT(
                     "call_a", "get", "{\\\"x\\\":1}") "," KEPT("call_tooluse_b", "put", "{}") "]",
                 "tool_calls"));

static void tool_calls_with_indexes(void **state)
{
    (void)state;
    expect(UP_DELTA(CALL("0", "\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"get\","
                              "\"arguments\":\"{\\\"x\\\":\"}"))
               UP_DELTA(CALL("0", "\"function\":{\"arguments\":\"1}\"}")) UP_DELTA(
                   CALL("1", "\"id\":\"tooluse_b\",\"function\":{\"name\":\"put\",\"arguments\":\"{}\"}"))
                   UP_FINISH("tool_calls"),
           two_calls_streamed, two_calls_plain);
}

static void tool_calls_all_at_index_0(void **state)
{
    (void)state;
    expect(
        UP_DELTA(CALL("0", "\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"get\","
                           "\"arguments\":\"{\\\"x\\\":\"}"))
            UP_DELTA(CALL(
                "0", "\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":null,\"arguments\":\"1}\"}"))
                UP_DELTA(
                    CALL("0", "\"id\":\"tooluse_b\",\"function\":{\"name\":\"put\",\"arguments\":\"{}\"}"))
                    UP_FINISH("tool_calls"),
        two_calls_streamed, two_calls_plain);
}

static void tool_calls_without_ids(void **state)
{
    (void)state;
    expect(UP_DELTA(CALL("3", "\"function\":{\"name\":\"get\",\"arguments\":\"\"}"))
               UP_DELTA("\"tool_calls\":[{\"index\":3,\"function\":{\"arguments\":\"{\"}},{\"index\":7,"
                        "\"function\":{\"name\":\"put\",\"arguments\":\"\"}}]")
                   UP_DELTA(CALL("3", "\"function\":{\"arguments\":\"}\"}")) UP_FINISH("tool_calls"),
           DELTA("\"role\":\"assistant\",\"tool_calls\":[" FIRST("0", "call_r1_0", "get", "{") "]")
               DELTA("\"tool_calls\":[" NEXT("0", "}") "]")
                   FINISH("\"tool_calls\":[" FIRST("1", "call_r1_1", "put", "") "]", "tool_calls") DONE,
           PLAIN(CHOICE("\"content\":null,\"refusal\":null,\"tool_calls\":[" KEPT(
                            "call_r1_0", "get", "{}") "," KEPT("call_r1_1", "put", "") "]",
                        "tool_calls")));
}

static void names_in_pieces_and_repeated(void **state)
{
    (void)state;
    expect(UP_DELTA(CALL("0", "\"id\":\"call_a\",\"function\":{\"name\":\"get_\"}")) UP_DELTA(
               CALL("0", "\"function\":{\"name\":\"weather\",\"arguments\":\"\"}"))
               UP_DELTA(CALL("0", "\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\"}")) UP_DELTA(
                   CALL("0", "\"id\":\"call_a\",\"function\":{\"name\":\"get_weather\",\"arguments\":\"}\"}"))
                   UP_FINISH("tool_calls"),
           DELTA("\"role\":\"assistant\",\"tool_calls\":[" FIRST("0", "call_a", "get_weather", "{") "]")
               DELTA("\"tool_calls\":[" NEXT("0", "}") "]") FINISH("", "tool_calls") DONE,
           PLAIN(CHOICE(
               "\"content\":null,\"refusal\":null,\"tool_calls\":[" KEPT("call_a", "get_weather", "{}") "]",
               "tool_calls")));
}

static void a_missing_finish_reason_is_made_up(void **state)
{
    (void)state;
    expect(UP_DELTA("\"content\":\"a\"") "data: [DONE]\n\n",
           DELTA("\"role\":\"assistant\",\"content\":\"a\"") FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"a\",\"refusal\":null", "stop")));
    expect(UP_DELTA(CALL("0", "\"id\":\"x\",\"function\":{\"name\":\"f\"}")) "data: [DONE]",
           FINISH("\"role\":\"assistant\",\"tool_calls\":[" FIRST("0", "call_x", "f", "") "]", "tool_calls")
               DONE,
           PLAIN(CHOICE("\"content\":null,\"refusal\":null,\"tool_calls\":[" KEPT("call_x", "f", "") "]",
                        "tool_calls")));
    expect("data: [DONE]\n", FINISH("\"role\":\"assistant\"", "stop") DONE,
           PLAIN(CHOICE("\"content\":null,\"refusal\":null", "stop")));
}

static void usage_comes_last_if_asked(void **state)
{
    static const char upstream[] = UP(",\"fp\":1,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],"
                                      "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}")
        UP(",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_"
           "tokens\":3,\"completion_tokens\":2}")
            UP(",\"fp\":2,\"choices\":[],\"usage\":{\"prompt_tokens\": "
               "3,\"completion_tokens\":5,\"credit\":0.25,\"odd\":null}") "data: [DONE]\n\n";
#define LAST "\"usage\":{\"prompt_tokens\": 3,\"completion_tokens\":5,\"credit\":0.25,\"odd\":null}"
    (void)state;
    expect_as(upstream, STREAM | USAGE, ANSWER_COMPLETE,
              CHUNK(",\"fp\":1,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}"
                    ",\"finish_reason\":null}]") FINISH("", "stop") CHUNK(",\"fp\":2,\"choices\":[]," LAST)
                  DONE);
    expect_as(upstream, STREAM, ANSWER_COMPLETE,
              CHUNK(",\"fp\":1,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}"
                    ",\"finish_reason\":null}]") FINISH("", "stop") DONE);
    expect_as(upstream, 0, ANSWER_COMPLETE,
              PLAIN(",\"fp\":2" CHOICE("\"content\":\"a\",\"refusal\":null", "stop") "," LAST));
}

static void a_cut_answer_is_an_error(void **state)
{
    (void)state;
    for (int mode = 0; mode <= STREAM; mode++) {
        expect_as("", mode, ERR_TRUNCATED, "");
        expect_as(": hello\n\n", mode, ERR_TRUNCATED, "");
        expect_as(UP_DELTA("\"content\":\"a\""), mode, ERR_TRUNCATED,
                  mode ? DELTA("\"role\":\"assistant\",\"content\":\"a\"") : "");
        expect_as(UP_DELTA("\"content\":\"a\"") "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reas",
                  mode, ERR_TRUNCATED, mode ? DELTA("\"role\":\"assistant\",\"content\":\"a\"") : "");
    }
    expect(UP_DELTA("\"content\":\"a\"") UP_FINISH("stop") "data: {\"choices\":[],\"usa",
           DELTA("\"role\":\"assistant\",\"content\":\"a\"") FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"a\",\"refusal\":null", "stop")));
}

static void what_is_no_chunk_is_an_error(void **state)
{
    static const char *const bodies[] = {
        "data: {\"choices\":[}\n\n",
        "data: 7\n\n",
        "data: []\n\n",
        "data: hello\n\n",
        "data: {\"choices\":7}\n\n",
        "data: {\"choices\":[7]}\n\n",
        "data: {\"choices\":[{\"delta\":7}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"refusal\":[]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":{}}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":{}}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[7]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":{}}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":1}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"logprobs\":1}]}\n\n",
        "data: {\"choices\":[{\"index\":-1,\"delta\":{}}]}\n\n",
        "data: {\"choices\":[{\"index\":128,\"delta\":{}}]}\n\n",
        "{\"object\":\"list\"}",
        "\n<html><body>log in</body></html>",
        "{\"choices\":[",
        "{} x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_as(bodies[i], STREAM, ERR_INVALID, "");
        expect_as(bodies[i], 0, ERR_INVALID, "");
    }
}

static void refusals_come_back(void **state)
{
    static const char *const bodies[] = {
        "data: {\"error\":{\"message\":\"no\",\"type\":\"t\",\"code\":\"c\"}}\n\n",
        "data: {\"error\":\"no\"}\n\n",
        "data: {\"code\":14018,\"msg\":\"no\"}\n\n",
        "{\"code\":14018,\"msg\":\"no\"}",
        " \n{\"error\":{\"message\":\"no\"}}\n",
        "data: {\"code\":\"11128\",\"msg\":\"no\",\"choices\":[]}\n\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_as(bodies[i], STREAM, ANSWER_REFUSED, "");
        expect_as(bodies[i], 0, ANSWER_REFUSED, "");
    }
    expect_as(UP_DELTA("\"content\":\"a\"") "data: {\"error\":\"no\"}\n\n", STREAM, ANSWER_REFUSED,
              DELTA("\"role\":\"assistant\",\"content\":\"a\""));
    expect("data: "
           "{\"error\":null,\"code\":0,\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":"
           "\"stop\"}]}\n\n",
           CHUNK(",\"code\":0,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},"
                 "\"finish_reason\":\"stop\"}]") DONE,
           PLAIN(",\"code\":0" CHOICE("\"content\":\"a\",\"refusal\":null", "stop")));
}

static void a_whole_completion_is_normalised(void **state)
{
    static const char upstream[] = "{\n "
                                   "\"id\":\"u\",\"object\":\"chat.completion\",\"model\":\"up\",\"fp\":[1,"
                                   "\r\n2],\n\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                                   "\"content\":\"a\",\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
                                   "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
                                   "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"[]\"}"
                                   "}]},\"finish_reason\":\"tool_calls\"}],"
                                   "\"usage\":{\"prompt_tokens\":1}}\n";
    (void)state;
    expect_as(upstream, 0, ANSWER_COMPLETE,
              PLAIN(",\"fp\":[1,  2]" CHOICE("\"content\":\"a\",\"refusal\":null,\"tool_calls\":[" KEPT(
                                                 "call_x", "f", "{}") "," KEPT("call_r1_1", "f", "[]") "]",
                                             "tool_calls") ",\"usage\":{\"prompt_tokens\":1}"));
    expect_as(upstream, STREAM | USAGE, ANSWER_COMPLETE,
              CHUNK(",\"fp\":[1,  "
                    "2],\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\",\"tool_"
                    "calls\":[" FIRST("0", "call_x", "f", "{}") "," FIRST(
                        "1", "call_r1_1", "f", "[]") "]},\"finish_reason\":\"tool_calls\"}]")
                  CHUNK(",\"choices\":[],\"usage\":{\"prompt_tokens\":1}") DONE);
}

static void bad_utf8_is_replaced(void **state)
{
    (void)state;
    expect(UP_DELTA("\"content\":\"a\xFF\"") UP_FINISH("stop"),
           DELTA("\"role\":\"assistant\",\"content\":\"a\xEF\xBF\xBD\"") FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"a\xEF\xBF\xBD\",\"refusal\":null", "stop")));
}

static void line_ends_in_an_event_do_not_reach_the_client(void **state)
{
    (void)state;
    expect("data: {\"x\":[1,\ndata: 2],\"choices\":[{\"delta\":\r\ndata: "
           "{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
           CHUNK(",\"x\":[1, "
                 "2],\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_"
                 "reason\":\"stop\"}]") DONE,
           PLAIN(",\"x\":[1, 2]" CHOICE("\"content\":\"a\",\"refusal\":null", "stop")));
}

static void several_choices(void **state)
{
    (void)state;
    expect(UP(",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"role\":"
              "\"\",\"content\":\"b\"}}]")
               UP(",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"},{"
                  "\"index\":0,\"delta\":{\"content\":\"\"}}]") UP_FINISH("stop"),
           CHUNK(",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_"
                 "reason\":null},"
                 "{\"index\":1,\"delta\":{\"role\":\"assistant\",\"content\":\"b\"},\"finish_reason\":null}]")
               CHUNK(",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"}]")
                   FINISH("", "stop") DONE,
           PLAIN(CHOICE("\"content\":\"a\",\"refusal\":null", "stop")));
}

static void the_old_function_call(void **state)
{
    (void)state;
    expect(UP_DELTA("\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}")
               UP_DELTA("\"function_call\":{\"arguments\":\"}\"}") UP_FINISH("function_call"),
           DELTA("\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}")
               DELTA("\"function_call\":{\"arguments\":\"}\"}") FINISH("", "function_call") DONE,
           PLAIN(CHOICE(
               "\"content\":null,\"refusal\":null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}",
               "function_call")));
}

static void is_bounded(void **state)
{
    struct answer_options options = {
        .id = SPAN("r1"), .model = SPAN("m"), .event_limit_bytes = 1000, .total_limit_bytes = 500};
    struct buffer out = {0};
    (void)state;
    struct answer *answer = answer_new(&options, &scratch);
    int status = ANSWER_MORE;
    for (int i = 0; i < 1000 && status == ANSWER_MORE; i++)
        status = answer_feed(answer, SPAN(UP_DELTA("\"content\":\"0123456789\"")), &out);
    assert_int_equal(status, ERR_TOO_LARGE);
    assert_int_equal(out.length, 0);
    answer_free(&answer);

    answer = answer_new(&options, &scratch); /* a JSON body that never ends */
    status = answer_feed(answer, SPAN("{"), &out);
    for (int i = 0; i < 1000 && status == ANSWER_MORE; i++)
        status = answer_feed(answer, SPAN(" \n"), &out);
    assert_int_equal(status, ERR_TOO_LARGE);
    answer_free(&answer);

    options.total_limit_bytes = 0;
    options.read_limit_bytes = 10000;
    answer = answer_new(&options, &scratch); /* events without end that say nothing */
    size_t read_bytes = 0;
    const struct span empty = SPAN(UP_DELTA("\"content\":\"\""));
    while ((status = answer_feed(answer, empty, &out)) == ANSWER_MORE)
        read_bytes += empty.length;
    assert_int_equal(status, ERR_TOO_LARGE);
    assert_in_range(read_bytes, 10001 - empty.length, 10000);
    answer_free(&answer);

    options.wants_stream = true;
    answer = answer_new(&options, &scratch); /* of a stream the client has enough when it leaves */
    for (int i = 0; i < 100; i++)
        assert_int_equal(answer_feed(answer, empty, &out), ANSWER_MORE);
    answer_free(&answer);

    answer = answer_new(&options, &scratch); /* a line that never ends */
    status = answer_feed(answer, SPAN("data: "), &out);
    for (int i = 0; i < 1001 && status == ANSWER_MORE; i++)
        status = answer_feed(answer, SPAN("x"), &out);
    assert_int_equal(status, ERR_TOO_LARGE);
    assert_int_equal(answer_failure(status), FAILURE_UPSTREAM_PROTOCOL);
    answer_free(&answer);
    buffer_fini(&out);
}

static void reads_usage_and_refusals(void **state)
{
    struct answer_options options = {.id = SPAN("r1"), .model = SPAN("m"), .wants_stream = true};
    struct buffer out = {0};
    struct usage usage;
    (void)state;
    struct answer *answer = answer_new(&options, &scratch);
    answer_read_usage(answer, &usage);
    assert_int_equal(usage.prompt_tokens, 0);
    assert_int_equal(answer_event_count(answer), 0);
    assert_int_equal(answer_feed(answer,
                                 SPAN(UP(",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_"
                                         "tokens\":2,\"credit\":\"0.5\"}")),
                                 &out),
                     ANSWER_MORE);
    assert_int_equal(answer_feed(answer, SPAN("data: {\"code\":11128,\"msg\":\"system first\"}\n\n"), &out),
                     ANSWER_REFUSED);
    assert_int_equal(answer_event_count(answer), 2);
    answer_read_usage(answer, &usage);
    assert_int_equal(usage.prompt_tokens, 7);
    assert_int_equal(usage.completion_tokens, 2);
    assert_int_equal(usage.credit_millionths, 500000);
    const struct upstream_error *error = answer_refusal(answer);
    assert_int_equal(error->code, 11128);
    assert_int_equal(error->status, 200);
    assert_string_equal(error->message, "system first");
    struct upstream_verdict verdict;
    upstream_error_judge(error, (struct span){0}, 0, &verdict);
    assert_int_equal(answer_append_error_event(&out, verdict.failure, error, &verdict), 0);
    assert_int_equal(answer_append_error_event(&out, FAILURE_UPSTREAM_INCOMPLETE, NULL, NULL), 0);
    assert_int_equal(buffer_append_char(&out, '\0'), 0);
    assert_string_equal(out.data,
                        "data: {\"error\":{\"message\":\"system "
                        "first\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"upstream_error\"}}\n\n"
                        "data: {\"error\":{\"message\":\"The upstream's answer ended before it was "
                        "complete.\",\"type\":\"upstream_error\",\"param\":null,"
                        "\"code\":\"upstream_incomplete\"}}\n\n");
    answer_free(&answer);
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_text),
        cmocka_unit_test(drops_noise_and_adds_the_role),
        cmocka_unit_test(unknown_members_pass_byte_for_byte),
        cmocka_unit_test(reasoning_has_one_name),
        cmocka_unit_test(tool_calls_with_indexes),
        cmocka_unit_test(tool_calls_all_at_index_0),
        cmocka_unit_test(tool_calls_without_ids),
        cmocka_unit_test(names_in_pieces_and_repeated),
        cmocka_unit_test(a_missing_finish_reason_is_made_up),
        cmocka_unit_test(usage_comes_last_if_asked),
        cmocka_unit_test(a_cut_answer_is_an_error),
        cmocka_unit_test(what_is_no_chunk_is_an_error),
        cmocka_unit_test(refusals_come_back),
        cmocka_unit_test(a_whole_completion_is_normalised),
        cmocka_unit_test(bad_utf8_is_replaced),
        cmocka_unit_test(line_ends_in_an_event_do_not_reach_the_client),
        cmocka_unit_test(several_choices),
        cmocka_unit_test(the_old_function_call),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(reads_usage_and_refusals),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
