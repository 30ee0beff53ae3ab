/* SPDX-License-Identifier: MIT */
/* The real load generator against the real stand-in: both must agree on what happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/upstream/wire.h"

extern char **environ;

static struct wire wire;
static char body_file[] = "/tmp/codebuddy2api-load-XXXXXX";

static int start(void **state)
{
    static const char body[] =
        "{\"model\":\"any\",\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}";
    int fd = mkstemp(body_file);

    (void)state;
    if (fd < 0 || write(fd, body, sizeof(body) - 1) != sizeof(body) - 1)
        return -1;
    close(fd);
    wire = wire_start("--fast");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    unlink(body_file);
    return wire_stop(&wire);
}

static int reset(void **state)
{
    (void)state;
    wire_post(&wire, "/_control/reset", "");
    return 0;
}

/* Runs it with up to 10 more arguments, the last one NULL. Returns owned: its report. */
static json_t *load(const char *scenario, int *exit_code, const char *const *more)
{
    char url[100], set[300], *argv[20];
    posix_spawn_file_actions_t actions;
    struct buffer report = {0};
    int out[2], status, count = 0;
    json_t *json;
    ssize_t size;
    pid_t pid;

    snprintf(set, sizeof(set), "{\"scenario\":\"%s\"}", scenario);
    wire_post(&wire, "/_control/default", set);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v2/chat/completions", wire.port);
    {
        const char *const fixed[] = {
            LOAD_BIN, "--url", url, "--body-file", body_file, "--header", "Authorization: Bearer t"};

        for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
            argv[count++] = memory_copy_text(fixed[i], strlen(fixed[i]));
        for (; *more; more++)
            argv[count++] = memory_copy_text(*more, strlen(*more));
        argv[count] = NULL;
    }
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    while (count > 0)
        free(argv[--count]);
    do {
        buffer_reserve(&report, 4096);
        size = read(out[0], report.data + report.size, 4096);
        report.size += size > 0 ? (size_t)size : 0;
    } while (size > 0);
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    *exit_code = WEXITSTATUS(status);
    json = json_loadb(report.data, report.size, 0, NULL);
    if (!json)
        fail_msg("not JSON: %.*s", (int)report.size, report.data);
    buffer_fini(&report);
    return json;
}

static int64_t number(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);

    if (!json_is_integer(value))
        fail_msg("no number %s", key);
    return json_integer_value(value);
}

static int64_t error_count(const json_t *json, const char *kind)
{
    return json_integer_value(json_object_get(json_object_get(json, "error_kinds"), kind));
}

#define LOAD(scenario, ...) load(scenario, &exit_code, (const char *const[]){__VA_ARGS__, NULL})

static void counts_agree(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:load", "--connections", "7", "--requests", "500", "--expect-events", "20");

    (void)state;
    assert_int_equal(exit_code, 0);
    assert_int_equal(number(report, "requests"), 500);
    assert_int_equal(number(report, "errors"), 0);
    assert_int_equal(number(report, "tokens"), 10000);
    assert_int_equal(number(report, "connects"), 7); /* kept alive */
    assert_int_equal(wire_counter(&wire, "completed"), 500);
    assert_int_equal(wire_counter(&wire, "events"), number(report, "events"));
    assert_int_equal(wire_counter(&wire, "aborts"), 0);
    json_decref(report);
}

static void slow_streams_are_timed(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:chunks?n=5&gap_ms=20&first_ms=30", "--connections", "50", "--slow",
                          "--expect-events", "5", "--gap-ms", "20");

    (void)state;
    assert_int_equal(exit_code, 0);
    assert_int_equal(number(report, "requests"), 50);
    assert_int_equal(number(report, "streams_peak"), 50);
    assert_int_equal(number(json_object_get(report, "gap_us"), "count"), 50 * 4);
    assert_true(number(json_object_get(report, "gap_us"), "max") >= 20000 - 2000);
    assert_true(number(json_object_get(report, "first_event_us"), "p50") >= 29000);
    assert_int_equal(number(json_object_get(report, "jitter_us"), "count"), 50 * 4);
    json_decref(report);
}

static void faults_are_found(void **state)
{
    static const struct {
        const char *scenario, *kind;
    } cases[] = {
        {"s:429", "status"},          {"s:eof-middle", "incomplete"},    {"s:no-done", "incomplete"},
        {"s:reset-middle", "closed"}, {"s:error-object", "error_event"}, {"s:abort-header", "closed"},
        {"s:chunks?n=4", "content"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int exit_code;
        json_t *report =
            LOAD(cases[i].scenario, "--connections", "2", "--requests", "6", "--expect-events", "5");

        assert_int_equal(exit_code, 1);
        if (error_count(report, cases[i].kind) != 6 || number(report, "errors") != 6)
            fail_msg("%s: %d of %s", cases[i].scenario, (int)error_count(report, cases[i].kind),
                     cases[i].kind);
        assert_int_equal(number(report, "requests"), 0);
        json_decref(report);
    }
}

static void lost_events_are_summed(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:chunks?n=4", "--connections", "3", "--slow", "--expect-events", "6");

    (void)state;
    assert_int_equal(exit_code, 1);
    assert_int_equal(number(report, "events_lost"), 6);
    json_decref(report);
}

static void plain_answers(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:200-completion?n=9", "--connections", "2", "--requests", "20", "--plain",
                          "--expect-events", "9");

    (void)state;
    assert_int_equal(exit_code, 0);
    assert_int_equal(number(report, "tokens"), 180);
    json_decref(report);
}

static void closing_servers_are_reconnected(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:until-close", "--connections", "2", "--requests", "10", "--expect-events", "5");

    (void)state;
    assert_int_equal(exit_code, 0);
    assert_int_equal(number(report, "requests"), 10);
    assert_int_equal(number(report, "connects"), 10);
    json_decref(report);
}

static void aborts_and_slow_readers(void **state)
{
    int exit_code;
    json_t *report = LOAD("s:slow", "--connections", "5", "--slow", "--abort-after-ms", "60");

    (void)state;
    assert_int_equal(exit_code, 0);
    assert_int_equal(number(report, "aborted"), 5);
    json_decref(report);
    wire_wait(&wire, "aborts", 5);
    report = LOAD("s:endless-fast", "--connections", "3", "--slow", "--slow-reader", "--duration-s", "1");
    assert_int_equal(number(report, "held"), 3);
    assert_true(number(report, "bytes") < 3 * 300000);
    json_decref(report);
    wire_wait(&wire, "aborts", 8);
}

static void a_dead_server_is_an_error(void **state)
{
    struct wire gone = wire;
    int exit_code;
    json_t *report;

    (void)state;
    wire = wire_start("--fast");
    {
        struct wire other = wire;
        char url[100];

        snprintf(url, sizeof(url), "http://127.0.0.1:%u/", other.port);
        assert_int_equal(wire_stop(&other), 0);
        wire = gone;
        /* The last --url counts. */
        report = LOAD("s:load", "--requests", "3", "--url", url);
    }
    assert_int_equal(exit_code, 1);
    assert_int_equal(number(report, "errors"), 3);
    json_decref(report);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counts_agree),           TEST(slow_streams_are_timed),          TEST(faults_are_found),
        TEST(plain_answers),          TEST(closing_servers_are_reconnected), TEST(aborts_and_slow_readers),
        TEST(lost_events_are_summed), TEST(a_dead_server_is_an_error)};

    return cmocka_run_group_tests(tests, start, stop);
}
