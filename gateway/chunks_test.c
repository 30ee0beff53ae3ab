/* SPDX-License-Identifier: MIT */
#include "gateway/chunks.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Follows `text` in pieces of `step` bytes; how many bytes were the body's goes to *used. */
static int follow(const char *text, size_t length, size_t step, struct chunks *chunks, size_t *used)
{
    *chunks = (struct chunks){0};
    *used = 0;
    for (size_t at = 0; at < length; at += step) {
        size_t size = length - at < step ? length - at : step, taken = 0;
        int result = chunks_follow(chunks, span_of(text + at, size), &taken);
        if (result < 0)
            return result;
        *used += taken;
        if (result == 1)
            return 1;
    }
    return 0;
}

static void test_good(void **state)
{
    static const char text[] =
        "5\r\nhello\r\nA;x=y\r\n0123456789\r\n000\r\nTrailer: a\r\nOther: b\r\n\r\nnext";
    (void)state;
    for (size_t step = 1; step < sizeof text; step++) {
        struct chunks chunks;
        size_t used;
        assert_int_equal(follow(text, sizeof text - 1, step, &chunks, &used), 1);
        assert_int_equal(used, sizeof text - 1 - 4);
        assert_int_equal(chunks.data_bytes, 15);
    }
}

static void test_truncations(void **state)
{
    static const char text[] = "5;e\r\nhello\r\n0\r\nT: a\r\n\r\n";
    (void)state;
    for (size_t length = 0; length < sizeof text - 1; length++) {
        struct chunks chunks;
        size_t used;
        assert_int_equal(follow(text, length, 3, &chunks, &used), 0);
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "\r\n",       "g\r\n",          "-1\r\n",      "+1\r\n",   " 1\r\n",
        "1 \r\n",     "0x1\r\n",        "1\n",         "1\r1",     "1;\n",
        "1;\x01\r\n", "123456789\r\n",  "1\r\naX",     "1\r\na\n", "1\r\na\rX",
        "1\r\n\na",   "0\r\n\n",        "0\r\nA: b\n", "0\r\n\rX", "1\r\na\r\n\r\n",
        ";x\r\n",     "0\r\nA\x01\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct chunks chunks;
        size_t used;
        int result = follow(bad[i], strlen(bad[i]), 1, &chunks, &used);
        /* "1\r\n\na": the LF is data, the `a` after it is not a CR */
        if (result != ERR_INVALID)
            fail_msg("accepted (%d): %s", result, bad[i]);
    }
}

static void test_floods(void **state)
{
    struct chunks chunks = {0};
    struct buffer text = {0};
    size_t used;
    (void)state;
    assert_int_equal(buffer_append_span(&text, SPAN("1;")), 0);
    for (int i = 0; i <= CHUNKS_MAX_EXTENSION_BYTES; i++)
        assert_int_equal(buffer_append_char(&text, 'e'), 0);
    assert_int_equal(chunks_follow(&chunks, buffer_span(&text), &used), ERR_INVALID);

    buffer_clear(&text);
    chunks = (struct chunks){0};
    assert_int_equal(buffer_append_span(&text, SPAN("0\r\n")), 0);
    for (int i = 0; i <= CHUNKS_MAX_TRAILER_BYTES / 16; i++)
        assert_int_equal(buffer_append_span(&text, SPAN("Trailer: 456789a\r\n")), 0);
    assert_int_equal(chunks_follow(&chunks, buffer_span(&text), &used), ERR_INVALID);

    buffer_clear(&text); /* each byte of data in a wrapping of 200 */
    chunks = (struct chunks){0};
    for (int i = 0; i < 200; i++)
        assert_int_equal(buffer_append_char(&text, i == 0 ? '1' : i == 1 ? ';' : 'e'), 0);
    assert_int_equal(buffer_append_span(&text, SPAN("\r\na\r\n")), 0);
    int result = 0;
    for (int i = 0; i < 10000 && result == 0; i++)
        result = chunks_follow(&chunks, buffer_span(&text), &used);
    assert_int_equal(result, ERR_INVALID);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_floods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
