/* SPDX-License-Identifier: MIT */
#include "statsd/supervised.h"
#include "proto/error.h"
#include "statsd/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t NOW = 1763900000000;

#define STATUS(pid, processes)                                                                               \
    "{\"version\":\"1.2\",\"revision\":\"abc\",\"state\":\"ready\",\"pid\":" pid                             \
    ",\"started_wall_ms\":1763800000000,\"up_ms\":5,\"usage\":{\"rss_bytes\":1048576,\"cpu_us\":2500000,"    \
    "\"open_fds\":17,\"max_fds\":1024},\"processes\":[" processes "]}"
#define PROCESS(name, role, state, restarts, hangs)                                                          \
    "{\"name\":\"" name "\",\"role\":\"" role "\",\"state\":\"" state "\",\"restarts\":" restarts            \
    ",\"hangs\":" hangs "}"

static char page_text[65536];

static const char *page(struct registry *registry)
{
    struct totals *totals = totals_new(NULL);
    struct buffer out = {0};
    assert_int_equal(exposition_write(&out, EXPOSITION_TEXT, totals, registry), 0);
    assert_true(out.length < sizeof page_text);
    memcpy(page_text, out.data, out.length);
    page_text[out.length] = '\0';
    buffer_fini(&out);
    totals_free(&totals);
    return page_text;
}

static void expect(struct registry *registry, const char *line)
{
    if (!strstr(page(registry), line))
        fail_msg("missing: %s\n%s", line, page_text);
}

static void expect_none(struct registry *registry, const char *line)
{
    if (strstr(page(registry), line))
        fail_msg("not wanted: %s\n%s", line, page_text);
}

static void take(struct supervised *supervised, const char *answer)
{
    assert_int_equal(supervised_take(supervised, span_str(answer), NOW), 0);
}

static struct registry *open_registry(void)
{
    struct registry *registry = registry_new();
    registry_show_unsaved(registry, true);
    return registry;
}

static void test_tells_of_all(void **state)
{
    (void)state;
    struct registry *registry = open_registry();
    struct supervised *supervised = supervised_new(registry, "h");
    take(supervised, STATUS("7", PROCESS("credd-0", "credd", "backing off", "3", "1")));
    expect(registry, "_process_up{role=\"supervisor\",process=\"supervisor-0@h\"} 1\n");
    expect(registry,
           "_process_resident_memory_bytes{role=\"supervisor\",process=\"supervisor-0@h\"} 1048576\n");
    expect(registry, "_process_cpu_seconds_total{role=\"supervisor\",process=\"supervisor-0@h\"} 2.5\n");
    expect(registry, "_process_open_fds{role=\"supervisor\",process=\"supervisor-0@h\"} 17\n");
    expect(registry, "_process_max_fds{role=\"supervisor\",process=\"supervisor-0@h\"} 1024\n");
    expect(registry,
           "_process_start_time_seconds{role=\"supervisor\",process=\"supervisor-0@h\"} 1763800000\n");
    expect(registry, "_build_info{version=\"1.2\",revision=\"abc\",role=\"supervisor\"");
    expect(registry, "_process_up{role=\"credd\",process=\"credd-0@h\"} 0\n");
    expect(registry, "_process_restarts_total{role=\"credd\",process=\"credd-0@h\"} 3\n");
    expect(registry, "_process_hangs_total{role=\"credd\",process=\"credd-0@h\"} 1\n");
    expect(registry, "_process_state{state=\"backing_off\",role=\"credd\",process=\"credd-0@h\"} 1\n");

    take(supervised, STATUS("7", PROCESS("credd-0", "credd", "ready", "4", "1")));
    expect(registry, "_process_restarts_total{role=\"credd\",process=\"credd-0@h\"} 4\n");
    expect(registry, "_process_state{state=\"ready\",role=\"credd\",process=\"credd-0@h\"} 1\n");
    expect_none(registry, "backing_off");
    supervised_miss(supervised, NOW);
    expect(registry, "_process_up{role=\"supervisor\",process=\"supervisor-0@h\"} 0\n");
    supervised_free(&supervised);
    expect_none(registry, "_process_up{");
    expect(registry, "_process_restarts_total{role=\"credd\",process=\"credd-0@h\"} 4\n");
    registry_free(&registry);
}

/* A reload gives a worker another number; another supervisor counts from 0. */
static void test_who_is_not_named_is_gone(void **state)
{
    (void)state;
    struct registry *registry = open_registry();
    struct supervised *supervised = supervised_new(registry, "h");
    take(supervised, STATUS("7", PROCESS("w-0", "w", "ready", "2", "0")));
    take(supervised, STATUS("7", PROCESS("w-1000", "w", "ready", "0", "0")));
    expect_none(registry, "_process_up{role=\"w\",process=\"w-0@h\"}");
    expect(registry, "_process_restarts_total{role=\"w\",process=\"w-0@h\"} 2\n");
    expect(registry, "_process_restarts_total{role=\"w\",process=\"w-1000@h\"} 0\n");
    take(supervised, STATUS("8", PROCESS("w-0", "w", "ready", "1", "0")));
    expect(registry, "_process_restarts_total{role=\"w\",process=\"w-0@h\"} 3\n");
    expect_none(registry, "_process_up{role=\"w\",process=\"w-1000@h\"}");
    supervised_free(&supervised);
    registry_free(&registry);
}

static void test_bad_answers_change_nothing(void **state)
{
    (void)state;
    static const char *const answers[] = {"",
                                          "{",
                                          "[]",
                                          "{}",
                                          "failed: unknown command",
                                          "{\"pid\":1,\"started_wall_ms\":1,\"processes\":{}}",
                                          "{\"pid\":-1,\"started_wall_ms\":1,\"processes\":[]}"};
    struct registry *registry = open_registry();
    struct supervised *supervised = supervised_new(registry, "h");
    take(supervised, STATUS("7", PROCESS("w-0", "w", "ready", "2", "0")));
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        assert_int_equal(supervised_take(supervised, span_str(answers[i]), NOW), ERR_INVALID);
    expect(registry, "_process_up{role=\"w\",process=\"w-0@h\"} 0\n");
    take(supervised, STATUS("7", "7,{\"name\":5},{\"name\":\"a b\",\"role\":\"r\\\"\",\"state\":\"\\n\"}"));
    expect(registry, "_process_state{state=\"_\",role=\"r_\",process=\"a_b@h\"} 1\n");
    supervised_free(&supervised);
    registry_free(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_of_all),
        cmocka_unit_test(test_who_is_not_named_is_gone),
        cmocka_unit_test(test_bad_answers_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
