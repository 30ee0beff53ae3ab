/* SPDX-License-Identifier: MIT */
/* The daemon itself, killed with SIGKILL again and again while a reporter sends it events: the ledger holds
 * each once, and the counters never go back. Turned by hand; what it waits for are events, never times. */
#include "proto/data_directory.h"
#include "proto/clock.h"
#include "proto/link.h"
#include "proto/reporter.h"
#include "statsd/ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { EVENTS = 20000, KILLS = 10, PATIENCE_MS = 60000 /* a bound for a hang, not a wait */ };

struct world {
    char root[64], data[96], run[96];
    pid_t statsd;
    struct settings settings;
    struct service *service;
    struct reporter *reporter;
    struct link *calls; /* as a gateway's, for CALL */
    struct peer *called;
    int64_t requests; /* of the last answer; -1: none yet */
    unsigned seed;
};

static unsigned dice(struct world *world, unsigned sides)
{
    world->seed = world->seed * 1103515245u + 12345u;
    return (world->seed >> 16) % sides;
}

static void statsd_start(struct world *world)
{
    world->statsd = fork();
    assert_true(world->statsd >= 0);
    if (world->statsd == 0) {
        execl(STATSD_PROGRAM, STATSD_PROGRAM, (char *)NULL);
        _exit(127);
    }
}

static void statsd_kill(struct world *world)
{
    kill(world->statsd, SIGKILL);
    waitpid(world->statsd, NULL, 0);
    world->statsd = 0;
}

/* SIGTERM, and the exit status after its drain. */
static int statsd_stop(struct world *world)
{
    int status = -1;
    kill(world->statsd, SIGTERM);
    waitpid(world->statsd, &status, 0);
    world->statsd = 0;
    return status;
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct world *world = owner;
    struct msg_call call = {SPAN("stats"), SPAN("{}")};
    assert_true(span_equals(hello->role, SPAN("statsd")));
    world->called = peer;
    assert_int_equal(peer_send(peer, MESSAGE_CALL, 7, &call), 0);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    (void)peer;
    (void)why;
    ((struct world *)owner)->called = NULL;
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct world *world = owner;
    const struct msg_reply *reply = message;
    (void)peer;
    assert_int_equal(frame->type, MESSAGE_REPLY);
    assert_int_equal(frame->request, 7);
    assert_int_equal(reply->status, 200);
    json_t *json = json_loadb(reply->body.data, reply->body.length, 0, NULL);
    int64_t requests = json_integer_value(json_object_get(json_object_get(json, "totals"), "requests"));
    json_decref(json);
    assert_true(requests >= world->requests); /* counters never go back */
    world->requests = requests;
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static int start(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->root, sizeof world->root, "/tmp/statsd_test.XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->data, sizeof world->data, "%s/data", world->root);
    snprintf(world->run, sizeof world->run, "%s/run", world->root);
    assert_int_equal(mkdir(world->run, 0700), 0);
    setenv("CODEBUDDY_PASSWORD", "p", 1);
    setenv("CODEBUDDY_LOG_LEVEL", "ERROR", 1);
    setenv("CODEBUDDY_OPS_PORT", "0", 1);
    setenv("CODEBUDDY_DATA_DIR", world->data, 1);
    setenv("CODEBUDDY_RUN_DIR", world->run, 1);
    assert_int_equal(settings_load(&world->settings, environ, "/nonexistent/.env"), 0);
    world->service = service_new("upstream-worker", 0, &world->settings);
    assert_non_null(world->service);
    world->reporter = reporter_new(world->service);
    world->calls = link_connect(world->service, "statsd", world->settings.statsd_endpoint, &handlers, world);
    assert_true(world->reporter && world->calls);
    world->requests = -1;
    world->seed = 20261123;
    *state = world;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char below[400];
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(below) < 0)
            remove_tree(below);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static int stop(void **state)
{
    struct world *world = *state;
    if (world->statsd > 0)
        statsd_kill(world);
    link_close(&world->calls);
    reporter_free(&world->reporter);
    service_free(&world->service);
    settings_fini(&world->settings);
    remove_tree(world->root);
    free(world);
    return 0;
}

#define TURN_UNTIL(world, condition)                                                                         \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            uv_run(service_loop((world)->service), UV_RUN_ONCE);                                             \
        }                                                                                                    \
    } while (0)

static void send_event(struct world *world, uint64_t number)
{
    char id[32];
    snprintf(id, sizeof id, "req-%07u", (unsigned)number);
    struct msg_event event = {.request_id = span_str(id),
                              .started_wall_ms = clock_wall_ms(),
                              .duration_ms = 900,
                              .key_id = SPAN("password"),
                              .credential_id = SPAN("c1"),
                              .model = SPAN("gpt-5"),
                              .status = 200,
                              .prompt_tokens = number,
                              .credit_micro = 3};
    reporter_event(world->reporter, &event);
}

/* What the ledger holds, read once statsd is gone. */
static void expect_ledger(struct world *world, int64_t count)
{
    char directory[PATH_MAX];
    assert_true(data_directory_of(directory, world->data, "statsd"));
    struct ledger *ledger = ledger_new(directory);
    struct totals *totals = totals_new(NULL);
    struct counter_rows counters;
    counter_rows_init(&counters);
    assert_int_equal(ledger_open(ledger, 1, NULL, totals, &counters), 0);
    assert_int_equal(ledger_count_events(ledger), count);
    assert_int_equal(totals_sum(totals, TOTAL_REQUESTS), count);
    assert_int_equal(totals_get(totals, TOTAL_TOKENS, SPAN("prompt")), count * (count + 1) / 2);
    assert_int_equal(totals_sum(totals, TOTAL_CREDIT), 3 * count);
    counter_rows_fini(&counters);
    totals_free(&totals);
    ledger_free(&ledger);
}

static void test_exactly_once_under_kill_9(void **state)
{
    struct world *world = *state;
    uint64_t sent = 0;
    statsd_start(world);
    for (int kills = 0; kills <= KILLS; kills++) {
        uint64_t until = kills == KILLS ? EVENTS : sent + EVENTS / (KILLS + 1);
        /* Some more events, in bursts between turns; then death when a random part of them is acknowledged.
         */
        while (sent < until) {
            for (unsigned burst = 1 + dice(world, 200); burst > 0 && sent < until; burst--)
                send_event(world, ++sent);
            uv_run(service_loop(world->service), UV_RUN_NOWAIT);
        }
        size_t pending = reporter_pending_count(world->reporter);
        size_t die_at = kills == KILLS || pending == 0 ? 0 : dice(world, (unsigned)pending);
        TURN_UNTIL(world, reporter_pending_count(world->reporter) <= die_at);
        if (kills < KILLS) {
            statsd_kill(world);
            statsd_start(world);
        }
    }
    assert_int_equal(reporter_dropped_count(world->reporter), 0);
    assert_int_equal(statsd_stop(world), 0);
    expect_ledger(world, EVENTS);
    assert_true(world->requests > 0);
}

static void test_drain_leaves_nothing_behind(void **state)
{
    struct world *world = *state;
    statsd_start(world);
    TURN_UNTIL(world, world->called);
    for (uint64_t i = 1; i <= 300; i++)
        send_event(world, i);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    assert_int_equal(statsd_stop(world), 0);
    expect_ledger(world, 300);
}

/* The directory cannot be made: statsd serves all the same, holds nothing back for good, and goes on by
 * itself. */
static void test_starts_without_its_disk(void **state)
{
    struct world *world = *state;
    int fd = open(world->data, O_CREAT | O_WRONLY, 0600); /* a file where the directory should be */
    assert_true(fd >= 0);
    close(fd);
    statsd_start(world);
    TURN_UNTIL(world, world->requests == 0); /* it answers */
    for (uint64_t i = 1; i <= 100; i++)
        send_event(world, i);
    assert_int_equal(unlink(world->data), 0);
    TURN_UNTIL(world, reporter_pending_count(world->reporter) == 0);
    assert_int_equal(statsd_stop(world), 0);
    expect_ledger(world, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exactly_once_under_kill_9, start, stop),
        cmocka_unit_test_setup_teardown(test_drain_leaves_nothing_behind, start, stop),
        cmocka_unit_test_setup_teardown(test_starts_without_its_disk, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
