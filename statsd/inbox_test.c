/* SPDX-License-Identifier: MIT */
#include "statsd/inbox.h"
#include "proto/event_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct msg_event event = {.request_id = {"r", 1}, .status = 200};

struct acks {
    void *peer;
    uint64_t sequence;
    int count;
};

static void note_ack(void *context, void *peer, uint64_t sequence)
{
    struct acks *acks = context;
    acks->peer = peer;
    acks->sequence = sequence;
    acks->count++;
}

static void test_acknowledged_after_the_commit_only(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new(1 << 20);
    int peer = 0;
    struct acks acks = {0};
    struct sender *sender = inbox_add_sender(inbox, &peer);
    for (uint64_t i = 5; i <= 9; i++) /* a connection may begin anywhere */
        assert_int_equal(inbox_take(inbox, sender, i, &event), INBOX_TAKEN);
    assert_true(inbox_seal(inbox).length > 0);
    assert_int_equal(inbox_take(inbox, sender, 10, &event), INBOX_TAKEN); /* while the commit runs */
    assert_int_equal(inbox_take(inbox, sender, 9, &event), INBOX_KNOWN);
    inbox_settle(inbox, note_ack, &acks);
    assert_int_equal(acks.count, 1);
    assert_int_equal(acks.sequence, 9);
    assert_ptr_equal(acks.peer, &peer);
    assert_int_equal(inbox_take(inbox, sender, 9, &event), INBOX_DURABLE);
    assert_int_equal(inbox_gathered_count(inbox), 1);
    inbox_seal(inbox);
    inbox_settle(inbox, note_ack, &acks);
    assert_int_equal(acks.sequence, 10);
    inbox_seal(inbox);
    inbox_settle(inbox, note_ack, &acks); /* nothing in it: nobody is told */
    assert_int_equal(acks.count, 2);
    inbox_free(&inbox);
}

static void test_a_failed_batch_stays_sealed(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new(1 << 20);
    struct acks acks = {0};
    struct sender *sender = inbox_add_sender(inbox, NULL);
    inbox_take(inbox, sender, 1, &event);
    size_t length = inbox_seal(inbox).length;
    inbox_take(inbox, sender, 2, &event);
    assert_int_equal(inbox_seal(inbox).length, length); /* again: the same, without the second */
    inbox_settle(inbox, note_ack, &acks);
    assert_int_equal(acks.sequence, 1);
    inbox_free(&inbox);
}

static void test_past_a_gap_nothing_is_taken(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new(200); /* room for two */
    struct acks acks = {0};
    struct sender *sender = inbox_add_sender(inbox, NULL);
    uint64_t taken = 0;
    while (inbox_take(inbox, sender, taken + 1, &event) == INBOX_TAKEN)
        taken++;
    assert_true(taken > 0);
    assert_int_equal(inbox_take(inbox, sender, taken + 2, &event), INBOX_REFUSED);
    inbox_seal(inbox);
    inbox_settle(inbox, note_ack, &acks);
    assert_int_equal(acks.sequence, taken);
    assert_int_equal(inbox_take(inbox, sender, taken + 2, &event), INBOX_REFUSED); /* still a gap */
    assert_int_equal(inbox_take(inbox, sender, taken + 1, &event), INBOX_TAKEN);
    assert_int_equal(inbox_take(inbox, sender, 0, &event), INBOX_KNOWN);
    inbox_free(&inbox);
}

static void test_a_sender_that_left_is_not_told(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new(1 << 20);
    struct acks acks = {0};
    struct sender *sender = inbox_add_sender(inbox, NULL);
    inbox_take(inbox, sender, 1, &event);
    inbox_seal(inbox);
    inbox_remove_sender(inbox, &sender);
    assert_null(sender);
    inbox_settle(inbox, note_ack, &acks);
    assert_int_equal(acks.count, 0);
    inbox_free(&inbox);
}

/* ---- exactly once, end to end: the sender's queue, this inbox, and a ledger that is a set ---- */

enum { EVENTS = 3000, SENDERS = 3 };

struct world {
    unsigned seed;
    struct inbox *inbox;
    struct {
        struct event_queue *queue;
        struct sender *sender; /* NULL: not connected */
        unsigned made;
    } sides[SENDERS];
    bool ledger[SENDERS][EVENTS + 1];
    unsigned inserted;
};

static unsigned dice(struct world *world, unsigned sides)
{
    world->seed = world->seed * 1103515245u + 12345u;
    return (world->seed >> 16) % sides;
}

static void make_event(struct world *world, int side)
{
    if (world->sides[side].made == EVENTS)
        return;
    struct msg_event made = {.request_id = SPAN("x"), .status = (uint16_t)side};
    made.prompt_tokens = world->sides[side].made + 1;
    if (event_queue_push(world->sides[side].queue, &made) == 0)
        world->sides[side].made++;
}

static void deliver(struct world *world, int side, unsigned count)
{
    uint64_t sequence;
    struct msg_event sent;
    while (count-- > 0 && world->sides[side].sender &&
           event_queue_peek(world->sides[side].queue, &sequence, &sent)) {
        inbox_take(world->inbox, world->sides[side].sender, sequence, &sent);
        event_queue_sent(world->sides[side].queue);
    }
}

static void connect(struct world *world, int side)
{
    if (world->sides[side].sender)
        return;
    world->sides[side].sender = inbox_add_sender(world->inbox, &world->sides[side]);
    event_queue_rewind(world->sides[side].queue);
}

static void on_ack(void *context, void *peer, uint64_t sequence)
{
    struct world *world = context;
    for (int i = 0; i < SENDERS; i++)
        if (peer == &world->sides[i] && dice(world, 10) > 0) /* one ACK in ten is lost */
            event_queue_ack(world->sides[i].queue, sequence);
}

static void commit(struct world *world, bool killed_before_the_ack)
{
    struct span train = inbox_seal(world->inbox);
    struct frame frame;
    struct msg_event got;
    while (train_next(&train, &frame) == 1) {
        assert_int_equal(message_decode(&frame, &got), 0);
        bool *known = &world->ledger[got.status][got.prompt_tokens];
        world->inserted += !*known;
        *known = true;
    }
    if (!killed_before_the_ack)
        inbox_settle(world->inbox, on_ack, world);
}

static void kill_statsd(struct world *world)
{
    inbox_free(&world->inbox); /* what was not committed is gone */
    world->inbox = inbox_new(1 << 16);
    for (int i = 0; i < SENDERS; i++)
        world->sides[i].sender = NULL;
}

static void world_step(struct world *world)
{
    int side = (int)dice(world, SENDERS);
    unsigned what = dice(world, 100);
    if (what < 40) {
        make_event(world, side);
    } else if (what < 70) {
        deliver(world, side, 1 + dice(world, 50));
    } else if (what < 85) {
        commit(world, false);
    } else if (what < 93) {
        connect(world, side);
    } else if (what < 96) { /* the connection breaks */
        inbox_remove_sender(world->inbox, &world->sides[side].sender);
    } else if (what < 98) {
        event_queue_rewind(world->sides[side].queue); /* its patience ended */
    } else {
        commit(world, true);
        kill_statsd(world);
    }
}

static void test_exactly_once_under_random_kills(void **state)
{
    (void)state;
    struct world *world = calloc(1, sizeof *world);
    world->seed = 99;
    world->inbox = inbox_new(1 << 16);
    for (int i = 0; i < SENDERS; i++)
        world->sides[i].queue = event_queue_new(500, 100);
    for (int step = 0; step < 60000; step++)
        world_step(world);
    for (int i = 0; i < SENDERS; i++) /* the storm is over */
        while (world->sides[i].made < EVENTS || event_queue_count(world->sides[i].queue) > 0) {
            make_event(world, i);
            connect(world, i);
            deliver(world, i, 100);
            commit(world, false);
            if (dice(world, 4) == 0)
                event_queue_rewind(world->sides[i].queue);
            if (dice(world, 50) == 0) /* a lost last ACK is cured by a new connection at the latest */
                inbox_remove_sender(world->inbox, &world->sides[i].sender);
        }
    assert_int_equal(world->inserted, SENDERS * EVENTS);
    for (int i = 0; i < SENDERS; i++)
        event_queue_free(&world->sides[i].queue);
    inbox_free(&world->inbox);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledged_after_the_commit_only),
        cmocka_unit_test(test_a_failed_batch_stays_sealed),
        cmocka_unit_test(test_past_a_gap_nothing_is_taken),
        cmocka_unit_test(test_a_sender_that_left_is_not_told),
        cmocka_unit_test(test_exactly_once_under_random_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
