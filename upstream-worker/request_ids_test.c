/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static unsigned draw_count;

/* 00 01 02 … */
static void draw_in_order(void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)i;
    draw_count++;
}

static void draw_ones(void *bytes, size_t length)
{
    memset(bytes, 0xFF, length);
}

static void test_ids_are_the_random_bytes(void **state)
{
    (void)state;
    struct request_ids ids;
    char hex[ID_HEX_BYTES + 1], uuid[ID_UUID_BYTES + 1];
    request_ids_init(&ids, draw_in_order);
    request_ids_make_hex(&ids, hex);
    assert_string_equal(hex, "000102030405060708090a0b0c0d0e0f");
    request_ids_make_uuid(&ids, uuid);
    assert_string_equal(uuid, "10111213-1415-4617-9819-1a1b1c1d1e1f");
    request_ids_init(&ids, draw_ones);
    request_ids_make_uuid(&ids, uuid);
    assert_string_equal(uuid, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

static void draw_zeros(void *bytes, size_t length)
{
    memset(bytes, 0, length);
}

static void test_a_span_is_never_all_zero(void **state)
{
    (void)state;
    struct request_ids ids;
    char span[ID_SPAN_BYTES + 1];
    request_ids_init(&ids, draw_in_order);
    request_ids_make_span(&ids, span);
    assert_string_equal(span, "0001020304050607");
    request_ids_make_span(&ids, span);
    assert_string_equal(span, "1011121314151617");
    request_ids_init(&ids, draw_zeros);
    request_ids_make_span(&ids, span);
    assert_string_equal(span, "0000000000000001");
}

static void test_bytes_are_used_once(void **state)
{
    (void)state;
    struct request_ids ids;
    char hex[ID_HEX_BYTES + 1];
    draw_count = 0;
    request_ids_init(&ids, draw_in_order);
    assert_int_equal(draw_count, 0);
    for (int i = 0; i < 32; i++)
        request_ids_make_hex(&ids, hex);
    assert_int_equal(draw_count, 1);
    request_ids_make_hex(&ids, hex);
    assert_int_equal(draw_count, 2);
}

static void test_libsodium_is_the_default(void **state)
{
    (void)state;
    struct request_ids ids;
    char one[ID_HEX_BYTES + 1], two[ID_HEX_BYTES + 1];
    request_ids_init(&ids, NULL);
    request_ids_make_hex(&ids, one);
    request_ids_make_hex(&ids, two);
    assert_int_equal(strspn(one, "0123456789abcdef"), ID_HEX_BYTES);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_the_random_bytes),
        cmocka_unit_test(test_a_span_is_never_all_zero),
        cmocka_unit_test(test_bytes_are_used_once),
        cmocka_unit_test(test_libsodium_is_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
