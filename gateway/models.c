/* SPDX-License-Identifier: MIT */
#include "gateway/models.h"
#include "proto/error.h"
#include "proto/settings.h"

#include <inttypes.h>

enum { MAX_NAME_BYTES = 128 /* as everywhere (proto/message.h) */ };

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

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes into `name`; the length, or -1 if it is malformed or too long. */
static int decode_name(struct span encoded, char name[MAX_NAME_BYTES])
{
    int length = 0;
    for (size_t i = 0; i < encoded.length; i++) {
        char c = encoded.data[i];
        if (c == '%') {
            if (encoded.length - i < 3)
                return -1;
            int high = hex_value(encoded.data[i + 1]), low = hex_value(encoded.data[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (length == MAX_NAME_BYTES)
            return -1;
        name[length++] = c;
    }
    return length;
}

int models_append_one(struct buffer *out, const char *models, struct span encoded, int64_t created_s)
{
    char name[MAX_NAME_BYTES];
    int length = decode_name(encoded, name);
    if (length < 0)
        return ERR_NOT_FOUND;
    struct listing listing = {.out = out, .created_s = created_s, .wanted = span_of(name, (size_t)length)};
    settings_each_in_list(models, list_model, &listing);
    return listing.error < 0 ? listing.error : listing.count == 0 ? ERR_NOT_FOUND : 0;
}
