/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_edits.h"

#include "proto/error.h"

#include <stdlib.h>

void request_edits_fini(struct request_edits *edits)
{
    free(edits->edits);
    buffer_fini(&edits->text);
    *edits = (struct request_edits){0};
}

int request_edits_add(struct request_edits *edits, struct byte_range range, size_t text_start)
{
    if (edits->count == edits->capacity) {
        size_t capacity = edits->capacity ? edits->capacity * 2 : 8;
        struct edit *grown = reallocarray(edits->edits, capacity, sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        edits->edits = grown;
        edits->capacity = capacity;
    }
    edits->edits[edits->count++] = (struct edit){range, text_start, edits->text.length - text_start};
    return 0;
}

int request_edits_replace(struct request_edits *edits, struct byte_range range, struct span text)
{
    size_t text_start = edits->text.length;
    int error = buffer_append_span(&edits->text, text);
    return error < 0 ? error : request_edits_add(edits, range, text_start);
}

static int compare_edits(const void *a, const void *b)
{
    const struct edit *left = a, *right = b;
    return (left->range.start > right->range.start) - (left->range.start < right->range.start);
}

/* The first edit at or behind `position`. */
static size_t find_edit(const struct request_edits *edits, size_t position)
{
    size_t low = 0, high = edits->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (edits->edits[middle].range.start < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Adds body[start, end) with its edits. */
static int add_range(const struct request_edits *edits, struct span body, size_t start, size_t end,
                     struct payload *payload)
{
    int error = 0;
    for (size_t i = find_edit(edits, start); i < edits->count && error == 0; i++) {
        const struct edit *edit = &edits->edits[i];
        if (edit->range.start >= end)
            break;
        error = payload_add(payload, span_of(body.data + start, edit->range.start - start));
        if (error == 0)
            error = payload_add(payload, span_of(edits->text.data + edit->offset, edit->length));
        start = edit->range.end;
    }
    return error < 0 ? error : payload_add(payload, span_of(body.data + start, end - start));
}

int request_edits_build(struct request_edits *edits, struct span body, struct byte_range first,
                        struct byte_range moved, size_t previous_end, struct payload *payload)
{
    if (edits->count > 0)
        qsort(edits->edits, edits->count, sizeof *edits->edits, compare_edits);
    if (moved.end == 0)
        return add_range(edits, body, 0, body.length, payload);
    int error = add_range(edits, body, 0, first.start, payload);
    if (error == 0)
        error = add_range(edits, body, moved.start, moved.end, payload);
    if (error == 0)
        error = payload_add(payload, SPAN(","));
    if (error == 0)
        error = add_range(edits, body, first.start, previous_end, payload);
    return error < 0 ? error : add_range(edits, body, moved.end, body.length, payload);
}
