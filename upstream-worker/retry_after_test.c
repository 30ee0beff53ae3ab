/* SPDX-License-Identifier: MIT */
#include "upstream-worker/retry_after.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t now_s = 1735689600; /* 2025-01-01 00:00:00 UTC, 08:00:00 in China */

struct row {
    const char *text;
    int64_t wait_s;
};

static void check(const struct row *rows, size_t count,
                  int64_t (*parse)(struct span text, int64_t now_wall_s))
{
    for (size_t i = 0; i < count; i++) {
        int64_t wait_s = parse(span_str(rows[i].text), now_s);
        if (wait_s != rows[i].wait_s)
            fail_msg("%s: %lld", rows[i].text, (long long)wait_s);
    }
}

static void reads_headers(void **state)
{
    static const struct row rows[] = {
        {"", 0},
        {"0", 0},
        {"30", 30},
        {"1.2", 2},
        {"1.0", 1},
        {"99999999999999999999999", 365 * 86400},
        {"-5", 0},
        {"30 s", 0},
        {"soon", 0},
        {"Wed, 01 Jan 2025 00:02:00 GMT", 120},
        {"Tue, 31 Dec 2024 23:59:00 GMT", 0},
        {"Wed, 01 Jan 2025 00:02:00 GMT x", 0},
        {"Wed, 01 Jan 2025", 0},
    };
    (void)state;
    check(rows, sizeof rows / sizeof *rows, retry_after_parse_header);
    assert_int_equal(retry_after_parse_header((struct span){0}, now_s), 0);
    assert_int_equal(retry_after_parse_header(span_of("3\0", 2), now_s), 0);
    char longest[5000];
    memset(longest, '1', sizeof longest);
    assert_int_equal(retry_after_parse_header(span_of(longest, sizeof longest), now_s), 0);
}

static void reads_sentences(void **state)
{
    static const struct row rows[] = {
        {"Rate limit reached, please try again in 20s.", 20},
        {"Please retry after 30 seconds", 30},
        {"Try again in 1.5 minutes", 120},
        {"wait 2 hours", 7200},
        {"请 30 秒后重试", 30},
        {"请在5分钟后重试", 300},
        {"请等待 10 秒", 10},
        {"Quota resets at 2025-01-01 08:05:00", 300},
        {"resets at 2025-01-01T00:05:00Z", 300},
        {"resets at 2025-01-01 02:05:00.123 +02:00", 300},
        {"resets at 2025/01/01 08:05:00 UTC", 29100},
        {"resets at 2025-01-01 08:05:00 UTC+8", 300},
        {"resets at 2025-01-01 05:35:00 GMT+0530", 300},
        {"resets at 2024-12-31 23:05:00 UTC-1", 300},
        {"resets at 2025-01-01 08:05:00 UTC+8", 300},
        {"resets at 2025-01-01 08:05:00 +0800", 300},
        {"resets at 2024-12-31 19:05:00 GMT-05:00", 300},
        {"it was reset at 2024-12-31 23:00:00", 0},
        {"limit of 60 requests per 1 minute", 0},
        {"after 5 messages", 0},
        {"in 250ms", 0},
        {"2025-13", 0},
        {"20", 0},
        {"in ", 0},
        {"", 0},
    };
    (void)state;
    check(rows, sizeof rows / sizeof *rows, retry_after_parse_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_headers), cmocka_unit_test(reads_sentences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
