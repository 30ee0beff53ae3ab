/* SPDX-License-Identifier: MIT */
/* Trouble before the first byte: what is tried again, where, and what the client and credd are told. */
#include "upstream-worker/exchange_testbed.h"

static void test_500_is_tried_again_once_with_the_same_lease(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(500, "{\"code\":1,\"msg\":\"oops\"}");
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    assert_int_equal(world.start_count, 2);
    assert_int_equal(world.ask_count, 1);
    assert_int_equal(world.release_count, 0);
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one") LAST DONE);
    assert_int_equal(world.event.attempts, 2);
    check_ended(exchange, OUTCOME_OK);
}

static void test_500_twice_is_502(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_refuse(503, "<html>");
    upstream_refuse(500, "{\"error\":{\"message\":\"oops\",\"code\":\"boom\"}}");
    assert_string_equal(world.said.message, "oops");
    assert_string_equal(world.said.code, "boom");
    assert_int_equal(world.release.outcome, OUTCOME_TRANSIENT);
    assert_int_equal(world.event.status, 502);
    assert_string_equal(world.event_code, "boom");
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_a_failed_connection_is_tried_again_once(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_finish(TRANSFER_NOT_CONNECTED);
    assert_int_equal(world.start_count, 2);
    upstream_finish(TRANSFER_BROKEN);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_without_descriptors_another_worker_may_do_it(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_finish(TRANSFER_NO_DESCRIPTOR);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.said.fail_count, 1);
    assert_int_equal(world.said.fail.movable, 1);
    assert_int_equal(world.event_count, 0); /* the one that ends it tells statsd */
    assert_int_equal(world.release.outcome, OUTCOME_BLAMELESS);
    exchange_free(&exchange);
}

static void test_a_connection_that_takes_too_long_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_finish(TRANSFER_CONNECT_TIMEOUT);
    assert_int_equal(world.start_count, 2);
    upstream_finish(TRANSFER_CONNECT_TIMEOUT);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_429_goes_to_another_credential(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond_later(429, "30");
    upstream_send("{\"error\":{\"message\":\"slow down\"}}");
    upstream_finish(TRANSFER_COMPLETE);
    assert_int_equal(world.release.outcome, OUTCOME_RATE_LIMITED);
    assert_int_equal(world.release.retry_after_s, 30);
    assert_string_equal(world.exclude, "c1");
    credd_grant("c2");
    upstream_refuse(429, "");
    assert_string_equal(world.exclude, "c1,c2");
    credd_refuse(FAILURE_RATE_LIMITED, 12);
    assert_int_equal(world.said.fail.retry_after_s, 12);
    assert_int_equal(world.event.status, 429);
    assert_int_equal(world.event.attempts, 2);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_429_of_the_only_credential_stays_429(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_respond_later(429, "30");
    upstream_finish(TRANSFER_COMPLETE);
    credd_refuse(FAILURE_NO_CREDENTIAL, 0); /* the others need a login */
    assert_int_equal(world.said.fail.retry_after_s, 30);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_401_goes_to_another_credential(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(401, "<html><body>401</body></html>");
    assert_int_equal(world.release.outcome, OUTCOME_UNAUTHORIZED);
    assert_string_equal(world.exclude, "c1");
    credd_grant("c2");
    upstream_respond(200, CONTENT_EVENT_STREAM);
    upstream_send(CHUNK("one") LAST DONE);
    assert_true(span_equals(world.event.credential_id, SPAN("c2")));
    check_ended(exchange, OUTCOME_OK);
}

static void test_an_upstream_401_is_never_the_clients(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(401, "{\"error\":{\"message\":\"bad token\"}}");
    credd_refuse_saying(FAILURE_NO_CREDENTIAL, 0, SPAN("Each needs a new login."));
    assert_int_equal(world.event.status, 503);
    assert_string_equal(world.said.message, "Each needs a new login."); /* credd knows why no other can */
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_UNAUTHORIZED);
}

static void test_14018_exhausts_the_credential(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(429, "{\"code\":14018,\"msg\":\"credits used up\"}");
    assert_int_equal(world.release.outcome, OUTCOME_EXHAUSTED);
    assert_true(world.release.reason.length > 0);
    credd_refuse(FAILURE_RATE_LIMITED, 3600);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_11140_is_never_tried_elsewhere(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(403, "{\"code\":11140,\"msg\":\"risk\"}");
    assert_int_equal(world.ask_count, 1);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.release.outcome, OUTCOME_RISK_CONTROL);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_RISK_CONTROL);
}

static void test_11101_blames_nobody(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(400, "{\"code\":11101,\"msg\":\"stream must be true\"}");
    assert_int_equal(world.release.outcome, OUTCOME_BLAMELESS);
    assert_int_equal(world.event.status, 502);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_BLAMELESS);
}

static void test_11102_is_404_when_no_site_serves_the_model(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(stream_body);
    upstream_refuse(400, "{\"code\":11102,\"msg\":\"no such model\"}");
    assert_int_equal(world.release.outcome, OUTCOME_MODEL_NOT_SERVED);
    credd_refuse(FAILURE_RATE_LIMITED, 5);
    check_failed(exchange, FAILURE_MODEL_NOT_FOUND, OUTCOME_MODEL_NOT_SERVED);
}

static void test_an_error_in_a_200_is_a_refusal(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_JSON);
    upstream_send("{\"code\":14018,\"msg\":\"used up\"}");
    upstream_finish(TRANSFER_COMPLETE);
    assert_int_equal(world.release.outcome, OUTCOME_EXHAUSTED);
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    credd_refuse(FAILURE_NO_CREDENTIAL, 0);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_EXHAUSTED);
}

static void test_html_in_a_200_is_a_protocol_error(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(200, CONTENT_OTHER);
    upstream_send("<html>");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_a_redirect_is_a_protocol_error(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(302, CONTENT_OTHER);
    upstream_send("");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_endless_refusal_is_cut(void **state)
{
    (void)state;
    char piece[8192];
    memset(piece, 'x', sizeof piece);
    struct exchange *exchange = gateway_ask_and_grant(plain_body);
    upstream_respond(404, CONTENT_OTHER);
    for (int i = 0; i < 9 && exchange_state(exchange) == EXCHANGE_CALLING; i++)
        upstream_send_bytes(span_of(piece, sizeof piece));
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_BLAMELESS);
}

static void test_no_credential_is_told_as_credd_says(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask(plain_body);
    credd_refuse(FAILURE_NO_CREDENTIAL, 0);
    assert_int_equal(world.event.status, 503);
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_BLAMELESS);
}

static void test_a_lease_that_does_not_come_is_503(void **state)
{
    (void)state;
    struct exchange *exchange = gateway_ask(plain_body);
    credd_refuse(FAILURE_UNAVAILABLE, 1);
    assert_int_equal(world.said.fail.retry_after_s, 1);
    check_failed(exchange, FAILURE_UNAVAILABLE, OUTCOME_BLAMELESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_500_is_tried_again_once_with_the_same_lease),
        TEST(test_500_twice_is_502),
        TEST(test_a_failed_connection_is_tried_again_once),
        TEST(test_without_descriptors_another_worker_may_do_it),
        TEST(test_a_connection_that_takes_too_long_is_a_timeout),
        TEST(test_429_goes_to_another_credential),
        TEST(test_429_of_the_only_credential_stays_429),
        TEST(test_401_goes_to_another_credential),
        TEST(test_an_upstream_401_is_never_the_clients),
        TEST(test_14018_exhausts_the_credential),
        TEST(test_11140_is_never_tried_elsewhere),
        TEST(test_11101_blames_nobody),
        TEST(test_11102_is_404_when_no_site_serves_the_model),
        TEST(test_an_error_in_a_200_is_a_refusal),
        TEST(test_html_in_a_200_is_a_protocol_error),
        TEST(test_a_redirect_is_a_protocol_error),
        TEST(test_an_endless_refusal_is_cut),
        TEST(test_no_credential_is_told_as_credd_says),
        TEST(test_a_lease_that_does_not_come_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
