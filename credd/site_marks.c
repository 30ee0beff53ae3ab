/* SPDX-License-Identifier: MIT */
#include "credd/site_marks.h"

#include <string.h>

static bool is_of(const struct site_mark *mark, uint32_t site, struct span model)
{
    return mark->site == site && span_equals(span_str(mark->model), model);
}

static struct span clipped(struct span model)
{
    return span_of(model.data,
                   model.length < ROTATION_MODEL_MAX_BYTES ? model.length : ROTATION_MODEL_MAX_BYTES);
}

bool site_marks_has(const struct site_marks *marks, uint32_t site, struct span model, int64_t now_ms)
{
    model = clipped(model);
    for (size_t i = 0; i < marks->count; i++)
        if (marks->marks[i].until_ms > now_ms && is_of(&marks->marks[i], site, model))
            return true;
    return false;
}

/* The same again, else a free one, else the first to end. */
static struct site_mark *place_for(struct site_marks *marks, uint32_t site, struct span model)
{
    struct site_mark *soonest = marks->marks;
    for (size_t i = 0; i < marks->count; i++) {
        if (is_of(&marks->marks[i], site, model))
            return &marks->marks[i];
        if (marks->marks[i].until_ms < soonest->until_ms)
            soonest = &marks->marks[i];
    }
    return marks->count < SITE_MARKS ? &marks->marks[marks->count++] : soonest;
}

void site_marks_add(struct site_marks *marks, uint32_t site, struct span model, int64_t now_ms)
{
    model = clipped(model);
    struct site_mark *mark = place_for(marks, site, model);
    if (model.length > 0)
        memcpy(mark->model, model.data, model.length);
    mark->model[model.length] = '\0';
    mark->site = site;
    mark->until_ms = now_ms + ROTATION_NOT_SERVED_MS;
}
