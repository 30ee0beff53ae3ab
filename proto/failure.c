/* SPDX-License-Identifier: MIT */
#include "proto/failure.h"

struct failure_row {
    uint16_t status;
    const char *type, *code, *message;
};

static const struct failure_row rows[FAILURE_COUNT] = {
    [FAILURE_NONE] = {500, "server_error", "internal_error", "Something went wrong here."},
#define F(name, status, type, code, message) [name] = {status, type, code, message},
    FAILURE_LIST(F)
#undef F
};

static const struct failure_row *failure_find(enum failure failure)
{
    return &rows[(unsigned)failure < FAILURE_COUNT ? failure : FAILURE_INTERNAL];
}

uint16_t failure_status(enum failure failure)
{
    return failure_find(failure)->status;
}

const char *failure_type(enum failure failure)
{
    return failure_find(failure)->type;
}

const char *failure_code(enum failure failure)
{
    return failure_find(failure)->code;
}

const char *failure_message(enum failure failure)
{
    return failure_find(failure)->message;
}

static int append_member(struct buffer *buffer, const char *prefix, struct span value, const char *fallback)
{
    int error = buffer_append_span(buffer, span_str(prefix));
    if (error < 0)
        return error;
    if (value.length == 0 && !fallback)
        return buffer_append(buffer, "null", 4);
    return buffer_append_json_string(buffer, value.length ? value : span_str(fallback));
}

int failure_append_json(struct buffer *buffer, enum failure failure, struct span message, struct span type,
                        struct span code, struct span param)
{
    const struct failure_row *row = failure_find(failure);
    size_t start_length = buffer->length;
    int error = append_member(buffer, "{\"error\":{\"message\":", message, row->message);
    if (error == 0)
        error = append_member(buffer, ",\"type\":", type, row->type);
    if (error == 0)
        error = append_member(buffer, ",\"param\":", param, NULL);
    if (error == 0)
        error = append_member(buffer, ",\"code\":", code, row->code);
    if (error == 0)
        error = buffer_append(buffer, "}}", 2);
    if (error < 0)
        buffer->length = start_length;
    return error;
}
