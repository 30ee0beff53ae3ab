/* SPDX-License-Identifier: MIT */
#include "credd/waiters.h"
#include "proto/error.h"

#include <stdlib.h>
#include <utlist.h>

enum { ID_DIGITS = 16 };

static char *put(char **at, struct span text)
{
    char *start = *at;
    if (text.length > 0)
        memcpy(start, text.data, text.length);
    *at += text.length;
    return start;
}

int waiters_append(struct waiters *waiters, const struct waiter *waiter)
{
    const struct rotation_wish *wish = &waiter->wish;
    size_t excluded_bytes = wish->excluded_count * sizeof wish->excluded[0];
    struct waiter *copy =
        malloc(sizeof *copy + excluded_bytes + wish->model.length + wish->conversation.length);
    if (!copy)
        return ERR_NOMEM;
    *copy = *waiter;
    uint64_t *excluded = (uint64_t *)(copy + 1);
    if (excluded_bytes > 0)
        memcpy(excluded, wish->excluded, excluded_bytes);
    char *at = (char *)(excluded + wish->excluded_count);
    copy->wish.excluded = excluded;
    copy->wish.model.data = put(&at, wish->model);
    copy->wish.conversation.data = put(&at, wish->conversation);
    DL_APPEND(waiters->list, copy);
    waiters->count++;
    return 0;
}

void waiters_remove(struct waiters *waiters, struct waiter *waiter)
{
    DL_DELETE(waiters->list, waiter);
    waiters->count--;
    free(waiter);
}

uint64_t credential_id_value(struct span id)
{
    uint64_t value = 0;
    if (id.length != ID_DIGITS)
        return 0;
    for (size_t i = 0; i < ID_DIGITS; i++) {
        char c = id.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return value;
}

size_t credential_ids_parse(struct span list, uint64_t *values, size_t max)
{
    size_t count = 0;
    while (list.length > 0 && count < max) {
        const char *comma = memchr(list.data, ',', list.length);
        size_t length = comma ? (size_t)(comma - list.data) : list.length;
        uint64_t value = credential_id_value(span_of(list.data, length));
        if (value != 0)
            values[count++] = value;
        size_t skip = comma ? length + 1 : length;
        list = span_of(list.data + skip, list.length - skip);
    }
    return count;
}
