/* SPDX-License-Identifier: MIT */
#include "tests/upstream/http.h"

#include <string.h>

static bool is_token_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool is_token(struct span span)
{
    for (size_t i = 0; i < span.size; i++)
        if (!is_token_byte(span.data[i]))
            return false;
    return span.size > 0;
}

static bool is_field_text(struct span span)
{
    for (size_t i = 0; i < span.size; i++) {
        unsigned char byte = (unsigned char)span.data[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

static struct span span_trim(struct span span)
{
    while (span.size && (*span.data == ' ' || *span.data == '\t'))
        span = (struct span){span.data + 1, span.size - 1};
    while (span.size && (span.data[span.size - 1] == ' ' || span.data[span.size - 1] == '\t'))
        span.size--;
    return span;
}

static bool has_list_item(struct span list, const char *item)
{
    while (list.size) {
        const char *comma = memchr(list.data, ',', list.size);
        size_t size = comma ? (size_t)(comma - list.data) : list.size;

        if (span_equal_nocase(span_trim((struct span){list.data, size}), item))
            return true;
        size += comma ? 1 : 0;
        list = (struct span){list.data + size, list.size - size};
    }
    return false;
}

static const char *parse_request_line(struct span line, struct http_request *request)
{
    const char *first = memchr(line.data, ' ', line.size);
    const char *end = line.data + line.size;
    const char *last, *mark;
    struct span target;

    if (!first)
        return "no target in the request line";
    last = memrchr(line.data, ' ', line.size);
    request->method = (struct span){line.data, (size_t)(first - line.data)};
    if (last <= first || !is_token(request->method))
        return "malformed request line";
    target = (struct span){first + 1, (size_t)(last - first - 1)};
    if (target.size == 0 || target.data[0] != '/' || memchr(target.data, ' ', target.size) ||
        !is_field_text(target))
        return "the target is not an absolute path";
    mark = memchr(target.data, '?', target.size);
    request->path = (struct span){target.data, mark ? (size_t)(mark - target.data) : target.size};
    request->query = (struct span){"", 0};
    if (mark)
        request->query = (struct span){mark + 1, (size_t)(target.data + target.size - mark - 1)};
    if (span_equal((struct span){last + 1, (size_t)(end - last - 1)}, "HTTP/1.1"))
        request->keep_alive = true;
    else if (!span_equal((struct span){last + 1, (size_t)(end - last - 1)}, "HTTP/1.0"))
        return "not HTTP/1.1";
    return NULL;
}

/* Notes what matters for framing. Length-first comparison keeps the usual header cheap. */
static const char *note_header(struct http_request *request, struct http_header header)
{
    switch (header.name.size) {
    case 6:
        if (span_equal_nocase(header.name, "Expect"))
            request->expect_continue = span_equal_nocase(header.value, "100-continue");
        break;
    case 10:
        if (!span_equal_nocase(header.name, "Connection"))
            break;
        if (has_list_item(header.value, "close"))
            request->keep_alive = false;
        else if (has_list_item(header.value, "keep-alive"))
            request->keep_alive = true;
        break;
    case 14:
        if (!span_equal_nocase(header.name, "Content-Length"))
            break;
        if (request->content_length >= 0)
            return "a second Content-Length";
        if (!span_to_number(header.value, &request->content_length))
            return "Content-Length is not a number";
        break;
    case 17:
        if (!span_equal_nocase(header.name, "Transfer-Encoding"))
            break;
        if (!span_equal_nocase(header.value, "chunked"))
            return "a Transfer-Encoding other than chunked";
        request->chunked = true;
        break;
    default:
        break;
    }
    return NULL;
}

static const char *parse_header_line(struct span line, struct http_request *request)
{
    const char *colon = memchr(line.data, ':', line.size);
    struct http_header header;

    if (!colon)
        return "a header without a colon";
    header.name = (struct span){line.data, (size_t)(colon - line.data)};
    header.value = span_trim((struct span){colon + 1, line.size - header.name.size - 1});
    if (!is_token(header.name) || !is_field_text(header.value))
        return "a header with bytes that are not allowed";
    if (request->header_count == HTTP_HEADER_MAX_COUNT)
        return "too many headers";
    request->headers[request->header_count++] = header;
    return note_header(request, header);
}

static const char *parse_lines(const char *data, size_t size_bytes, struct http_request *request)
{
    const char *end = data + size_bytes;
    bool first = true;
    const char *why;

    while (data < end) {
        const char *feed = memchr(data, '\n', (size_t)(end - data));
        struct span line;

        if (!feed || feed == data || feed[-1] != '\r')
            return "a line that does not end in CRLF";
        line = (struct span){data, (size_t)(feed - 1 - data)};
        why = first ? parse_request_line(line, request) : parse_header_line(line, request);
        if (why)
            return why;
        first = false;
        data = feed + 1;
    }
    return NULL;
}

static const char *check_head(const struct http_request *request)
{
    unsigned hosts = 0;

    if (request->chunked && request->content_length >= 0)
        return "both Content-Length and Transfer-Encoding";
    for (unsigned i = 0; i < request->header_count; i++)
        hosts += span_equal_nocase(request->headers[i].name, "Host");
    return hosts == 1 ? NULL : "not exactly one Host";
}

int64_t http_head_parse(const char *data, size_t size_bytes, struct http_request *request, const char **why)
{
    const char *blank = memmem(data, size_bytes, "\r\n\r\n", 4);
    size_t lines_bytes;

    if (!blank) {
        *why = "the head is too large";
        return size_bytes > HTTP_HEAD_MAX_BYTES ? -1 : 0;
    }
    lines_bytes = (size_t)(blank - data) + 2;
    request->header_count = 0;
    request->content_length = -1;
    request->chunked = request->keep_alive = request->expect_continue = false;
    *why =
        lines_bytes > HTTP_HEAD_MAX_BYTES ? "the head is too large" : parse_lines(data, lines_bytes, request);
    if (!*why)
        *why = check_head(request);
    return *why ? -1 : (int64_t)lines_bytes + 2;
}

static void rebase(struct span *span, const char *old_base, const char *new_base)
{
    if (span->size)
        span->data = new_base + (span->data - old_base);
}

void http_request_rebase(struct http_request *request, const char *old_base, const char *new_base)
{
    rebase(&request->method, old_base, new_base);
    rebase(&request->path, old_base, new_base);
    rebase(&request->query, old_base, new_base);
    for (unsigned i = 0; i < request->header_count; i++) {
        rebase(&request->headers[i].name, old_base, new_base);
        rebase(&request->headers[i].value, old_base, new_base);
    }
}

struct span http_request_header(const struct http_request *request, const char *name)
{
    for (unsigned i = 0; i < request->header_count; i++)
        if (span_equal_nocase(request->headers[i].name, name))
            return request->headers[i].value;
    return (struct span){NULL, 0};
}

struct span http_query_value(struct span query, const char *key)
{
    size_t key_size = strlen(key);

    while (query.size) {
        const char *amp = memchr(query.data, '&', query.size);
        size_t size = amp ? (size_t)(amp - query.data) : query.size;

        if (size > key_size && memcmp(query.data, key, key_size) == 0 && query.data[key_size] == '=')
            return (struct span){query.data + key_size + 1, size - key_size - 1};
        size += amp ? 1 : 0;
        query = (struct span){query.data + size, query.size - size};
    }
    return (struct span){NULL, 0};
}

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

bool http_decode_percent(struct span text, bool plus, char *out, size_t capacity)
{
    size_t at = 0;

    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            if (i + 2 >= text.size || hex_value(text.data[i + 1]) < 0 || hex_value(text.data[i + 2]) < 0)
                return false;
            byte = (char)(hex_value(text.data[i + 1]) * 16 + hex_value(text.data[i + 2]));
            i += 2;
        } else if (byte == '+' && plus) {
            byte = ' ';
        }
        if (byte == '\0' || at + 1 >= capacity)
            return false;
        out[at++] = byte;
    }
    out[at] = '\0';
    return true;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}
