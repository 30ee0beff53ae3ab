/* SPDX-License-Identifier: MIT */
#include "statsd/decimal.h"

enum { MICRO = 1000000, MICRO_DIGITS = 6, DIGITS_MAX = 24 };

/* Writes before `at`, at least `least` and at most 20 digits; returns where they begin. */
static char *digits(char *at, uint64_t value, int least)
{
    for (int i = 0; i < least || value > 0; i++, value /= 10)
        *--at = (char)('0' + value % 10);
    return at;
}

static uint64_t magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

int decimal_append(struct buffer *out, int64_t value)
{
    char text[DIGITS_MAX];
    char *at = digits(text + DIGITS_MAX, magnitude(value), 1);
    if (value < 0)
        *--at = '-';
    return buffer_append(out, at, (size_t)(text + DIGITS_MAX - at));
}

int decimal_append_micro(struct buffer *out, int64_t value_micro)
{
    char text[DIGITS_MAX];
    uint64_t value = magnitude(value_micro);
    int error = value_micro < 0 ? buffer_append_char(out, '-') : 0;
    char *at = digits(text + DIGITS_MAX, value / MICRO, 1);
    if (error == 0)
        error = buffer_append(out, at, (size_t)(text + DIGITS_MAX - at));
    if (error < 0 || value % MICRO == 0)
        return error;
    at = digits(text + DIGITS_MAX, value % MICRO, MICRO_DIGITS);
    size_t length = MICRO_DIGITS;
    while (at[length - 1] == '0')
        length--;
    error = buffer_append_char(out, '.');
    return error < 0 ? error : buffer_append(out, at, length);
}
