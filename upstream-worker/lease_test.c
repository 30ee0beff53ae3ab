/* SPDX-License-Identifier: MIT */
/* The lease client against a credd of this file, in place of link.c at link time. The renewal timer runs on a
 * loop whose time the test moves by hand. */
#include "upstream-worker/lease.h"
#include "proto/error.h"
#include "proto/failure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MESSAGES_MAX = 32 };

struct sent {
    enum message_type type;
    uint64_t request;
    struct msg_release release;
    char numbers[64], keys[64];
    size_t numbers_length;
};

static struct world {
    uv_loop_t loop;
    const struct link_handlers *handlers;
    void *owner;
    bool is_up;
    struct sent sent[MESSAGES_MAX];
    size_t sent_count;
    struct leases *leases;
    int granted_count, refused_count, unexpected_count;
    uint16_t refused_as;
} world;

static struct peer *const credd = (struct peer *)&world;

uv_loop_t *service_loop(struct service *service)
{
    (void)service;
    return &world.loop;
}

struct link *link_connect(struct service *service, const char *role, const char *endpoints,
                          const struct link_handlers *handlers, void *owner)
{
    (void)service;
    assert_string_equal(role, "credd");
    assert_string_equal(endpoints, "ipc://credd");
    world.handlers = handlers;
    world.owner = owner;
    return (struct link *)&world;
}

void link_close(struct link **link)
{
    *link = NULL;
}

size_t link_peer_count(const struct link *link)
{
    (void)link;
    return world.is_up ? 1 : 0;
}

struct peer *link_peer(const struct link *link, size_t i)
{
    (void)link;
    (void)i;
    return credd;
}

const char *peer_name(const struct peer *peer)
{
    (void)peer;
    return "credd-0@test:1";
}

void peer_refuse_frame(struct peer *peer, const struct frame *frame)
{
    (void)peer;
    (void)frame;
    world.unexpected_count++;
}

int peer_send(struct peer *peer, enum message_type type, uint64_t request, const void *message)
{
    assert_ptr_equal(peer, credd);
    assert_true(world.is_up && world.sent_count < MESSAGES_MAX);
    struct sent *sent = &world.sent[world.sent_count++];
    *sent = (struct sent){.type = type, .request = request};
    if (type == MESSAGE_RELEASE) {
        sent->release = *(const struct msg_release *)message;
    } else if (type == MESSAGE_RENEW) {
        struct span leases = ((const struct msg_renew *)message)->leases;
        struct span keys = ((const struct msg_renew *)message)->keys;
        assert_int_equal(keys.length, leases.length);
        memcpy(sent->keys, keys.data, keys.length < sizeof sent->keys ? keys.length : sizeof sent->keys);
        assert_true(leases.length <= sizeof sent->numbers);
        memcpy(sent->numbers, leases.data, leases.length);
        sent->numbers_length = leases.length;
    }
    return 0;
}

static void credd_up(void)
{
    const struct msg_hello hello = {.role = SPAN("credd")};
    world.is_up = true;
    world.handlers->up(world.owner, credd, &hello);
}

static void credd_down(void)
{
    world.is_up = false;
    world.handlers->down(world.owner, credd, LINK_DOWN_LOST);
}

static void credd_grant(uint64_t ticket, uint64_t number, uint32_t ttl_ms)
{
    const struct msg_grant grant = {.lease = number, .ttl_ms = ttl_ms, .credential_id = SPAN("c1")};
    const struct frame frame = {.type = MESSAGE_GRANT, .request = ticket};
    world.handlers->frame(world.owner, credd, &frame, &grant);
}

static void credd_refuse(uint64_t ticket)
{
    const struct msg_refuse refuse = {.failure = FAILURE_NO_CREDENTIAL};
    const struct frame frame = {.type = MESSAGE_REFUSE, .request = ticket};
    world.handlers->frame(world.owner, credd, &frame, &refuse);
}

static void on_granted(void *owner, struct lease *lease, const struct msg_grant *grant)
{
    assert_ptr_equal(owner, &world);
    assert_int_equal(lease->state, LEASE_HELD);
    assert_true(span_equals(grant->credential_id, SPAN("c1")));
    world.granted_count++;
}

static void on_refused(void *owner, struct lease *lease, const struct msg_refuse *refuse)
{
    assert_ptr_equal(owner, &world);
    assert_int_equal(lease->state, LEASE_NONE);
    world.refused_count++;
    world.refused_as = refuse->failure;
}

static const struct lease_handlers handlers = {on_granted, on_refused};

static void ask(struct lease *lease, int64_t now_ms)
{
    const struct msg_lease message = {
        .request_id = SPAN("r"), .model = SPAN("m"), .key_id = SPAN("key_00000000000001ab")};
    lease_ask(world.leases, lease, &message, &handlers, &world, now_ms);
}

static void give_back(struct lease *lease, enum outcome outcome)
{
    const struct msg_release release = {.outcome = (uint8_t)outcome};
    lease_give_back(world.leases, lease, release);
}

static const struct sent *last_sent(void)
{
    assert_true(world.sent_count > 0);
    return &world.sent[world.sent_count - 1];
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    world.leases = leases_new(NULL, "ipc://credd");
    assert_non_null(world.leases);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    leases_free(&world.leases);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&world.loop);
}

static void test_a_lease_is_asked_for_and_given_back(void **state)
{
    (void)state;
    struct lease lease = {0};
    credd_up();
    ask(&lease, 0);
    assert_int_equal(last_sent()->type, MESSAGE_LEASE);
    credd_grant(last_sent()->request, 77, 10000);
    assert_int_equal(world.granted_count, 1);
    assert_int_equal(leases_held_count(world.leases), 1);
    give_back(&lease, OUTCOME_RATE_LIMITED);
    assert_int_equal(last_sent()->type, MESSAGE_RELEASE);
    assert_int_equal(last_sent()->release.lease, 77);
    assert_int_equal(last_sent()->release.outcome, OUTCOME_RATE_LIMITED);
    assert_int_equal(leases_held_count(world.leases), 0);
    give_back(&lease, OUTCOME_OK); /* nothing is held: nothing is said */
    assert_int_equal(world.sent_count, 2);
}

static void test_a_refusal_is_passed_on(void **state)
{
    (void)state;
    struct lease lease = {0};
    credd_up();
    ask(&lease, 0);
    credd_refuse(last_sent()->request);
    credd_refuse(last_sent()->request); /* said twice: the second is for nobody */
    assert_int_equal(world.refused_count, 1);
    assert_int_equal(world.refused_as, FAILURE_NO_CREDENTIAL);
    world.handlers->frame(world.owner, credd, &(struct frame){.type = MESSAGE_READY}, NULL);
    assert_int_equal(world.unexpected_count, 1);
}

static void test_a_grant_that_nobody_wants_goes_back(void **state)
{
    (void)state;
    struct lease lease = {0};
    credd_up();
    ask(&lease, 0);
    uint64_t ticket = last_sent()->request;
    give_back(&lease, OUTCOME_CANCELLED);
    assert_int_equal(world.sent_count, 1);
    credd_grant(ticket, 78, 10000);
    assert_int_equal(world.granted_count, 0);
    assert_int_equal(last_sent()->type, MESSAGE_RELEASE);
    assert_int_equal(last_sent()->release.lease, 78);
    assert_int_equal(last_sent()->release.outcome, OUTCOME_CANCELLED);
}

static void test_questions_and_leases_outlive_credd(void **state)
{
    (void)state;
    struct lease held = {0}, asking = {0};
    credd_up();
    ask(&held, 0);
    credd_grant(last_sent()->request, 0x0102030405060708u, 10000);
    ask(&asking, 0);
    uint64_t ticket = last_sent()->request;
    credd_down();
    assert_int_equal(held.state, LEASE_HELD);
    size_t before = world.sent_count;
    credd_up();
    assert_int_equal(world.sent_count, before + 2);
    assert_int_equal(world.sent[before].type, MESSAGE_RENEW);
    assert_int_equal(world.sent[before].numbers_length, 8);
    assert_memory_equal(world.sent[before].numbers, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_memory_equal(world.sent[before].keys, "\0\0\0\0\0\0\x01\xab", 8);
    assert_int_equal(last_sent()->type, MESSAGE_LEASE);
    assert_int_equal(last_sent()->request, ticket);
    credd_grant(ticket, 2, 10000);
    credd_down();
    give_back(&held, OUTCOME_OK); /* credd is away: the lease ends by itself */
    give_back(&asking, OUTCOME_OK);
    assert_int_equal(leases_held_count(world.leases), 0);
}

static void test_a_question_has_five_seconds(void **state)
{
    (void)state;
    struct lease first = {0}, second = {0};
    ask(&first, 1000); /* credd was never there */
    ask(&second, 2000);
    leases_tick(world.leases, 1000 + LEASE_WAIT_MS - 1);
    assert_int_equal(world.refused_count, 0);
    leases_tick(world.leases, 1000 + LEASE_WAIT_MS);
    assert_int_equal(world.refused_count, 1);
    assert_int_equal(world.refused_as, FAILURE_UNAVAILABLE);
    assert_int_equal(second.state, LEASE_ASKING);
    leases_tick(world.leases, 2000 + LEASE_WAIT_MS);
    assert_int_equal(world.refused_count, 2);
}

static void test_leases_are_renewed_in_one_message(void **state)
{
    (void)state;
    struct lease one = {0}, two = {0};
    credd_up();
    ask(&one, 0);
    credd_grant(last_sent()->request, 1, 300); /* so every 100 ms */
    ask(&two, 0);
    credd_grant(last_sent()->request, 2, 300);
    size_t before = world.sent_count;
    while (world.sent_count == before) /* ends with the timer */
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(world.sent_count, before + 1);
    assert_int_equal(last_sent()->type, MESSAGE_RENEW);
    assert_int_equal(last_sent()->numbers_length, 16);
    give_back(&one, OUTCOME_OK);
    give_back(&two, OUTCOME_OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_lease_is_asked_for_and_given_back), TEST(test_a_refusal_is_passed_on),
        TEST(test_a_grant_that_nobody_wants_goes_back), TEST(test_questions_and_leases_outlive_credd),
        TEST(test_a_question_has_five_seconds),         TEST(test_leases_are_renewed_in_one_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
