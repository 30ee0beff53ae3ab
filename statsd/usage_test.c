/* SPDX-License-Identifier: MIT */
#include "statsd/usage.h"
#include "statsd/ledger_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t NOW_S = FIXTURE_NOW_MS / 1000;

/* ---- the question ---- */

static bool read_question(const char *json, int64_t minutes_since_s, struct usage_question *question,
                          struct problem *problem)
{
    json_t *arguments = json_loads(json, 0, NULL);
    assert_non_null(arguments);
    *problem = (struct problem){"", ""};
    bool ok = usage_read_question(arguments, FIXTURE_NOW_MS, minutes_since_s, question, problem);
    static char field[64]; /* it may borrow from the arguments */
    snprintf(field, sizeof field, "%s", problem->field);
    problem->field = field;
    json_decref(arguments);
    return ok;
}

static void refuse(const char *json, const char *field)
{
    struct usage_question question;
    struct problem problem;
    assert_false(read_question(json, NOW_S - 90 * 86400, &question, &problem));
    assert_string_equal(problem.field, field);
    assert_true(strlen(problem.message) > 10);
}

static struct usage_question accept(const char *json)
{
    struct usage_question question;
    struct problem problem;
    if (!read_question(json, NOW_S - 90 * 86400, &question, &problem))
        fail_msg("%s: %s %s", json, problem.field, problem.message);
    assert_int_equal(question.from_s + (int64_t)question.point_count * question.step_s, question.to_s);
    assert_true(question.point_count <= USAGE_MAX_POINTS);
    return question;
}

static void test_what_is_not_said(void **state)
{
    (void)state;
    struct usage_question q = accept("{}");
    assert_int_equal(q.step_s, 300);
    assert_int_equal(q.from_s, NOW_S - 86400);
    assert_int_equal(q.to_s, NOW_S);
    assert_int_equal(q.point_count, 288);
    assert_int_equal(q.by, DIMENSION_ALL);
    static const struct {
        int64_t range_s, step_s;
    } steps[] = {{60, 60},
                 {3600, 60},
                 {18000, 60},
                 {18001, 300},
                 {604800, 3600},
                 {30 * 86400, 10800},
                 {365 * 86400, 7 * 86400},
                 {40 * 365 * 86400LL, 365 * 86400}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"from\":\"%" PRId64 "\"}", NOW_S - steps[i].range_s);
        q = accept(json);
        assert_int_equal(q.step_s, steps[i].step_s);
        assert_true(q.point_count <= 301);
        assert_true(q.from_s <= NOW_S - steps[i].range_s && q.to_s >= NOW_S);
    }
}

static void test_where_points_lie(void **state)
{
    (void)state;
    struct usage_question q =
        accept("{\"to\":\"1763999777\",\"step\":\"900\"}"); /* on multiples of the step */
    assert_int_equal(q.from_s % 900, 0);
    assert_true(q.to_s >= 1763999777 && q.to_s < 1763999777 + 900);
    q = accept("{\"from\":\"1763912345\",\"step\":\"900\"}"); /* on the minute that was given */
    assert_int_equal(q.from_s, 1763912345 / 60 * 60);
    q = accept("{\"from\":\"1763912345\",\"step\":\"86400\"}"); /* on the hour: somebody's midnight */
    assert_int_equal(q.from_s, 1763912345 / 3600 * 3600);
    assert_true(q.by_hour);
    q = accept("{\"from\":\"1763912345\",\"step\":\"5400\"}");
    assert_false(q.by_hour);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *field;
    } bad[] = {
        {"{\"what\":\"1\"}", "what"},
        {"{\"from\":1}", "from"},
        {"{\"from\":\"\"}", "from"},
        {"{\"from\":\"-1\"}", "from"},
        {"{\"from\":\"1.5\"}", "from"},
        {"{\"from\":\"99999999999999999999\"}", "from"},
        {"{\"from\":\"253402300800\"}", "from"},
        {"{\"from\":\"1764000000\"}", "from"}, /* not before now */
        {"{\"from\":\"5\",\"to\":\"5\"}", "from"},
        {"{\"to\":\"x\"}", "to"},
        {"{\"to\":\"0\"}", "from"},
        {"{\"step\":\"0\"}", "step"},
        {"{\"step\":\"59\"}", "step"},
        {"{\"step\":\"61\"}", "step"},
        {"{\"from\":\"1763800000\",\"step\":\"60\"}", "step"},  /* 3,333 points */
        {"{\"from\":\"1700000000\",\"step\":\"300\"}", "step"}, /* no minutes so far back */
        {"{\"by\":\"all\"}", "by"},
        {"{\"by\":\"outcome\"}", "by"},
        {"{\"by\":\"\"}", "by"},
        {"{\"format\":\"CSV\"}", "format"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i].json, bad[i].field);
}

static void test_no_minutes_means_hours(void **state)
{
    (void)state;
    struct usage_question q;
    struct problem problem;
    assert_true(read_question("{}", NOW_S, &q, &problem));
    assert_int_equal(q.step_s, 3600);
    assert_true(q.by_hour);
}

/* ---- the answer ---- */

/* The answer as it is sent, by a question in JSON; owned. */
static struct buffer ask(struct ledger_fixture *f, const char *json)
{
    struct usage_question question = accept(json);
    struct usage_answer answer;
    struct buffer out = {0};
    assert_int_equal(usage_read_answer(f->db, &question, &answer), SQLITE_OK);
    assert_int_equal(usage_write_answer(&out, &question, &answer), 0);
    usage_answer_fini(&answer);
    return out;
}

static json_t *ask_json(struct ledger_fixture *f, const char *json)
{
    struct buffer out = ask(f, json);
    json_t *root = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buffer_fini(&out);
    return root;
}

static double number_of(const json_t *series, const char *part, const char *name)
{
    return json_number_value(json_object_get(json_object_get(series, part), name));
}

static double sum_points(const json_t *series, const char *name)
{
    double sum = 0;
    json_t *points = json_object_get(json_object_get(series, "points"), name);
    for (size_t i = 0; i < json_array_size(points); i++)
        sum += json_number_value(json_array_get(points, i));
    return sum;
}

static void test_series_add_up(void **state)
{
    struct ledger_fixture *f = *state;
    static const char *const dimensions[] = {"model", "credential", "key", "status", NULL};
    static const char *const steps[] = {"60", "300", "3600", "7200", NULL};
    static const char *const names[] = {
        "requests",         "errors", "cancelled", "prompt_tokens", "completion_tokens", "cached_tokens",
        "reasoning_tokens", "credit", NULL};
    assert_int_equal(ledger_fixture_commit_range(f, 1, 2000), 0);
    json_t *all = ask_json(f, "{}");
    assert_int_equal(json_array_size(json_object_get(all, "series")), 1);
    const json_t *whole = json_array_get(json_object_get(all, "series"), 0);
    assert_string_equal(json_string_value(json_object_get(whole, "name")), "all");
    assert_int_equal((int)number_of(whole, "totals", "requests"), 2000);
    for (size_t d = 0; dimensions[d]; d++)
        for (size_t s = 0; steps[s]; s++) {
            char json[128];
            snprintf(json, sizeof json, "{\"from\":\"%" PRId64 "\",\"by\":\"%s\",\"step\":\"%s\"}",
                     NOW_S - 4 * 3600, dimensions[d], steps[s]);
            json_t *root = ask_json(f, json), *series, *list = json_object_get(root, "series");
            double sums[8] = {0}, last = 1e9;
            size_t i;
            json_array_foreach (list, i, series) {
                for (size_t n = 0; names[n]; n++) {
                    double total = number_of(series, "totals", names[n]);
                    sums[n] += total;
                    assert_true(sum_points(series, names[n]) - total < 1e-6 &&
                                total - sum_points(series, names[n]) < 1e-6);
                }
                assert_true(number_of(series, "totals", "requests") <= last); /* most first */
                last = number_of(series, "totals", "requests");
                assert_true(last > 0);
            }
            for (size_t n = 0; names[n]; n++) {
                double difference = sums[n] - number_of(whole, "totals", names[n]);
                assert_true(difference < 1e-6 && difference > -1e-6);
            }
            json_decref(root);
        }
    json_decref(all);
}

static void test_means_and_percentiles(void **state)
{
    struct ledger_fixture *f = *state;
    struct msg_event event;
    struct fixture_texts texts = {0};
    for (unsigned i = 1; i <= 100; i++) {
        ledger_fixture_event(i, &event, &texts);
        event.started_wall_ms = FIXTURE_NOW_MS - 60000;
        event.stream = 1;
        event.first_event_ms = i * 10;
        event.duration_ms = 1000 + i;
        assert_int_equal(ledger_fixture_commit(f, &event), 0);
    }
    json_t *root = ask_json(f, "{\"from\":\"1763999700\",\"step\":\"60\"}");
    const json_t *all = json_array_get(json_object_get(root, "series"), 0);
    assert_int_equal((int)number_of(all, "totals", "first_event_mean_ms"), 505);
    assert_in_range((int)number_of(all, "totals", "first_event_p95_ms"), 884, 1016);
    assert_int_equal((int)number_of(all, "totals", "duration_mean_ms"), 1051);
    json_t *p95 = json_object_get(json_object_get(all, "points"), "first_event_p95_ms");
    json_t *mean = json_object_get(json_object_get(all, "points"), "duration_mean_ms");
    assert_int_equal(json_array_size(p95), 5);
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_is_null(json_array_get(p95, i)));
        assert_true(json_is_null(json_array_get(mean, i)));
    }
    assert_in_range(json_integer_value(json_array_get(p95, 4)), 884, 1016);
    json_decref(root);
    struct buffer live = {0};
    assert_int_equal(usage_append_first_event(f->db, FIXTURE_NOW_MS, &live), SQLITE_OK);
    root = json_loadb(live.data, live.length, 0, NULL);
    assert_in_range(json_integer_value(json_object_get(root, "p50")), 465, 535);
    json_decref(root);
    buffer_clear(&live);
    assert_int_equal(usage_append_first_event(f->db, FIXTURE_NOW_MS + 600000, &live), SQLITE_OK);
    assert_true(span_equals(buffer_span(&live), SPAN("null")));
    buffer_fini(&live);
}

static void test_small_ones_share_a_series(void **state)
{
    struct ledger_fixture *f = *state;
    unsigned id = 1;
    for (unsigned key = 0; key < 70; key++)
        for (unsigned k = 0; k <= key; k++, id++) { /* key-0 once … key-69 70 times */
            struct msg_event event;
            struct fixture_texts texts = {0};
            char name[16];
            ledger_fixture_event(id, &event, &texts);
            snprintf(name, sizeof name, "key-%u", key);
            event.key_id = span_str(name);
            assert_int_equal(ledger_fixture_commit(f, &event), 0);
        }
    json_t *root = ask_json(f, "{\"by\":\"key\"}"), *list = json_object_get(root, "series"), *series;
    size_t i, shared = 0;
    double sum = 0;
    assert_int_equal(json_array_size(list), USAGE_MAX_SERIES);
    json_array_foreach (list, i, series) {
        const char *name = json_string_value(json_object_get(series, "name"));
        double requests = number_of(series, "totals", "requests");
        sum += requests;
        if (strcmp(name, "other") == 0)
            shared += (size_t)requests;
    }
    assert_int_equal(shared, 21 * 22 / 2);
    assert_int_equal((int)sum, 70 * 71 / 2);
    json_decref(root);
}

static void test_an_empty_ledger(void **state)
{
    struct ledger_fixture *f = *state;
    json_t *root = ask_json(f, "{}"), *list = json_object_get(root, "series");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal((int)number_of(json_array_get(list, 0), "totals", "requests"), 0);
    assert_true(json_is_null(json_object_get(root, "by")));
    json_decref(root);
    root = ask_json(f, "{\"by\":\"model\"}");
    assert_int_equal(json_array_size(json_object_get(root, "series")), 0);
    json_decref(root);
}

static void test_csv(void **state)
{
    struct ledger_fixture *f = *state;
    struct msg_event event;
    struct fixture_texts texts = {0};
    ledger_fixture_event(1, &event, &texts);
    event.started_wall_ms = FIXTURE_NOW_MS - 60000;
    event.model = SPAN("=cmd|\"x\",y");
    event.credit_micro = 1500000;
    event.stream = 0;
    event.duration_ms = 1234;
    event.outcome = 0;
    event.status = 200;
    event.prompt_tokens = 1;
    event.completion_tokens = 2;
    event.cached_tokens = 3;
    event.reasoning_tokens = 4;
    assert_int_equal(ledger_fixture_commit(f, &event), 0);
    struct buffer out =
        ask(f, "{\"from\":\"1763999880\",\"step\":\"60\",\"by\":\"model\",\"format\":\"csv\"}");
    struct span want =
        SPAN("time,by,requests,errors,cancelled,prompt_tokens,completion_tokens,cached_tokens,"
             "reasoning_tokens,credit,first_event_mean_ms,first_event_p95_ms,duration_mean_ms\r\n"
             "1763999880,\"'=cmd|\"\"x\"\",y\",0,0,0,0,0,0,0,0,,,\r\n"
             "1763999940,\"'=cmd|\"\"x\"\",y\",1,0,0,1,2,3,4,1.5,,,1234\r\n");
    assert_int_equal(out.length, want.length);
    assert_memory_equal(out.data, want.data, want.length);
    buffer_fini(&out);
}

/* A ledger that somebody brought: its labels' numbers are no places in our memory. */
#define SIXTY_LABELS                                                                                         \
    "INSERT INTO labels(id, dimension, text) WITH RECURSIVE n(i) AS "                                        \
    "(VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60) SELECT -100-i, 1, 'm'||i FROM n"

static void test_labels_of_a_strange_ledger(void **state)
{
    static const char *const statements[] = {
        "INSERT INTO labels(id, dimension, text) VALUES(-7, 1, 'x')",
        "UPDATE labels SET id=4611686018427387904 WHERE id=-7",
        SIXTY_LABELS,
        "UPDATE labels SET id=-9 WHERE id=4611686018427387904",
    };
    struct ledger_fixture *f = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        struct usage_question question = accept("{\"by\":\"model\"}");
        struct usage_answer answer;
        assert_int_equal(sqlite3_exec(db, statements[i], NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(usage_read_answer(f->db, &question, &answer), SQLITE_CORRUPT);
        usage_answer_fini(&answer);
    }
    sqlite3_close(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_fixture_setup, ledger_fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_said),
        cmocka_unit_test(test_where_points_lie),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_no_minutes_means_hours),
        TEST(test_series_add_up),
        TEST(test_means_and_percentiles),
        TEST(test_small_ones_share_a_series),
        TEST(test_an_empty_ledger),
        TEST(test_csv),
        TEST(test_labels_of_a_strange_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
