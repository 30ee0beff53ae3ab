/* SPDX-License-Identifier: MIT */
#include "gateway/head.h"
#include "proto/error.h"

/* ---- characters (RFC 9110, 5.6.2 and 5.5) ---- */

static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c > ' ' && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_token_char((unsigned char)text.data[i]))
            return false;
    return text.length > 0;
}

static bool is_field_value(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_target(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c >= 0x7f || c == '#')
            return false;
    }
    return text.length > 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- cutting ---- */

static struct span take(struct span *text, size_t length)
{
    struct span taken = {text->data, length};
    text->data += length;
    text->length -= length;
    return taken;
}

/* Takes a line without its CRLF; false if none is left. */
static bool take_line(struct span *text, struct span *line)
{
    const char *end = text->length ? memchr(text->data, '\n', text->length) : NULL;
    if (!end || end == text->data || end[-1] != '\r')
        return false;
    *line = take(text, (size_t)(end - text->data) + 1);
    line->length -= 2;
    return true;
}

/* Takes what is before the next `separator`, and the separator; false if there is none. */
static bool take_until(struct span *text, char separator, struct span *part)
{
    const char *at = text->length ? memchr(text->data, separator, text->length) : NULL;
    if (!at)
        return false;
    *part = take(text, (size_t)(at - text->data));
    take(text, 1);
    return true;
}

/* ---- request line ---- */

/* Splits the target into path and query; an absolute form (RFC 9112, 3.2.2) loses scheme and authority. */
static bool split_target(struct span target, struct head *head)
{
    struct span rest = target, authority;
    static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < 2; i++) {
        if (!span_starts_with(target, schemes[i]))
            continue;
        take(&rest, schemes[i].length);
        const char *slash = rest.length ? memchr(rest.data, '/', rest.length) : NULL;
        if (!slash || slash == rest.data)
            return false;
        authority = take(&rest, (size_t)(slash - rest.data));
        (void)authority; /* there is one host: ours */
    }
    if (rest.length == 0 || rest.data[0] != '/')
        return false;
    if (!take_until(&rest, '?', &head->path)) {
        head->path = rest;
        head->query = (struct span){NULL, 0};
        return true;
    }
    head->query = rest;
    return true;
}

static bool parse_request_line(struct span line, struct head *head)
{
    struct span target;
    if (!take_until(&line, ' ', &head->method) || !is_token(head->method))
        return false;
    if (!take_until(&line, ' ', &target) || !is_target(target) || !split_target(target, head))
        return false;
    head->is_http_1_0 = span_equals(line, SPAN("HTTP/1.0"));
    return head->is_http_1_0 || span_equals(line, SPAN("HTTP/1.1"));
}

/* ---- fields ---- */

static bool parse_field(struct span line, struct head_field *field)
{
    if (!take_until(&line, ':', &field->name) || !is_token(field->name))
        return false; /* this refuses a folded line, too: it begins with a space */
    while (line.length > 0 && is_blank(line.data[0]))
        take(&line, 1);
    field->value = line;
    return is_field_value(line);
}

static void trim_end(struct span *value)
{
    while (value->length > 0 && is_blank(value->data[value->length - 1]))
        value->length--;
}

/* Fields that decide where a message ends, who is asked, or who asks: none may come twice. */
struct head_marks {
    struct span host, content_length, transfer_encoding, authorization, api_key, expect, content_type;
};

static bool mark_field(const struct head_field *field, struct head_marks *marks)
{
    const struct {
        struct span name;
        struct span *value;
    } single[] = {
        {SPAN("host"), &marks->host},
        {SPAN("content-length"), &marks->content_length},
        {SPAN("transfer-encoding"), &marks->transfer_encoding},
        {SPAN("authorization"), &marks->authorization},
        {SPAN("x-api-key"), &marks->api_key},
        {SPAN("expect"), &marks->expect},
        {SPAN("content-type"), &marks->content_type},
    };
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        if (!span_equals_ignoring_case(field->name, single[i].name))
            continue;
        if (single[i].value->data)
            return false;
        *single[i].value = field->value;
    }
    return true;
}

/* Where the body ends (RFC 9112, 6), or why that is not beyond doubt. Values are as sent, with any space
 * after them: h2o does not trim, so neither do we here. */
static const char *decide_framing(struct head *head, const struct head_marks *marks)
{
    if (!marks->host.data && !head->is_http_1_0)
        return "Host is missing";
    if (marks->content_length.data && marks->transfer_encoding.data)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (marks->transfer_encoding.data) {
        if (head->is_http_1_0 || !span_equals_ignoring_case(marks->transfer_encoding, SPAN("chunked")))
            return "Transfer-Encoding is not understood";
        head->body = HEAD_BODY_CHUNKED;
    }
    if (marks->content_length.data) {
        if (marks->content_length.length == 0 || !span_to_u64(marks->content_length, &head->content_length))
            return "Content-Length is not a number";
        head->body = HEAD_BODY_LENGTH;
    }
    if (marks->expect.data) {
        if (!span_equals_ignoring_case(marks->expect, SPAN("100-continue")))
            return "Expect is not understood";
        head->expects_continue = head->body != HEAD_BODY_NONE;
    }
    return NULL;
}

int head_scan(struct span text, size_t *scanned)
{
    size_t at = *scanned;
    while (at < text.length) {
        const char *lf = memchr(text.data + at, '\n', text.length - at);
        if (!lf)
            break;
        size_t i = (size_t)(lf - text.data);
        if (i == 0 || text.data[i - 1] != '\r')
            return ERR_INVALID;
        at = i + 1;
        if (i >= 3 && text.data[i - 2] == '\n') {
            *scanned = at;
            return 1;
        }
    }
    *scanned = text.length;
    return 0;
}

int head_parse(struct span text, struct head *head, const char **reason)
{
    struct head_marks marks = {0};
    struct span line;
    head->field_count = 0;
    head->body = HEAD_BODY_NONE;
    head->content_length = 0;
    head->expects_continue = false;
    *reason = "the request line is malformed";
    if (!take_line(&text, &line) || (line.length == 0 && !take_line(&text, &line)))
        return ERR_INVALID;
    if (!parse_request_line(line, head))
        return ERR_INVALID;
    *reason = "a header field is malformed";
    while (take_line(&text, &line) && line.length > 0) {
        if (head->field_count == HEAD_MAX_FIELDS) {
            *reason = "there are too many header fields";
            return ERR_TOO_LARGE;
        }
        struct head_field *field = &head->fields[head->field_count];
        if (!parse_field(line, field))
            return ERR_INVALID;
        if (!mark_field(field, &marks)) {
            *reason = "a header field that must be single came twice";
            return ERR_INVALID;
        }
        trim_end(&field->value);
        head->field_count++;
    }
    if (line.length > 0 || text.length > 0)
        return ERR_INVALID;
    *reason = decide_framing(head, &marks);
    return *reason ? ERR_INVALID : 0;
}

struct span head_find(const struct head *head, struct span name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_equals_ignoring_case(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct span){NULL, 0};
}
