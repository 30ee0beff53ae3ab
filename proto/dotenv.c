/* SPDX-License-Identifier: MIT */
/* dotenv - the parser of `.env` files: NAME=VALUE lines as shells and docker compose read them, without
 * expansion. */
#include "proto/error.h"
#include "proto/settings.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span text)
{
    while (text.length > 0 && is_blank(text.data[0]))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && is_blank(text.data[text.length - 1]))
        text.length--;
    return text;
}

static bool name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        if (!(c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return name.length > 0;
}

/* What follows a closing quote may only be a comment. */
static bool tail_is_empty(struct span tail)
{
    tail = trim(tail);
    return tail.length == 0 || tail.data[0] == '#';
}

/* "…" with \n \r \t \" \\ \$, or '…' as it stands. `text` begins with the quote. */
static int unquote(struct span text, struct buffer *value)
{
    char quote = text.data[0];
    for (size_t i = 1; i < text.length; i++) {
        char c = text.data[i];
        if (c == quote)
            return tail_is_empty(span_of(text.data + i + 1, text.length - i - 1)) ? 0 : ERR_INVALID;
        if (quote == '"' && c == '\\' && i + 1 < text.length) {
            c = text.data[++i];
            c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        }
        int error = buffer_append_char(value, c);
        if (error < 0)
            return error;
    }
    return ERR_INVALID; /* no closing quote */
}

/* An unquoted value ends before " #". */
static struct span strip_comment(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] == '#' && (i == 0 || is_blank(text.data[i - 1])))
            return trim(span_of(text.data, i));
    return text;
}

static int parse_line(struct span line, struct buffer *value, struct span *name)
{
    *name = (struct span){0};
    line = trim(line);
    if (line.length == 0 || line.data[0] == '#')
        return 0;
    if (span_starts_with(line, SPAN("export ")))
        line = trim(span_of(line.data + strlen("export "), line.length - strlen("export ")));
    const char *equals = memchr(line.data, '=', line.length);
    if (!equals)
        return ERR_INVALID;
    *name = trim(span_of(line.data, (size_t)(equals - line.data)));
    struct span rest = trim(span_of(equals + 1, line.length - (size_t)(equals + 1 - line.data)));
    if (!name_is_valid(*name))
        return ERR_INVALID;
    if (rest.length > 0 && (rest.data[0] == '"' || rest.data[0] == '\''))
        return unquote(rest, value);
    return buffer_append_span(value, strip_comment(rest));
}

int settings_parse_dotenv(struct span text, int (*set)(void *context, struct span name, struct span value),
                          void *context, int *line_number)
{
    struct buffer value;
    int error = 0;
    *line_number = 0;
    buffer_init(&value);
    while (error == 0 && text.length > 0) {
        const char *newline = memchr(text.data, '\n', text.length);
        size_t length = newline ? (size_t)(newline - text.data) : text.length;
        struct span name;
        ++*line_number;
        buffer_clear(&value);
        error = parse_line(span_of(text.data, length), &value, &name);
        if (error == 0 && name.length > 0)
            error = set(context, name, buffer_span(&value));
        size_t used = length + (newline ? 1 : 0);
        text = span_of(text.data + used, text.length - used);
    }
    buffer_fini_secret(&value);
    return error;
}
