/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/upstream/body_scan.h"
#include "tests/upstream/buffer.h"

static const char good[] =
    "{ \"messages\" : [ "
    "{\"content\":\"{[\\\"stream\\\":false]}\",\"role\":\"system\",\"x\":{\"role\":\"developer\"}},"
    "{\"role\":\"user\",\"content\":[{\"role\":\"developer\",\"type\":\"text\"}]}],\n"
    "\"model\":\"old\", \"model\" : \"s:chunks?n=1\\u0026size=2\", \"stream\":true,"
    "\"stream_options\":{\"include_usage\": true}, \"temperature\": 0.5 }";

static struct body_scan scan_steps(const char *text, size_t size, size_t step)
{
    struct body_scan scan;

    memset(&scan, 0xff, sizeof(scan)); /* init must not count on zeroed memory */
    body_scan_init(&scan);
    for (size_t at = 0; at < size; at += step)
        body_scan_feed(&scan, text + at, size - at < step ? size - at : step);
    return scan;
}

static struct body_scan scan_text(const char *text)
{
    return scan_steps(text, strlen(text), strlen(text));
}

static void finds_what_matters_in_any_steps(void **state)
{
    (void)state;
    for (size_t step = 1; step < sizeof(good); step++) {
        struct body_scan scan = scan_steps(good, sizeof(good) - 1, step);

        assert_true(body_scan_is_whole(&scan));
        assert_int_equal(scan.model_size, strlen("s:chunks?n=1\\u0026size=2"));
        assert_memory_equal(scan.model, "s:chunks?n=1\\u0026size=2", scan.model_size);
        assert_int_equal(scan.stream, BODY_TRUE);
        assert_int_equal(scan.include_usage, BODY_TRUE);
        assert_int_equal(scan.message_count, 2);
        assert_true(scan.first_is_system);
        assert_false(scan.has_developer); /* only a message's own role counts */
    }
}

static void every_truncation_is_not_whole(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(good) - 1; size++) {
        struct body_scan scan = scan_steps(good, size, 7);

        assert_false(body_scan_is_whole(&scan));
    }
}

static void tells_other_values(void **state)
{
    struct body_scan scan =
        scan_text("{\"stream\":false,\"messages\":[{\"role\":\"user\"},{\"role\":\"developer\"}]}");

    (void)state;
    assert_int_equal(scan.stream, BODY_OTHER);
    assert_int_equal(scan.include_usage, BODY_MISSING);
    assert_false(scan.model_seen);
    assert_false(scan.first_is_system);
    assert_true(scan.has_developer);
    scan = scan_text("{\"stream\":\"true\",\"model\":5}");
    assert_int_equal(scan.stream, BODY_OTHER);
    assert_false(scan.model_seen);
}

static void refuses(void **state)
{
    static const char *const bad[] = {"[]", "{}}", "{]", "5", "\"x\"", "{\"a\":[}", "{} {}", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct body_scan scan = scan_text(bad[i]);

        assert_false(body_scan_is_whole(&scan));
    }
}

static void depth_and_length_are_bounded(void **state)
{
    struct buffer text = {0};
    struct body_scan scan;

    (void)state;
    buffer_append_text(&text, "{\"a\":");
    buffer_append_fill(&text, '[', 3000);
    scan = scan_steps(text.data, text.size, 100);
    assert_true(scan.bad);
    buffer_clear(&text);
    buffer_append_text(&text, "{\"model\":\"");
    buffer_append_fill(&text, 'm', 3000);
    buffer_append_text(&text, "\"}");
    scan = scan_steps(text.data, text.size, 100);
    assert_true(body_scan_is_whole(&scan) && scan.model_too_long);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_matters_in_any_steps),
                                       cmocka_unit_test(every_truncation_is_not_whole),
                                       cmocka_unit_test(tells_other_values), cmocka_unit_test(refuses),
                                       cmocka_unit_test(depth_and_length_are_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
