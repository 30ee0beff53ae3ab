/* SPDX-License-Identifier: MIT */
/* The form of lines: text and JSON, whatever bytes they are made of. */
#include "proto/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

enum { WALL_MS = 1000 };
static const int64_t some_time_ms = INT64_C(1763900759) * WALL_MS + 7;

static void format(struct buffer *line, enum log_format format, const char *request,
                   const struct log_field *fields)
{
    log_init("gateway", LOG_LEVEL_INFO);
    log_set_format(format);
    buffer_clear(line);
    assert_int_equal(log_format_line(line, some_time_ms, LOG_LEVEL_WARNING, request, "peer_down", fields), 0);
    assert_ptr_equal(memchr(line->data, '\n', line->length), line->data + line->length - 1);
}

static void assert_text(const char *request, const struct log_field *fields, const char *expected)
{
    struct buffer line = {0}, whole = {0};
    format(&line, LOG_FORMAT_TEXT, request, fields);
    buffer_printf(&whole, "2025-11-23T12:25:59.007Z WARNING gateway %d req=%s\n", (int)getpid(), expected);
    assert_true(span_equals(buffer_span(&line), buffer_span(&whole)));
    buffer_fini(&line);
    buffer_fini(&whole);
}

static void test_text(void **state)
{
    (void)state;
    assert_text("r1", LOG_FIELDS(LOG_STR("peer", "a b"), LOG_INT("n", -3), LOG_SPAN("x", SPAN("a=b"))),
                "r1 peer_down peer=\"a b\" n=-3 x=\"a=b\"");
    assert_text(NULL, LOG_FIELDS(), "- peer_down");
    assert_text("a b", LOG_FIELDS(LOG_STR("e", ""), LOG_OPT("o", SPAN("")), LOG_OPT("p", SPAN("x"))),
                "\"a b\" peer_down e=\"\" p=x");
    assert_text("r1", LOG_FIELDS(LOG_INT("least", INT64_MIN), LOG_INT("most", INT64_MAX), LOG_INT("zero", 0)),
                "r1 peer_down least=-9223372036854775808 most=9223372036854775807 zero=0");
}

static void test_a_line_is_a_line(void **state)
{
    (void)state;
    assert_text("r1", LOG_FIELDS(LOG_SPAN("evil", SPAN("x\nERROR\r\t\"\\\x1b[31m\x7f"))),
                "r1 peer_down evil=\"x\\nERROR\\r\\t\\\"\\\\\\u001b[31m\\u007f\"");
    /* C1 controls and Unicode's line ends; a NUL; what is not UTF-8 */
    assert_text("r1", LOG_FIELDS(LOG_SPAN("evil", SPAN("\xC2\x9B\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\0é😀"))),
                "r1 peer_down evil=\"\\u009b\\u0085\\u2028\\u2029\\u0000é😀\"");
    assert_text("r1", LOG_FIELDS(LOG_SPAN("evil", SPAN("\xFF\xC0\x80\xED\xA0\x80\xE6"))),
                "r1 peer_down evil=\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                "\xEF\xBF\xBD\"");
}

static void test_json(void **state)
{
    struct buffer line = {0};
    (void)state;
    format(&line, LOG_FORMAT_JSON, "r1", LOG_FIELDS(LOG_STR("peer", "a \"b\""), LOG_INT("n", -3)));
    json_t *object = json_loadb(line.data, line.length, JSON_REJECT_DUPLICATES, NULL);
    json_t *expected = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:i}", "ts", "2025-11-23T12:25:59.007Z",
                                 "level", "WARNING", "service", "gateway", "pid", (int)getpid(), "req", "r1",
                                 "event", "peer_down", "peer", "a \"b\"", "n", -3);
    assert_true(json_equal(object, expected));
    json_decref(object);
    json_decref(expected);
    format(&line, LOG_FORMAT_JSON, NULL, LOG_FIELDS(LOG_OPT("o", SPAN(""))));
    object = json_loadb(line.data, line.length, JSON_REJECT_DUPLICATES, NULL);
    assert_null(json_object_get(object, "req"));
    assert_int_equal(json_object_size(object), 5);
    json_decref(object);
    buffer_fini(&line);
}

/* Every pair of bytes, and then a third that may end a sequence. */
static void test_json_of_any_bytes(void **state)
{
    struct buffer line = {0};
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second += 5) {
            const char bytes[] = {(char)first, (char)second, (char)0xA8, '"'};
            struct span text = span_of(bytes, sizeof bytes);
            format(&line, LOG_FORMAT_JSON, "r1", LOG_FIELDS(LOG_SPAN("bytes", text)));
            json_t *object = json_loadb(line.data, line.length, JSON_ALLOW_NUL, NULL);
            assert_non_null(object);
            const json_t *value = json_object_get(object, "bytes");
            if (span_is_utf8(text)) {
                assert_true(span_equals(span_of(json_string_value(value), json_string_length(value)), text));
            }
            json_decref(object);
        }
    buffer_fini(&line);
}

static void test_long_values_are_cut(void **state)
{
    struct buffer line = {0};
    static char text[3 * LOG_VALUE_MAX_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "世"[i % 3];
    format(&line, LOG_FORMAT_JSON, "r1", LOG_FIELDS(LOG_SPAN("long", span_of(text, sizeof text))));
    json_t *object = json_loadb(line.data, line.length, 0, NULL);
    const char *value = json_string_value(json_object_get(object, "long"));
    assert_int_equal(strlen(value), LOG_VALUE_MAX_BYTES / 3 * 3 + 3);
    assert_string_equal(value + LOG_VALUE_MAX_BYTES / 3 * 3 - 3, "世…");
    json_decref(object);
    memset(text, '\x01', sizeof text); /* the most that a byte can become */
    format(&line, LOG_FORMAT_TEXT, "r1", LOG_FIELDS(LOG_SPAN("long", span_of(text, sizeof text))));
    assert_in_range(line.length, 6 * LOG_VALUE_MAX_BYTES, 6 * LOG_VALUE_MAX_BYTES + 200);
    buffer_fini(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_a_line_is_a_line),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_of_any_bytes),
        cmocka_unit_test(test_long_values_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
