/* SPDX-License-Identifier: MIT */
#include "tests/upstream/load/response.h"

#include <string.h>

#define HEAD_MAX_BYTES (64 * 1024)

void response_init(struct response *response)
{
    struct buffer head = response->head;

    buffer_clear(&head);
    *response = (struct response){.head = head, .keep_alive = true, .left_bytes = -1};
}

void response_fini(struct response *response)
{
    buffer_fini(&response->head);
}

static struct span trim(const char *data, const char *end)
{
    while (data < end && (*data == ' ' || *data == '\t'))
        data++;
    while (end > data && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return (struct span){data, (size_t)(end - data)};
}

static bool read_header(struct response *response, const char *line, const char *end)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));
    struct span name, value;

    if (!colon)
        return false;
    name = (struct span){line, (size_t)(colon - line)};
    value = trim(colon + 1, end);
    if (span_equal_nocase(name, "Content-Length"))
        return span_to_number(value, &response->left_bytes);
    if (span_equal_nocase(name, "Transfer-Encoding"))
        response->chunked = span_equal_nocase(value, "chunked");
    if (span_equal_nocase(name, "Connection"))
        response->keep_alive = !span_equal_nocase(value, "close");
    return true;
}

static bool read_head(struct response *response, const char *head, size_t size_bytes)
{
    const char *end = head + size_bytes;
    const char *line = memchr(head, '\n', size_bytes);
    int64_t status;

    if (size_bytes < 14 || memcmp(head, "HTTP/1.1 ", 9) != 0 || !line ||
        !span_to_number((struct span){head + 9, 3}, &status))
        return false;
    response->status = (int)status;
    while (++line < end) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));

        if (!feed)
            break;
        if (feed - line > 1 && !read_header(response, line, feed))
            return false;
        line = feed;
    }
    if (response->chunked && response->left_bytes >= 0)
        return false;
    response->until_close = !response->chunked && response->left_bytes < 0 && status != 204 && status != 304;
    return true;
}

/* Takes bytes up to the end of the head. */
static enum response_result take_head(struct response *response, const char *data, size_t size_bytes,
                                      size_t *consumed)
{
    size_t before = response->head.size;
    const char *blank;
    bool good;

    if (before == 0 && (blank = memmem(data, size_bytes, "\r\n\r\n", 4))) {
        *consumed = (size_t)(blank - data) + 4;
        good = read_head(response, data, *consumed);
    } else {
        buffer_append(&response->head, data, size_bytes);
        blank = memmem(response->head.data, response->head.size, "\r\n\r\n", 4);
        *consumed = size_bytes;
        if (!blank)
            return response->head.size > HEAD_MAX_BYTES ? RESPONSE_BAD : RESPONSE_MORE;
        response->head.size = (size_t)(blank - response->head.data) + 4;
        *consumed = response->head.size - before;
        good = read_head(response, response->head.data, response->head.size);
    }
    if (!good)
        return RESPONSE_BAD;
    if (response->status == 100) { /* the real one follows */
        response_init(response);
        return RESPONSE_MORE;
    }
    response->head_done = true;
    return RESPONSE_MORE;
}

static enum response_result take_body(struct response *response, const char *data, size_t size_bytes,
                                      size_t *consumed, struct span *piece)
{
    if (response->chunked) /* the two enums name the same four things in the same order */
        return (enum response_result)chunked_decode(&response->chunks, data, size_bytes, consumed, piece);
    if (!response->until_close && response->left_bytes <= 0)
        return RESPONSE_END;
    if (size_bytes == 0)
        return RESPONSE_MORE;
    *piece = (struct span){data, size_bytes};
    if (!response->until_close && (int64_t)size_bytes > response->left_bytes)
        piece->size = (size_t)response->left_bytes;
    response->left_bytes -= (int64_t)piece->size;
    *consumed = piece->size;
    return RESPONSE_PIECE;
}

_Static_assert((int)RESPONSE_PIECE == (int)CHUNKED_PIECE && (int)RESPONSE_END == (int)CHUNKED_END &&
                   (int)RESPONSE_BAD == (int)CHUNKED_BAD,
               "take_body passes chunked_decode's result on");

enum response_result response_read(struct response *response, const char *data, size_t size_bytes,
                                   size_t *consumed, struct span *piece)
{
    size_t head = 0;
    enum response_result result;

    *consumed = 0;
    while (!response->head_done && head < size_bytes) {
        size_t took;

        result = take_head(response, data + head, size_bytes - head, &took);
        head += took;
        if (result != RESPONSE_MORE)
            return result;
    }
    if (!response->head_done) {
        *consumed = head;
        return RESPONSE_MORE;
    }
    result = take_body(response, data + head, size_bytes - head, consumed, piece);
    *consumed += head;
    return result;
}

bool response_may_close(const struct response *response)
{
    return response->head_done && response->until_close;
}
