/* SPDX-License-Identifier: MIT */
#include "proto/trace_context.h"
#include "proto/error.h"

#include <assert.h>

/* version "-" trace-id "-" parent-id "-" flags, and of later versions perhaps more */
enum { TRACE_ID_AT = 3, SPAN_ID_AT = 36, FLAGS_AT = 53 };
enum { KEY_MAX_BYTES = 256, TENANT_MAX_BYTES = 241, SYSTEM_MAX_BYTES = 14, VALUE_MAX_BYTES = 256 };

/* ---- traceparent ---- */

static bool is_lower_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_hex(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_lower_hex(text.data[i]))
            return false;
    return true;
}

/* Hex digits, not all of them 0. */
static bool is_id(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] != '0')
            return is_hex(text);
    return false;
}

static bool has_parent_shape(struct span text)
{
    const char *at = text.data;
    return text.length >= TRACE_PARENT_BYTES && at[TRACE_ID_AT - 1] == '-' && at[SPAN_ID_AT - 1] == '-' &&
           at[FLAGS_AT - 1] == '-' && is_hex(span_of(at, 2)) && is_hex(span_of(at + FLAGS_AT, 2)) &&
           is_id(span_of(at + TRACE_ID_AT, TRACE_ID_BYTES)) &&
           is_id(span_of(at + SPAN_ID_AT, TRACE_SPAN_BYTES));
}

/* Version 00 is that long and no longer; a later one may go on behind another "-"; there is no version ff. */
static bool has_version_length(struct span text)
{
    struct span version = span_of(text.data, 2);
    if (text.length == TRACE_PARENT_BYTES)
        return !span_equals(version, SPAN("ff"));
    return !span_equals(version, SPAN("00")) && !span_equals(version, SPAN("ff")) &&
           text.data[TRACE_PARENT_BYTES] == '-';
}

bool trace_parent_parse(struct span text, char parent[TRACE_PARENT_BYTES + 1])
{
    parent[0] = '\0';
    if (!has_parent_shape(text) || !has_version_length(text))
        return false;
    char last = text.data[FLAGS_AT + 1];
    bool is_sampled = ((last <= '9' ? last - '0' : last - 'a' + 10) & 1) != 0;
    memcpy(parent, text.data, TRACE_PARENT_BYTES);
    memcpy(parent, "00", 2);
    memcpy(parent + FLAGS_AT, is_sampled ? "01" : "00", sizeof "01"); /* with its NUL */
    return true;
}

struct span trace_parent_id(struct span parent)
{
    if (parent.length < TRACE_PARENT_BYTES)
        return span_of(NULL, 0);
    return span_of(parent.data + TRACE_ID_AT, TRACE_ID_BYTES);
}

void trace_parent_continue(char parent[TRACE_PARENT_BYTES + 1], struct span received, const char *span_id)
{
    assert(received.length == TRACE_PARENT_BYTES);
    memcpy(parent, received.data, TRACE_PARENT_BYTES);
    memcpy(parent + SPAN_ID_AT, span_id, TRACE_SPAN_BYTES);
    parent[TRACE_PARENT_BYTES] = '\0';
}

/* ---- tracestate ---- */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_key_rest(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (!is_lower(c) && !is_digit(c) && c != '_' && c != '-' && c != '*' && c != '/')
            return false;
    }
    return true;
}

/* lcalpha and up to 255 more, or tenant "@" system, of which the tenant may begin with a digit. */
static bool is_key(struct span key)
{
    const char *at = key.length ? memchr(key.data, '@', key.length) : NULL;
    if (!at)
        return key.length > 0 && key.length <= KEY_MAX_BYTES && is_lower(key.data[0]) && is_key_rest(key);
    struct span tenant = span_of(key.data, (size_t)(at - key.data));
    struct span system = span_of(at + 1, key.length - tenant.length - 1);
    return tenant.length > 0 && tenant.length <= TENANT_MAX_BYTES && system.length > 0 &&
           system.length <= SYSTEM_MAX_BYTES && (is_lower(tenant.data[0]) || is_digit(tenant.data[0])) &&
           is_lower(system.data[0]) && is_key_rest(tenant) && is_key_rest(system);
}

/* Printable ASCII without "," and "=", no space at its end. */
static bool is_value(struct span value)
{
    if (value.length == 0 || value.length > VALUE_MAX_BYTES || value.data[value.length - 1] == ' ')
        return false;
    for (size_t i = 0; i < value.length; i++) {
        char c = value.data[i];
        if (c < ' ' || c > '~' || c == ',' || c == '=')
            return false;
    }
    return true;
}

static bool is_member(struct span member)
{
    const char *equals = memchr(member.data, '=', member.length);
    if (!equals)
        return false;
    size_t key_bytes = (size_t)(equals - member.data);
    return is_key(span_of(member.data, key_bytes)) &&
           is_value(span_of(equals + 1, member.length - key_bytes - 1));
}

static struct span trim(struct span text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

static size_t count_members(struct span state)
{
    size_t count = state.length > 0 ? 1 : 0;
    for (size_t i = 0; i < state.length; i++)
        if (state.data[i] == ',')
            count++;
    return count;
}

int trace_state_add(struct buffer *state, struct span header)
{
    size_t count = count_members(buffer_span(state));
    while (header.length > 0) {
        const char *comma = memchr(header.data, ',', header.length);
        size_t length = comma ? (size_t)(comma - header.data) : header.length;
        struct span member = trim(span_of(header.data, length));
        size_t used = length + (comma ? 1 : 0);
        header = span_of(header.data + used, header.length - used);
        if (member.length == 0)
            continue; /* the standard allows empty ones */
        if (!is_member(member))
            return ERR_INVALID;
        if (++count > TRACE_STATE_MEMBERS || state->length + 1 + member.length > TRACE_STATE_BYTES)
            return ERR_TOO_LARGE;
        int error = state->length > 0 ? buffer_append_char(state, ',') : 0;
        if (error == 0)
            error = buffer_append_span(state, member);
        if (error < 0)
            return error;
    }
    return 0;
}
