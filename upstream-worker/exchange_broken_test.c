/* SPDX-License-Identifier: MIT */
/* Trouble after the first byte, and silence at any time. */
#include "upstream-worker/exchange_testbed.h"

/* ---- trouble after it ---- */

static void test_a_truncated_stream_is_an_error_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    upstream_finish(TRANSFER_COMPLETE);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.event.status, 200);
    assert_string_equal(world.event_code, "upstream_incomplete");
    assert_null(strstr(gateway_heard(), "[DONE]"));
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_a_reset_stream_is_an_error_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    upstream_finish(TRANSFER_BROKEN);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

/* "data: xxxx…" of more than an event may have. */
static void send_a_line_without_end(void)
{
    struct buffer line = {0};
    upstream_send("data: \"");
    for (int i = 0; i < 1 << 20; i++)
        assert_int_equal(buffer_append(&line, "xxxxxxxxx", 9), 0);
    upstream_send_bytes(buffer_span(&line));
    buffer_fini(&line);
}

static void test_an_answer_that_is_too_long_says_so(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    send_a_line_without_end();
    assert_non_null(strstr(world.said.message, "ask for a stream"));
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_event_that_is_too_long_says_so(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    send_a_line_without_end();
    assert_string_equal(world.said.message, "The upstream sent an event of more than 8 MiB.");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_empty_answer_is_tried_again_once(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    assert_false(world.is_fresh);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_finish(TRANSFER_COMPLETE);
    assert_int_equal(world.start_count, 2);
    assert_true(world.is_fresh); /* not on another connection that is dead already */
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_finish(TRANSFER_COMPLETE);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_a_plain_answer_that_breaks_off_is_not_asked_for_again(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    upstream_finish(TRANSFER_BROKEN);
    assert_int_equal(world.start_count, 1); /* what came was paid for */
    assert_int_equal(world.said.head_count, 0);
    assert_int_equal(world.event.status, 502);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_an_error_event_in_a_stream_comes_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one") "data: {\"error\":{\"message\":\"gone\"}}\n\n");
    assert_string_equal(world.said.message, "gone");
    assert_int_equal(world.start_count, 1);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

/* ---- time ---- */

static void test_silence_before_the_first_event_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    world_pass(exchange, FIRST_BYTE_S - 1);
    upstream_send(": keepalive\n\n"); /* a comment is no event */
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    world_pass(exchange, 1);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.event.status, 504);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_silence_between_events_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    world_pass(exchange, IDLE_S - 1);
    upstream_send(CHUNK("two"));
    world_pass(exchange, IDLE_S - 1);
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    world_pass(exchange, 1);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_a_silent_stream_is_kept_alive(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    world_pass(exchange, KEEPALIVE_S - 1);
    assert_int_equal(world.said.head_count, 0);
    world_pass(exchange, 1);
    assert_int_equal(world.said.head_count, 1);
    world_pass(exchange, KEEPALIVE_S - 1);
    assert_int_equal(world.said.data.length, strlen(": keepalive\n\n"));
    world_pass(exchange, 1);
    assert_int_equal(world.said.data.length, 2 * strlen(": keepalive\n\n"));
    assert_int_equal(world.event_count, 0);
    upstream_refuse(500, ""); /* nothing is tried again after the status line */
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.first_event_ms, 0);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_a_plain_answer_is_waited_for_in_silence(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    world_pass(exchange, 2 * KEEPALIVE_S);
    assert_int_equal(world.said.head_count, 0);
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_the_deadline_ends_any_state(void **state)
{
    (void)state;
    struct exchange *exchange =
        gateway_ask_with((struct msg_request){.deadline_ms = 5000, .body_bytes = 100}, "{");
    world_pass(exchange, 4);
    assert_int_equal(exchange_state(exchange), EXCHANGE_READING);
    world_pass(exchange, 1);
    check_failed(exchange, FAILURE_REQUEST_TIMEOUT, OUTCOME_BLAMELESS);
    world_tear_down(state);
    world_set_up(state);
    exchange = gateway_ask_with((struct msg_request){.deadline_ms = 5000}, stream_body);
    world_pass(exchange, 5);
    check_failed(exchange, FAILURE_UNAVAILABLE, OUTCOME_TRANSIENT);
    world_tear_down(state);
    world_set_up(state);
    exchange = gateway_ask_with((struct msg_request){.deadline_ms = 5000}, stream_body);
    credd_grant("c1");
    world_pass(exchange, 5);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_truncated_stream_is_an_error_after_what_came),
        TEST(test_a_reset_stream_is_an_error_after_what_came),
        TEST(test_an_answer_that_is_too_long_says_so),
        TEST(test_an_event_that_is_too_long_says_so),
        TEST(test_an_empty_answer_is_tried_again_once),
        TEST(test_a_plain_answer_that_breaks_off_is_not_asked_for_again),
        TEST(test_an_error_event_in_a_stream_comes_after_what_came),
        TEST(test_silence_before_the_first_event_is_a_timeout),
        TEST(test_silence_between_events_is_a_timeout),
        TEST(test_a_silent_stream_is_kept_alive),
        TEST(test_a_plain_answer_is_waited_for_in_silence),
        TEST(test_the_deadline_ends_any_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
