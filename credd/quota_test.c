/* SPDX-License-Identifier: MIT */
#include "credd/quota.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* 2025-06-01 00:00:00 at the service's home */
#define WALL_MS INT64_C(1748707200000)
#define MICRO   INT64_C(1000000)

static const struct quota_clock home = {.wall_ms = WALL_MS, .ahead_s = 8 * 3600};

#define READER int (*read)(const json_t *, const struct quota_clock *, struct quota *)

static struct quota read_good(READER, const char *text)
{
    struct quota quota;
    json_t *data = json_loads(text, 0, NULL);
    assert_non_null(data);
    int error = read(data, &home, &quota);
    json_decref(data);
    assert_int_equal(error, 0);
    return quota;
}

static void refuse(READER, const char *text)
{
    struct quota quota = {.remaining_micro = 77};
    json_t *data = json_loads(text, 0, NULL);
    assert_non_null(data);
    int error = read(data, &home, &quota);
    json_decref(data);
    assert_int_equal(error, ERR_INVALID);
    assert_int_equal(quota.remaining_micro, 77);
}

static void test_packages_are_added_up(void **state)
{
    (void)state;
    struct quota quota =
        read_good(quota_read_personal,
                  "{\"Response\":{\"Data\":{\"Accounts\":["
                  "{\"CycleCapacitySizePrecise\":\"1500\",\"CycleCapacityRemainPrecise\":\"0.250001\","
                  "\"CapacitySize\":9,"
                  "\"CapacityRemain\":9,\"CycleEndTime\":\"2025-07-01 00:00:00\"},"
                  "{\"CapacitySize\":100,\"CapacityRemain\":12.5,\"CycleEndTime\":\"2025-06-01 00:00:01\"},"
                  "{\"CapacitySizePrecise\":\"7.12345678\",\"CapacityRemainPrecise\":\"-3\",\"CycleEndTime\":"
                  "\"2025-05-31 "
                  "23:59:59\"}]}}}");
    assert_int_equal(quota.total_micro, 1607123456);
    assert_int_equal(quota.remaining_micro, 12750001);
    assert_int_equal(quota.resets_wall_ms, WALL_MS + 1000); /* the first that is to come */
    quota = read_good(quota_read_personal, "{\"Accounts\":[{\"CapacitySize\":1,\"CapacityRemain\":0}]}");
    assert_int_equal(quota.total_micro, MICRO);
    assert_int_equal(quota.remaining_micro, 0);
    assert_int_equal(quota.resets_wall_ms, 0);
}

static void test_an_enterprise_has_what_was_not_used(void **state)
{
    (void)state;
    struct quota quota =
        read_good(quota_read_enterprise, "{\"credit\":250.75,\"limitNum\":1500,\"cycleStartTime\":\"x\","
                                         "\"cycleEndTime\":\"2025-06-02 00:00:00\"}");
    assert_int_equal(quota.total_micro, 1500 * MICRO);
    assert_int_equal(quota.remaining_micro, 1249250000);
    assert_int_equal(quota.resets_wall_ms, WALL_MS + 86400000);
    quota = read_good(quota_read_enterprise, "{\"credit\":\"2000\",\"limitNum\":\"1500\"}");
    assert_int_equal(quota.remaining_micro, 0);
}

/* A site that writes UTC, and one at the other end of the day. */
static void test_dates_are_read_by_the_clock_of_the_site(void **state)
{
    static const int64_t ahead_s[] = {0, -5 * 3600, 8 * 3600};
    (void)state;
    for (size_t i = 0; i < sizeof ahead_s / sizeof ahead_s[0]; i++) {
        const struct quota_clock clock = {.wall_ms = WALL_MS, .ahead_s = ahead_s[i]};
        struct quota quota;
        json_t *data =
            json_loads("{\"credit\":1,\"limitNum\":5,\"cycleEndTime\":\"2025-06-02 00:00:00\"}", 0, NULL);
        assert_int_equal(quota_read_enterprise(data, &clock, &quota), 0);
        assert_int_equal(quota.resets_wall_ms, WALL_MS + (24 + 8) * INT64_C(3600000) - ahead_s[i] * 1000);
        json_decref(data);
    }
}

static void test_what_is_no_number_of_credits_is_refused(void **state)
{
    static const char *const bad[] = {"\"\"",
                                      "\".5\"",
                                      "\"5.\"",
                                      "\"1e3\"",
                                      "\" 5\"",
                                      "\"5 \"",
                                      "\"0x5\"",
                                      "\"--5\"",
                                      "\"-\"",
                                      "\"1,5\"",
                                      "null",
                                      "true",
                                      "[5]",
                                      "{}",
                                      "1000000001",
                                      "1e300",
                                      "\"nan\"",
                                      "\"1.2.3\"",
                                      "\"+5\"",
                                      "\"00000000000000000000000000000000000000001\"",
                                      "\"99999999999999999999\""};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"Accounts\":[{\"CapacitySize\":5,\"CapacityRemain\":%s}]}", bad[i]);
        refuse(quota_read_personal, text);
        snprintf(text, sizeof text, "{\"credit\":1,\"limitNum\":%s}", bad[i]);
        refuse(quota_read_enterprise, text);
    }
    refuse(quota_read_enterprise, "{\"credit\":1,\"limitNum\":0}");
    refuse(quota_read_enterprise, "{\"credit\":1,\"limitNum\":-1}");
    refuse(quota_read_enterprise, "{\"limitNum\":5}");
    refuse(quota_read_enterprise, "{}");
}

static void test_half_a_list_is_none(void **state)
{
    (void)state;
    refuse(quota_read_personal, "{}");
    refuse(quota_read_personal, "{\"Accounts\":[]}");
    refuse(quota_read_personal, "{\"Accounts\":{}}");
    refuse(quota_read_personal, "{\"Accounts\":[5]}");
    refuse(quota_read_personal,
           "{\"Accounts\":[{\"CapacitySize\":5,\"CapacityRemain\":5},{\"CapacitySize\":5}]}");
    refuse(quota_read_personal, "{\"Response\":[],\"Accounts\":\"x\"}");
}

static void test_the_most_there_can_be_is_no_overflow(void **state)
{
    struct quota quota;
    json_t *list = json_array(), *data = json_pack("{s:O}", "Accounts", list);
    (void)state;
    for (size_t i = 0; i < QUOTA_MAX_PACKAGES; i++)
        json_array_append_new(list, json_pack("{s:i,s:s}", "CapacitySize", QUOTA_MAX_CREDITS,
                                              "CapacityRemain", "1000000000.999999999"));
    int error = quota_read_personal(data, &home, &quota);
    json_array_append(list, json_array_get(list, 0));
    int error_of_more = quota_read_personal(data, &home, &quota);
    json_decref(list);
    json_decref(data);
    assert_int_equal(error, 0);
    assert_int_equal(quota.total_micro, QUOTA_MAX_PACKAGES * (QUOTA_MAX_CREDITS * MICRO));
    assert_true(quota.remaining_micro > quota.total_micro);
    assert_int_equal(error_of_more, ERR_INVALID);
}

static void test_what_is_no_date_is_none(void **state)
{
    static const char *const bad[] = {"\"2025-13-01 00:00:00\"",
                                      "\"2025-12-00 00:00:00\"",
                                      "\"2025-12-32 00:00:00\"",
                                      "\"2025-12-01 24:00:00\"",
                                      "\"2025-12-01 00:60:00\"",
                                      "\"2025-12-01T00:00:00\"",
                                      "\"2025-12-01 00:00:0\"",
                                      "\"2025-12-01 00:00:000\"",
                                      "\"0000-00-00 00:00:00\"",
                                      "\"202x-12-01 00:00:00\"",
                                      "1893456000000",
                                      "null",
                                      "\"\""};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"credit\":1,\"limitNum\":5,\"cycleEndTime\":%s}", bad[i]);
        assert_int_equal(read_good(quota_read_enterprise, text).resets_wall_ms, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packages_are_added_up),
        cmocka_unit_test(test_an_enterprise_has_what_was_not_used),
        cmocka_unit_test(test_dates_are_read_by_the_clock_of_the_site),
        cmocka_unit_test(test_what_is_no_number_of_credits_is_refused),
        cmocka_unit_test(test_half_a_list_is_none),
        cmocka_unit_test(test_the_most_there_can_be_is_no_overflow),
        cmocka_unit_test(test_what_is_no_date_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
