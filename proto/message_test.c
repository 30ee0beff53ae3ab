/* SPDX-License-Identifier: MIT */
/* For every message of the list: golden bytes, round trip, every truncation, one byte too many, and the n-th
 * allocation failing. Fields are filled by kind: integers count up from 1, texts hold their field's name. */
#include "proto/error.h"
#include "proto/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- allocation failure: the linker sends realloc here (see CMakeLists.txt) ---- */

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
static int allocations_left = -1; /* -1: all succeed */

void *__wrap_realloc(void *memory, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_realloc(memory, size);
}

/* ---- filling and comparing by the list itself ---- */

#define FILL_U8(field)                 message->field = (uint8_t)(++count);
#define FILL_U16(field)                message->field = (uint16_t)(0x100 + ++count);
#define FILL_U32(field)                message->field = (uint32_t)(0x10000 + ++count);
#define FILL_U64(field)                message->field = 0x100000000u + (uint64_t)(++count);
#define FILL_I64(field)                message->field = -(int64_t)(++count);
#define FILL_STR(field)                message->field = span_str(#field);
#define FILL_BYTES(field)              message->field = span_of(#field "\0", sizeof #field);
#define FILL(kind, field, bound, unit) FILL_##kind(field)
#define SAME_NUMBER(field)             assert_true(a->field == b->field);
#define SAME_SPAN(field)               assert_true(span_equals(a->field, b->field));
#define SAME_U8                        SAME_NUMBER
#define SAME_U16                       SAME_NUMBER
#define SAME_U32                       SAME_NUMBER
#define SAME_U64                       SAME_NUMBER
#define SAME_I64                       SAME_NUMBER
#define SAME_STR                       SAME_SPAN
#define SAME_BYTES                     SAME_SPAN
#define SAME(kind, field, bound, unit) SAME_##kind(field)
#define M(id, name, value, direction, loss)                                                                  \
    static void fill_##name(void *at)                                                                        \
    {                                                                                                        \
        struct msg_##name *message = at;                                                                     \
        int count = 0;                                                                                       \
        id##_FIELDS(FILL)(void) count;                                                                       \
    }                                                                                                        \
    static void same_##name(const void *first, const void *second)                                           \
    {                                                                                                        \
        const struct msg_##name *a = first, *b = second;                                                     \
        id##_FIELDS(SAME)                                                                                    \
    }
MESSAGE_LIST(M)
#undef M

union any_message {
#define M(id, name, value, direction, loss) struct msg_##name name;
    MESSAGE_LIST(M)
#undef M
};

struct row {
    const char *name;
    enum message_type type;
    void (*fill)(void *message);
    void (*same)(const void *a, const void *b);
};

static const struct row rows[] = {
#define M(id, name, value, direction, loss) {#id, MESSAGE_##id, fill_##name, same_##name},
    MESSAGE_LIST(M)
#undef M
};

enum { ROW_COUNT = sizeof rows / sizeof *rows };

static const char *const golden[][2] = {
#include "proto/message_golden.inc"
};

static void encode_row(const struct row *row, union any_message *message, struct buffer *train)
{
    memset(message, 0, sizeof *message);
    row->fill(message);
    assert_int_equal(message_encode(train, row->type, 0x0102030405060708u, message), 0);
}

static void append_hex(struct buffer *text, struct span bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        buffer_printf(text, "%02x", (unsigned char)bytes.data[i]);
    buffer_append_char(text, '\0');
}

/* On a difference the new line is printed: paste it only if the change of the wire is meant (and WIRE_VERSION
 * up). */
static void test_golden_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof golden / sizeof *golden, ROW_COUNT);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        union any_message message;
        struct buffer train = {0}, hex = {0};
        encode_row(&rows[i], &message, &train);
        append_hex(&hex, buffer_span(&train));
        bool is_same = strcmp(golden[i][1], hex.data) == 0;
        if (!is_same)
            print_message("{\"%s\", \"%s\"},\n", rows[i].name, hex.data);
        buffer_fini(&train);
        buffer_fini(&hex); /* before what may fail: a difference is not to look like a leak */
        assert_string_equal(golden[i][0], rows[i].name);
        assert_true(is_same);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        union any_message sent, got;
        struct buffer train = {0};
        struct frame frame;
        encode_row(&rows[i], &sent, &train);
        struct span rest = buffer_span(&train);
        assert_int_equal(train_next(&rest, &frame), 1);
        assert_int_equal(frame.type, rows[i].type);
        assert_true(frame.request == 0x0102030405060708u);
        memset(&got, 0xEE, sizeof got);
        assert_int_equal(message_decode(&frame, &got), 0);
        rows[i].same(&sent, &got);
        assert_int_equal(train_next(&rest, &frame), 0);
        buffer_fini(&train);
    }
}

static void test_every_truncation_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        union any_message message;
        struct buffer train = {0};
        struct frame frame;
        encode_row(&rows[i], &message, &train);
        for (size_t length = 1; length < train.length; length++) { /* of the train */
            struct span cut = span_of(train.data, length);
            assert_int_equal(train_next(&cut, &frame), ERR_TRUNCATED);
        }
        struct span whole = buffer_span(&train);
        assert_int_equal(train_next(&whole, &frame), 1);
        size_t payload_bytes = frame.payload.length;
        for (size_t length = 0; length < payload_bytes; length++) { /* of the payload */
            frame.payload.length = length;
            assert_int_equal(message_decode(&frame, &message), ERR_TRUNCATED);
        }
        buffer_append_char(&train, 'x'); /* one byte too many */
        frame.payload = span_of(train.data + FRAME_HEADER_BYTES, payload_bytes + 1);
        assert_int_equal(message_decode(&frame, &message), ERR_INVALID);
        buffer_fini(&train);
    }
}

static void test_allocation_failure_leaves_the_train_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        union any_message message;
        memset(&message, 0, sizeof message);
        rows[i].fill(&message);
        for (int n = 0;; n++) {
            struct buffer train = {0};
            allocations_left = n;
            int error = message_encode(&train, rows[i].type, 1, &message);
            allocations_left = -1;
            size_t length = train.length;
            buffer_fini(&train);
            if (error == 0)
                break;
            assert_int_equal(error, ERR_NOMEM);
            assert_int_equal(length, 0);
        }
    }
}

static void test_a_train_holds_many_frames(void **state)
{
    struct buffer train = {0};
    struct frame frame;
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        union any_message message;
        encode_row(&rows[i], &message, &train);
    }
    struct span rest = buffer_span(&train);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        assert_int_equal(train_next(&rest, &frame), 1);
        assert_int_equal(frame.type, rows[i].type);
    }
    assert_int_equal(train_next(&rest, &frame), 0);
    buffer_fini(&train);
}

static void test_bad_headers(void **state)
{
    struct buffer train = {0};
    struct frame frame;
    (void)state;
    assert_int_equal(message_encode(&train, MESSAGE_CANCEL, 1, &(struct msg_cancel){1}), 0);
    train.data[0] = WIRE_VERSION + 1;
    struct span bytes = buffer_span(&train);
    assert_int_equal(train_next(&bytes, &frame), ERR_VERSION);
    train.data[0] = WIRE_VERSION;
    train.data[1] = (char)250; /* unknown type: skipped whole */
    bytes = buffer_span(&train);
    assert_int_equal(train_next(&bytes, &frame), ERR_UNKNOWN_TYPE);
    assert_int_equal(frame.type, 250);
    assert_int_equal(bytes.length, 0);
    union any_message message;
    assert_int_equal(message_decode(&frame, &message), ERR_UNKNOWN_TYPE);
    train.data[4] = 0x7F; /* a length beyond the bound */
    bytes = buffer_span(&train);
    assert_int_equal(train_next(&bytes, &frame), ERR_TOO_LARGE);
    buffer_fini(&train);
}

static void test_bounds_and_texts_are_checked(void **state)
{
    struct buffer train = {0};
    struct frame frame = {.type = MESSAGE_CALL};
    struct msg_call call;
    char name[66];
    (void)state;
    memset(name, 'n', sizeof name);
    call = (struct msg_call){span_of(name, 65), {NULL, 0}};
    assert_int_equal(message_encode(&train, MESSAGE_CALL, 1, &call), ERR_TOO_LARGE);
    assert_int_equal(train.length, 0);
    frame.payload = span_of("\0\x02\xff\xfe\0\0\0\0", 8); /* not UTF-8 */
    assert_int_equal(message_decode(&frame, &call), ERR_INVALID);
    frame.payload = span_of("\0\x02g\0\0\0\0\0", 8); /* a NUL inside */
    assert_int_equal(message_decode(&frame, &call), ERR_INVALID);
    frame.payload = span_of("\0\x41", 2); /* 65 > 64 */
    assert_int_equal(message_decode(&frame, &call), ERR_TOO_LARGE);
    buffer_fini(&train);
}

static void test_the_readme_has_the_present_table(void **state)
{
    char *table = NULL;
    size_t table_bytes = 0;
    struct buffer readme = {0};
    (void)state;
    FILE *out = open_memstream(&table, &table_bytes);
    message_print_table(out);
    fclose(out);
    FILE *in = fopen("proto/README.md", "r"); /* NULL: not run in the repository */
    for (int c = in ? fgetc(in) : EOF; c != EOF; c = fgetc(in))
        buffer_append_char(&readme, (char)c);
    buffer_append_char(&readme, '\0');
    if (in)
        fclose(in);
    bool has_it = strstr(readme.data, table) != NULL;
    if (!has_it)
        print_message("proto/README.md lacks this table (paste it):\n%s", table);
    free(table);
    buffer_fini(&readme);
    assert_true(has_it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_truncation_is_an_error),
        cmocka_unit_test(test_allocation_failure_leaves_the_train_as_it_was),
        cmocka_unit_test(test_a_train_holds_many_frames),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bounds_and_texts_are_checked),
        cmocka_unit_test(test_the_readme_has_the_present_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
