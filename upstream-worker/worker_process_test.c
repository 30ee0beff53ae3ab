/* SPDX-License-Identifier: MIT */
/* The worker as a process, between a fake gateway, credd and statsd and the stand-in upstream. */
#include "proto/clock.h"
#include "proto/failure.h"
#include "proto/outcome.h"
#include "upstream-worker/fake_peers.h"
#include "upstream-worker/request_body.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

enum { RECEIVED_BYTES = 1 << 20 };

/* Short limits are for the tests that see them pass: on a busy machine everything else may take a while.
 * Under ThreadSanitizer the stand-in needs seconds for 8 MiB. */
#ifdef __SANITIZE_THREAD__
#define LIMIT_S      "8"
#define LONGER_MODEL "s:slow?n=200" /* ten seconds */
#else
#define LIMIT_S      "2"
#define LONGER_MODEL "s:slow?n=60" /* three seconds */
#endif

static struct fake_world world;

static int start(void **state)
{
    (void)state;
    fake_world_start(&world, NULL);
    return 0;
}

static int start_impatient(void **state)
{
    static const char *const environment[] = {"CODEBUDDY_FIRST_BYTE_TIMEOUT_S=" LIMIT_S,
                                              "CODEBUDDY_IDLE_TIMEOUT_S=" LIMIT_S, NULL};
    (void)state;
    fake_world_start(&world, environment);
    return 0;
}

static int start_impatient_between_events(void **state)
{
    static const char *const environment[] = {"CODEBUDDY_IDLE_TIMEOUT_S=" LIMIT_S, NULL};
    (void)state;
    fake_world_start(&world, environment);
    return 0;
}

static int start_lively(void **state)
{
    static const char *const environment[] = {"CODEBUDDY_KEEPALIVE_S=1", NULL};
    (void)state;
    fake_world_start(&world, environment);
    return 0;
}

static int start_quick_to_connect(void **state)
{
    static const char *const environment[] = {"CODEBUDDY_CONNECT_TIMEOUT_S=1", NULL};
    (void)state;
    fake_world_start(&world, environment);
    return 0;
}

/* Also checks what must hold after every test: nothing the upstream objects to, a clean drain. */
static int stop(void **state)
{
    (void)state;
    long long check_failures = fake_upstream_counter(&world, "check_failures");
    if (check_failures != 0) {
        char text[4096];
        fake_control(&world, "stats", text, sizeof text);
        fprintf(stderr, "%s\n", text);
    }
    int status = fake_world_stop(&world);
    if (status != 0)
        fprintf(stderr, "the worker ended with %d\n", status);
    return check_failures == 0 && status == 0 ? 0 : -1;
}

static const char *text_of(struct fake_request *request)
{
    assert_int_equal(buffer_append_char(&request->data, '\0'), 0);
    request->data.length--;
    return request->data.data;
}

static struct fake_request *ask_and_wait(const char *model, bool stream)
{
    struct fake_request *request = fake_ask(&world, model, stream);
    fake_wait_end(&world, request);
    return request;
}

/* Everything that is lent has come back. */
static void check_released(enum outcome outcome)
{
    FAKE_UNTIL(&world, world.release_count == world.lease_count);
    assert_string_equal(outcome_word(world.last_outcome), outcome_word(outcome));
}

static void check_ok(struct fake_request *request)
{
    assert_true(request->is_ended);
    assert_int_equal(request->end.outcome, OUTCOME_OK);
    const struct fake_event *event = fake_wait_event(&world, request);
    assert_int_equal(event->event.status, 200);
    assert_int_equal(event->event.outcome, OUTCOME_OK);
    assert_string_equal(event->code, "");
    assert_true(event->event.first_event_ms > 0);
}

static void check_failed(struct fake_request *request, enum failure failure)
{
    assert_true(request->is_failed);
    assert_string_equal(failure_code((enum failure)request->fail.failure), failure_code(failure));
    assert_int_equal(request->fail.movable, 0);
    const struct fake_event *event = fake_wait_event(&world, request);
    assert_int_equal(event->event.status, request->head_count > 0 ? 200 : failure_status(failure));
}

/* ---- answers ---- */

static void test_streams_and_plain_answers(void **state)
{
    (void)state;
    struct fake_request *stream = ask_and_wait("s:chunks", true);
    check_ok(stream);
    assert_int_equal(stream->head.stream, 1);
    const char *text = text_of(stream);
    assert_non_null(strstr(text, "t0 "));
    assert_non_null(strstr(text, "t4 "));
    assert_string_equal(text + strlen(text) - 14, "data: [DONE]\n\n");
    assert_null(strstr(text, "\"usage\"")); /* not asked for */
    struct fake_request *plain = ask_and_wait("s:chunks", false);
    check_ok(plain);
    assert_int_equal(plain->head.stream, 0);
    assert_int_equal(plain->head.content_bytes, plain->data.length);
    assert_non_null(strstr(text_of(plain), "t0 t1 t2 t3 t4 "));
    const struct fake_event *event = fake_wait_event(&world, plain);
    assert_string_equal(event->model, "s:chunks");
    assert_string_equal(event->credential_id, "c1");
    assert_int_equal(event->event.prompt_tokens, 11);
    assert_int_equal(event->event.cached_tokens, 4);
    assert_int_equal(event->event.credit_micro, 12500);
    check_released(OUTCOME_OK);
}

static void test_a_connection_is_used_again(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        check_ok(ask_and_wait("s:chunks", i % 2 == 0));
    assert_int_equal(fake_upstream_counter(&world, "chat"), 10);
    /* one for all ten, and those of the control calls, which close theirs */
    assert_true(fake_upstream_counter(&world, "connections_now") <= 2);
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct fake_request *requests[40];
    for (size_t i = 0; i < 40; i++)
        requests[i] = fake_ask(&world, "s:chunks?gap_ms=20", i % 2 == 0);
    for (size_t i = 0; i < 40; i++) {
        fake_wait_end(&world, requests[i]);
        check_ok(requests[i]);
    }
    check_released(OUTCOME_OK);
}

/* The upstream got, byte for byte, what the core makes of this body. */
static void check_received(struct span body)
{
    const struct request_options options = {.default_model = SPAN("m"),
                                            .system_text = SPAN("You are a helpful assistant.")};
    struct request_body *request = request_body_new(&options);
    struct buffer payload = {0};
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof digest + 1], *received = malloc(RECEIVED_BYTES);
    int status;
    while ((status = request_body_scan(request, body, true, REQUEST_SLICE_BYTES)) == REQUEST_MORE)
        ;
    assert_int_equal(status, REQUEST_READY);
    assert_int_equal(payload_flatten(request_body_payload(request), &payload), 0);
    crypto_hash_sha256(digest, (const unsigned char *)payload.data, payload.length);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    assert_int_equal(fake_control(&world, "requests?limit=1", received, RECEIVED_BYTES), 200);
    assert_non_null(strstr(received, hex));
    free(received);
    buffer_fini(&payload);
    request_body_free(&request);
}

static bool default_model_is(const char *model)
{
    struct fake_request *request =
        fake_ask_with(&world, SPAN("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"));
    fake_wait_end(&world, request);
    return strcmp(fake_wait_event(&world, request)->model, model) == 0;
}

static void test_new_settings_hold_for_the_next_request(void **state)
{
    (void)state;
    int tries = 0;
    fake_send_state(&world, 7, "{\"settings\":{\"CODEBUDDY_MODELS\":\"s:chunks?n=2, b\"}}");
    while (!default_model_is("s:chunks?n=2")) /* STATE and REQUEST come on two sockets */
        assert_true(++tries < 100);
    fake_send_state(&world, 8, "{\"settings\":{\"CODEBUDDY_MODELS\":\",\"}}"); /* not taken */
    fake_send_state(&world, 9, "{\"settings\":{\"CODEBUDDY_MODELS\":\"s:chunks?n=3\"}}");
    for (tries = 0; !default_model_is("s:chunks?n=3"); tries++)
        assert_true(tries < 100);
}

static void test_a_big_body_goes_through(void **state)
{
    (void)state;
    struct buffer body = {0};
    assert_int_equal(buffer_append_span(&body, SPAN("{\"model\":\"s:chunks\",\"messages\":[")), 0);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(buffer_append_span(&body, SPAN("{\"role\":\"user\",\"content\":\"")), 0);
        for (int j = 0; j < 1000; j++)
            assert_int_equal(buffer_append_char(&body, 'x'), 0);
        assert_int_equal(buffer_append_span(&body, SPAN("\"},")), 0);
    }
    assert_int_equal(buffer_append_span(&body, SPAN("{\"role\":\"user\",\"content\":\"the last words\"}]}")),
                     0);
    struct fake_request *request = fake_ask_with(&world, buffer_span(&body));
    fake_wait_end(&world, request);
    check_ok(request);
    check_received(buffer_span(&body));
    buffer_fini(&body);
}

static void test_a_bad_body_is_refused(void **state)
{
    (void)state;
    struct fake_request *request = fake_ask_with(&world, SPAN("{\"messages\":[{\"role\":1}]}"));
    fake_wait_end(&world, request);
    check_failed(request, FAILURE_INVALID_REQUEST);
    assert_string_equal(request->fail_param, "messages[0].role");
    assert_int_equal(world.lease_count, 0);
}

/* ---- repairs ---- */

static void test_500_is_repaired_by_a_second_try(void **state)
{
    (void)state;
    struct fake_request *request = ask_and_wait("s:500?fail_times=1", true);
    check_ok(request);
    assert_int_equal(fake_wait_event(&world, request)->event.attempts, 2);
    assert_int_equal(world.lease_count, 1);
    assert_int_equal(fake_upstream_counter(&world, "chat"), 2);
    check_failed(ask_and_wait("s:500", false), FAILURE_UPSTREAM);
    assert_int_equal(fake_upstream_counter(&world, "chat"), 4);
}

static void test_resets_before_the_answer_are_repaired(void **state)
{
    (void)state;
    check_ok(ask_and_wait("s:reset-header?fail_times=1", true));
    check_ok(ask_and_wait("s:abort-header?fail_times=1", false));
    check_ok(ask_and_wait("s:reset-first?fail_times=1", true));
    check_failed(ask_and_wait("s:reset-header", true), FAILURE_UPSTREAM);
}

static void test_429_changes_the_credential(void **state)
{
    (void)state;
    struct fake_request *request = ask_and_wait("s:429-retry?fail_times=1", true);
    check_ok(request);
    assert_string_equal(fake_wait_event(&world, request)->credential_id, "c2");
    assert_int_equal(world.lease_count, 2);
    assert_string_equal(world.last_exclude, "c1");
    request = ask_and_wait("s:429-retry", false);
    check_failed(request, FAILURE_RATE_LIMITED);
    assert_int_equal(request->fail.retry_after_s, 9);
    assert_string_equal(world.last_exclude, "c1,c2");
    assert_int_equal(world.last_outcome, OUTCOME_RATE_LIMITED);
    assert_int_equal(world.last_retry_after_s, 2);
    assert_string_equal(world.last_released_model, "s:429-retry");
}

static void test_401_changes_the_credential(void **state)
{
    (void)state;
    check_ok(ask_and_wait("s:401-html?fail_times=1", true));
    world.refusal = FAILURE_NO_CREDENTIAL;
    check_failed(ask_and_wait("s:401-json", true), FAILURE_NO_CREDENTIAL);
    FAKE_UNTIL(&world, world.release_count == 4);
    assert_int_equal(world.last_outcome, OUTCOME_UNAUTHORIZED);
}

static void test_codes_are_told_to_credd(void **state)
{
    (void)state;
    check_failed(ask_and_wait("s:429-14018", true), FAILURE_RATE_LIMITED);
    FAKE_UNTIL(&world, world.release_count == 2);
    assert_int_equal(world.last_outcome, OUTCOME_EXHAUSTED);
    check_failed(ask_and_wait("s:403-11140", true), FAILURE_UPSTREAM);
    FAKE_UNTIL(&world, world.release_count == 3); /* one try only */
    assert_int_equal(world.last_outcome, OUTCOME_RISK_CONTROL);
    check_failed(ask_and_wait("s:11101", true), FAILURE_UPSTREAM);
    FAKE_UNTIL(&world, world.release_count == 4);
    assert_int_equal(world.last_outcome, OUTCOME_BLAMELESS);
    check_failed(ask_and_wait("s:200-envelope", false), FAILURE_MODEL_NOT_FOUND);
    FAKE_UNTIL(&world, world.release_count == 6);
    assert_int_equal(world.last_outcome, OUTCOME_MODEL_NOT_SERVED);
}

/* ---- broken answers ---- */

static void test_broken_answers(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        enum failure failure;
    } cases[] = {
        {"s:eof-middle", FAILURE_UPSTREAM_INCOMPLETE},
        {"s:no-finish", FAILURE_UPSTREAM_INCOMPLETE},
        {"s:abort-middle", FAILURE_UPSTREAM_INCOMPLETE},
        {"s:reset-middle", FAILURE_UPSTREAM_INCOMPLETE},
        {"s:error-object", FAILURE_UPSTREAM},
        {"s:bad-json", FAILURE_UPSTREAM_PROTOCOL},
        {"s:200-html", FAILURE_UPSTREAM_PROTOCOL},
        {"s:eof-first", FAILURE_UPSTREAM_INCOMPLETE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_request *stream = ask_and_wait(cases[i].model, true);
        check_failed(stream, cases[i].failure);
        if (stream->head_count > 0)
            assert_null(strstr(text_of(stream), "[DONE]"));
        struct fake_request *plain = ask_and_wait(cases[i].model, false);
        check_failed(plain, cases[i].failure);
        assert_int_equal(plain->head_count, 0);
    }
    check_ok(ask_and_wait("s:no-done", true)); /* complete without [DONE] */
    check_released(OUTCOME_OK);
}

static void test_silence_is_a_timeout(void **state)
{
    (void)state;
    check_failed(ask_and_wait("s:silent-header", false), FAILURE_UPSTREAM_TIMEOUT);
    check_failed(ask_and_wait("s:silent", true), FAILURE_UPSTREAM_TIMEOUT);
    struct fake_request *request = ask_and_wait("s:silent-middle", true);
    check_failed(request, FAILURE_UPSTREAM_TIMEOUT);
    assert_non_null(strstr(text_of(request), "t1 "));
    fake_wait_upstream(&world, "aborts", 3);
}

static void test_a_dead_upstream_is_502(void **state)
{
    (void)state;
    char url[sizeof world.upstream_url];
    memcpy(url, world.upstream_url, sizeof url);
    snprintf(world.upstream_url, sizeof world.upstream_url, "http://127.0.0.1:1"); /* nobody listens there */
    struct fake_request *request = ask_and_wait("s:chunks", true);
    check_failed(request, FAILURE_UPSTREAM);
    assert_int_equal(fake_wait_event(&world, request)->event.attempts, 2);
    memcpy(world.upstream_url, url, sizeof url);
    check_ok(ask_and_wait("s:chunks", true));
}

/* A listening socket whose queue is full: who connects gets no answer. */
static int jam(char *url, size_t size, int *clients, size_t client_count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    for (size_t i = 0; i < client_count; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int status = connect(clients[i], (struct sockaddr *)&address, length);
        assert_true(status == 0 || errno == EINPROGRESS);
    }
    snprintf(url, size, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static void test_who_does_not_answer_a_connect_is_given_up(void **state)
{
    int clients[4];
    char url[sizeof world.upstream_url];
    (void)state;
    memcpy(url, world.upstream_url, sizeof url);
    int fd = jam(world.upstream_url, sizeof world.upstream_url, clients, sizeof clients / sizeof *clients);
    int64_t since_ms = clock_now_ms();
    struct fake_request *request = ask_and_wait("s:ok", true);
    check_failed(request, FAILURE_UPSTREAM_TIMEOUT);
    assert_true(clock_now_ms() - since_ms >= 2000); /* tried twice, a second each */
    assert_int_equal(fake_wait_event(&world, request)->event.attempts, 2);
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++)
        close(clients[i]);
    close(fd);
    memcpy(world.upstream_url, url, sizeof url);
    check_ok(ask_and_wait("s:chunks", true));
}

/* ---- the client ---- */

static void check_cancelled(struct fake_request *request)
{
    fake_wait_end(&world, request);
    assert_true(request->is_ended);
    assert_int_equal(request->end.outcome, OUTCOME_CANCELLED);
    const struct fake_event *event = fake_wait_event(&world, request);
    assert_int_equal(event->event.outcome, OUTCOME_CANCELLED);
    assert_string_equal(event->code, "client_closed_request");
}

static void test_cancel_reaches_the_upstream(void **state)
{
    (void)state;
    struct fake_request *silent = fake_ask(&world, "s:silent-header", true);
    FAKE_UNTIL(&world, fake_upstream_counter(&world, "streams_now") == 1);
    fake_cancel(&world, silent);
    check_cancelled(silent);
    fake_wait_upstream(&world, "aborts", 1);
    struct fake_request *running = fake_ask(&world, "s:endless", true);
    FAKE_UNTIL(&world, running->data.length > 1000);
    fake_cancel(&world, running);
    check_cancelled(running);
    fake_wait_upstream(&world, "aborts", 2);
    struct fake_request *plain = fake_ask(&world, "s:endless", false);
    FAKE_UNTIL(&world, fake_upstream_counter(&world, "streams_now") == 1);
    fake_cancel(&world, plain);
    check_cancelled(plain);
    fake_wait_upstream(&world, "aborts", 3);
    check_released(OUTCOME_CANCELLED);
    check_ok(ask_and_wait("s:chunks", true));
}

static void test_a_reader_who_stops_costs_one_window(void **state)
{
    (void)state;
    check_ok(ask_and_wait("s:chunks", true)); /* whatever is made once is made */
    long before_kib = fake_worker_rss_kib(&world);
    struct fake_request *slow = fake_ask(&world, "s:big-body", true);
    slow->withholds_window = true;
    FAKE_UNTIL(&world, slow->data.length == WINDOW_BYTES || slow->is_failed);
    struct fake_request *other =
        ask_and_wait(LONGER_MODEL, true); /* than the idle limit: it is not the upstream who is silent */
    check_ok(other);
    assert_int_equal(slow->data.length, WINDOW_BYTES);
    assert_false(slow->is_failed);
#ifndef __SANITIZE_THREAD__ /* whose shadow is several times what is allocated */
    assert_true(fake_worker_rss_kib(&world) - before_kib < 4096); /* not the 8 MiB that wait */
#else
    (void)before_kib;
#endif
    slow->withholds_window = false;
    fake_credit(&world, slow);
    fake_wait_end(&world, slow);
    check_ok(slow);
    assert_true(slow->data.length > 8 << 20);
}

static void test_a_big_plain_answer_passes_the_window(void **state)
{
    (void)state;
    struct fake_request *request = ask_and_wait("s:big-body", false);
    check_ok(request);
    assert_int_equal(request->head.content_bytes, request->data.length);
    assert_true(request->data.length > 8 << 20);
}

static void test_a_silent_stream_is_kept_alive(void **state)
{
    (void)state;
    struct fake_request *request = ask_and_wait("s:chunks?first_ms=2500", true);
    check_ok(request);
    assert_int_equal(strncmp(text_of(request), ": keepalive\n\n: keepalive\n\ndata: {", 33), 0);
    request = ask_and_wait("s:500?header_ms=1500", true);
    check_failed(request, FAILURE_UPSTREAM);
    assert_string_equal(text_of(request), ": keepalive\n\n");
    assert_int_equal(fake_wait_event(&world, request)->event.attempts, 1);
}

/* ---- peers ---- */

static void test_a_lost_gateway_cancels_its_transfers(void **state)
{
    (void)state;
    struct fake_request *request = fake_ask(&world, "s:endless", true);
    FAKE_UNTIL(&world, request->data.length > 0);
    fake_close_gateway(&world);
    fake_wait_upstream(&world, "aborts", 1);
    assert_int_equal(fake_wait_event(&world, request)->event.outcome, OUTCOME_CANCELLED);
    check_released(OUTCOME_CANCELLED);
    fake_open_gateway(&world);
    FAKE_UNTIL(&world, world.worker_accepts);
    check_ok(ask_and_wait("s:chunks", true));
}

static void test_a_lease_waits_for_credd(void **state)
{
    (void)state;
    fake_close_credd(&world);
    struct fake_request *request = fake_ask(&world, "s:chunks", true);
    fake_turn(&world);
    fake_open_credd(&world);
    fake_wait_end(&world, request);
    check_ok(request);
}

static void test_without_credd_a_request_fails_in_time(void **state)
{
    (void)state;
    world.is_credd_mute = true;
    int64_t began_ms = clock_now_ms();
    struct fake_request *request = ask_and_wait("s:chunks", true);
    check_failed(request, FAILURE_UNAVAILABLE);
    assert_int_equal(request->fail.retry_after_s, 1);
    /* After 5 s, not at the request's own deadline of a minute; a busy machine adds some. */
    assert_in_range(clock_now_ms() - began_ms, 4500, 30000);
}

static void test_leases_are_renewed(void **state)
{
    (void)state;
    world.ttl_ms = 300;
    struct fake_request *one = fake_ask(&world, "s:endless?gap_ms=20", true);
    struct fake_request *two = fake_ask(&world, "s:endless?gap_ms=20", true);
    FAKE_UNTIL(&world, world.renew_count >= 3 && world.renewed_leases == 2);
    fake_close_credd(&world);
    world.renew_count = 0;
    fake_open_credd(&world);
    FAKE_UNTIL(&world, world.renew_count > 0 && world.renewed_leases == 2); /* a fresh credd learns of them */
    fake_cancel(&world, one);
    fake_cancel(&world, two);
    check_cancelled(one);
    check_cancelled(two);
}

static void test_a_drain_lets_requests_finish(void **state)
{
    (void)state;
    struct fake_request *request = fake_ask(&world, "s:slow?n=10", true);
    FAKE_UNTIL(&world, request->data.length > 0);
    fake_drain(&world);
    FAKE_UNTIL(&world, !world.worker_accepts);
    struct fake_request *late = fake_ask(&world, "s:chunks", true); /* it crossed READY 0 */
    fake_wait_end(&world, late);
    assert_true(late->is_failed);
    assert_int_equal(late->fail.movable, 1);
    fake_wait_end(&world, request);
    check_ok(request);
}

#define TEST(function)             TEST_WITH(function, start)
#define TEST_WITH(function, start) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_streams_and_plain_answers),
        TEST(test_a_connection_is_used_again),
        TEST(test_many_at_once),
        TEST(test_a_big_body_goes_through),
        TEST(test_new_settings_hold_for_the_next_request),
        TEST(test_a_bad_body_is_refused),
        TEST(test_500_is_repaired_by_a_second_try),
        TEST(test_resets_before_the_answer_are_repaired),
        TEST(test_429_changes_the_credential),
        TEST(test_401_changes_the_credential),
        TEST(test_codes_are_told_to_credd),
        TEST(test_broken_answers),
        TEST_WITH(test_silence_is_a_timeout, start_impatient),
        TEST(test_a_dead_upstream_is_502),
        TEST_WITH(test_who_does_not_answer_a_connect_is_given_up, start_quick_to_connect),
        TEST(test_cancel_reaches_the_upstream),
        TEST_WITH(test_a_reader_who_stops_costs_one_window, start_impatient_between_events),
        TEST(test_a_big_plain_answer_passes_the_window),
        TEST_WITH(test_a_silent_stream_is_kept_alive, start_lively),
        TEST(test_a_lost_gateway_cancels_its_transfers),
        TEST(test_a_lease_waits_for_credd),
        TEST(test_without_credd_a_request_fails_in_time),
        TEST(test_leases_are_renewed),
        TEST(test_a_drain_lets_requests_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
