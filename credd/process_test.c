/* SPDX-License-Identifier: MIT */
/* The real daemon, asked over its real link: leases, kill -9 and restart, files that come, wrong askers. */
#include "credd/testbed.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- tests ---- */

static void test_lends_and_takes_back(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    uint64_t first = lease(client, 5000), second = lease(client, 5000);
    assert_true(first != 0 && second != 0 && first != second);
    assert_string_equal(client->token, "token-a");
    assert_int_equal(client->grant.ttl_ms, LEASE_TTL_MS);
    int before = client->answers;
    ask(client, 5000); /* both places are taken: it waits … */
    release(client, first, OUTCOME_OK);
    TURN_UNTIL(client, client->answers > before);
    uint64_t third = client->grant.lease;
    assert_true(third != 0 && third != first && third != second); /* … for that one */
    release(client, second, OUTCOME_UNAUTHORIZED);
    assert_int_equal(lease(client, 5000), 0);
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL);
}

static void test_killed_and_restarted_it_knows_what_is_lent(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    uint64_t held[2];
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    held[0] = lease(client, 5000);
    held[1] = lease(client, 5000);
    assert_int_equal(end_credd(world, SIGKILL), 1000 + SIGKILL);
    TURN_UNTIL(client, !client->credd);
    int64_t restarted_ms = clock_now_ms();
    start_credd(world);
    TURN_UNTIL(client, client->credd);
    print_message("back after %d ms\n", (int)(clock_now_ms() - restarted_ms));
    renew(client, held, 2);
    assert_int_equal(lease(client, 0), 0); /* both places are still taken */
    assert_int_equal(client->refuse.failure, FAILURE_OVERLOADED);
    assert_int_equal(client->refuse.retry_after_s, 1);
    release(client, held[0], OUTCOME_OK);
    uint64_t next = lease(client, 0);
    assert_true(next != 0 && next != held[1]);
    assert_int_equal(lease(client, 0), 0);
}

static void test_files_take_effect_within_a_second(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    start_credd(world);
    client_open(world, "upstream-worker");
    assert_int_equal(lease(client, 5000), 0); /* it runs, with nothing to lend */
    assert_int_equal(client->refuse.failure, FAILURE_NO_CREDENTIAL);
    int64_t start_ms = clock_now_ms();
    put_credential(world, "a.json", "token-a");
    uint64_t number = 0;
    while ((number = lease(client, 5000)) == 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    release(client, number, OUTCOME_UNAUTHORIZED);
    assert_int_equal(lease(client, 5000), 0);
    start_ms = clock_now_ms();
    put_credential(world, "a.json", "token-b"); /* a person logged in again */
    while (lease(client, 5000) == 0)
        assert_true(clock_now_ms() < start_ms + 1000);
    assert_string_equal(client->token, "token-b");
    start_ms = clock_now_ms();
    char path[160];
    snprintf(path, sizeof path, "%s/a.json", world->creds);
    assert_int_equal(unlink(path), 0);
    while ((number = lease(client, 0)) != 0 || client->refuse.failure != FAILURE_NO_CREDENTIAL) {
        assert_true(clock_now_ms() < start_ms + 1000);
        if (number)
            release(client, number, OUTCOME_CANCELLED);
    }
}

static void test_only_workers_may_lease(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "gateway");
    ask(client, 0);
    call(client, "no-such-method", "{}", 404); /* in order: an answer to LEASE would have come first */
    assert_int_equal(client->answers, 1);
}

static void test_drains_and_dumps_no_core(void **state)
{
    struct world *world = *state;
    struct rlimit limit;
    put_credential(world, "a.json", "token-a");
    start_credd(world);
    client_open(world, "upstream-worker");
    uint64_t held = lease(&world->client, 0);
    assert_int_equal(prlimit(world->pid, RLIMIT_CORE, NULL, &limit), 0);
    assert_int_equal(limit.rlim_max, 0);
    kill(world->pid, SIGTERM);
    for (int i = 0; i < 3; i++) { /* it serves on, until the last lease is back */
        uint64_t number = lease(&world->client, 5000);
        assert_true(number != 0);
        release(&world->client, number, OUTCOME_OK);
    }
    release(&world->client, held, OUTCOME_OK);
    TURN_UNTIL(&world->client, !world->client.credd);
    assert_int_equal(end_credd(world, 0), 0);
}

static void test_bad_sites_stop_the_start(void **state)
{
    struct world *world = *state;
    world->sites_dir = "/nonexistent";
    start_credd(world);
    assert_int_equal(end_credd(world, 0), EXIT_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_lends_and_takes_back),
        T(test_killed_and_restarted_it_knows_what_is_lent),
        T(test_files_take_effect_within_a_second),
        T(test_only_workers_may_lease),
        T(test_drains_and_dumps_no_core),
        T(test_bad_sites_stop_the_start),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
