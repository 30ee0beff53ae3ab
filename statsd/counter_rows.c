/* SPDX-License-Identifier: MIT */
#include "statsd/counter_rows.h"
#include "proto/error.h"

#include <stdlib.h>

void counter_rows_init(struct counter_rows *rows)
{
    rows->first = NULL;
    rows->last = &rows->first;
    rows->count = 0;
}

void counter_rows_fini(struct counter_rows *rows)
{
    struct counter_row *row = rows->first;
    while (row) {
        struct counter_row *next = row->next;
        free(row);
        row = next;
    }
    counter_rows_init(rows);
}

int counter_rows_add(struct counter_rows *rows, const struct counter_row *like)
{
    size_t role_bytes = strlen(like->role) + 1, process_bytes = strlen(like->process) + 1;
    size_t name_bytes = strlen(like->name) + 1;
    struct counter_row *row = malloc(sizeof *row + role_bytes + process_bytes + name_bytes);
    if (!row)
        return ERR_NOMEM;
    *row = *like;
    row->next = NULL;
    row->role = memcpy(row->text, like->role, role_bytes);
    row->process = memcpy(row->text + role_bytes, like->process, process_bytes);
    row->name = memcpy(row->text + role_bytes + process_bytes, like->name, name_bytes);
    *rows->last = row;
    rows->last = &row->next;
    rows->count++;
    return 0;
}

void counter_rows_move(struct counter_rows *into, struct counter_rows *from)
{
    if (!from->first)
        return;
    *into->last = from->first;
    into->last = from->last;
    into->count += from->count;
    counter_rows_init(from);
}
