/* SPDX-License-Identifier: MIT */
/* Any lines: no read outside a line, and a head that is whole has a final status and does not change again.
 */
#include "upstream-worker/response_head.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own for each line, so that a read past it is seen. */
static bool take_line(struct response_head *head, const uint8_t *data, size_t length)
{
    char *line = malloc(length);
    assert(line);
    memcpy(line, data, length);
    bool is_whole = response_head_take(head, span_of(line, length));
    free(line);
    return is_whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct response_head head = {0}, whole = {0};
    size_t begin = 0;
    for (size_t at = 0; at < size; at++) {
        if (data[at] != '\n')
            continue;
        if (take_line(&head, data + begin, at + 1 - begin))
            whole = head;
        begin = at + 1;
    }
    assert(strnlen(head.retry_after, sizeof head.retry_after) < sizeof head.retry_after);
    if (head.is_whole) {
        assert(head.status >= 200 && head.status < 1000);
        assert(head.status == whole.status && head.content == whole.content);
        assert(strcmp(head.retry_after, whole.retry_after) == 0);
    }
    return 0;
}
