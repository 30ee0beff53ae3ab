/* SPDX-License-Identifier: MIT */
/* Which text format an Accept header asks for (RFC 9110, 12.5.1, as far as two formats need it). */
#include "statsd/exposition.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span text)
{
    while (text.length > 0 && is_space(text.data[0]))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && is_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

/* The text before the next `separator`, trimmed; the rest stays in `rest`. False at the end. */
static bool next_part(struct span *rest, char separator, struct span *part)
{
    if (!rest->data)
        return false;
    const char *at = rest->length > 0 ? memchr(rest->data, separator, rest->length) : NULL;
    size_t length = at ? (size_t)(at - rest->data) : rest->length;
    *part = trim(span_of(rest->data, length));
    *rest = at ? span_of(at + 1, rest->length - length - 1) : span_of(NULL, 0);
    return true;
}

/* "0.75" in thousandths; anything odd counts as 0, that is: not wanted. */
static unsigned parse_quality(struct span text)
{
    unsigned value = 0, scale = 1000;
    bool after_point = false;
    for (size_t i = 0; i < text.length && i < 5; i++) {
        char c = text.data[i];
        if (c == '.' && !after_point) {
            after_point = true;
        } else if (c >= '0' && c <= '9') {
            if (after_point)
                scale /= 10;
            value += (unsigned)(c - '0') * scale;
        } else {
            return 0;
        }
    }
    return value > 1000 ? 1000 : value;
}

static void read_range(struct span range, unsigned *openmetrics, unsigned *text)
{
    struct span type, parameter;
    unsigned quality = 1000;
    bool other_version = false;
    if (!next_part(&range, ';', &type))
        return;
    while (next_part(&range, ';', &parameter)) {
        if (parameter.length > 2 && (parameter.data[0] | 0x20) == 'q' && parameter.data[1] == '=')
            quality = parse_quality(span_of(parameter.data + 2, parameter.length - 2));
        else if (span_starts_with(parameter, SPAN("version=")))
            other_version = !span_equals(parameter, SPAN("version=1.0.0"));
    }
    if (span_equals_ignoring_case(type, SPAN("application/openmetrics-text"))) {
        if (!other_version && quality > *openmetrics)
            *openmetrics = quality;
    } else if (span_equals_ignoring_case(type, SPAN("text/plain")) ||
               span_equals_ignoring_case(type, SPAN("text/*"))) {
        if (quality > *text)
            *text = quality;
    }
}

enum exposition_format exposition_negotiate(struct span accept)
{
    unsigned openmetrics = 0, text = 0;
    struct span range;
    while (next_part(&accept, ',', &range))
        read_range(range, &openmetrics, &text);
    return openmetrics > 0 && openmetrics >= text ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT;
}

const char *exposition_content_type(enum exposition_format format)
{
    return format == EXPOSITION_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                            : "text/plain; version=0.0.4; charset=utf-8";
}
