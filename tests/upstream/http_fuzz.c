/* SPDX-License-Identifier: MIT */
/* Everything of the stand-in and the load generator that reads bytes off a socket: whatever the step,
 * nothing is read past the end, and a second pass in other steps comes to the same end. */
#include <stdlib.h>
#include <string.h>

#include "tests/upstream/body_scan.h"
#include "tests/upstream/http.h"
#include "tests/upstream/load/response.h"
#include "tests/upstream/load/stream_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool scan(const char *data, size_t size, size_t step)
{
    struct body_scan body;

    body_scan_init(&body);
    for (size_t at = 0; at < size; at += step)
        body_scan_feed(&body, data + at, size - at < step ? size - at : step);
    return body_scan_is_whole(&body);
}

static uint32_t read_response(const char *data, size_t size, size_t step)
{
    struct response response = {0};
    struct stream_check check = {0};
    enum response_result result = RESPONSE_MORE;
    uint32_t events;

    response_init(&response);
    stream_check_init(&check, false);
    for (size_t at = 0; at < size && result != RESPONSE_END && result != RESPONSE_BAD;) {
        size_t took;
        struct span piece;

        result = response_read(&response, data + at, size - at < step ? size - at : step, &took, &piece);
        at += took;
        if (result == RESPONSE_PIECE)
            stream_check_feed(&check, piece);
    }
    stream_check_end(&check);
    events = check.events * 2 + check.tokens;
    stream_check_fini(&check);
    response_fini(&response);
    return result == RESPONSE_BAD ? 0 : events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = memory_copy_text((const char *)data, size); /* its own block: overruns show */
    struct http_request request;
    const char *why;
    int64_t head = http_head_parse(text, size, &request, &why);

    if (head > (int64_t)size)
        abort();
    if (scan(text, size, 1) != scan(text, size, size + 1))
        abort();
    if (read_response(text, size, 1) != read_response(text, size, size + 1))
        abort();
    free(text);
    return 0;
}
