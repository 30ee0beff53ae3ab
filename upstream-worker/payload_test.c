/* SPDX-License-Identifier: MIT */
#include "upstream-worker/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char whole[] = "onetwo threefour";

static void make(struct payload *payload)
{
    *payload = (struct payload){0};
    assert_int_equal(payload_add(payload, SPAN("one")), 0);
    assert_int_equal(payload_add(payload, SPAN("")), 0);
    assert_int_equal(payload_add(payload, SPAN("two three")), 0);
    assert_int_equal(payload_add(payload, SPAN("four")), 0);
    assert_int_equal(payload->length, sizeof whole - 1);
}

static void reads_in_any_step(void **state)
{
    struct payload payload;
    (void)state;
    make(&payload);
    for (size_t step = 1; step <= sizeof whole; step++) {
        struct payload_cursor cursor = {0};
        char out[sizeof whole] = {0};
        size_t done = 0, got;
        while ((got = payload_read(&payload, &cursor, out + done,
                                   step < sizeof whole - done ? step : sizeof whole - done)) > 0)
            done += got;
        assert_int_equal(done, sizeof whole - 1);
        assert_string_equal(out, whole);
    }
    payload_fini(&payload);
}

static void seeks(void **state)
{
    struct payload payload;
    struct payload_cursor cursor = {0};
    (void)state;
    make(&payload);
    for (size_t position = 0; position < sizeof whole; position++) {
        char out[sizeof whole] = {0};
        assert_true(payload_seek(&payload, &cursor, position));
        assert_int_equal(payload_read(&payload, &cursor, out, sizeof out), sizeof whole - 1 - position);
        assert_string_equal(out, whole + position);
    }
    assert_false(payload_seek(&payload, &cursor, sizeof whole));
    payload_fini(&payload);
}

static void flattens(void **state)
{
    struct payload payload;
    struct buffer out = {0};
    (void)state;
    make(&payload);
    assert_int_equal(payload_flatten(&payload, &out), 0);
    assert_true(span_equals(buffer_span(&out), span_str(whole)));
    buffer_fini(&out);
    payload_fini(&payload);
    assert_int_equal(payload_flatten(&payload, &out), 0); /* empty */
    assert_int_equal(out.length, 0);
    struct payload_cursor cursor = {0};
    char c;
    assert_int_equal(payload_read(&payload, &cursor, &c, 1), 0);
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_in_any_step), cmocka_unit_test(seeks),
                                       cmocka_unit_test(flattens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
