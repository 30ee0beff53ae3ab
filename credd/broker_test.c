/* SPDX-License-Identifier: MIT */
/* The broker with a clock of paper and workers that only take notes. */
#include "credd/broker.h"
#include "proto/error.h"
#include "proto/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const unsigned char seed[20] = "twenty bytes of seed";

struct answer {
    void *worker;
    uint64_t request, lease;
    unsigned failure; /* 0: granted */
    uint32_t retry_after_s;
    char credential[CREDENTIAL_ID_BYTES], token[32], message[128];
};

struct world {
    char directory[64];
    struct sites *sites;
    struct vault *vault;
    struct broker *broker;
    struct moment moment;
    long tickets; /* that broker_lease was given and that have not ended */
    struct rotation_rules rules;
    struct answer answers[64];
    size_t answer_count;
    bool wire_is_cut;
};

static void copy_text(char *to, size_t size, struct span text)
{
    snprintf(to, size, "%.*s", (int)text.length, text.data);
}

static int take_grant(void *owner, void *worker, uint64_t request, const struct msg_grant *grant)
{
    struct world *world = owner;
    if (world->wire_is_cut)
        return ERR_PEER_GONE;
    struct answer *answer = &world->answers[world->answer_count++];
    *answer = (struct answer){.worker = worker, .request = request, .lease = grant->lease};
    copy_text(answer->credential, sizeof answer->credential, grant->credential_id);
    copy_text(answer->token, sizeof answer->token, grant->token);
    assert_int_equal(grant->ttl_ms, LEASE_TTL_MS);
    assert_true(span_equals(grant->base_url, SPAN("https://copilot.tencent.com")));
    assert_non_null(memmem(grant->headers.data, grant->headers.length, "X-Domain: ", 10));
    return 0;
}

static void take_refuse(void *owner, void *worker, uint64_t request, const struct msg_refuse *refuse)
{
    struct world *world = owner;
    struct answer *answer = &world->answers[world->answer_count++];
    *answer = (struct answer){.worker = worker,
                              .request = request,
                              .failure = refuse->failure,
                              .retry_after_s = refuse->retry_after_s};
    copy_text(answer->message, sizeof answer->message, refuse->message);
}

/* A ticket is the number of those that are out. */
static void take_end(void *owner, void *ticket)
{
    struct world *world = owner;
    assert_ptr_equal(ticket, &world->tickets);
    assert_true(world->tickets-- > 0);
}

static void *take_adopted(void *owner, uint64_t key)
{
    struct world *world = owner;
    if (key == 0)
        return NULL;
    assert_true(key > 7);
    world->tickets++;
    return &world->tickets;
}

static const struct broker_answers answers = {take_grant, take_refuse, take_end, take_adopted};

static const char *path_of(const struct world *world, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", world->directory, name);
    return path;
}

static void put(struct world *world, const char *name, const char *text)
{
    int fd = open(path_of(world, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void sync_files(struct world *world)
{
    assert_true(vault_scan(world->vault));
    assert_false(broker_sync(world->broker, &world->moment));
}

static void start_broker(struct world *world)
{
    world->broker = broker_new(world->vault, &world->rules, &answers, world, seed);
    assert_non_null(world->broker);
    assert_false(broker_sync(world->broker, &world->moment));
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->directory, sizeof world->directory, "/tmp/broker_test.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    put(world, "a.json", "{\"bearer_token\":\"t-a\"}");
    put(world, "b.json", "{\"bearer_token\":\"t-b\"}");
    world->sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    world->vault = vault_open(&(struct vault_parts){world->directory, world->sites, NULL, NULL});
    assert_non_null(world->vault);
    world->moment = (struct moment){.now_ms = 1000, .wall_ms = 1790000000000};
    world->rules = (struct rotation_rules){.rotation_count = 1, .max_in_flight = 2, .exhausted_ms = 3600000};
    start_broker(world);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    broker_free(&world->broker);
    assert_int_equal(world->tickets, 0);
    vault_close(&world->vault);
    sites_free(&world->sites);
    unlink(path_of(world, "a.json"));
    unlink(path_of(world, "b.json"));
    rmdir(world->directory);
    free(world);
    return 0;
}

/* ---- what a worker says ---- */

static int worker_1, worker_2; /* their addresses are the workers */

static void lease(struct world *world, void *worker, uint64_t request, const char *model, uint32_t wait_ms)
{
    const struct msg_lease message = {.model = span_str(model), .wait_ms = wait_ms};
    world->tickets++;
    broker_lease(world->broker, worker, request, &message, &world->tickets, &world->moment);
}

static void release(struct world *world, uint64_t number, enum outcome outcome, uint32_t retry_after_s)
{
    const struct msg_release message = {.lease = number,
                                        .outcome = (uint8_t)outcome,
                                        .retry_after_s = retry_after_s,
                                        .model = SPAN("m"),
                                        .reason = SPAN("said upstream")};
    broker_release(world->broker, &message, &world->moment);
}

static int renew(struct world *world, const uint64_t *numbers, size_t count)
{
    char bytes[64 * 8];
    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (char)(numbers[i / 8] >> (56 - 8 * (i % 8)));
    char keys[64 * 8] = {0}; /* the first lease is the password's, the others are keys 8, 9, … */
    for (size_t i = 1; i < count; i++)
        keys[i * 8 + 7] = (char)(7 + i);
    const struct msg_renew message = {.leases = span_of(bytes, count * 8), .keys = span_of(keys, count * 8)};
    return broker_renew(world->broker, &message, &world->moment);
}

/* The next answer in order; fails if there is none. */
static struct answer *next_answer(struct world *world, size_t *seen)
{
    assert_true(*seen < world->answer_count);
    return &world->answers[(*seen)++];
}

static void pass(struct world *world, int64_t ms)
{
    world->moment.now_ms += ms;
    world->moment.wall_ms += ms;
    broker_tick(world->broker, &world->moment);
}

static int64_t in_flight(const struct world *world, size_t i)
{
    struct rotation_view view;
    rotation_look(broker_rotation(world->broker), i, &world->moment, &view);
    return view.in_flight;
}

/* ---- grants and ends ---- */

static void test_grant_and_release(void **state)
{
    struct world *world = *state;
    size_t seen = 0;
    lease(world, &worker_1, 7, "m", 5000);
    lease(world, &worker_2, 7, "m", 5000);
    struct answer *first = next_answer(world, &seen), *second = next_answer(world, &seen);
    assert_ptr_equal(first->worker, &worker_1);
    assert_ptr_equal(second->worker, &worker_2);
    assert_int_equal(first->request, 7);
    assert_string_equal(first->token, "t-a");
    assert_string_equal(second->token, "t-b");
    assert_string_equal(first->credential, vault_at(world->vault, 0)->id);
    assert_int_equal(first->lease >> 32, vault_at(world->vault, 0)->number);
    assert_int_not_equal(first->lease, second->lease);
    assert_int_equal(broker_lease_count(world->broker), 2);
    release(world, first->lease, OUTCOME_OK, 0);
    assert_int_equal(in_flight(world, 0), 0);
    assert_int_equal(in_flight(world, 1), 1);
    release(world, first->lease, OUTCOME_OK, 0); /* twice does not count twice */
    assert_int_equal(in_flight(world, 0), 0);
    assert_int_equal(broker_counters(world->broker)->released_unlent, 1);
    assert_int_equal(broker_counters(world->broker)->granted, 2);
    assert_int_equal(broker_counters(world->broker)->released[OUTCOME_OK], 2);
}

static void test_leases_end_unless_renewed(void **state)
{
    struct world *world = *state;
    size_t seen = 0;
    lease(world, &worker_1, 1, "m", 0);
    lease(world, &worker_1, 2, "m", 0);
    uint64_t kept = next_answer(world, &seen)->lease;
    assert_int_equal(broker_next_due_ms(world->broker, world->moment.now_ms), 1000 + LEASE_TTL_MS);
    pass(world, LEASE_TTL_MS - 1);
    assert_int_equal(renew(world, &kept, 1), 0);
    assert_int_equal(broker_lease_count(world->broker), 2);
    pass(world, 1);
    assert_int_equal(broker_lease_count(world->broker), 1);
    assert_int_equal(broker_counters(world->broker)->expired, 1);
    pass(world, LEASE_TTL_MS - 2);
    assert_int_equal(broker_lease_count(world->broker), 1);
    pass(world, 1);
    assert_int_equal(broker_lease_count(world->broker), 0);
    assert_int_equal(in_flight(world, 0) + in_flight(world, 1), 0);
    assert_int_equal(broker_next_due_ms(world->broker, world->moment.now_ms), INT64_MAX);
    /* it was only hung: the next RENEW brings the lease back */
    assert_int_equal(renew(world, &kept, 1), 0);
    assert_int_equal(in_flight(world, 0), 1);
}

static void test_restarted_broker_learns_from_renew(void **state)
{
    struct world *world = *state;
    uint64_t numbers[4];
    for (uint64_t i = 0; i < 3; i++) {
        lease(world, &worker_1, i, "m", 0);
        numbers[i] = world->answers[i].lease;
    }
    numbers[3] = 0x1234567800000001; /* of a credential that is not there */
    broker_free(&world->broker);
    assert_int_equal(world->tickets, 0);
    start_broker(world);
    assert_int_equal(in_flight(world, 0), 0);
    assert_int_equal(renew(world, numbers, 4), 0);
    assert_int_equal(renew(world, numbers, 4), 0); /* once learned, renewed */
    assert_int_equal(broker_lease_count(world->broker), 3);
    assert_int_equal(broker_counters(world->broker)->adopted, 3);
    assert_int_equal(world->tickets, 2); /* those of keys */
    assert_int_equal(in_flight(world, 0), 2);
    assert_int_equal(in_flight(world, 1), 1);
    lease(world, &worker_1, 9, "m", 0); /* new numbers differ though both brokers had one seed */
    for (size_t i = 0; i < 3; i++)
        assert_int_not_equal(world->answers[3].lease, numbers[i]);
    release(world, numbers[0], OUTCOME_OK, 0);
    assert_int_equal(in_flight(world, 0), 1);
    assert_int_equal(world->tickets, 3); /* and the new one */
    release(world, numbers[1], OUTCOME_OK, 0);
    release(world, numbers[2], OUTCOME_OK, 0);
    assert_int_equal(world->tickets, 1);
}

static void test_bad_renew_is_refused(void **state)
{
    struct world *world = *state;
    const struct msg_renew message = {.leases = SPAN("7bytes!")};
    const struct msg_renew without_keys = {.leases = SPAN("8 bytes!")};
    assert_int_equal(broker_renew(world->broker, &message, &world->moment), ERR_INVALID);
    assert_int_equal(broker_renew(world->broker, &without_keys, &world->moment), ERR_INVALID);
}

static void test_grant_that_does_not_leave_is_no_lease(void **state)
{
    struct world *world = *state;
    world->wire_is_cut = true;
    lease(world, &worker_1, 1, "m", 0);
    assert_int_equal(broker_lease_count(world->broker), 0);
    assert_int_equal(in_flight(world, 0), 0);
}

/* ---- refusals ---- */

static void test_refusals_say_which(void **state)
{
    struct world *world = *state;
    size_t seen = 0;
    for (uint64_t i = 0; i < 2; i++) {
        lease(world, &worker_1, i, "m", 0);
        release(world, next_answer(world, &seen)->lease, OUTCOME_RATE_LIMITED, 30 + (uint32_t)i);
    }
    lease(world, &worker_1, 2, "m", 5000);
    struct answer *answer = next_answer(world, &seen);
    assert_int_equal(answer->failure, FAILURE_RATE_LIMITED);
    assert_int_equal(answer->retry_after_s, 30);
    assert_non_null(strstr(answer->message, "cooling"));
    pass(world, 29001);
    lease(world, &worker_1, 3, "m", 5000);
    assert_int_equal(next_answer(world, &seen)->retry_after_s, 1);
    for (uint64_t i = 0; i < 2; i++) {
        lease(world, &worker_1, 4 + i, "other", 0);
        release(world, next_answer(world, &seen)->lease, i ? OUTCOME_RISK_CONTROL : OUTCOME_UNAUTHORIZED, 0);
    }
    lease(world, &worker_1, 6, "m", 5000);
    answer = next_answer(world, &seen);
    assert_int_equal(answer->failure, FAILURE_NO_CREDENTIAL);
    assert_int_equal(answer->retry_after_s, 0);
    assert_int_equal(broker_counters(world->broker)->refused[FAILURE_RATE_LIMITED], 2);
}

static void test_unknown_model_is_404(void **state)
{
    struct world *world = *state;
    size_t seen = 0;
    lease(world, &worker_1, 1, "m", 0);
    release(world, next_answer(world, &seen)->lease, OUTCOME_MODEL_NOT_SERVED, 0);
    lease(world, &worker_1, 1, "m", 0);
    assert_int_equal(next_answer(world, &seen)->failure, FAILURE_MODEL_NOT_FOUND);
}

static void test_excluded_credentials(void **state)
{
    struct world *world = *state;
    size_t seen = 0;
    char list[64];
    struct msg_lease message = {.model = SPAN("m")};
    snprintf(list, sizeof list, "%s", vault_at(world->vault, 0)->id);
    message.exclude = span_str(list);
    for (int i = 0; i < 2; i++) {
        world->tickets++;
        broker_lease(world->broker, &worker_1, 1, &message, &world->tickets, &world->moment);
        assert_string_equal(next_answer(world, &seen)->token, "t-b");
    }
    snprintf(list, sizeof list, "junk,%s,%s,", vault_at(world->vault, 0)->id, vault_at(world->vault, 1)->id);
    message.exclude = span_str(list);
    world->tickets++;
    broker_lease(world->broker, &worker_1, 1, &message, &world->tickets, &world->moment);
    assert_int_equal(next_answer(world, &seen)->failure, FAILURE_NO_CREDENTIAL);
}

/* ---- waiting ---- */

static void fill_up(struct world *world)
{
    for (uint64_t i = 0; i < 4; i++)
        lease(world, &worker_1, i, "m", 0);
    assert_int_equal(broker_lease_count(world->broker), 4);
}

static void test_all_busy_waits_in_order(void **state)
{
    struct world *world = *state;
    size_t seen = 4;
    fill_up(world);
    lease(world, &worker_1, 10, "m", 5000);
    lease(world, &worker_2, 11, "m", 5000);
    lease(world, &worker_1, 12, "m", 0); /* does not want to wait */
    struct answer *answer = next_answer(world, &seen);
    assert_int_equal(answer->request, 12);
    assert_int_equal(answer->failure, FAILURE_OVERLOADED);
    assert_int_equal(answer->retry_after_s, 1);
    assert_int_equal(broker_waiter_count(world->broker), 2);
    assert_int_equal(broker_next_due_ms(world->broker, world->moment.now_ms), 1000 + BROKER_WAIT_TICK_MS);
    release(world, world->answers[1].lease, OUTCOME_OK, 0);
    lease(world, &worker_1, 13, "m", 5000); /* does not overtake */
    broker_pump(world->broker, &world->moment);
    assert_int_equal(next_answer(world, &seen)->request, 10);
    assert_int_equal(broker_waiter_count(world->broker), 2);
    release(world, world->answers[2].lease, OUTCOME_OK, 0);
    release(world, world->answers[3].lease, OUTCOME_OK, 0);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(next_answer(world, &seen)->request, 11);
    assert_int_equal(next_answer(world, &seen)->request, 13);
    assert_int_equal(world->answer_count, seen);
}

static void test_waiting_ends_in_time(void **state)
{
    struct world *world = *state;
    size_t seen = 4;
    fill_up(world);
    lease(world, &worker_1, 10, "m", 5000);
    pass(world, 4899);
    assert_int_equal(world->answer_count, seen);
    pass(world, 1); /* a little early: the answer has a way to go */
    struct answer *answer = next_answer(world, &seen);
    assert_int_equal(answer->failure, FAILURE_OVERLOADED);
    assert_int_equal(answer->retry_after_s, 1);
    assert_int_equal(broker_waiter_count(world->broker), 0);
}

static void test_expired_lease_serves_a_waiter(void **state)
{
    struct world *world = *state;
    fill_up(world);
    pass(world, LEASE_TTL_MS - 100);
    lease(world, &worker_2, 10, "m", 5000);
    pass(world, 100);
    assert_int_equal(world->answer_count, 5);
    assert_int_equal(world->answers[4].failure, 0);
    assert_int_equal(broker_lease_count(world->broker), 1);
}

static void test_waiters_of_a_lost_worker_are_forgotten(void **state)
{
    struct world *world = *state;
    fill_up(world);
    lease(world, &worker_1, 10, "m", 5000);
    lease(world, &worker_2, 11, "m", 5000);
    broker_forget_worker(world->broker, &worker_1);
    assert_int_equal(broker_waiter_count(world->broker), 1);
    assert_int_equal(broker_lease_count(world->broker), 4); /* its leases live on: it may come back */
    release(world, world->answers[0].lease, OUTCOME_OK, 0);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(world->answers[4].request, 11);
}

/* One whose model is cooling where there is room does not hold up the others. */
static void test_waiter_that_cannot_be_served_blocks_nobody(void **state)
{
    struct world *world = *state;
    fill_up(world);
    release(world, world->answers[0].lease, OUTCOME_RATE_LIMITED, 60); /* a.json cools for m */
    lease(world, &worker_1, 10, "m", 5000);
    lease(world, &worker_1, 11, "m", 5000);
    lease(world, &worker_1, 12, "other", 5000);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(world->answer_count, 5);
    assert_int_equal(world->answers[4].request, 12);
    assert_int_equal(broker_waiter_count(world->broker), 2);
    release(world, world->answers[1].lease, OUTCOME_OK, 0);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(world->answers[5].request, 10);
}

/* ---- files ---- */

static void test_files_change_under_leases(void **state)
{
    struct world *world = *state;
    fill_up(world);
    lease(world, &worker_1, 10, "m", 5000);
    put(world, "c.json", "{\"bearer_token\":\"t-c\"}");
    sync_files(world);
    assert_string_equal(world->answers[4].token, "t-c"); /* who waited is served at once */
    unlink(path_of(world, "c.json"));
    sync_files(world);
    release(world, world->answers[4].lease, OUTCOME_OK, 0); /* of a credential that went */
    assert_int_equal(broker_lease_count(world->broker), 4);
    release(world, world->answers[0].lease, OUTCOME_UNAUTHORIZED, 0);
    lease(world, &worker_1, 11, "m", 0);
    assert_int_equal(world->answers[5].failure, FAILURE_OVERLOADED);
    put(world, "a.json", "{\"bearer_token\":\"t-new\"}");
    sync_files(world);
    lease(world, &worker_1, 12, "m", 0);
    assert_string_equal(world->answers[6].token, "t-new");
    unlink(path_of(world, "a.json"));
    unlink(path_of(world, "b.json"));
    sync_files(world);
    lease(world, &worker_1, 13, "m", 0);
    assert_int_equal(world->answers[7].failure, FAILURE_NO_CREDENTIAL);
    assert_string_equal(world->answers[7].message, "No credential is configured.");
}

static void test_one_is_wanted(void **state)
{
    struct world *world = *state;
    char wanted[CREDENTIAL_ID_BYTES];
    uint32_t number;
    credential_id_of("b.json", wanted, &number);
    struct msg_lease message = {.model = SPAN("m"), .credential_id = span_str(wanted), .wait_ms = 0};
    for (uint64_t request = 1; request <= 3; request++) {
        world->tickets++;
        broker_lease(world->broker, &worker_1, request, &message, &world->tickets, &world->moment);
    }
    assert_string_equal(world->answers[0].credential, wanted);
    assert_string_equal(world->answers[1].credential, wanted);
    assert_int_equal(world->answers[2].failure,
                     FAILURE_OVERLOADED); /* its limit is 2, though a.json is free */
    message.wait_ms = 5000;
    world->tickets++;
    broker_lease(world->broker, &worker_1, 4, &message, &world->tickets, &world->moment);
    assert_int_equal(world->answer_count, 3); /* it waits, and holds up nobody */
    lease(world, &worker_2, 5, "m", 5000);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(world->answers[3].request, 5);
    assert_int_equal(world->answers[3].failure, 0);
    release(world, world->answers[0].lease, OUTCOME_OK, 0);
    broker_pump(world->broker, &world->moment);
    assert_int_equal(world->answers[4].request, 4);
    assert_string_equal(world->answers[4].credential, wanted);
    message.credential_id = SPAN("0123456789abcdef");
    world->tickets++;
    broker_lease(world->broker, &worker_1, 6, &message, &world->tickets, &world->moment);
    assert_int_equal(world->answers[5].failure, FAILURE_NOT_FOUND);
    message.credential_id = SPAN("not an id");
    world->tickets++;
    broker_lease(world->broker, &worker_1, 7, &message, &world->tickets, &world->moment);
    assert_int_equal(world->answers[6].failure, FAILURE_NOT_FOUND);
    put(world, "b.json", "{");
    sync_files(world);
    message.credential_id = span_str(wanted);
    world->tickets++;
    broker_lease(world->broker, &worker_1, 8, &message, &world->tickets, &world->moment);
    assert_int_equal(world->answers[7].failure, FAILURE_NO_CREDENTIAL); /* its file is broken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_grant_and_release),
        T(test_leases_end_unless_renewed),
        T(test_restarted_broker_learns_from_renew),
        T(test_bad_renew_is_refused),
        T(test_grant_that_does_not_leave_is_no_lease),
        T(test_refusals_say_which),
        T(test_unknown_model_is_404),
        T(test_excluded_credentials),
        T(test_all_busy_waits_in_order),
        T(test_waiting_ends_in_time),
        T(test_expired_lease_serves_a_waiter),
        T(test_waiters_of_a_lost_worker_are_forgotten),
        T(test_waiter_that_cannot_be_served_blocks_nobody),
        T(test_files_change_under_leases),
        T(test_one_is_wanted),
#undef T
    };
    log_init("credd", LOG_LEVEL_DEBUG);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
