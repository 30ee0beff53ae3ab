/* SPDX-License-Identifier: MIT */
#include "upstream-worker/retry_after.h"

#include <strings.h>
#include <time.h>

enum { TEXT_MAX_BYTES = 1024, YEAR_S = 365 * 86400, CHINA_OFFSET_S = 8 * 3600 };

static int64_t bounded(int64_t wait_s)
{
    return wait_s < 0 ? 0 : wait_s > YEAR_S ? YEAR_S : wait_s;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A decimal number at *at, rounded up, saturating; moves *at past it. -1: there is none. */
static int64_t read_number(const char **at)
{
    int64_t value = 0;
    bool has_fraction = false;
    if (!is_digit(**at))
        return -1;
    for (; is_digit(**at); ++*at)
        if (value <= YEAR_S)
            value = value * 10 + (**at - '0');
    if (**at == '.' && is_digit((*at)[1]))
        for (++*at; is_digit(**at); ++*at)
            has_fraction = has_fraction || **at != '0';
    return value + has_fraction;
}

static bool copy_as_string(struct span text, char *out)
{
    if (text.length >= TEXT_MAX_BYTES || (text.length > 0 && memchr(text.data, '\0', text.length)))
        return false;
    if (text.length > 0)
        memcpy(out, text.data, text.length);
    out[text.length] = '\0';
    return true;
}

int64_t retry_after_parse_header(struct span value, int64_t now_wall_s)
{
    char text[TEXT_MAX_BYTES];
    struct tm date = {0};
    if (!copy_as_string(value, text))
        return 0;
    const char *at = text;
    int64_t seconds = read_number(&at);
    if (seconds >= 0)
        return *at == '\0' ? bounded(seconds) : 0;
    const char *end =
        strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &date); /* the process stays in the C locale */
    return end && *end == '\0' ? bounded((int64_t)timegm(&date) - now_wall_s) : 0;
}

/* `digits` digits at `at` as a number, -1 if they are not. */
static int read_digits(const char *at, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit(at[i]))
            return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

/* The zone at `at` (Z, UTC, UTC+8, +08:00, +0800) as seconds east of UTC; China's if there is none. */
static int64_t read_zone(const char *at)
{
    if (*at == '.')
        for (at++; is_digit(*at); at++)
            continue;
    while (*at == ' ')
        at++;
    bool is_named = *at == 'Z' || strncmp(at, "UTC", 3) == 0 || strncmp(at, "GMT", 3) == 0;
    if (is_named)
        at += *at == 'Z' ? 1 : 3;
    if ((*at != '+' && *at != '-') || !is_digit(at[1]))
        return is_named ? 0 : CHINA_OFFSET_S;
    int width = is_digit(at[2]) ? 2 : 1;
    int minutes = read_digits(at + 1 + width + (at[1 + width] == ':'), 2);
    int64_t offset_s = read_digits(at + 1, width) * 3600 + (minutes > 0 ? minutes * 60 : 0);
    return *at == '-' ? -offset_s : offset_s;
}

/* A date and time that begins at `at`; 0 if there is none. */
static int64_t read_date(const char *at)
{
    /* YYYY-MM-DD hh:mm:ss */
    int year = read_digits(at, 4), month, day, hour, minute, second;
    if (year < 2000 || (at[4] != '-' && at[4] != '/') || (month = read_digits(at + 5, 2)) < 1 ||
        at[7] != at[4] || (day = read_digits(at + 8, 2)) < 1 || (at[10] != ' ' && at[10] != 'T') ||
        (hour = read_digits(at + 11, 2)) < 0 || at[13] != ':' || (minute = read_digits(at + 14, 2)) < 0 ||
        at[16] != ':' || (second = read_digits(at + 17, 2)) < 0)
        return 0;
    struct tm date = {.tm_year = year - 1900,
                      .tm_mon = month - 1,
                      .tm_mday = day,
                      .tm_hour = hour,
                      .tm_min = minute,
                      .tm_sec = second};
    return (int64_t)timegm(&date) - read_zone(at + 19);
}

/* Seconds in the unit of time at *at; moves *at past it. 0: none. */
static int64_t read_unit(const char **at)
{
    static const struct {
        const char *word;
        int64_t seconds;
    } units[] = {
        {"seconds", 1}, {"second", 1}, {"secs", 1},  {"sec", 1},      {"minutes", 60},
        {"minute", 60}, {"mins", 60},  {"min", 60},  {"hours", 3600}, {"hour", 3600},
        {"秒钟", 1},    {"秒", 1},     {"分钟", 60}, {"分", 60},      {"个小时", 3600},
        {"小时", 3600}, {"ms", 0},     {"s", 1},     {"m", 60},       {"h", 3600},
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const char *end = *at + strlen(units[i].word);
        if (strncasecmp(*at, units[i].word, strlen(units[i].word)) != 0 || is_letter(*end))
            continue; /* "5 messages" are no minutes */
        *at = end;
        return units[i].seconds;
    }
    return 0;
}

static const char *skip_spaces(const char *at)
{
    while (*at == ' ')
        at++;
    return at;
}

/* "5 minutes" at `at`; *end is behind it. 0: none. */
static int64_t read_duration(const char *at, const char **end)
{
    int64_t number = read_number(&at);
    *end = at = skip_spaces(at);
    if (number < 0)
        return 0;
    number *= read_unit(end);
    return bounded(number);
}

/* True if `at` is just behind one of the words that announce a wait. */
static bool is_announced(const char *text, const char *at)
{
    static const char *const words[] = {"in", "after", "wait", "请等待", "等待"};
    while (at > text && at[-1] == ' ')
        at--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(at - text) >= length && strncasecmp(at - length, words[i], length) == 0)
            return true;
    }
    return false;
}

int64_t retry_after_parse_text(struct span text, int64_t now_wall_s)
{
    char copy[TEXT_MAX_BYTES];
    if (!copy_as_string(text, copy))
        return 0;
    for (const char *at = copy; *at; at++) {
        const char *end;
        if (!is_digit(*at) || (at > copy && (is_digit(at[-1]) || at[-1] == '.')))
            continue;
        int64_t date_s = read_date(at);
        if (date_s > now_wall_s)
            return bounded(date_s - now_wall_s);
        int64_t wait_s = read_duration(at, &end);
        if (wait_s > 0 && (is_announced(copy, at) || strncmp(skip_spaces(end), "后", strlen("后")) == 0))
            return wait_s;
    }
    return 0;
}
