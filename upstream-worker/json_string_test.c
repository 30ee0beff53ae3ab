/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_string.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_text(const char *raw, struct span text)
{
    struct buffer out = {0};
    assert_int_equal(json_string_unescape(span_str(raw), &out), 0);
    assert_int_equal(out.length, text.length);
    if (text.length > 0)
        assert_memory_equal(out.data, text.data, text.length);
    assert_true(json_string_equals(span_str(raw), text));
    buffer_fini(&out);
}

static void unescapes(void **state)
{
    (void)state;
    expect_text("", SPAN(""));
    expect_text("plain", SPAN("plain"));
    expect_text("\\\"\\\\\\/\\b\\f\\n\\r\\t", SPAN("\"\\/\b\f\n\r\t"));
    expect_text("\\u0041\\u00e9\\u4F60", SPAN("A\xC3\xA9\xE4\xBD\xA0"));
    expect_text("x\\ud83d\\ude00y", SPAN("x\xF0\x9F\x98\x80y"));
    expect_text("a\\u0000b", span_of("a\0b", 3));
}

static void lone_surrogates_are_replaced(void **state)
{
    (void)state;
    expect_text("\\ud83d", SPAN("\xEF\xBF\xBD"));
    expect_text("\\ude00x", SPAN("\xEF\xBF\xBDx"));
    expect_text("\\ud83d\\u0041", SPAN("\xEF\xBF\xBD"
                                       "A"));
}

static void compares_what_is_meant(void **state)
{
    (void)state;
    assert_true(json_string_equals(SPAN("r\\u006fle"), SPAN("role")));
    assert_false(json_string_equals(SPAN("role"), SPAN("rol")));
    assert_false(json_string_equals(SPAN("rol"), SPAN("role")));
    assert_false(json_string_equals(SPAN("rolE"), SPAN("role")));
    assert_false(json_string_equals(SPAN("rol\\u00e9"), SPAN("rol\xC3")));
}

static void repairs_utf8(void **state)
{
    static const struct {
        struct span bad, good;
    } rows[] = {
        {SPAN("plain \xE4\xBD\xA0"), SPAN("plain \xE4\xBD\xA0")},
        {SPAN("a\xFF"), SPAN("a\xEF\xBF\xBD")},
        {SPAN("\xE4\xBDz"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBDz")},
        {SPAN("\xC0\x80"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD")},
        {SPAN(""), SPAN("")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buffer out = {0};
        assert_int_equal(json_string_repair_utf8(rows[i].bad, &out), 0);
        assert_true(span_equals(buffer_span(&out), rows[i].good));
        buffer_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unescapes),
        cmocka_unit_test(lone_surrogates_are_replaced),
        cmocka_unit_test(compares_what_is_meant),
        cmocka_unit_test(repairs_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
