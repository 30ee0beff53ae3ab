/* SPDX-License-Identifier: MIT */
#include "gateway/models.h"
#include "proto/error.h"
#include "proto/settings.h"

#include <inttypes.h>

struct listing {
    struct buffer *out;
    int64_t created_s;
    struct span wanted; /* data NULL: all */
    size_t count;
    int error;
};

static int append_model(struct buffer *out, struct span id, int64_t created_s)
{
    int error = buffer_append_span(out, SPAN("{\"id\":"));
    if (error == 0)
        error = buffer_append_json_string(out, id);
    if (error == 0)
        error = buffer_printf(
            out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"codebuddy\"}", created_s);
    return error;
}

static void list_model(void *context, struct span id)
{
    struct listing *listing = context;
    bool is_wanted = !listing->wanted.data || (span_equals(id, listing->wanted) && listing->count == 0);
    if (listing->error < 0 || !is_wanted)
        return;
    if (listing->count++ > 0)
        listing->error = buffer_append_char(listing->out, ',');
    if (listing->error == 0)
        listing->error = append_model(listing->out, id, listing->created_s);
}

int models_append_list(struct buffer *out, const char *models, int64_t created_s)
{
    struct listing listing = {.out = out, .created_s = created_s};
    listing.error = buffer_append_span(out, SPAN("{\"object\":\"list\",\"data\":["));
    settings_each_in_list(models, list_model, &listing);
    return listing.error < 0 ? listing.error : buffer_append_span(out, SPAN("]}"));
}

int models_append_one(struct buffer *out, const char *models, struct span name, int64_t created_s)
{
    struct listing listing = {
        .out = out, .created_s = created_s, .wanted = span_of(name.data ? name.data : "", name.length)};
    settings_each_in_list(models, list_model, &listing);
    return listing.error < 0 ? listing.error : listing.count == 0 ? ERR_NOT_FOUND : 0;
}
