/* SPDX-License-Identifier: MIT */
#include "proto/message.h"
#include "proto/error.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>

/* Every put_ and get_ takes the field's bound, which only STR and BYTES use. */
#define DEFINE_INTEGER(KIND, type, wire, to_wire, from_wire)                                                 \
    static int put_##KIND(struct buffer *out, type value, size_t bound)                                      \
    {                                                                                                        \
        wire big = to_wire((wire)value);                                                                     \
        (void)bound;                                                                                         \
        return buffer_append(out, &big, sizeof big);                                                         \
    }                                                                                                        \
    static int get_##KIND(struct span *in, type *value, size_t bound)                                        \
    {                                                                                                        \
        wire big;                                                                                            \
        (void)bound;                                                                                         \
        if (in->length < sizeof big)                                                                         \
            return ERR_TRUNCATED;                                                                            \
        memcpy(&big, in->data, sizeof big);                                                                  \
        *in = span_of(in->data + sizeof big, in->length - sizeof big);                                       \
        *value = (type)from_wire(big);                                                                       \
        return 0;                                                                                            \
    }
#define SAME(x) (x)
DEFINE_INTEGER(U8, uint8_t, uint8_t, SAME, SAME)
DEFINE_INTEGER(U16, uint16_t, uint16_t, htobe16, be16toh)
DEFINE_INTEGER(U32, uint32_t, uint32_t, htobe32, be32toh)
DEFINE_INTEGER(U64, uint64_t, uint64_t, htobe64, be64toh)
DEFINE_INTEGER(I64, int64_t, uint64_t, htobe64, be64toh)

static int put_STR(struct buffer *out, struct span value, size_t bound)
{
    if (value.length > bound)
        return ERR_TOO_LARGE;
    int error = put_U16(out, (uint16_t)value.length, 0);
    return error < 0 ? error : buffer_append_span(out, value);
}

static int put_BYTES(struct buffer *out, struct span value, size_t bound)
{
    if (value.length > bound)
        return ERR_TOO_LARGE;
    int error = put_U32(out, (uint32_t)value.length, 0);
    return error < 0 ? error : buffer_append_span(out, value);
}

static int get_span(struct span *in, struct span *value, size_t length, size_t bound)
{
    if (length > bound)
        return ERR_TOO_LARGE;
    if (length > in->length)
        return ERR_TRUNCATED;
    *value = span_of(in->data, length);
    *in = span_of(in->data + length, in->length - length);
    return 0;
}

static int get_STR(struct span *in, struct span *value, size_t bound)
{
    uint16_t length;
    int error = get_U16(in, &length, 0);
    if (error == 0)
        error = get_span(in, value, length, bound);
    if (error == 0 && length > 0 && (memchr(value->data, '\0', length) || !span_is_utf8(*value)))
        error = ERR_INVALID;
    return error;
}

static int get_BYTES(struct span *in, struct span *value, size_t bound)
{
    uint32_t length;
    int error = get_U32(in, &length, 0);
    return error < 0 ? error : get_span(in, value, length, bound);
}

/* encode_hello, decode_hello and so on: the fields of the list, one after the other. */
#define ENCODE(kind, field, bound, meaning)                                                                  \
    if (error == 0)                                                                                          \
        error = put_##kind(out, message->field, bound);
#define DECODE(kind, field, bound, meaning)                                                                  \
    if (error == 0)                                                                                          \
        error = get_##kind(in, &message->field, bound);
#define M(id, name, value, direction, loss)                                                                  \
    static int encode_##name(struct buffer *out, const struct msg_##name *message)                           \
    {                                                                                                        \
        int error = 0;                                                                                       \
        id##_FIELDS(ENCODE) return error;                                                                    \
    }                                                                                                        \
    static int decode_##name(struct span *in, struct msg_##name *message)                                    \
    {                                                                                                        \
        int error = 0;                                                                                       \
        id##_FIELDS(DECODE) return error;                                                                    \
    }
MESSAGE_LIST(M)
#undef M

const char *message_name(unsigned type)
{
    switch (type) {
#define M(id, name, value, direction, loss)                                                                  \
    case MESSAGE_##id:                                                                                       \
        return #id;
        MESSAGE_LIST(M)
#undef M
    default:
        return "?";
    }
}

bool message_type_known(unsigned type)
{
    return message_name(type)[0] != '?';
}

bool message_is_secret(enum message_type type)
{
    return type == MESSAGE_GRANT || type == MESSAGE_STATE || type == MESSAGE_CALL || type == MESSAGE_REPLY;
}

static int encode_payload(struct buffer *out, enum message_type type, const void *message)
{
    switch (type) {
#define M(id, name, value, direction, loss)                                                                  \
    case MESSAGE_##id:                                                                                       \
        return encode_##name(out, message);
        MESSAGE_LIST(M)
#undef M
    }
    return ERR_UNKNOWN_TYPE;
}

int message_encode(struct buffer *train, enum message_type type, uint64_t request, const void *message)
{
    size_t start = train->length;
    int error = buffer_reserve(train, FRAME_HEADER_BYTES);
    if (error < 0)
        return error;
    train->length += FRAME_HEADER_BYTES;
    error = encode_payload(train, type, message);
    size_t payload_bytes = train->length - start - FRAME_HEADER_BYTES;
    if (error == 0 && payload_bytes > MESSAGE_MAX_BYTES)
        error = ERR_TOO_LARGE;
    if (error < 0) {
        train->length = start;
        return error;
    }
    unsigned char header[4] = {WIRE_VERSION, (unsigned char)type, 0, 0};
    uint32_t length = htobe32((uint32_t)payload_bytes);
    uint64_t number = htobe64(request);
    memcpy(train->data + start, header, sizeof header);
    memcpy(train->data + start + 4, &length, sizeof length);
    memcpy(train->data + start + 8, &number, sizeof number);
    return 0;
}

int message_decode(const struct frame *frame, void *message)
{
    struct span in = frame->payload;
    int error = ERR_UNKNOWN_TYPE;
    switch (frame->type) {
#define M(id, name, value, direction, loss)                                                                  \
    case MESSAGE_##id:                                                                                       \
        error = decode_##name(&in, message);                                                                 \
        break;
        MESSAGE_LIST(M)
#undef M
    }
    return error == 0 && in.length > 0 ? ERR_INVALID : error;
}

int train_next(struct span *train, struct frame *frame)
{
    uint32_t length;
    uint64_t request;
    if (train->length == 0)
        return 0;
    if (train->length < FRAME_HEADER_BYTES)
        return ERR_TRUNCATED;
    frame->type = (enum message_type)(unsigned char)train->data[1];
    if (train->data[0] != WIRE_VERSION)
        return ERR_VERSION;
    memcpy(&length, train->data + 4, sizeof length);
    memcpy(&request, train->data + 8, sizeof request);
    length = be32toh(length);
    if (length > MESSAGE_MAX_BYTES)
        return ERR_TOO_LARGE;
    if (train->length - FRAME_HEADER_BYTES < length)
        return ERR_TRUNCATED;
    frame->request = be64toh(request);
    frame->payload = span_of(train->data + FRAME_HEADER_BYTES, length);
    *train = span_of(frame->payload.data + length, train->length - FRAME_HEADER_BYTES - length);
    return message_type_known((unsigned)frame->type) ? 1 : ERR_UNKNOWN_TYPE;
}

#define PRINT_FIELD(kind, field, bound, meaning) print_field(out, #kind, #field, (long)(bound), meaning);
static void print_field(FILE *out, const char *kind, const char *name, long bound, const char *meaning)
{
    fprintf(out, "`%s` %s", name, kind);
    if (bound > 0)
        fprintf(out, " ≤ %ld", bound);
    fprintf(out, ": %s<br>", meaning);
}

void message_print_table(FILE *out)
{
    fputs("| message | id | who | fields | if it is lost |\n| --- | --- | --- | --- | --- |\n", out);
#define M(id, name, value, direction, loss)                                                                  \
    fprintf(out, "| %s | %d | %s | ", #id, value, direction);                                                \
    id##_FIELDS(PRINT_FIELD) fprintf(out, " | %s |\n", loss);
    MESSAGE_LIST(M)
#undef M
}
