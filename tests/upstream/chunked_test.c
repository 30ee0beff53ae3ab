/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/chunked.h"

static const char coded[] = "5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\nX-T: v\r\n\r\nNEXT";

/* Feeds text in steps of at most step bytes; returns the last result, and where it stood. */
static enum chunked_result decode(const char *text, size_t size, size_t step, struct buffer *out, size_t *end)
{
    struct chunked chunked = {0};
    enum chunked_result result = CHUNKED_MORE;
    size_t at = 0;

    while (at < size && result != CHUNKED_END && result != CHUNKED_BAD) {
        size_t take = size - at < step ? size - at : step, consumed;
        struct span piece;

        result = chunked_decode(&chunked, text + at, take, &consumed, &piece);
        assert_true(consumed <= take);
        if (result == CHUNKED_PIECE)
            buffer_append(out, piece.data, piece.size);
        at += consumed;
    }
    *end = at;
    return result;
}

static void any_step(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof(coded); step++) {
        struct buffer out = {0};
        size_t end;

        assert_int_equal(decode(coded, sizeof(coded) - 1, step, &out, &end), CHUNKED_END);
        assert_int_equal(end, sizeof(coded) - 1 - 4);
        assert_int_equal(out.size, 15);
        assert_memory_equal(out.data, "hello0123456789", 15);
        buffer_fini(&out);
    }
}

static void every_truncation_goes_on(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(coded) - 1 - 4; size++) {
        struct buffer out = {0};
        size_t end;
        enum chunked_result result = decode(coded, size, 3, &out, &end);

        assert_true(result == CHUNKED_MORE || result == CHUNKED_PIECE);
        buffer_fini(&out);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {"x\r\n",      "\r\n", "-1\r\n", "1\r\nab", "1234567890123456\r\n",
                                      "5\r\nhelloX"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buffer out = {0};
        size_t end;

        assert_int_equal(decode(bad[i], strlen(bad[i]), 99, &out, &end), CHUNKED_BAD);
        buffer_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_step), cmocka_unit_test(every_truncation_goes_on),
                                       cmocka_unit_test(refuses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
