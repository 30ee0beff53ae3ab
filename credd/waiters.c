/* SPDX-License-Identifier: MIT */
#include "credd/waiters.h"
#include "proto/error.h"

#include <stdlib.h>
#include <utlist.h>

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
