/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_lexer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Writes what the lexer says of `text`, given `step` bytes at a time, each time at another address, as a
 * line. */
static void describe(struct span text, size_t step, unsigned depth_limit, char *out, size_t capacity)
{
    struct json_lexer lexer;
    struct json_token token;
    size_t available = 0, used = 0;
    char *copy = NULL;
    enum json_lexer_status status;
    json_lexer_init(&lexer, depth_limit);
    do {
        available = available + step < text.length ? available + step : text.length;
        char *moved = malloc(available + 1);
        assert_non_null(moved);
        memcpy(moved, text.data, available);
        free(copy);
        copy = moved;
        json_lexer_extend(&lexer, copy, available, available == text.length);
        while ((status = json_lexer_next(&lexer, &token)) == JSON_LEXER_TOKEN)
            used += (size_t)snprintf(out + used, capacity - used, "%d%s%s%s%s@%zu-%zu/%u ", (int)token.kind,
                                     token.is_end ? "E" : "", token.is_key ? "K" : "",
                                     token.has_escapes ? "\\" : "", token.is_utf8 ? "" : "!", token.start,
                                     token.end, token.depth);
    } while (status == JSON_LEXER_NEED_MORE);
    assert_int_equal(json_lexer_next(&lexer, &token), status); /* the end and an error are final */
    snprintf(out + used, capacity - used, "%s", status == JSON_LEXER_END ? "END" : json_lexer_reason(&lexer));
    free(copy);
}

static void expect(const char *text, const char *description)
{
    char said[4096];
    describe(span_str(text), strlen(text) + 1, 8, said, sizeof said);
    assert_string_equal(said, description);
}

static void names_every_token(void **state)
{
    (void)state;
    expect("{}", "0@0-1/0 0E@1-2/0 END");
    expect(" [ 1 , -2.5e+3 ] ", "1@1-2/0 3@3-4/1 3@7-14/1 1E@15-16/0 END");
    expect("{\"a\":\"b\\n\",\"c\":[true,false,null]}",
           "0@0-1/0 2K@1-4/1 2\\@5-10/1 2K@11-14/1 1@15-16/1 4@16-20/2 5@21-26/2 6@27-31/2 1E@31-32/1 "
           "0E@32-33/0 END");
    expect("\"\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80\"", "2@0-11/0 END");
    expect("\"a\xFFz\"", "2!@0-5/0 END");
    expect("0", "3@0-1/0 END");
}

static void refuses_what_is_not_json(void **state)
{
    static const char *const texts[] = {
        "",         " ",         "{",          "}",           "[1,]",       "[1 2]",  "{\"a\"}",
        "{\"a\":}", "{a:1}",     "{\"a\":1,}", "[,1]",        "01",         "1.",     "-",
        ".5",       "1e",        "1e+",        "+1",          "tru",        "truth",  "nulll",
        "\"",       "\"\\\"",    "\"\\x\"",    "\"\\u12G4\"", "\"\\u123\"", "\"\t\"", "\"\n\"",
        "[1}",      "{\"a\":1]", "1 2",        "{} x",        "'a'",        "[1",     "\xEF\xBB\xBF{}",
        "NaN",      "Infinity",  "-Infinity",  "/**/1",       "\x7F",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char said[4096];
        describe(span_str(texts[i]), strlen(texts[i]) + 1, 8, said, sizeof said);
        if (strstr(said, "END"))
            fail_msg("accepted %s: %s", texts[i], said);
    }
    char said[4096];
    describe(span_of("\"a\0b\"", 5), 9, 8, said, sizeof said);
    assert_string_equal(said, "control character in a string");
}

static void cuts_change_nothing(void **state)
{
    static const char *const texts[] = {
        ("{\"a\":[1,-2.50e-7,{\"b\\u00e9\":\"\\ud83d\\ude00 \xE4\xBD\xA0\xE5\xA5\xBD plain plain plain "
         "\"}],\"z\":null}"),
        " [ true , false , \"\xF0\x9F\x98\x80\xFF\xE4\" , 12345678901234567890 ] ",
        "[\"\\u12\", 3]",
        "{\"a\":1.}",
        "[1,2",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct span text = span_str(texts[i]);
        char whole[4096], cut[4096];
        describe(text, text.length + 1, 8, whole, sizeof whole);
        for (size_t step = 1; step <= text.length; step++) {
            describe(text, step, 8, cut, sizeof cut);
            assert_string_equal(cut, whole);
        }
    }
}

static void counts_depth(void **state)
{
    char said[4096], text[2 * JSON_DEPTH_MAX + 3];
    (void)state;
    describe(SPAN("[[[]]]"), 10, 3, said, sizeof said);
    assert_non_null(strstr(said, "END"));
    describe(SPAN("[[[]]]"), 10, 2, said, sizeof said);
    assert_non_null(strstr(said, "nested too deeply"));

    struct json_lexer lexer;
    struct json_token token;
    enum json_lexer_status status;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_lexer_init(&lexer, JSON_DEPTH_MAX);
        json_lexer_extend(&lexer, text, 2 * depth, true);
        while ((status = json_lexer_next(&lexer, &token)) == JSON_LEXER_TOKEN)
            continue;
        assert_int_equal(status, depth == JSON_DEPTH_MAX ? JSON_LEXER_END : JSON_LEXER_ERROR);
        assert_int_equal(lexer.is_too_deep, depth != JSON_DEPTH_MAX);
    }
}

static void never_scans_a_token_twice(void **state)
{
    /* One byte at a time over a long string: quadratic work would take minutes. */
    enum { LENGTH = 4 << 20 };
    char *text = malloc(LENGTH);
    struct json_lexer lexer;
    struct json_token token;
    (void)state;
    assert_non_null(text);
    memset(text, 'x', LENGTH);
    text[0] = text[LENGTH - 1] = '"';
    json_lexer_init(&lexer, 1);
    for (size_t available = 1; available < LENGTH; available++) {
        json_lexer_extend(&lexer, text, available, false);
        if (json_lexer_next(&lexer, &token) != JSON_LEXER_NEED_MORE || json_lexer_offset(&lexer) != available)
            fail();
    }
    json_lexer_extend(&lexer, text, LENGTH, true);
    assert_int_equal(json_lexer_next(&lexer, &token), JSON_LEXER_TOKEN);
    assert_int_equal(token.end, LENGTH);
    assert_true(json_lexer_is_complete(&lexer));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_every_token),         cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(cuts_change_nothing),       cmocka_unit_test(counts_depth),
        cmocka_unit_test(never_scans_a_token_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
