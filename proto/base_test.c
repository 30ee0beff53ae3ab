/* SPDX-License-Identifier: MIT */
/* bytes, key_number, secret, failure, error, outcome, log, and a process's descriptors. */
#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/failure.h"
#include "proto/key_number.h"
#include "proto/outcome.h"
#include "proto/process_usage.h"
#include "proto/secret.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>
#include <jansson.h>

static void test_utf8(void **state)
{
    static const char *const good[] = {"", "plain ascii text", "é", "汉字", "😀 end", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xe0\x80\x80",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "12345678\xff",
                                      "\xe6\xb1",     "\xf5\x80\x80\x80"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(span_is_utf8(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(span_is_utf8(span_str(bad[i])));
}

static void test_numbers(void **state)
{
    uint64_t value;
    (void)state;
    assert_true(span_to_u64(SPAN("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_false(span_to_u64(SPAN("18446744073709551616"), &value));
    assert_false(span_to_u64(SPAN(""), &value));
    assert_true(span_hex16_value(SPAN("0123456789abcdef")) == 0x0123456789abcdef);
    assert_true(span_hex16_value(SPAN("ffffffffffffffff")) == UINT64_MAX);
    static const char *const no_ids[] = {"", "123456789abcdef", "0123456789abcdef0", "0123456789abcdeF",
                                         "0123456789abcde "};
    for (size_t i = 0; i < sizeof no_ids / sizeof *no_ids; i++)
        assert_true(span_hex16_value(span_str(no_ids[i])) == 0);
    assert_false(span_to_u64(SPAN("-1"), &value));
    assert_false(span_to_u64(SPAN("1 "), &value));
}

static void test_header_safety(void **state)
{
    (void)state;
    assert_true(span_is_header_safe(SPAN("Bearer abc é")));
    assert_false(span_is_header_safe(SPAN("a\r\nX: y")));
    assert_false(span_is_header_safe(SPAN("a\0b")));
    assert_false(span_is_header_safe(SPAN("a\x7f")));
}

static void test_buffer(void **state)
{
    struct buffer buffer = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buffer_printf(&buffer, "%d,", i), 0);
    assert_memory_equal(buffer.data, "0,1,2,", 6);
    buffer_consume(&buffer, 4);
    assert_memory_equal(buffer.data, "2,3,", 4);
    buffer_consume(&buffer, buffer.length);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), ERR_NOMEM);
    buffer_fini(&buffer);
}

static void test_json_strings_always_are_json(void **state)
{
    struct buffer buffer = {0};
    (void)state;
    struct span text = SPAN("q\" b\\ \x01\n\t\xff é 😀 \xe6");
    assert_int_equal(buffer_append_json_string(&buffer, text), 0);
    json_t *value = json_loadb(buffer.data, buffer.length, JSON_DECODE_ANY, NULL);
    assert_string_equal(json_string_value(value), "q\" b\\ \x01\n\t\xEF\xBF\xBD é 😀 \xEF\xBF\xBD");
    json_decref(value);
    buffer_fini(&buffer);
}

static void test_secrets_compare_and_vanish(void **state)
{
    struct secret secret = {0};
    (void)state;
    assert_int_equal(secret_set(&secret, SPAN("correct horse")), 0);
    assert_true(secret_equals(&secret, SPAN("correct horse")));
    assert_false(secret_equals(&secret, SPAN("correct horsf")));
    assert_false(secret_equals(&secret, SPAN("correct hors")));
    assert_false(secret_equals(&secret, SPAN("")));
    secret_fini(&secret);
    assert_true(secret_is_empty(&secret));
}

static void test_failures_are_json_errors(void **state)
{
    (void)state;
    for (int i = -1; i <= FAILURE_COUNT; i++) {
        struct buffer body = {0};
        assert_int_equal(failure_append_json(&body, (enum failure)i, SPAN(""), SPAN(""), SPAN(""), SPAN("")),
                         0);
        json_t *error = json_loadb(body.data, body.length, 0, NULL);
        const json_t *inner = json_object_get(error, "error");
        assert_string_equal(json_string_value(json_object_get(inner, "code")), failure_code((enum failure)i));
        assert_true(json_is_null(json_object_get(inner, "param")));
        assert_in_range(failure_status((enum failure)i), 400, 504);
        json_decref(error);
        buffer_fini(&body);
    }
    struct buffer body = {0};
    failure_append_json(&body, FAILURE_INVALID_REQUEST, SPAN("m\"x"), SPAN("t"), SPAN("c"), SPAN("p"));
    assert_int_equal(
        body.length,
        strlen("{\"error\":{\"message\":\"m\\\"x\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}"));
    buffer_fini(&body);
    assert_string_equal(failure_message(FAILURE_INVALID_API_KEY), "Invalid password or API key.");
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(error_text(ERR_TIMEOUT), "timed out");
    assert_string_equal(error_text(-999), "unknown error");
    assert_true(error_can_retry(ERR_BUSY));
    assert_false(error_can_retry(ERR_INVALID));
    assert_string_equal(outcome_word(OUTCOME_MODEL_NOT_SERVED), "model_not_served");
    assert_string_equal(outcome_word(OUTCOME_COUNT), "unknown");
}

static void test_key_numbers(void **state)
{
    static const char *const none[] = {"",
                                       "password",
                                       "key_",
                                       "key_0123456789abcde",
                                       "key_0123456789abcdef0",
                                       "KEY_0123456789abcdef",
                                       "key_0123456789ABCDEF",
                                       "key_0123456789abcdeg"};
    char id[KEY_ID_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_true(key_number(span_str(none[i])) == 0);
    assert_true(key_number(SPAN("key_fedcba9876543210")) == 0xfedcba9876543210);
    key_id_write(0xfedcba9876543210, id);
    assert_string_equal(id, "key_fedcba9876543210");
    key_id_write(1, id);
    assert_string_equal(id, "key_0000000000000001");
}

/* As under an engine that starts us with few: up to the hard limit, which stays. */
static void test_descriptors(void **state)
{
    struct rlimit before, few, after;
    struct process_usage usage;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){64, before.rlim_max < 4096 ? before.rlim_max : 4096};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    process_usage_allow_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_int_equal(after.rlim_cur, few.rlim_max);
    assert_int_equal(after.rlim_max, few.rlim_max);
    process_usage_read(&usage, 0);
    assert_int_equal(usage.max_fds, few.rlim_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_header_safety),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_json_strings_always_are_json),
        cmocka_unit_test(test_secrets_compare_and_vanish),
        cmocka_unit_test(test_failures_are_json_errors),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_key_numbers),
        cmocka_unit_test(test_descriptors),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
