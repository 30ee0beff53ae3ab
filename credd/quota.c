/* SPDX-License-Identifier: MIT */
#include "credd/quota.h"
#include "proto/error.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { MICRO = 1000000, TEXT_MAX_BYTES = 32, DATE_BYTES = 19 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, with at most one point between them. More than six places are cut. */
static bool read_decimal(const char *text, int64_t *micro)
{
    int64_t value = 0, places = MICRO;
    if (strlen(text) > TEXT_MAX_BYTES || !is_digit(*text))
        return false;
    for (; is_digit(*text); text++) {
        value = value * 10 + (*text - '0');
        if (value > QUOTA_MAX_CREDITS)
            return false;
    }
    value *= MICRO;
    if (*text == '.') {
        if (!is_digit(*++text))
            return false;
        for (; is_digit(*text); text++)
            value += (*text - '0') * (places /= 10);
    }
    *micro = value;
    return *text == '\0';
}

/* Below zero is an account that is overdrawn: it has none. */
static bool read_credits(const json_t *value, int64_t *micro)
{
    const char *text = json_string_value(value);
    if (text) {
        bool is_negative = *text == '-', is_read = read_decimal(text + is_negative, micro);
        if (is_read && is_negative)
            *micro = 0;
        return is_read;
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || number > QUOTA_MAX_CREDITS)
        return false;
    *micro = number > 0 ? (int64_t)(number * MICRO + 0.5) : 0;
    return true;
}

/* Two digits, or four. */
static int read_digits(const char *text, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* `2025-01-31 23:59:59`; 0: it is none, or none to come. */
static int64_t read_date(const json_t *value, const struct quota_clock *clock)
{
    static const char shape[] = "dddd-dd-dd dd:dd:dd";
    const char *text = json_string_value(value);
    if (!text || strlen(text) != DATE_BYTES)
        return 0;
    for (size_t i = 0; i < DATE_BYTES; i++)
        if (shape[i] == 'd' ? !is_digit(text[i]) : text[i] != shape[i])
            return 0;
    struct tm tm = {.tm_year = read_digits(text, 4) - 1900,
                    .tm_mon = read_digits(text + 5, 2) - 1,
                    .tm_mday = read_digits(text + 8, 2),
                    .tm_hour = read_digits(text + 11, 2),
                    .tm_min = read_digits(text + 14, 2),
                    .tm_sec = read_digits(text + 17, 2)};
    if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return 0;
    int64_t date_ms = ((int64_t)timegm(&tm) - clock->ahead_s) * 1000;
    return date_ms > clock->wall_ms ? date_ms : 0;
}

/* Adds one package. */
static bool add_package(const json_t *package, const struct quota_clock *clock, struct quota *sum)
{
    /* Of a package that refills, the cycle's numbers; the precise ones before the rounded. */
    static const char *const spellings[][2] = {{"CycleCapacitySizePrecise", "CycleCapacityRemainPrecise"},
                                               {"CycleCapacitySize", "CycleCapacityRemain"},
                                               {"CapacitySizePrecise", "CapacityRemainPrecise"},
                                               {"CapacitySize", "CapacityRemain"}};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        int64_t size, remain;
        if (!read_credits(json_object_get(package, spellings[i][0]), &size) ||
            !read_credits(json_object_get(package, spellings[i][1]), &remain))
            continue;
        int64_t end_ms = read_date(json_object_get(package, "CycleEndTime"), clock);
        sum->total_micro += size; /* 1,000 packages of 1e15 at most: below 2^63 */
        sum->remaining_micro += remain;
        if (end_ms && (!sum->resets_wall_ms || end_ms < sum->resets_wall_ms))
            sum->resets_wall_ms = end_ms;
        return true;
    }
    return false;
}

int quota_read_personal(const json_t *data, const struct quota_clock *clock, struct quota *quota)
{
    const json_t *inner = json_object_get(json_object_get(data, "Response"), "Data");
    const json_t *packages = json_object_get(inner ? inner : data, "Accounts"), *package;
    size_t i, count = json_array_size(packages);
    struct quota sum = {0};
    if (count == 0 || count > QUOTA_MAX_PACKAGES)
        return ERR_INVALID;
    json_array_foreach (packages, i, package) {
        if (!add_package(package, clock, &sum))
            return ERR_INVALID;
    }
    *quota = sum;
    return 0;
}

int quota_read_enterprise(const json_t *data, const struct quota_clock *clock, struct quota *quota)
{
    int64_t used, limit;
    if (!read_credits(json_object_get(data, "credit"), &used) ||
        !read_credits(json_object_get(data, "limitNum"), &limit) || limit == 0)
        return ERR_INVALID;
    *quota = (struct quota){.remaining_micro = used < limit ? limit - used : 0,
                            .total_micro = limit,
                            .resets_wall_ms = read_date(json_object_get(data, "cycleEndTime"), clock)};
    return 0;
}
