/* SPDX-License-Identifier: MIT */
#include "proto/event_queue.h"
#include "proto/error.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct msg_event sample_event(char *id, size_t size, unsigned number)
{
    snprintf(id, size, "req-%u", number);
    return (struct msg_event){.request_id = span_str(id),
                              .key_id = SPAN("password"),
                              .credential_id = SPAN("c1"),
                              .model = SPAN("gpt-5"),
                              .status = 200,
                              .prompt_tokens = number};
}

static int push(struct event_queue *queue, unsigned number)
{
    char id[32];
    struct msg_event event = sample_event(id, sizeof id, number);
    return event_queue_push(queue, &event);
}

/* Sends what the window allows; returns how many, checks order and content. */
static size_t send_all(struct event_queue *queue, uint64_t first)
{
    uint64_t sequence;
    struct msg_event event;
    size_t count = 0;
    while (event_queue_peek(queue, &sequence, &event)) {
        assert_int_equal(sequence, first + count);
        assert_int_equal(event.prompt_tokens, sequence);
        assert_true(span_equals(event.model, SPAN("gpt-5")));
        event_queue_sent(queue);
        count++;
    }
    return count;
}

static void test_order_window_and_ack(void **state)
{
    (void)state;
    struct event_queue *queue = event_queue_new(1000, 10);
    for (unsigned i = 1; i <= 25; i++)
        assert_int_equal(push(queue, i), 0);
    assert_int_equal(send_all(queue, 1), 10); /* the window */
    assert_false(event_queue_ack(queue, 11)); /* never sent */
    assert_true(event_queue_ack(queue, 4));
    assert_false(event_queue_ack(queue, 4)); /* no news */
    assert_int_equal(send_all(queue, 11), 4);
    assert_int_equal(event_queue_in_flight_count(queue), 10);
    assert_true(event_queue_ack(queue, 14));
    assert_int_equal(send_all(queue, 15), 10);
    assert_true(event_queue_ack(queue, 24));
    assert_int_equal(send_all(queue, 25), 1);
    assert_true(event_queue_ack(queue, 25));
    assert_int_equal(event_queue_count(queue), 0);
    assert_int_equal(push(queue, 26), 0); /* and on */
    assert_int_equal(send_all(queue, 26), 1);
    event_queue_free(&queue);
    event_queue_free(&queue);
}

static void test_rewind_sends_everything_unacknowledged_again(void **state)
{
    (void)state;
    struct event_queue *queue = event_queue_new(5000, 5000);
    for (unsigned i = 1; i <= 2000; i++) /* several chunks */
        assert_int_equal(push(queue, i), 0);
    assert_int_equal(send_all(queue, 1), 2000);
    assert_true(event_queue_ack(queue, 777));
    event_queue_rewind(queue);
    assert_int_equal(event_queue_in_flight_count(queue), 0);
    assert_int_equal(send_all(queue, 778), 2000 - 777);
    event_queue_free(&queue);
}

static void test_limit_refuses_and_recovers(void **state)
{
    (void)state;
    struct event_queue *queue = event_queue_new(3, 3);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(push(queue, i), 0);
    assert_int_equal(push(queue, 4), ERR_BUSY);
    assert_int_equal(send_all(queue, 1), 3);
    assert_true(event_queue_ack(queue, 1));
    assert_int_equal(push(queue, 4), 0);
    assert_int_equal(event_queue_count(queue), 3);
    event_queue_free(&queue);
}

static void test_memory_is_compact_and_given_back(void **state)
{
    (void)state;
    struct event_queue *queue = event_queue_new(100000, 100000);
    size_t empty_bytes = event_queue_memory_bytes(queue);
    for (unsigned i = 1; i <= 100000; i++)
        assert_int_equal(push(queue, i), 0);
    assert_true(event_queue_memory_bytes(queue) < 100000u * 300);
    assert_int_equal(send_all(queue, 1), 100000);
    assert_true(event_queue_ack(queue, 100000));
    assert_int_equal(event_queue_memory_bytes(queue), empty_bytes);
    event_queue_free(&queue);
}

static void test_strange_texts_do_not_lose_the_event(void **state)
{
    (void)state;
    struct event_queue *queue = event_queue_new(10, 10);
    char id[32], long_code[500];
    memset(long_code, 'x', sizeof long_code);
    struct msg_event event = sample_event(id, sizeof id, 1), got;
    event.model = SPAN("a\0b\xff\xfe");
    event.code = span_of(long_code, sizeof long_code);
    assert_int_equal(event_queue_push(queue, &event), 0);
    uint64_t sequence;
    assert_true(event_queue_peek(queue, &sequence, &got));
    assert_true(span_equals(got.model, SPAN("a?b??")));
    assert_int_equal(got.code.length, 64);
    event_queue_free(&queue);
}

/* Whatever the order of pushes, sends, acknowledgements and lost connections, a peer that remembers what it
 * saw ends up with every event, in order, without a gap. */
static void test_random_walk(void **state)
{
    (void)state;
    unsigned seed = 4711;
    struct event_queue *queue = event_queue_new(400, 60);
    uint64_t pushed = 0, seen = 0, durable = 0, sequence;
    struct msg_event event;
    for (unsigned step = 0; step < 200000; step++) {
        seed = seed * 1103515245u + 12345u;
        unsigned dice = (seed >> 16) % 100;
        if (dice < 45) {
            if (push(queue, (unsigned)pushed + 1) == 0)
                pushed++;
            else
                assert_int_equal(event_queue_count(queue), 400);
        } else if (dice < 90) {
            if (event_queue_peek(queue, &sequence, &event)) {
                assert_true(sequence <= seen + 1);
                assert_int_equal(event.prompt_tokens, sequence);
                if (sequence == seen + 1)
                    seen++;
                event_queue_sent(queue);
            }
        } else if (dice < 98) {
            if (event_queue_ack(queue, seen))
                durable = seen;
        } else {
            event_queue_rewind(queue);
            seen = durable; /* the peer died: what it had not committed is gone */
        }
        assert_int_equal(event_queue_count(queue), pushed - durable);
    }
    assert_true(durable > 10000);
    event_queue_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_window_and_ack),
        cmocka_unit_test(test_rewind_sends_everything_unacknowledged_again),
        cmocka_unit_test(test_limit_refuses_and_recovers),
        cmocka_unit_test(test_memory_is_compact_and_given_back),
        cmocka_unit_test(test_strange_texts_do_not_lose_the_event),
        cmocka_unit_test(test_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
