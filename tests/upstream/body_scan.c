/* SPDX-License-Identifier: MIT */
#include "tests/upstream/body_scan.h"

#include <string.h>

enum body_key {
    KEY_OTHER,
    KEY_MODEL,
    KEY_STREAM,
    KEY_STREAM_OPTIONS,
    KEY_INCLUDE_USAGE,
    KEY_MESSAGES,
    KEY_ROLE,
};

/* Depths: 1 = the body's object, 2 = stream_options or the messages array, 3 = a message. */
enum { DEPTH_BODY = 1, DEPTH_OPTIONS = 2, DEPTH_MESSAGE = 3 };

void body_scan_init(struct body_scan *scan)
{
    /* The model's bytes are only read up to model_size: no need to wipe 1 KiB for each request. */
    memset((char *)scan + sizeof(scan->model), 0, sizeof(*scan) - sizeof(scan->model));
}

bool body_scan_is_whole(const struct body_scan *scan)
{
    return scan->over && !scan->bad;
}

static bool in_object(const struct body_scan *scan)
{
    unsigned at = scan->depth - 1;

    return scan->depth > 0 && (scan->is_object[at / 64] >> (at % 64) & 1);
}

static enum body_key key_of(const char *text, size_t size)
{
    static const struct {
        const char *text;
        enum body_key key;
    } keys[] = {
        {"model", KEY_MODEL},
        {"stream", KEY_STREAM},
        {"stream_options", KEY_STREAM_OPTIONS},
        {"include_usage", KEY_INCLUDE_USAGE},
        {"messages", KEY_MESSAGES},
        {"role", KEY_ROLE},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strlen(keys[i].text) == size && memcmp(keys[i].text, text, size) == 0)
            return keys[i].key;
    return KEY_OTHER;
}

static bool is_model_value(const struct body_scan *scan)
{
    return !scan->string_is_key && scan->depth == DEPTH_BODY && scan->top_key == KEY_MODEL;
}

static bool is_role_value(const struct body_scan *scan)
{
    return !scan->string_is_key && scan->depth == DEPTH_MESSAGE && scan->top_key == KEY_MESSAGES &&
           scan->sub_key == KEY_ROLE;
}

static void keep_model(struct body_scan *scan, const char *data, size_t size)
{
    if (size > sizeof(scan->model) - scan->model_size) {
        scan->model_too_long = true;
        return;
    }
    memcpy(scan->model + scan->model_size, data, size);
    scan->model_size += size;
}

static void keep_text(struct body_scan *scan, const char *data, size_t size)
{
    if (size >= sizeof(scan->text) - scan->text_size) {
        scan->text_size = sizeof(scan->text);
        return;
    }
    memcpy(scan->text + scan->text_size, data, size);
    scan->text_size = (unsigned char)(scan->text_size + size);
}

static void keep_string(struct body_scan *scan, const char *data, size_t size)
{
    if (scan->string_is_key || is_role_value(scan))
        keep_text(scan, data, size);
    else if (is_model_value(scan))
        keep_model(scan, data, size);
}

static void end_string(struct body_scan *scan)
{
    scan->in_string = false;
    if (scan->string_is_key && scan->depth == DEPTH_BODY) {
        scan->top_key = (unsigned char)key_of(scan->text, scan->text_size);
        if (scan->top_key == KEY_MODEL)
            scan->model_size = 0; /* a repeated key: the last one counts */
    } else if (scan->string_is_key) {
        scan->sub_key = (unsigned char)key_of(scan->text, scan->text_size);
    } else if (is_model_value(scan)) {
        scan->model_seen = true;
    } else if (is_role_value(scan)) {
        if (scan->text_size == 9 && memcmp(scan->text, "developer", 9) == 0)
            scan->has_developer = true;
        if (scan->message_count == 1)
            scan->first_is_system = scan->text_size == 6 && memcmp(scan->text, "system", 6) == 0;
    }
}

/* Runs to the end of a string or of the bytes; returns how many it took. */
static size_t scan_string(struct body_scan *scan, const char *data, size_t size_bytes)
{
    size_t start = 0, at = 0;

    while (at < size_bytes) {
        if (scan->escaped) {
            scan->escaped = false;
            at++;
            continue;
        }
        while (at < size_bytes && data[at] != '"' && data[at] != '\\')
            at++;
        if (at == size_bytes)
            break;
        if (data[at] == '"') {
            keep_string(scan, data + start, at - start);
            end_string(scan);
            return at + 1;
        }
        scan->escaped = true;
        at++;
    }
    keep_string(scan, data + start, at - start);
    return at;
}

static void open_container(struct body_scan *scan, bool object)
{
    unsigned at = scan->depth;

    if (at == BODY_SCAN_DEPTH_MAX || (at == 0 && (!object || scan->over))) {
        scan->bad = true;
        return;
    }
    if (object)
        scan->is_object[at / 64] |= UINT64_C(1) << (at % 64);
    else
        scan->is_object[at / 64] &= ~(UINT64_C(1) << (at % 64));
    scan->depth++;
    scan->expects_key = object;
    if (object && scan->depth == DEPTH_MESSAGE && scan->top_key == KEY_MESSAGES) {
        scan->message_count++;
        scan->sub_key = KEY_OTHER;
    }
}

static void close_container(struct body_scan *scan, bool object)
{
    if (scan->depth == 0 || in_object(scan) != object) {
        scan->bad = true;
        return;
    }
    scan->depth--;
    scan->expects_key = false;
    if (scan->depth == 0)
        scan->over = true;
}

static void start_scalar(struct body_scan *scan, char first)
{
    enum body_truth truth = first == 't' ? BODY_TRUE : BODY_OTHER;

    if (scan->depth == 0)
        scan->bad = true;
    else if (scan->depth == DEPTH_BODY && scan->top_key == KEY_STREAM)
        scan->stream = truth;
    else if (scan->depth == DEPTH_OPTIONS && scan->top_key == KEY_STREAM_OPTIONS &&
             scan->sub_key == KEY_INCLUDE_USAGE)
        scan->include_usage = truth;
}

static void scan_byte(struct body_scan *scan, char byte)
{
    bool value = scan->at_value;

    scan->at_value = false;
    switch (byte) {
    case '"':
        scan->in_string = true;
        scan->string_is_key = scan->expects_key;
        scan->text_size = 0;
        scan->bad |= scan->depth == 0;
        if (value)
            start_scalar(scan, '"');
        break;
    case '{':
    case '[':
        open_container(scan, byte == '{');
        break;
    case '}':
    case ']':
        close_container(scan, byte == '}');
        break;
    case ':':
        scan->bad |= !scan->expects_key;
        scan->expects_key = false;
        scan->at_value = true;
        break;
    case ',':
        scan->expects_key = in_object(scan);
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        scan->at_value = value;
        break;
    default:
        if (value)
            start_scalar(scan, byte);
        else if (scan->depth == 0)
            scan->bad = true;
        break;
    }
}

void body_scan_feed(struct body_scan *scan, const char *data, size_t size_bytes)
{
    size_t at = 0;

    while (at < size_bytes && !scan->bad) {
        if (scan->in_string)
            at += scan_string(scan, data + at, size_bytes - at);
        else
            scan_byte(scan, data[at++]);
    }
}
