/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "tests/upstream/chunked.h"
#include "tests/upstream/sse_script.h"

#define WALL_S 1700000000

struct played {
    struct script *script;
    struct buffer head, body; /* body without transfer coding */
    size_t pieces, smallest, largest;
    bool ended; /* the last chunk came */
};

static struct script *make(const char *text)
{
    struct scenario scenario;
    struct script_input input = {.scenario = &scenario,
                                 .model = span_of("m"),
                                 .echo = span_of("say \"é\""),
                                 .request_id = span_of("q7"),
                                 .wall_s = WALL_S};
    char *why = NULL;

    if (!scenario_parse(span_of(text), &scenario, &why))
        fail_msg("%s: %s", text, why);
    return script_new(&input);
}

static void take_chunks(struct played *played, const char *data, size_t size)
{
    struct chunked chunked = {0};

    played->smallest = SIZE_MAX;
    while (size > 0) {
        size_t took;
        struct span piece;
        enum chunked_result result = chunked_decode(&chunked, data, size, &took, &piece);

        assert_true(result != CHUNKED_BAD);
        data += took;
        size -= took;
        if (result == CHUNKED_PIECE) {
            buffer_append(&played->body, piece.data, piece.size);
            played->pieces++;
            played->smallest = piece.size < played->smallest ? piece.size : played->smallest;
            played->largest = piece.size > played->largest ? piece.size : played->largest;
        }
        played->ended = result == CHUNKED_END;
    }
}

static struct played play(const char *text)
{
    struct played played = {.script = make(text)};
    struct buffer all = {0};
    const char *blank;

    for (size_t i = 0; i < played.script->run_count; i++)
        buffer_append(&all, played.script->bytes + played.script->runs[i].offset,
                      played.script->runs[i].size);
    assert_int_equal(all.size, played.script->bytes_total);
    blank = all.size ? memmem(all.data, all.size, "\r\n\r\n", 4) : NULL;
    if (blank) {
        size_t head = (size_t)(blank - all.data) + 4;

        buffer_append(&played.head, all.data, head);
        if (memmem(all.data, head, "chunked", 7))
            take_chunks(&played, all.data + head, all.size - head);
        else
            buffer_append(&played.body, all.data + head, all.size - head);
    }
    buffer_append(&played.head, "", 1);
    buffer_append(&played.body, "", 1);
    played.body.size--;
    buffer_fini(&all);
    return played;
}

static void done(struct played *played)
{
    script_unref(&played->script);
    buffer_fini(&played->head);
    buffer_fini(&played->body);
}

static uint32_t event_count(const struct script *script)
{
    uint32_t count = 0;

    for (size_t i = 0; i < script->run_count; i++)
        count += script->runs[i].events;
    return count;
}

#define CHUNK                                                                                                \
    "{\"id\":\"chatcmpl-standin\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":"    \
    "\"m\","

static void plain_answer_to_the_byte(void **state)
{
    struct played played = play("s:chunks?n=2&usage=none");

    (void)state;
    assert_string_equal(played.head.data,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                        "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_string_equal(
        played.body.data,
        "data: " CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"t0 "
        "\"},\"finish_reason\":null}]}\n\n"
        "data: " CHUNK
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t1 \"},\"finish_reason\":null}]}\n\n"
        "data: " CHUNK "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: [DONE]\n\n");
    assert_int_equal(played.script->run_count, 1); /* no delay: one write */
    assert_int_equal(event_count(played.script), 3);
    assert_int_equal(played.script->end, SCRIPT_KEEP);
    assert_true(played.ended && played.script->complete);
    done(&played);
}

static void cuts_keep_the_bytes(void **state)
{
    static const char *const cuts[] = {"&cut=1",           "&cut=7",    "&cut=rand",
                                       "&cut=rand&seed=9", "&cut=utf8", "&cut=utf8&cut_ms=1"};
    struct played whole = play("s:chunks?n=9&utf8=1");

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        char text[100];
        struct played played;

        snprintf(text, sizeof(text), "s:chunks?n=9&utf8=1%s", cuts[i]);
        played = play(text);
        assert_string_equal(played.body.data, whole.body.data);
        assert_true(played.ended);
        assert_int_equal(event_count(played.script), event_count(whole.script));
        if (i == 0)
            assert_int_equal(played.pieces, whole.body.size);
        if (i == 2)
            assert_true(played.smallest < played.largest && played.largest <= 64);
        if (i == 4)
            assert_int_equal(played.pieces, 9 * 3 + 1); /* one cut in each of the three characters */
        if (i == 5)
            assert_int_equal(played.script->run_count, played.pieces);
        done(&played);
    }
    done(&whole);
}

static void framing_variants(void **state)
{
    static const struct {
        const char *text, *has, *has_not;
    } cases[] = {
        {"s:sep-lf", "}\ndata: {", "\n\n"},
        {"s:sep-crlf", "}\r\n\r\ndata: {", "}\n"},
        {"s:sep-crlf1", "}\r\ndata: {", "\r\n\r\n"},
        {"s:no-space", "data:{", "data: "},
        {"s:comments", ": keepalive\n\n:\n\ndata: ", NULL},
        {"s:fields", "event: message\nid: 0\nretry: 3000\ndata: ", NULL},
        {"s:bom",
         "\xef\xbb\xbf"
         "data: ",
         NULL},
        {"s:no-role", "t0 ", "role"},
        {"s:role-own", "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}",
         "\"assistant\",\"content\":\"t0"},
        {"s:no-done", "\"stop\"", "[DONE]"},
        {"s:no-finish", "t2 ", "stop"},
        {"s:finish-on-last", "t2 \"},\"finish_reason\":\"stop\"}]}", "\"delta\":{}"},
        {"s:escape", "\\u00e9\\u4e16\\ud83d\\ude42\\\"\\\\\\t\\n", "é"},
        {"s:utf8", "é世🙂", "\\u"},
        {"s:echo", "\"content\":\"say \\\"é\\\"\"", NULL},
        {"s:chunks?mark=1", "\"content\":\"t1 q7 \"", NULL},
        {"s:error-object", "data: {\"error\":{\"message\":\"", "[DONE]"},
        {"s:error-text", "data: {\"error\":\"the stand-in says no\"}\n\n", "[DONE]"},
        {"s:error-code", "data: {\"code\":14018,\"msg\":\"credits used up\"}\n\n", "[DONE]"},
        {"s:bad-json", "\"content\":\"never clo},", NULL},
        {"s:bad-utf8", "\x80 \xc0\xaf", NULL},
        {"s:429-iso", "resets at 2023-11-14T22:13:50Z", NULL},
        {"s:429-text", "resets at 2023-11-15 06:13:50 UTC+8", NULL},
        {"s:429-in", "try again in 30 seconds", NULL},
        {"s:401-html", "<center>openresty</center>", NULL},
        {"s:usage-none", "t0 ", "usage"},
        {"s:extra", "\"x_unknown\":{\"list\":[1,2.50,null]", NULL},
        {"s:200-completion", "\"content\":\"t0 t1 t2 t3 t4 \"", "chunk"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct played played = play(cases[i].text);

        if (!strstr(played.body.data, cases[i].has))
            fail_msg("%s lacks %s: %s", cases[i].text, cases[i].has, played.body.data);
        if (cases[i].has_not && strstr(played.body.data, cases[i].has_not))
            fail_msg("%s has %s: %s", cases[i].text, cases[i].has_not, played.body.data);
        done(&played);
    }
}

static void heads(void **state)
{
    static const struct {
        const char *text, *has;
    } cases[] = {
        {"s:429-retry", "HTTP/1.1 429 Too Many Requests\r\n"},
        {"s:429-retry", "\r\nRetry-After: 2\r\n"},
        {"s:429-date", "\r\nRetry-After: Tue, 14 Nov 2023 22:13:25 GMT\r\n"},
        {"s:close", "\r\nConnection: close\r\n"},
        {"s:401-html", "\r\nContent-Type: text/html\r\n"},
        {"s:200-completion", "\r\nContent-Type: application/json\r\n"},
        {"s:200-empty", "\r\nContent-Length: 0\r\n"},
    };
    struct played played;
    char length[40];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        played = play(cases[i].text);
        assert_non_null(strstr(played.head.data, cases[i].has));
        done(&played);
    }
    played = play("s:length");
    snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n", played.body.size);
    assert_non_null(strstr(played.head.data, length));
    done(&played);
}

static void delays_make_runs(void **state)
{
    struct script *script = make("s:chunks?n=40&gap_ms=50&first_ms=20&header_ms=10&end_ms=5");

    (void)state;
    assert_int_equal(script->run_count, 1 + 40 + 1);
    assert_int_equal(script->runs[0].delay_ms, 10);
    assert_int_equal(script->runs[1].delay_ms, 20);
    assert_int_equal(script->runs[2].delay_ms, 50);
    assert_int_equal(script->runs[40].delay_ms, 50);
    assert_int_equal(script->runs[41].delay_ms, 5);
    assert_int_equal(script->runs[41].events, 2); /* finish and usage */
    script_unref(&script);
}

static void ends(void **state)
{
    static const struct {
        const char *text;
        enum script_end end;
        bool complete, terminated;
        uint32_t events;
    } cases[] = {
        {"s:reset-middle", SCRIPT_RESET, false, false, 2},
        {"s:reset-first", SCRIPT_RESET, false, false, 0},
        {"s:abort-middle", SCRIPT_CLOSE, false, false, 2},
        {"s:eof-middle", SCRIPT_KEEP, true, true, 2},
        {"s:eof-first", SCRIPT_KEEP, true, true, 0},
        {"s:silent-middle", SCRIPT_HANG, false, false, 2},
        {"s:silent", SCRIPT_HANG, false, false, 0},
        {"s:until-close", SCRIPT_CLOSE, true, false, 7},
        {"s:error-object-first", SCRIPT_KEEP, true, true, 1},
        {"s:bad-shape", SCRIPT_KEEP, true, true, 8},
        {"s:200-empty-stream", SCRIPT_KEEP, true, true, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct played played = play(cases[i].text);

        assert_int_equal(played.script->end, cases[i].end);
        assert_int_equal(played.script->complete, cases[i].complete);
        assert_int_equal(played.ended, cases[i].terminated);
        assert_int_equal(event_count(played.script), cases[i].events);
        done(&played);
    }
}

static void ends_before_the_header(void **state)
{
    struct script *script = make("s:reset-header?header_ms=30&end_ms=4");

    (void)state;
    assert_int_equal(script->run_count, 0);
    assert_int_equal(script->end, SCRIPT_RESET);
    assert_int_equal(script->end_ms, 34);
    assert_false(script->complete);
    script_unref(&script);
}

static void endless_loops(void **state)
{
    struct script *script = make("s:endless");

    (void)state;
    assert_int_equal(script->loop_from, script->run_count - 1);
    assert_int_equal(script->runs[script->loop_from].delay_ms, 1);
    assert_int_equal(script->runs[script->loop_from].events, 1);
    script_unref(&script);
    script = make("s:endless-line");
    assert_int_equal(script->loop_from, script->run_count - 1);
    assert_int_equal(script->runs[script->loop_from].events, 0);
    assert_null(memchr(script->bytes + script->runs[script->loop_from].offset + 6, '\n', 4000));
    script_unref(&script);
}

static void usage_is_known(void **state)
{
    struct script *script = make("s:credit?n=4&prompt_tokens=100&cached_tokens=30&reasoning=2");

    (void)state;
    assert_int_equal(script->usage.prompt, 100);
    assert_int_equal(script->usage.completion, 6);
    assert_int_equal(script->usage.cached, 30);
    assert_int_equal(script->usage.reasoning, 2);
    assert_int_equal(script->usage.credit_nano, 123456);
    script_unref(&script);
    script = make("s:chunks?credit=12.5");
    assert_int_equal(script->usage.credit_nano, 12500000000);
    script_unref(&script);
    script = make("s:reset-middle");
    assert_int_equal(script->usage.prompt, 0);
    script_unref(&script);
}

static void usage_on_every_chunk_grows(void **state)
{
    struct played played = play("s:usage-every?n=2");

    (void)state;
    assert_non_null(strstr(played.body.data, "\"completion_tokens\":1,"));
    assert_non_null(strstr(played.body.data, "\"completion_tokens\":2,"));
    assert_null(strstr(played.body.data, "\"choices\":[]"));
    done(&played);
}

/* Joins all arguments fragments in order, and counts features of the fragments. */
struct tool_facts {
    struct buffer arguments, names;
    int fragments, ids, empty_ids, indexes, nonzero_indexes, most_per_chunk;
};

static void note_fragment(struct tool_facts *facts, const json_t *fragment)
{
    const json_t *function = json_object_get(fragment, "function");
    const char *arguments = json_string_value(json_object_get(function, "arguments"));
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *id = json_string_value(json_object_get(fragment, "id"));

    facts->fragments++;
    assert_non_null(arguments);
    buffer_append_text(&facts->arguments, arguments);
    if (name)
        buffer_printf(&facts->names, "%s ", name);
    facts->ids += id && *id;
    facts->empty_ids += id && !*id;
    facts->indexes += json_object_get(fragment, "index") != NULL;
    facts->nonzero_indexes += json_integer_value(json_object_get(fragment, "index")) != 0;
}

static struct tool_facts tool_facts(const char *text)
{
    struct tool_facts facts = {0};
    struct played played = play(text);
    char *rest = NULL;

    for (char *line = strtok_r(played.body.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *event = json_loads(line + 6, 0, NULL);
        json_t *delta = json_object_get(json_array_get(json_object_get(event, "choices"), 0), "delta");
        json_t *calls = json_object_get(delta, "tool_calls"), *call;
        size_t index;

        assert_true(event || strcmp(line, "data: [DONE]") == 0);
        if ((int)json_array_size(calls) > facts.most_per_chunk)
            facts.most_per_chunk = (int)json_array_size(calls);
        json_array_foreach (calls, index, call) {
            note_fragment(&facts, call);
        }
        json_decref(event);
    }
    buffer_append(&facts.arguments, "", 1);
    buffer_append(&facts.names, "", 1);
    done(&played);
    return facts;
}

#define ARGS(i) "{\"city\":\"City " i "\",\"n\":" i ",\"note\":\"é世🙂 \\\"q\\\"\"}"

static void tool_shapes(void **state)
{
    static const struct {
        const char *text, *names;
        int fragments, ids, empty_ids, indexes, nonzero, most;
        const char *arguments; /* NULL: not in one piece */
    } cases[] = {
        {"s:tools-proper", "get_weather get_time search_web ", 12, 3, 0, 12, 8, 1,
         ARGS("0") ARGS("1") ARGS("2")},
        {"s:tools-whole", "get_weather get_time ", 2, 2, 0, 2, 1, 1, ARGS("0") ARGS("1")},
        {"s:tools-index0", "get_weather get_time search_web ", 12, 12, 0, 12, 0, 1,
         ARGS("0") ARGS("1") ARGS("2")},
        {"s:tools-index0-cont", "get_weather get_time search_web ", 12, 3, 0, 12, 0, 1,
         ARGS("0") ARGS("1") ARGS("2")},
        {"s:tools-noid", "get_weather get_time search_web ", 12, 0, 0, 12, 8, 1,
         ARGS("0") ARGS("1") ARGS("2")},
        {"s:tools-emptyid", "get_weather get_time ", 8, 2, 6, 8, 4, 1, ARGS("0") ARGS("1")},
        {"s:tools-noindex", "get_weather get_time ", 8, 8, 0, 0, 0, 1, ARGS("0") ARGS("1")},
        {"s:tools-name-split", "get_w eather get_ time ", 10, 2, 0, 10, 5, 1, ARGS("0") ARGS("1")},
        {"s:tools-name-every",
         "get_weather get_weather get_weather get_weather get_time get_time get_time get_time ", 8, 2, 0, 8,
         4, 1, ARGS("0") ARGS("1")},
        {"s:tools-interleaved", "get_weather get_time search_web ", 12, 3, 0, 12, 8, 1, NULL},
        {"s:tools-batch", "get_weather get_time search_web ", 12, 3, 0, 12, 8, 3, NULL},
        {"s:tools-one?tool_fragments=500", "get_weather ", 501, 1, 0, 501, 0, 1, ARGS("0")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tool_facts facts = tool_facts(cases[i].text);

        assert_string_equal(facts.names.data, cases[i].names);
        assert_int_equal(facts.fragments, cases[i].fragments);
        assert_int_equal(facts.ids, cases[i].ids);
        assert_int_equal(facts.empty_ids, cases[i].empty_ids);
        assert_int_equal(facts.indexes, cases[i].indexes);
        assert_int_equal(facts.nonzero_indexes, cases[i].nonzero);
        assert_int_equal(facts.most_per_chunk, cases[i].most);
        if (cases[i].arguments)
            assert_string_equal(facts.arguments.data, cases[i].arguments);
        buffer_fini(&facts.arguments);
        buffer_fini(&facts.names);
    }
}

/* Whatever is meant to be JSON is JSON, also with noise and everything else switched on. */
static void every_event_is_json(void **state)
{
    (void)state;
    for (unsigned i = 0; scenario_preset_name(i); i++) {
        char text[100];
        struct played played;
        char *rest = NULL;

        snprintf(text, sizeof(text), "s:%s", scenario_preset_name(i));
        if (strstr(text, "bad-") || strstr(text, "html") || strstr(text, "endless-line") ||
            strstr(text, "50") || strstr(text, "404") || strstr(text, "bom"))
            continue;
        played = play(text);
        for (char *line = strtok_r(played.body.data, "\r\n", &rest); line;
             line = strtok_r(NULL, "\r\n", &rest)) {
            const char *start = strchr(line, '{');
            json_t *event = start ? json_loads(start, JSON_REJECT_DUPLICATES, NULL) : NULL;

            if (!event && start)
                fail_msg("%s: %s", text, line);
            json_decref(event);
        }
        done(&played);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_answer_to_the_byte),
                                       cmocka_unit_test(cuts_keep_the_bytes),
                                       cmocka_unit_test(framing_variants),
                                       cmocka_unit_test(heads),
                                       cmocka_unit_test(delays_make_runs),
                                       cmocka_unit_test(ends),
                                       cmocka_unit_test(ends_before_the_header),
                                       cmocka_unit_test(endless_loops),
                                       cmocka_unit_test(usage_is_known),
                                       cmocka_unit_test(usage_on_every_chunk_grows),
                                       cmocka_unit_test(tool_shapes),
                                       cmocka_unit_test(every_event_is_json)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
