/* SPDX-License-Identifier: MIT */
/* A reporter and a statsd of our own in one process, each with its loop, turned by hand: real ZeroMQ sockets
 * in a directory of their own. */
#include "proto/reporter.h"
#include "proto/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000, /* a bound for a hang, not a wait */ MAX_SEEN = 200000 };

struct world {
    char dir[64], endpoint[96], endpoint_setting[160];
    struct settings sender_settings, statsd_settings;
    struct service *sender, *statsd;
    struct link *link; /* statsd's */
    struct peer *peer;
    struct reporter *reporter;
    uint64_t next, repeats; /* sequence expected; frames that were not it */
    int gone_frames;
    bool gauge_is_gone;
    int64_t counter_micro, gauge_micro, service_gauge_micro, memory_micro;
    unsigned counter_frames;
};

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct world *world = owner;
    (void)hello;
    world->peer = peer;
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct world *world = owner;
    (void)peer;
    (void)why;
    world->peer = NULL;
}

static void on_gauge(struct world *world, const struct msg_gauge *gauge)
{
    if (span_equals(gauge->name, SPAN("codebuddy2api_test_total{a=\"b\"}"))) {
        assert_int_equal(gauge->kind, GAUGE_COUNTER);
        world->counter_micro = gauge->value_micro;
        world->counter_frames++;
    } else if (span_equals(gauge->name, SPAN("codebuddy2api_test"))) {
        assert_int_equal(gauge->kind, world->gauge_is_gone ? GAUGE_GONE : GAUGE_NOW);
        world->gone_frames += gauge->kind == GAUGE_GONE;
        world->gauge_micro = gauge->value_micro;
    } else if (span_equals(gauge->name, SPAN("codebuddy2api_streams"))) {
        world->service_gauge_micro = gauge->value_micro;
    } else if (span_equals(gauge->name, SPAN("codebuddy2api_process_resident_memory_bytes"))) {
        world->memory_micro = gauge->value_micro;
    }
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct world *world = owner;
    assert_ptr_equal(peer, world->peer);
    if (frame->type == MESSAGE_GAUGE) {
        on_gauge(world, message);
        return;
    }
    assert_int_equal(frame->type, MESSAGE_EVENT);
    const struct msg_event *event = message;
    assert_int_equal(event->prompt_tokens, frame->request);
    if (frame->request == world->next)
        world->next++;
    else
        world->repeats++;
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static int64_t read_streams(void *context)
{
    (void)context;
    return 12;
}

static int start(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->dir, sizeof world->dir, "/tmp/reporter_test.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    snprintf(world->endpoint, sizeof world->endpoint, "ipc://%s/s", world->dir);
    snprintf(world->endpoint_setting, sizeof world->endpoint_setting, "CODEBUDDY_STATSD_ENDPOINT=%s",
             world->endpoint);
    char *const environment[] = {(char[]){"CODEBUDDY_PASSWORD=p"}, (char[]){"CODEBUDDY_LOG_LEVEL=ERROR"},
                                 (char[]){"CODEBUDDY_DRAIN_S=5"}, world->endpoint_setting, NULL};
    assert_int_equal(settings_load(&world->sender_settings, environment, "/nonexistent/.env"), 0);
    assert_int_equal(settings_load(&world->statsd_settings, environment, "/nonexistent/.env"), 0);
    world->sender = service_new("upstream-worker", 0, &world->sender_settings);
    world->statsd = service_new("statsd", 0, &world->statsd_settings);
    assert_true(world->sender && world->statsd);
    service_report_gauge(world->sender, "streams", read_streams, NULL);
    world->reporter = reporter_new(world->sender);
    assert_non_null(world->reporter);
    world->next = 1;
    *state = world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;
    link_close(&world->link);
    reporter_free(&world->reporter);
    service_free(&world->sender);
    service_free(&world->statsd);
    settings_fini(&world->sender_settings);
    settings_fini(&world->statsd_settings);
    unlink(world->endpoint + strlen("ipc://"));
    rmdir(world->dir);
    free(world);
    return 0;
}

#define TURN_UNTIL(world, condition)                                                                         \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            uv_run(service_loop((world)->statsd), UV_RUN_NOWAIT);                                            \
            uv_run(service_loop((world)->sender), UV_RUN_NOWAIT);                                            \
        }                                                                                                    \
    } while (0)

static void statsd_appears(struct world *world)
{
    world->link = link_bind(world->statsd, world->endpoint, &handlers, world);
    assert_non_null(world->link);
}

static void send_event(struct world *world, uint64_t number)
{
    char id[32];
    snprintf(id, sizeof id, "req-%u", (unsigned)number);
    struct msg_event event = {.request_id = span_str(id), .status = 200, .prompt_tokens = number};
    reporter_event(world->reporter, &event);
}

static void acknowledge(struct world *world, uint64_t sequence)
{
    struct msg_ack ack = {sequence};
    assert_int_equal(peer_send(world->peer, MESSAGE_ACK, 0, &ack), 0);
}

static void test_events_wait_for_statsd_and_for_its_ack(void **state)
{
    struct world *world = *state;
    for (uint64_t i = 1; i <= 10; i++)
        send_event(world, i);
    assert_int_equal(reporter_pending_count(world->reporter), 10);
    statsd_appears(world);
    TURN_UNTIL(world, world->next == 11);
    acknowledge(world, 6);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 4);
    /* statsd is restarted: what it did not acknowledge comes again, from 7 */
    link_close(&world->link);
    world->next = 7;
    send_event(world, 11);
    statsd_appears(world);
    TURN_UNTIL(world, world->next == 12);
    acknowledge(world, 11);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    acknowledge(world, 999); /* nonsense changes nothing */
    send_event(world, 12);
    TURN_UNTIL(world, world->next == 13);
    acknowledge(world, 12);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    assert_int_equal(world->repeats, 0);
}

static void test_the_window_bounds_what_statsd_must_hold(void **state)
{
    struct world *world = *state;
    statsd_appears(world);
    TURN_UNTIL(world, world->peer);
    for (uint64_t i = 1; i <= 20000; i++)
        send_event(world, i);
    TURN_UNTIL(world, world->next == 8193);
    acknowledge(world, 8192);
    TURN_UNTIL(world, world->next == 16385);
    acknowledge(world, 16384);
    TURN_UNTIL(world, world->next == 20001);
    acknowledge(world, 20000);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    assert_int_equal(reporter_dropped_count(world->reporter), 0);
}

static void test_past_the_limit_events_are_dropped_and_counted(void **state)
{
    struct world *world = *state;
    for (uint64_t i = 1; i <= 100003; i++)
        send_event(world, i);
    assert_int_equal(reporter_pending_count(world->reporter), 100000);
    assert_int_equal(reporter_dropped_count(world->reporter), 3);
}

static void test_numbers(void **state)
{
    struct world *world = *state;
    reporter_count(world->reporter, "codebuddy2api_test_total{a=\"b\"}", 2);
    reporter_count(world->reporter, "codebuddy2api_test_total{a=\"b\"}", 3);
    reporter_gauge(world->reporter, "codebuddy2api_test", -1500000);
    statsd_appears(world);
    TURN_UNTIL(world, world->memory_micro > 0);
    assert_int_equal(world->counter_micro, 5000000);
    assert_int_equal(world->gauge_micro, -1500000);
    assert_int_equal(world->service_gauge_micro, 12000000);
    assert_true(world->memory_micro > INT64_C(1000000) * 1000000);
    reporter_count(world->reporter, "codebuddy2api_test_total{a=\"b\"}", UINT64_MAX); /* saturates */
    TURN_UNTIL(world, world->counter_micro == INT64_MAX);
    assert_int_equal(world->counter_frames, 2); /* said when it changed only */
    reporter_drop_gauge(world->reporter, "codebuddy2api_nothing");
    reporter_drop_gauge(world->reporter, "codebuddy2api_test_total{a=\"b\"}"); /* no gauge */
    reporter_drop_gauge(world->reporter, "codebuddy2api_test");
    reporter_gauge(world->reporter, "codebuddy2api_test", 7); /* there again before it was told */
    TURN_UNTIL(world, world->gauge_micro == 7);
    reporter_drop_gauge(world->reporter, "codebuddy2api_test");
    world->gauge_is_gone = true;
    TURN_UNTIL(world, world->gone_frames == 1);
    world->gauge_is_gone = false;
    reporter_gauge(world->reporter, "codebuddy2api_test", 8);
    TURN_UNTIL(world, world->gauge_micro == 8);
    assert_int_equal(world->gone_frames, 1);
}

static void begin_drain(void *context)
{
    struct world *world = context;
    reporter_hold_drain(world->reporter);
}

static void test_drain_waits_for_the_ack(void **state)
{
    struct world *world = *state;
    service_on_drain(world->sender, begin_drain, world);
    statsd_appears(world);
    TURN_UNTIL(world, world->peer);
    send_event(world, 1);
    reporter_count(world->reporter, "codebuddy2api_test_total{a=\"b\"}", 1);
    service_hold(world->sender); /* a stream that ends during the drain */
    service_drain(world->sender);
    TURN_UNTIL(world, world->next == 2);
    acknowledge(world, 1);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    send_event(world, 2);
    service_release(world->sender);
    TURN_UNTIL(world, world->next == 3);
    assert_int_equal(world->counter_micro, 1000000);
    acknowledge(world, 2);
    uv_run(service_loop(world->statsd), UV_RUN_NOWAIT); /* it leaves */
    int64_t before_ms = clock_now_ms();
    service_run(world->sender); /* until the acknowledgement: had the stop come before it, until DRAIN_S */
    assert_int_equal(reporter_pending_count(world->reporter), 0);
    assert_true(clock_now_ms() - before_ms < 1900); /* and by the acknowledgement, not by the hold's limit */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_wait_for_statsd_and_for_its_ack, start, stop),
        cmocka_unit_test_setup_teardown(test_the_window_bounds_what_statsd_must_hold, start, stop),
        cmocka_unit_test_setup_teardown(test_past_the_limit_events_are_dropped_and_counted, start, stop),
        cmocka_unit_test_setup_teardown(test_numbers, start, stop),
        cmocka_unit_test_setup_teardown(test_drain_waits_for_the_ack, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
