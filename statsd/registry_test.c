/* SPDX-License-Identifier: MIT */
#include "statsd/registry.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t NOW = 1763900000000, MICRO = 1000000, DAY_MS = 24 * 3600 * 1000;

static struct source *open_gateway(struct registry *registry, uint32_t pid)
{
    struct source *source = registry_open_source(registry, "gateway", "gateway-0@h", pid, NOW + pid);
    assert_non_null(source);
    return source;
}

static void count(struct registry *registry, struct source *source, const char *name, int64_t total)
{
    assert_int_equal(registry_report(registry, source, span_str(name), GAUGE_COUNTER, total * MICRO, NOW), 0);
}

static void gauge(struct registry *registry, struct source *source, const char *name, int64_t value)
{
    assert_int_equal(registry_report(registry, source, span_str(name), GAUGE_NOW, value * MICRO, NOW), 0);
}

/* What a commit does, to a ledger that is a list: rows replace or delete those of their key. */
static void save(struct registry *registry, struct counter_rows *ledger)
{
    struct counter_rows rows, kept;
    counter_rows_init(&rows);
    counter_rows_init(&kept);
    assert_int_equal(registry_collect(registry, &rows), 0);
    for (struct counter_row *old = ledger->first; old; old = old->next) {
        bool replaced = false;
        for (struct counter_row *row = rows.first; row; row = row->next)
            replaced |= row->kind == old->kind && strcmp(row->role, old->role) == 0 &&
                        strcmp(row->process, old->process) == 0 && strcmp(row->name, old->name) == 0;
        if (!replaced)
            counter_rows_add(&kept, old);
    }
    for (struct counter_row *row = rows.first; row; row = row->next)
        if (!row->gone)
            counter_rows_add(&kept, row);
    counter_rows_fini(&rows);
    counter_rows_fini(ledger);
    *ledger = kept;
    if (!kept.first)
        counter_rows_init(ledger);
    registry_settle(registry, true);
}

struct wanted {
    const char *family, *role, *process;
    int64_t value_micro;
    int found;
};

static int look(void *context, const struct registry_sample *sample)
{
    struct wanted *wanted = context;
    if (strcmp(sample->metric->family, wanted->family) == 0 && strcmp(sample->role, wanted->role) == 0 &&
        strcmp(sample->process, wanted->process) == 0) {
        wanted->value_micro = sample->value_micro;
        wanted->found++;
    }
    return 0;
}

/* -1: not shown; -2: shown more than once. */
static int64_t shown(struct registry *registry, const char *family, const char *role, const char *process)
{
    struct wanted wanted = {family, role, process, 0, 0};
    assert_int_equal(registry_each(registry, look, &wanted), 0);
    return wanted.found == 0 ? -1 : wanted.found > 1 ? -2 : wanted.value_micro / MICRO;
}

static void test_counters_add_up_over_lives_and_processes(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct counter_rows ledger;
    counter_rows_init(&ledger);
    struct source *one = open_gateway(registry, 1);
    struct source *other = registry_open_source(registry, "gateway", "gateway-1@h", 2, NOW);
    count(registry, one, "codebuddy2api_x_total", 10);
    count(registry, one, "codebuddy2api_x_total", 15);
    count(registry, other, "codebuddy2api_x_total", 100);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), -1); /* not durable yet */
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 115);
    registry_close_source(registry, &one, NOW);
    assert_null(one);
    one = open_gateway(registry, 3); /* restarted: counts from zero */
    count(registry, one, "codebuddy2api_x_total", 4);
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 119);
    counter_rows_fini(&ledger);
    registry_free(&registry);
}

static void test_a_broken_connection_does_not_count_twice(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct source *source = open_gateway(registry, 1);
    registry_show_unsaved(registry, true);
    count(registry, source, "codebuddy2api_x_total", 10);
    registry_close_source(registry, &source, NOW);
    source = open_gateway(registry, 1);
    count(registry, source, "codebuddy2api_x_total", 12);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 12);
    registry_free(&registry);
}

static void test_counters_continue_over_a_restart_of_statsd(void **state)
{
    (void)state;
    struct counter_rows ledger;
    counter_rows_init(&ledger);
    struct registry *registry = registry_new();
    struct source *gone = open_gateway(registry, 1), *living = open_gateway(registry, 2);
    count(registry, gone, "codebuddy2api_x_total", 10);
    count(registry, living, "codebuddy2api_x_total", 5);
    count(registry, living, "codebuddy2api_process_cpu_seconds_total", 7);
    save(registry, &ledger);
    count(registry, living, "codebuddy2api_x_total", 6); /* not saved: statsd is killed */
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 15);
    registry_free(&registry);

    registry = registry_new();
    assert_int_equal(registry_load(registry, &ledger), 0);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 15);
    living = open_gateway(registry, 2);
    count(registry, living, "codebuddy2api_x_total", 8); /* its total since its own start */
    count(registry, living, "codebuddy2api_process_cpu_seconds_total", 9);
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 18);
    assert_int_equal(shown(registry, "codebuddy2api_process_cpu_seconds", "gateway", "gateway-0@h"), 9);
    registry_free(&registry);

    registry = registry_new(); /* the ledger could not be opened until later */
    living = open_gateway(registry, 2);
    count(registry, living, "codebuddy2api_x_total", 9);
    assert_int_equal(registry_load(registry, &ledger), 0);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 18);
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 19);
    registry_free(&registry);
    counter_rows_fini(&ledger);
}

/* Random lives, connections, saves and kills of statsd: what is shown never goes back and ends at the truth.
 */
static void test_never_back_under_random_kills(void **state)
{
    (void)state;
    struct counter_rows ledger;
    counter_rows_init(&ledger);
    struct registry *registry = registry_new();
    unsigned seed = 7;
    uint32_t pid = 1;
    int64_t truth = 0, own = 0, before = -1; /* not shown yet */
    struct source *source = open_gateway(registry, pid);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1103515245u + 12345u;
        unsigned dice = (seed >> 16) % 100;
        if (dice < 50) {
            truth += dice;
            own += dice;
            count(registry, source, "codebuddy2api_x_total", own);
        } else if (dice < 90) {
            save(registry, &ledger);
        } else if (dice < 94) { /* the connection breaks */
            registry_close_source(registry, &source, NOW);
            source = open_gateway(registry, pid);
        } else if (dice < 97) { /* statsd is killed: the process reports again */
            registry_free(&registry);
            registry = registry_new();
            assert_int_equal(registry_load(registry, &ledger), 0);
            source = open_gateway(registry, pid);
            count(registry, source, "codebuddy2api_x_total", own);
        } else { /* the process ends, having said all */
            save(registry, &ledger);
            registry_close_source(registry, &source, NOW);
            registry_sweep(registry, NOW + 61000);
            source = open_gateway(registry, ++pid);
            own = 0;
        }
        int64_t now = shown(registry, "codebuddy2api_x", "gateway", "");
        assert_true(now >= before);
        before = now;
    }
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), truth);
    registry_free(&registry);
    counter_rows_fini(&ledger);
}

static void test_failed_save_is_saved_again(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct source *source = open_gateway(registry, 1);
    struct counter_rows rows;
    counter_rows_init(&rows);
    count(registry, source, "codebuddy2api_x_total", 10);
    assert_int_equal(registry_collect(registry, &rows), 0);
    assert_int_equal(rows.count, 2);
    count(registry, source, "codebuddy2api_x_total", 11); /* while the commit runs */
    registry_settle(registry, false);
    counter_rows_fini(&rows);
    assert_int_equal(registry_collect(registry, &rows), 0);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.first->value_micro, 11 * MICRO);
    registry_settle(registry, true);
    counter_rows_fini(&rows);
    assert_int_equal(registry_collect(registry, &rows), 0);
    assert_int_equal(rows.count, 0);
    registry_mark_unsaved(registry);
    assert_int_equal(registry_collect(registry, &rows), 0);
    assert_int_equal(rows.count, 2);
    registry_settle(registry, true);
    counter_rows_fini(&rows);
    registry_free(&registry);
}

static void test_gauges_go_with_their_process(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    int64_t value;
    struct source *old = open_gateway(registry, 1);
    gauge(registry, old, "codebuddy2api_streams", 5);
    assert_int_equal(shown(registry, "codebuddy2api_streams", "gateway", "gateway-0@h"), 5);
    struct source *young = open_gateway(registry, 2); /* replaces it, which still drains */
    gauge(registry, young, "codebuddy2api_streams", 1);
    assert_int_equal(shown(registry, "codebuddy2api_streams", "gateway", "gateway-0@h"), 1);
    assert_int_equal(registry_connected_count(registry, "gateway"), 2);
    assert_true(registry_read_gauge(registry, "gateway", "codebuddy2api_streams", &value));
    assert_int_equal(value, 6 * MICRO);
    registry_close_source(registry, &old, NOW);
    registry_close_source(registry, &young, NOW);
    assert_int_equal(shown(registry, "codebuddy2api_streams", "gateway", "gateway-0@h"), -1);
    assert_false(registry_read_gauge(registry, "gateway", "codebuddy2api_streams", &value));
    assert_int_equal(registry_connected_count(registry, "gateway"), 0);
    registry_free(&registry);
}

static void test_a_gauge_is_dropped(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct source *source = open_gateway(registry, 1);
    gauge(registry, source, "codebuddy2api_a", 5);
    gauge(registry, source, "codebuddy2api_b", 6);
    count(registry, source, "codebuddy2api_x_total", 10);
    registry_drop_gauge(source, SPAN("codebuddy2api_a"));
    registry_drop_gauge(source, SPAN("codebuddy2api_x_total")); /* counters stay */
    registry_drop_gauge(source, SPAN("codebuddy2api_unknown"));
    assert_int_equal(shown(registry, "codebuddy2api_a", "gateway", "gateway-0@h"), -1);
    assert_int_equal(shown(registry, "codebuddy2api_b", "gateway", "gateway-0@h"), 6);
    count(registry, source, "codebuddy2api_x_total", 12);
    gauge(registry, source, "codebuddy2api_a", 7);
    assert_int_equal(shown(registry, "codebuddy2api_a", "gateway", "gateway-0@h"), 7);
    registry_close_source(registry, &source, NOW);
    registry_free(&registry);
}

static void test_a_witness_gives_way(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    registry_show_unsaved(registry, true);
    struct source *witness = registry_open_witness(registry, "gateway", "gateway-0@h", 99, NOW - 1000);
    gauge(registry, witness, "codebuddy2api_process_up", 0);
    gauge(registry, witness, "codebuddy2api_workers_ready", 5);
    count(registry, witness, REGISTRY_RESTARTS, 2);
    assert_int_equal(registry_connected_count(registry, "gateway"), 0);
    int64_t value_micro;
    assert_false(registry_read_gauge(registry, "gateway", "codebuddy2api_workers_ready", &value_micro));
    assert_int_equal(shown(registry, "codebuddy2api_process_up", "gateway", "gateway-0@h"), 0);

    struct source *gateway = open_gateway(registry, 1);
    registry_count_lives(registry, NOW); /* not of one that has a witness */
    gauge(registry, gateway, "codebuddy2api_process_up", 1);
    assert_int_equal(registry_connected_count(registry, "gateway"), 1);
    assert_int_equal(shown(registry, "codebuddy2api_process_up", "gateway", "gateway-0@h"), 1);
    assert_int_equal(shown(registry, "codebuddy2api_workers_ready", "gateway", "gateway-0@h"), 5);
    registry_close_source(registry, &gateway, NOW);
    assert_int_equal(shown(registry, "codebuddy2api_process_up", "gateway", "gateway-0@h"), 0);
    count(registry, witness, REGISTRY_RESTARTS, 3);
    assert_int_equal(shown(registry, "codebuddy2api_process_restarts", "gateway", "gateway-0@h"), 3);

    registry_close_source(registry, &witness, NOW); /* the next supervisor begins at 0 */
    witness = registry_open_witness(registry, "gateway", "gateway-0@h", 100, NOW);
    count(registry, witness, REGISTRY_RESTARTS, 1);
    assert_int_equal(shown(registry, "codebuddy2api_process_restarts", "gateway", "gateway-0@h"), 4);
    registry_close_source(registry, &witness, NOW);
    registry_free(&registry);
}

static void test_lives_are_counted_where_nobody_tells(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct counter_rows ledger;
    counter_rows_init(&ledger);
    for (uint32_t life = 1; life <= 3; life++) {
        struct source *source = open_gateway(registry, life);
        registry_source_has_no_witness(source);
        registry_count_lives(registry, NOW);
        registry_count_lives(registry, NOW);
        save(registry, &ledger);
        assert_int_equal(shown(registry, "codebuddy2api_process_restarts", "gateway", "gateway-0@h"),
                         life - 1);
        registry_close_source(registry, &source, NOW); /* only the connection broke */
        source = open_gateway(registry, life);
        registry_source_has_no_witness(source);
        registry_count_lives(registry, NOW);
        registry_close_source(registry, &source, NOW);
    }
    registry_free(&registry);

    registry = registry_new(); /* statsd and the process are restarted together */
    assert_int_equal(registry_load(registry, &ledger), 0);
    struct source *source = open_gateway(registry, 4);
    registry_source_has_no_witness(source);
    registry_count_lives(registry, NOW);
    save(registry, &ledger);
    assert_int_equal(shown(registry, "codebuddy2api_process_restarts", "gateway", "gateway-0@h"), 3);
    counter_rows_fini(&ledger);
    registry_free(&registry);
}

static void test_sweep_forgets_the_dead_and_keeps_their_sums(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct counter_rows ledger;
    counter_rows_init(&ledger);
    struct source *source = open_gateway(registry, 1);
    count(registry, source, "codebuddy2api_x_total", 10);
    count(registry, source, "codebuddy2api_process_cpu_seconds_total", 3);
    save(registry, &ledger);
    assert_int_equal(ledger.count, 4);
    registry_close_source(registry, &source, NOW);
    registry_sweep(registry, NOW + DAY_MS - 1);
    save(registry, &ledger);
    assert_int_equal(ledger.count, 4);
    registry_sweep(registry, NOW + DAY_MS + 1);
    save(registry, &ledger);
    assert_int_equal(ledger.count, 1); /* the role's sum */
    assert_int_equal(shown(registry, "codebuddy2api_x", "gateway", ""), 10);
    assert_int_equal(shown(registry, "codebuddy2api_process_cpu_seconds", "gateway", "gateway-0@h"), -1);
    counter_rows_fini(&ledger);
    registry_free(&registry);
}

static void test_bounds(void **state)
{
    (void)state;
    struct registry *registry = registry_new();
    struct source *source = open_gateway(registry, 1);
    for (int i = 0; i < 8000; i++) {
        char name[64];
        snprintf(name, sizeof name, "codebuddy2api_x_total{i=\"%d\"}", i);
        count(registry, source, name, 1);
    }
    assert_int_equal(registry_report(registry, source, SPAN("codebuddy2api_y_total"), GAUGE_COUNTER, 1, NOW),
                     ERR_BUSY);
    assert_int_equal(registry_report(registry, source, SPAN("nonsense"), GAUGE_COUNTER, 1, NOW), ERR_INVALID);
    assert_int_equal(
        registry_report(registry, source, SPAN("codebuddy2api_x_total{i=\"1\"}"), GAUGE_NOW, 1, NOW),
        ERR_INVALID);
    assert_int_equal(
        registry_report(registry, source, SPAN("codebuddy2api_x_total{i=\"1\"}"), GAUGE_COUNTER, -1, NOW),
        ERR_INVALID);
    assert_int_equal(registry_refused_count(registry), 4);
    count(registry, source, "codebuddy2api_x_total{i=\"1\"}", 1); /* the known go on */
    registry_free(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_add_up_over_lives_and_processes),
        cmocka_unit_test(test_a_broken_connection_does_not_count_twice),
        cmocka_unit_test(test_counters_continue_over_a_restart_of_statsd),
        cmocka_unit_test(test_never_back_under_random_kills),
        cmocka_unit_test(test_failed_save_is_saved_again),
        cmocka_unit_test(test_gauges_go_with_their_process),
        cmocka_unit_test(test_a_gauge_is_dropped),
        cmocka_unit_test(test_a_witness_gives_way),
        cmocka_unit_test(test_lives_are_counted_where_nobody_tells),
        cmocka_unit_test(test_sweep_forgets_the_dead_and_keeps_their_sums),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
