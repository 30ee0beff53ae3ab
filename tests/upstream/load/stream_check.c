/* SPDX-License-Identifier: MIT */
#include "tests/upstream/load/stream_check.h"

#include <string.h>

#define HELD_MAX_BYTES ((size_t)64 << 20)

void stream_check_init(struct stream_check *check, bool plain)
{
    struct buffer held = check->held;

    buffer_clear(&held);
    *check = (struct stream_check){.plain = plain, .held = held};
}

void stream_check_fini(struct stream_check *check)
{
    buffer_fini(&check->held);
}

/* One numbered text. */
static void take_token(struct stream_check *check, uint32_t number)
{
    if (number == check->next) {
        check->tokens++;
        check->next++;
        return;
    }
    check->wrong++;
    if (number > check->next)
        check->next = number + 1; /* what is missing in between shows as lost */
}

/* Reads the numbered texts of a JSON string whose first byte is at data; returns behind it. */
static const char *take_tokens(struct stream_check *check, const char *data, const char *end)
{
    while (data < end && *data != '"') {
        if (*data == '\\') {
            data += data + 1 < end ? 2 : 1;
            continue;
        }
        if (*data == 't' && data + 1 < end && data[1] >= '0' && data[1] <= '9') {
            uint32_t number = 0;

            for (data++; data < end && *data >= '0' && *data <= '9'; data++)
                number = number * 10 + (uint32_t)(*data - '0');
            if (data < end && *data == ' ')
                take_token(check, number);
            continue;
        }
        data++;
    }
    return data;
}

/* Goes through all "content":"..." in the JSON text. */
static void take_contents(struct stream_check *check, struct span json)
{
    static const char name[] = "\"content\"";
    const char *end = json.data + json.size;
    const char *at = json.data;

    while ((at = memmem(at, (size_t)(end - at), name, sizeof(name) - 1))) {
        at += sizeof(name) - 1;
        while (at < end && (*at == ' ' || *at == ':'))
            at++;
        if (at < end && *at == '"')
            at = take_tokens(check, at + 1, end);
        if (at >= end)
            return;
    }
}

static void take_line(struct stream_check *check, struct span line)
{
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    if (!span_has_prefix(line, "data:"))
        return;
    line = (struct span){line.data + 5, line.size - 5};
    while (line.size && *line.data == ' ')
        line = (struct span){line.data + 1, line.size - 1};
    if (span_equal(line, "[DONE]")) {
        check->done = true;
        return;
    }
    check->done = false; /* it must be the last */
    check->events++;
    if (span_has_prefix(line, "{\"error\""))
        check->error_event = true;
    else
        take_contents(check, line);
}

static void hold(struct stream_check *check, const char *data, size_t size_bytes)
{
    if (check->held.size + size_bytes > HELD_MAX_BYTES)
        check->too_large = true;
    else
        buffer_append(&check->held, data, size_bytes);
}

void stream_check_feed(struct stream_check *check, struct span piece)
{
    const char *end = piece.data + piece.size;
    const char *at = piece.data, *feed;

    if (check->plain) {
        hold(check, at, piece.size);
        return;
    }
    while ((feed = memchr(at, '\n', (size_t)(end - at)))) {
        if (check->held.size) { /* the line began in an earlier piece */
            hold(check, at, (size_t)(feed - at));
            take_line(check, (struct span){check->held.data, check->held.size});
            buffer_clear(&check->held);
        } else {
            take_line(check, (struct span){at, (size_t)(feed - at)});
        }
        at = feed + 1;
    }
    if (at < end)
        hold(check, at, (size_t)(end - at));
}

void stream_check_end(struct stream_check *check)
{
    struct span body = {check->held.data, check->held.size};

    if (!check->plain)
        return;
    while (body.size && (body.data[body.size - 1] == '\n' || body.data[body.size - 1] == ' '))
        body.size--;
    take_contents(check, body);
    check->error_event = span_has_prefix(body, "{\"error\"");
    check->done = body.size > 1 && body.data[0] == '{' && body.data[body.size - 1] == '}' &&
                  memmem(body.data, body.size, "\"finish_reason\"", 15);
}
