/* SPDX-License-Identifier: MIT */
#include "statsd/reader.h"
#include "statsd/ledger_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* What the reader answered. */
struct answered {
    unsigned count;
    uint16_t status;
    struct buffer body;
};

static void take(void *context, uint16_t status, struct span body)
{
    struct answered *answered = context;
    answered->count++;
    answered->status = status;
    buffer_clear(&answered->body);
    assert_int_equal(buffer_append_span(&answered->body, body), 0);
}

/* Asks one question of a reader of its own; gives the status, and the body to free. */
static uint16_t ask(struct ledger_fixture *f, enum reader_method method, const char *arguments,
                    struct buffer *body)
{
    uv_loop_t loop;
    struct answered answered = {.count = 0};
    assert_int_equal(uv_loop_init(&loop), 0);
    struct reader *reader = reader_new(&loop, f->directory);
    assert_non_null(reader);
    assert_true(reader_ask(reader, method, json_loads(arguments, 0, NULL), 0, take, &answered));
    assert_int_equal(answered.count, 0); /* not before the loop turns */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(answered.count, 1);
    reader_free(&reader);
    assert_int_equal(uv_loop_close(&loop), 0);
    *body = answered.body;
    return answered.status;
}

static void expect(struct ledger_fixture *f, enum reader_method method, const char *arguments,
                   uint16_t status, const char *words)
{
    struct buffer body;
    assert_int_equal(ask(f, method, arguments, &body), status);
    if (!memmem(body.data, body.length, words, strlen(words)))
        fail_msg("%.*s", (int)body.length, body.data);
    buffer_fini(&body);
}

static void test_questions_are_answered(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 20), 0);
    expect(f, READER_USAGE, "{}", 200, "\"missing_events\":0");
    expect(f, READER_USAGE, "{\"format\":\"csv\"}", 200, "time,by,requests");
    expect(f, READER_REQUESTS, "{}", 200, "\"next_before\":null");
    expect(f, READER_LIVE, "{}", 200, "\"newest\":{\"requests\":[{");
    expect(f, READER_USAGE, "{\"step\":\"7\"}", 422, "\"step\"");
}

/* While sums of an older program's events are being made, the answer says how many are missing; a table,
 * which cannot, is refused. */
static void test_what_is_missing_is_told(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(ledger_fixture_commit_range(f, 1, 20), 0);
    ledger_fixture_run(f, "INSERT INTO ledger_state VALUES('rollup_backlog_id', 12)");
    expect(f, READER_USAGE, "{}", 200, "\"missing_events\":12");
    expect(f, READER_USAGE, "{\"format\":\"csv\"}", 503, "12 earlier events");
    ledger_fixture_run(f, "DELETE FROM events WHERE id<=5"); /* there are none but those from 6 on */
    expect(f, READER_USAGE, "{}", 200, "\"missing_events\":7");
    ledger_fixture_run(f, "DELETE FROM events");
    expect(f, READER_USAGE, "{}", 200, "\"missing_events\":0");
}

static void test_a_ledger_that_cannot_be_read(void **state)
{
    struct ledger_fixture *f = *state; /* its directory is empty */
    expect(f, READER_USAGE, "{}", 503, "cannot be read now");
    ledger_fixture_open(f);
    expect(f, READER_USAGE, "{}", 200, "\"series\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_fixture_setup, ledger_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_questions_are_answered),
        TEST(test_what_is_missing_is_told),
        cmocka_unit_test_setup_teardown(test_a_ledger_that_cannot_be_read, ledger_fixture_setup_closed,
                                        ledger_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
