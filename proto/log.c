/* SPDX-License-Identifier: MIT */
#include "proto/log.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

/* A peer or a client can cause any one line often; past this many in a second it is counted instead of
 * written. */
enum { REPEATS_PER_SECOND = 20, THROTTLE_SLOTS = 64 };

struct throttle {
    const char *event; /* a literal: told apart by address */
    int64_t second;
    uint32_t seen, suppressed;
};

static struct {
    const char *service;
    enum log_level level;
    struct throttle throttles[THROTTLE_SLOTS];
} state = {"-", LOG_INFO, {{0}}};

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

void log_init(const char *service, enum log_level level)
{
    state.service = service;
    state.level = level;
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

enum log_level log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(level_names[i], name) == 0)
            return (enum log_level)i;
    return LOG_INFO;
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

static bool needs_quotes(struct span text)
{
    if (text.length == 0)
        return true;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F)
            return true;
    }
    return false;
}

static int append_value(struct buffer *line, const struct log_field *field)
{
    if (field->is_number)
        return buffer_printf(line, " %s=%" PRId64, field->key, field->number);
    int error = buffer_printf(line, " %s=", field->key);
    if (error < 0)
        return error;
    return needs_quotes(field->text) ? buffer_append_json_string(line, field->text)
                                     : buffer_append_span(line, field->text);
}

static int append_time(struct buffer *line, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    return buffer_printf(line, "%s.%03dZ", text, (int)(wall_ms % 1000));
}

int log_format(struct buffer *line, int64_t wall_ms, enum log_level level, const char *request,
               const char *event, const struct log_field *fields)
{
    int error = append_time(line, wall_ms);
    if (error == 0)
        error = buffer_printf(line, " %s %s %d req=%s %s", level_names[level], state.service, (int)getpid(),
                              request ? request : "-", event);
    for (; error == 0 && fields->key; fields++)
        error = append_value(line, fields);
    return error < 0 ? error : buffer_append_char(line, '\n');
}

void log_emit(enum log_level level, const char *request, const char *event, const struct log_field *fields)
{
    uint32_t suppressed = 0;
    int64_t wall_ms = clock_wall_ms();
    if (level < state.level)
        return;
    if (level >= LOG_WARNING && !throttle_pass(event, wall_ms / 1000, &suppressed))
        return;
    struct buffer line;
    buffer_init(&line);
    if (log_format(&line, wall_ms, level, request, event, fields) == 0) {
        if (suppressed > 0) {
            line.length--; /* put the count before the newline */
            buffer_printf(&line, " suppressed=%u\n", suppressed);
        }
        ssize_t written = write(STDERR_FILENO, line.data, line.length);
        (void)written; /* a log that cannot be written has nowhere to complain */
    }
    buffer_fini(&line);
}
