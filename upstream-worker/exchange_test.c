/* SPDX-License-Identifier: MIT */
/* One request's life when the upstream does its part: answers, bodies, flow, a client that leaves, and
 * trouble of our own. */
#include "upstream-worker/exchange_testbed.h"

/* ---- answers ---- */

static void test_a_stream_is_relayed_as_it_comes(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    assert_int_equal(world.said.head_count, 0);
    world.now_ms += 40;
    upstream_send(CHUNK("one"));
    assert_int_equal(world.said.head_count, 1);
    assert_int_equal(world.said.head.status, 200);
    assert_int_equal(world.said.head.stream, 1);
    assert_int_equal(exchange_state(exchange), EXCHANGE_ANSWERING);
    size_t first_length = world.said.data.length;
    assert_true(first_length > 0);
    world.now_ms += 10;
    upstream_send(CHUNK("two") LAST DONE);
    assert_true(world.said.data.length > first_length);
    assert_int_equal(world.finish_count, 1); /* the connection is kept */
    assert_int_equal(world.cancel_count, 0);
    assert_int_equal(world.release.outcome, OUTCOME_OK);
    assert_int_equal(world.event.first_event_ms, 40);
    assert_int_equal(world.event.duration_ms, 50);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.stream, 1);
    assert_int_equal(world.event.attempts, 1);
    assert_int_equal(world.event.prompt_tokens, 3);
    assert_int_equal(world.event.completion_tokens, 2);
    assert_true(span_equals(world.event.model, SPAN("cb/m1")));
    assert_true(span_equals(world.event.credential_id, SPAN("c1")));
    assert_string_equal(world.event_code, "");
    const char *text = gateway_heard();
    assert_non_null(strstr(text, "\"one\""));
    assert_non_null(strstr(text, "\"two\""));
    assert_non_null(strstr(text, "data: [DONE]\n\n"));
    check_ended(exchange, OUTCOME_OK);
}

static void test_a_plain_answer_comes_whole(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    upstream_send(CHUNK("two"));
    assert_int_equal(world.said.head_count, 0);
    upstream_send(LAST);
    assert_int_equal(world.said.head_count, 0);
    upstream_finish(TRANSFER_COMPLETE); /* no [DONE]: the finish_reason is enough */
    assert_int_equal(world.said.head.stream, 0);
    assert_int_equal(world.said.head.content_bytes, world.said.data.length);
    const char *text = gateway_heard();
    assert_non_null(strstr(text, "\"onetwo\""));
    assert_non_null(strstr(text, "chat.completion"));
    check_ended(exchange, OUTCOME_OK);
}

static void test_the_body_may_come_in_pieces(void **state)
{
    (void)state;
    size_t length = strlen(stream_body), half = length / 2;
    char first[128];
    snprintf(first, sizeof first, "%.*s", (int)half, stream_body);
    struct exchange *exchange = gateway_ask_with((struct msg_request){.body_bytes = (uint32_t)length}, first);
    assert_int_equal(exchange_state(exchange), EXCHANGE_READING);
    exchange_take_body(exchange, span_of(stream_body + half, length - half));
    while (exchange_scan(exchange))
        ;
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
}

/* ---- refused bodies ---- */

static void test_a_bad_body_is_refused_with_its_field(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask("{\"messages\":[]}");
    assert_int_equal(world.ask_count, 0);
    assert_string_equal(world.said.param, "messages");
    assert_int_equal(world.event.status, 400);
    check_failed(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS);
}

static void test_a_body_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_with((struct msg_request){.body_bytes = (1 << 20) + 1}, "{");
    check_failed(exchange, FAILURE_TOO_LARGE, OUTCOME_BLAMELESS);
}

static void test_more_body_than_announced_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_with((struct msg_request){.body_bytes = 5}, "{");
    exchange_take_body(exchange, SPAN("12345"));
    check_failed(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
}

static void test_a_header_with_control_characters_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange =
        gateway_ask_with((struct msg_request){.conversation_id = SPAN("a\r\nX-Evil: 1")}, stream_body);
    assert_string_equal(world.said.param, "X-Conversation-ID");
    assert_int_equal(world.ask_count, 0);
    check_failed(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS);
}

/* ---- the client leaves ---- */

static void test_cancel_stops_the_transfer(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    exchange_cancel(exchange);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.release.outcome, OUTCOME_CANCELLED);
    assert_int_equal(world.event.status, 499);
    assert_string_equal(world.event_code, "client_closed_request");
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_cancel_of_a_begun_stream_counts_what_was_used(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],"
                  "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n");
    exchange_cancel(exchange);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.prompt_tokens, 9);
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_a_lost_gateway_is_a_cancel_without_words(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one"));
    exchange_lose_gateway(exchange);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.said.end_count + world.said.fail_count, 0);
    assert_int_equal(world.event.outcome, OUTCOME_CANCELLED);
    check_over(exchange);
}

/* ---- flow ---- */

/* One event with `length` bytes of text. */
static void big_event(struct buffer *event, size_t length)
{
    assert_int_equal(
        buffer_append_span(event, SPAN("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")), 0);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(buffer_append_char(event, 'x'), 0);
    assert_int_equal(buffer_append_span(event, SPAN("\"}}]}\n\n")), 0);
}

static void test_a_full_window_pauses_the_transfer(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    big_event(&event, 100 << 10);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    for (int i = 0; i < 3; i++)
        assert_true(upstream_send_bytes(buffer_span(&event)));
    assert_int_equal(world.said.data.length, WINDOW_BYTES); /* the rest of the third is held */
    assert_false(upstream_send_bytes(buffer_span(&event)));
    world_pass(exchange, 2 * IDLE_S); /* the silence is not the upstream's */
    assert_int_equal(exchange_state(exchange), EXCHANGE_ANSWERING);
    exchange_credit(exchange, 1000);
    assert_int_equal(world.said.data.length, WINDOW_BYTES + 1000);
    assert_int_equal(world.resume_count, 0);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.resume_count, 1);
    assert_true(upstream_send_bytes(buffer_span(&event)));
    upstream_send(LAST DONE);
    check_ended(exchange, OUTCOME_OK);
    buffer_fini(&event);
}

static void test_the_end_waits_for_what_is_held(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    big_event(&event, 600 << 10);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    assert_true(upstream_send_bytes(buffer_span(&event)));
    upstream_send(LAST DONE);
    assert_int_equal(exchange_state(exchange), EXCHANGE_FLUSHING);
    assert_int_equal(world.release_count, 1); /* the credential is free already */
    assert_int_equal(world.said.data.length, WINDOW_BYTES);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.said.end_count, 0);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.said.data.length, world.said.head.content_bytes);
    check_ended(exchange, OUTCOME_OK);
    buffer_fini(&event);
}

static void test_http2_takes_in_more_before_it_pauses(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    big_event(&event, 100 << 10);
    world.transfer.is_multiplexed = true;
    upstream_respond(200, CONTENT_EVENT_STREAM);
    int taken_count = 0;
    while (taken_count < 100 && upstream_send_bytes(buffer_span(&event)))
        taken_count++;
    assert_in_range(taken_count, 12, 14); /* 256 KiB + 1 MiB */
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
    buffer_fini(&event);
}

static void test_a_client_that_never_reads_is_cut_at_the_deadline(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    big_event(&event, 600 << 10);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    assert_true(upstream_send_bytes(buffer_span(&event)));
    upstream_send(LAST DONE);
    world_pass(exchange, TOTAL_S);
    assert_int_equal(world.said.fail_count, 1);
    check_over(exchange);
    buffer_fini(&event);
}

/* ---- our own trouble ---- */

static void test_a_transfer_that_cannot_start_is_500(void **state)
{
    (void)state;
    world.start_fails = true;
    struct exchange *exchange = gateway_ask(stream_body);
    credd_grant("c1");
    check_failed(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
}

static void test_an_unusable_credential_is_passed_over(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask(stream_body);
    const struct msg_grant bad = {.lease = 1,
                                  .credential_id = SPAN("c1"),
                                  .base_url = SPAN("http://127.0.0.1:1"),
                                  .headers = SPAN("X-User-Id: a\rb"),
                                  .token = SPAN("secret")};
    world.lease->state = LEASE_HELD;
    world.lease->handlers->granted(world.lease->owner, world.lease, &bad);
    assert_int_equal(world.start_count, 0);
    assert_int_equal(world.release.outcome, OUTCOME_UNAUTHORIZED);
    assert_string_equal(world.exclude, "c1");
    credd_refuse(FAILURE_NO_CREDENTIAL, 0);
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_BLAMELESS);
}

/* Goes as far as it gets. */
static void run_short_of_memory(const char *body, long allocations)
{
    const struct msg_request request = {.request_id = SPAN("req-1"),
                                        .key_id = SPAN("key-1"),
                                        .deadline_ms = 1000,
                                        .body_bytes = (uint32_t)strlen(body),
                                        .body = span_str(body)};
    world_allow_allocations(allocations);
    struct exchange *exchange = exchange_new(&world.home, gateway, 7, &request);
    if (!exchange)
        return; /* the worker says FAIL, movable */
    if (exchange_state(exchange) == EXCHANGE_LEASING)
        credd_grant("c1");
    if (exchange_state(exchange) == EXCHANGE_CALLING) {
        upstream_respond(200, CONTENT_EVENT_STREAM);
        upstream_send(CHUNK("one"));
    }
    if (exchange_state(exchange) != EXCHANGE_OVER)
        upstream_send(LAST DONE);
    world_allow_allocations(-1);
    assert_int_equal(world.said.end_count + world.said.fail_count, 1);
    if (world.said.end_count == 1)
        assert_non_null(strstr(gateway_heard(), "one"));
    check_over(exchange);
}

static void test_memory_may_run_out_anywhere(void **state)
{
    static const char *const bodies[] = {stream_body, plain_body};
    for (size_t i = 0; i < 2; i++) {
        long count = 0;
        bool has_ended;
        do {
            world_tear_down(state);
            world_set_up(state);
            run_short_of_memory(bodies[i], count);
            has_ended = world.said.end_count == 1;
            count++;
        } while (!has_ended || count < 5);
        assert_in_range(count, 10, 200); /* every allocation of a whole request has failed once */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_stream_is_relayed_as_it_comes),
        TEST(test_a_plain_answer_comes_whole),
        TEST(test_the_body_may_come_in_pieces),
        TEST(test_a_bad_body_is_refused_with_its_field),
        TEST(test_a_body_over_the_limit_is_refused),
        TEST(test_more_body_than_announced_is_refused),
        TEST(test_a_header_with_control_characters_is_refused),
        TEST(test_cancel_stops_the_transfer),
        TEST(test_cancel_of_a_begun_stream_counts_what_was_used),
        TEST(test_a_lost_gateway_is_a_cancel_without_words),
        TEST(test_a_full_window_pauses_the_transfer),
        TEST(test_the_end_waits_for_what_is_held),
        TEST(test_http2_takes_in_more_before_it_pauses),
        TEST(test_a_client_that_never_reads_is_cut_at_the_deadline),
        TEST(test_a_transfer_that_cannot_start_is_500),
        TEST(test_an_unusable_credential_is_passed_over),
        TEST(test_memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
