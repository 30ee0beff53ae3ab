/* SPDX-License-Identifier: MIT */
#include "proto/log.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log_sink.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* A peer or a client can cause any one line often; past this many in a second it is counted instead of
 * written. */
enum { REPEATS_PER_SECOND = 20, THROTTLE_SLOTS = 64 };
enum {
    ESCAPE_MAX_BYTES = 6,  /* what one byte of a value can become */
    NUMBER_MAX_BYTES = 20, /* of an int64_t */
    HEAD_MAX_BYTES = 256,  /* of a line, without request and event */
    SECOND_BYTES = 20      /* 2026-11-23T13:05:59. */
};

static const char ellipsis[] = "\xE2\x80\xA6";    /* U+2026: a value was cut */
static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD: a byte that is not UTF-8 */

struct throttle {
    const char *event; /* a literal: told apart by address */
    int64_t second;
    uint32_t seen, suppressed;
};

static struct {
    const char *service;
    _Atomic enum log_level level;
    enum log_format format;
    pid_t pid; /* 0: not known yet */
    struct throttle throttles[THROTTLE_SLOTS];
    int64_t second; /* whose text this is: strftime once a second */
    char second_text[SECOND_BYTES + 1];
    struct buffer line; /* its memory is used again */
} state = {.service = "-", .level = LOG_LEVEL_INFO, .second = -1};

/* Of all of `state` but its level. libuv's pool says how the disk is while the loop says everything else. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

void log_init(const char *service, enum log_level level)
{
    pthread_mutex_lock(&lock);
    state.service = service;
    state.level = level;
    state.pid = getpid();
    pthread_mutex_unlock(&lock);
    log_sink_open();
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

void log_set_format(enum log_format format)
{
    pthread_mutex_lock(&lock);
    state.format = format;
    pthread_mutex_unlock(&lock);
}

enum log_level log_present_level(void)
{
    return state.level;
}

enum log_level log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(level_names[i], name) == 0)
            return (enum log_level)i;
    return LOG_LEVEL_INFO;
}

enum log_format log_format_of(const char *name)
{
    return strcmp(name, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
}

bool log_is_on(enum log_level level)
{
    return level >= state.level;
}

/* Whether this line may pass; how many like it were held back since the last that did. */
static bool throttle_pass(const char *event, int64_t now_s, uint32_t *suppressed)
{
    struct throttle *slot = &state.throttles[((uintptr_t)event >> 3) % THROTTLE_SLOTS];
    *suppressed = 0;
    if (slot->event != event || slot->second != now_s) {
        *suppressed = slot->event == event ? slot->suppressed : 0;
        *slot = (struct throttle){event, now_s, 1, 0};
        return true;
    }
    if (++slot->seen <= REPEATS_PER_SECOND)
        return true;
    slot->suppressed++;
    return false;
}

/* ---- writing into memory that is there ---- */

static char *put(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

static char *put_text(char *at, const char *text)
{
    return put(at, text, strlen(text));
}

static char *put_number(char *at, int64_t number)
{
    char digits[NUMBER_MAX_BYTES];
    size_t used = sizeof digits;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        digits[--used] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        *at++ = '-';
    return put(at, digits + used, sizeof digits - used);
}

static bool is_plain(unsigned char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static char *put_unicode_escape(char *at, unsigned code)
{
    static const char hex[] = "0123456789abcdef";
    const char escape[ESCAPE_MAX_BYTES] = {
        '\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15], hex[code & 15]};
    return put(at, escape, sizeof escape);
}

static char *put_ascii_escape(char *at, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return put_unicode_escape(at, c);
    *at++ = '\\';
    *at++ = to[found - from];
    return at;
}

/* Beyond ASCII. What ends a line or commands a terminal (C1 controls, U+2028, U+2029) is escaped too. */
static char *put_sequence(char *at, const unsigned char *text, size_t length)
{
    if (length == 0)
        return put(at, replacement, sizeof replacement - 1);
    if (length == 2 && text[0] == 0xC2 && text[1] < 0xA0)
        return put_unicode_escape(at, text[1]);
    if (length == 3 && text[0] == 0xE2 && text[1] == 0x80 && (text[2] == 0xA8 || text[2] == 0xA9))
        return put_unicode_escape(at, 0x2000u + (text[2] & 0x3Fu));
    return put(at, (const char *)text, length);
}

/* A JSON string's inside, which is also what stands between a text line's quotes. */
static char *put_escaped(char *at, struct span text)
{
    const unsigned char *from = (const unsigned char *)text.data;
    size_t i = 0;
    while (i < text.length) {
        size_t start = i;
        while (i < text.length && is_plain(from[i]))
            i++;
        at = put(at, text.data + start, i - start);
        if (i == text.length)
            break;
        if (from[i] < 0x80) {
            at = put_ascii_escape(at, from[i++]);
        } else {
            size_t length = utf8_sequence_length(from + i, text.length - i);
            at = put_sequence(at, from + i, length);
            i += length > 0 ? length : 1;
        }
    }
    return at;
}

static bool needs_quotes(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (!is_plain(c) || c == ' ' || c == '=')
            return true;
    }
    return text.length == 0;
}

static char *put_value(char *at, struct span text, bool is_cut)
{
    if (state.format == LOG_FORMAT_TEXT && !is_cut && !needs_quotes(text))
        return put(at, text.data, text.length);
    *at++ = '"';
    at = put_escaped(at, text);
    if (is_cut)
        at = put_text(at, ellipsis);
    *at++ = '"';
    return at;
}

/* ---- parts of a line ---- */

/* Clips to what a value may have, not inside a character. */
static bool cut(struct span *text)
{
    if (text->length <= LOG_VALUE_MAX_BYTES)
        return false;
    size_t length = LOG_VALUE_MAX_BYTES;
    while (length > LOG_VALUE_MAX_BYTES - 4 && ((unsigned char)text->data[length] & 0xC0) == 0x80)
        length--;
    text->length = length;
    return true;
}

static char *put_key(char *at, const char *key)
{
    bool is_json = state.format == LOG_FORMAT_JSON;
    at = put_text(at, is_json ? ",\"" : " ");
    at = put_text(at, key);
    return put_text(at, is_json ? "\":" : "=");
}

/* Room for a key and anything around it. */
enum { AROUND_BYTES = 8 + sizeof ellipsis };

static int append_text(struct buffer *line, const char *key, struct span text)
{
    bool is_cut = cut(&text);
    int error = buffer_reserve(line, strlen(key) + text.length * ESCAPE_MAX_BYTES + AROUND_BYTES);
    if (error < 0)
        return error;
    char *at = put_value(put_key(line->data + line->length, key), text, is_cut);
    line->length = (size_t)(at - line->data);
    return 0;
}

static int append_number(struct buffer *line, const char *key, int64_t number)
{
    int error = buffer_reserve(line, strlen(key) + NUMBER_MAX_BYTES + AROUND_BYTES);
    if (error < 0)
        return error;
    char *at = put_number(put_key(line->data + line->length, key), number);
    line->length = (size_t)(at - line->data);
    return 0;
}

static int append_field(struct buffer *line, const struct log_field *field)
{
    if (field->kind == LOG_FIELD_NUMBER)
        return append_number(line, field->key, field->number);
    if (field->kind == LOG_FIELD_OPTIONAL && field->text.length == 0)
        return 0;
    return append_text(line, field->key, field->text);
}

static char *put_time(char *at, int64_t wall_ms)
{
    int64_t second = wall_ms / 1000;
    unsigned ms = (unsigned)(wall_ms % 1000);
    if (second != state.second) {
        time_t seconds = (time_t)second;
        struct tm utc;
        gmtime_r(&seconds, &utc);
        strftime(state.second_text, sizeof state.second_text, "%Y-%m-%dT%H:%M:%S.", &utc);
        state.second = second;
    }
    const char rest[] = {(char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
    return put(put(at, state.second_text, SECOND_BYTES), rest, sizeof rest);
}

static int append_head(struct buffer *line, int64_t wall_ms, enum log_level level)
{
    bool is_json = state.format == LOG_FORMAT_JSON;
    int error = buffer_reserve(line, HEAD_MAX_BYTES);
    if (error < 0)
        return error;
    char *at = put_text(line->data + line->length, is_json ? "{\"ts\":\"" : "");
    at = put_time(at, wall_ms);
    at = put_text(at, is_json ? "\",\"level\":\"" : " ");
    at = put_text(at, level_names[level]);
    at = put_text(at, is_json ? "\",\"service\":\"" : " ");
    at = put_text(at, state.service);
    at = put_text(at, is_json ? "\",\"pid\":" : " ");
    at = put_number(at, state.pid ? state.pid : getpid());
    line->length = (size_t)(at - line->data);
    return 0;
}

static int append_names(struct buffer *line, const char *request, const char *event)
{
    if (state.format == LOG_FORMAT_JSON) {
        int error = request ? append_text(line, "req", span_str(request)) : 0;
        return error < 0 ? error : append_text(line, "event", span_str(event));
    }
    int error = append_text(line, "req", span_str(request ? request : "-"));
    if (error == 0)
        error = buffer_append_char(line, ' ');
    return error < 0 ? error : buffer_append_span(line, span_str(event));
}

static int append_line(struct buffer *line, int64_t wall_ms, enum log_level level, const char *request,
                       const char *event, const struct log_field *fields, uint32_t suppressed)
{
    int error = append_head(line, wall_ms, level);
    if (error == 0)
        error = append_names(line, request, event);
    for (; error == 0 && fields->key; fields++)
        error = append_field(line, fields);
    if (error == 0 && suppressed > 0)
        error = append_number(line, "suppressed", suppressed);
    if (error == 0)
        error = buffer_append_span(line, state.format == LOG_FORMAT_JSON ? SPAN("}\n") : SPAN("\n"));
    return error;
}

int log_format_line(struct buffer *line, int64_t wall_ms, enum log_level level, const char *request,
                    const char *event, const struct log_field *fields)
{
    pthread_mutex_lock(&lock);
    int error = append_line(line, wall_ms, level, request, event, fields, 0);
    pthread_mutex_unlock(&lock);
    return error;
}

/* ---- writing ---- */

static void write_line(int64_t wall_ms, enum log_level level, const char *request, const char *event,
                       const struct log_field *fields, uint32_t suppressed)
{
    buffer_clear(&state.line);
    if (append_line(&state.line, wall_ms, level, request, event, fields, suppressed) == 0)
        log_sink_put(buffer_span(&state.line), level >= LOG_LEVEL_WARNING);
}

static void emit(enum log_level level, const char *request, const char *event, const struct log_field *fields)
{
    uint32_t suppressed = 0;
    int64_t wall_ms = clock_wall_ms();
    if (level >= LOG_LEVEL_WARNING && !throttle_pass(event, wall_ms / 1000, &suppressed))
        return;
    uint64_t lost_count = log_sink_take_lost();
    if (lost_count > 0)
        write_line(wall_ms, LOG_LEVEL_WARNING, NULL, "log_lines_lost",
                   LOG_FIELDS(LOG_INT("count", lost_count)), 0);
    write_line(wall_ms, level, request, event, fields, suppressed);
}

void log_emit(enum log_level level, const char *request, const char *event, const struct log_field *fields)
{
    if (level < state.level)
        return;
    pthread_mutex_lock(&lock);
    emit(level, request, event, fields);
    pthread_mutex_unlock(&lock);
}
