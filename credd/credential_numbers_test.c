/* SPDX-License-Identifier: MIT */
#include "credd/credential_numbers.h"
#include "credd/vault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MINUTE_MS 60000LL

static const unsigned char seed[16] = "sixteen bytes..";

/* What a scrape would show, by name. */
struct shown {
    char name[129];
    int64_t value_micro;
    bool is_counter;
};

struct bench {
    struct rotation *rotation;
    struct moment moment;
    struct credential credentials[3];
    struct rotation_fact facts[3];
    struct shown shown[32];
    size_t count;
    unsigned calls;
    struct number_sink sink;
    struct credential_numbers *numbers;
};

static struct shown *find(struct bench *bench, const char *name)
{
    for (size_t i = 0; i < bench->count; i++)
        if (strcmp(bench->shown[i].name, name) == 0)
            return &bench->shown[i];
    return NULL;
}

static struct shown *find_or_add(struct bench *bench, const char *name)
{
    struct shown *shown = find(bench, name);
    if (shown)
        return shown;
    assert_true(bench->count < 32);
    shown = &bench->shown[bench->count++];
    *shown = (struct shown){.value_micro = 0};
    snprintf(shown->name, sizeof shown->name, "%s", name);
    return shown;
}

static void set_gauge(void *owner, const char *name, int64_t value_micro)
{
    struct bench *bench = owner;
    bench->calls++;
    find_or_add(bench, name)->value_micro = value_micro;
}

static void drop_gauge(void *owner, const char *name)
{
    struct bench *bench = owner;
    struct shown *shown = find(bench, name);
    bench->calls++;
    if (shown)
        *shown = bench->shown[--bench->count];
}

static void count(void *owner, const char *name, uint64_t add)
{
    struct bench *bench = owner;
    struct shown *shown = find_or_add(bench, name);
    bench->calls++;
    shown->value_micro += (int64_t)add;
    shown->is_counter = true;
}

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    const struct rotation_rules rules = {.rotation_count = 1, .max_in_flight = 100, .exhausted_ms = 3600000};
    bench->rotation = rotation_new(&rules, seed);
    bench->moment = (struct moment){.now_ms = 1000, .wall_ms = 1790000000000};
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(bench->credentials[i].id, CREDENTIAL_ID_BYTES, "000000000000000%u", i + 1);
        bench->facts[i] = (struct rotation_fact){
            .id = i + 1, .number = i + 1, .site = 1, .generation = i + 1, .subject = &bench->credentials[i]};
    }
    bench->credentials[0].file.expires_wall_ms = 1790009000000;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 2), 0);
    bench->sink = (struct number_sink){set_gauge, drop_gauge, count, bench};
    bench->numbers = credential_numbers_new(&bench->sink);
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;
    credential_numbers_free(&bench->numbers);
    rotation_free(&bench->rotation);
    free(bench);
    return 0;
}

static void report(struct bench *bench)
{
    credential_numbers_report(bench->numbers, bench->rotation, &bench->moment);
}

#define NAME(what, id) "codebuddy2api_credential_" what "{credential=\"000000000000000" id "\"}"
#define STATE(id, word)                                                                                      \
    "codebuddy2api_credential_state{credential=\"000000000000000" id "\",state=\"" word "\"}"

#define DISABLED(id, by)                                                                                     \
    "codebuddy2api_credential_state{credential=\"000000000000000" id "\",state=\"disabled\",reason=\"" by    \
    "\"}"

static void assert_shows(struct bench *bench, const char *name, int64_t value)
{
    struct shown *shown = find(bench, name);
    assert_non_null(shown);
    assert_int_equal(shown->value_micro, shown->is_counter ? value : value * 1000000);
}

static uint32_t lend(struct bench *bench)
{
    const struct rotation_wish wish = {.model = SPAN("m")};
    struct rotation_choice choice;
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_GRANTED);
    return choice.number;
}

static void end(struct bench *bench, uint32_t number, enum outcome outcome)
{
    struct rotation_view view;
    const struct rotation_report told = {
        .number = number, .generation = number, .outcome = outcome, .model = SPAN("m"), .reason = SPAN("r")};
    rotation_report(bench->rotation, &told, &bench->moment, &view);
    rotation_end(bench->rotation, number);
}

static void test_a_ready_one(void **state)
{
    struct bench *bench = *state;
    report(bench);
    assert_shows(bench, STATE("1", "ready"), 1);
    assert_shows(bench, STATE("2", "ready"), 1);
    assert_shows(bench, NAME("in_flight", "1"), 0);
    assert_shows(bench, NAME("uses_total", "1"), 0);
    assert_shows(bench, NAME("expires_timestamp_seconds", "1"), 1790009000);
    assert_null(find(bench, NAME("expires_timestamp_seconds", "2"))); /* unknown */
    assert_null(find(bench, NAME("until_timestamp_seconds", "1")));
    unsigned calls = bench->calls;
    report(bench);
    assert_int_equal(bench->calls, calls); /* nothing changed, nothing is said */
}

static void test_lent_and_back(void **state)
{
    struct bench *bench = *state;
    report(bench);
    uint32_t first = lend(bench), second = lend(bench);
    report(bench);
    assert_shows(bench, NAME("in_flight", "1"), 1);
    assert_shows(bench, NAME("in_flight", "2"), 1);
    assert_shows(bench, NAME("uses_total", "2"), 1);
    end(bench, first, OUTCOME_OK);
    end(bench, second, OUTCOME_OK);
    report(bench);
    assert_shows(bench, NAME("in_flight", "1"), 0);
    assert_shows(bench, NAME("uses_total", "1"), 1);
}

/* One state at a time; the reason to alert is a state of its own. */
static void test_states_come_and_go(void **state)
{
    struct bench *bench = *state;
    end(bench, lend(bench), OUTCOME_RISK_CONTROL);
    end(bench, lend(bench), OUTCOME_EXHAUSTED);
    report(bench);
    assert_shows(bench, DISABLED("1", "risk_control"), 1);
    assert_shows(bench, STATE("2", "exhausted"), 1);
    assert_null(find(bench, STATE("1", "ready")));
    assert_shows(bench, NAME("until_timestamp_seconds", "2"), 1790003600);
    bench->moment.now_ms += 61 * MINUTE_MS;
    bench->moment.wall_ms += 61 * MINUTE_MS;
    rotation_switch(bench->rotation, 1, true, SPAN(""));
    report(bench);
    assert_shows(bench, STATE("1", "ready"), 1);
    assert_null(find(bench, DISABLED("1", "risk_control")));
    assert_shows(bench, STATE("2", "ready"), 1);
    assert_null(find(bench, STATE("2", "exhausted")));
    assert_null(find(bench, NAME("until_timestamp_seconds", "2")));
}

/* What a person decided is nobody's trouble; what the upstream's risk control decided is. */
static void test_who_disabled_it(void **state)
{
    struct bench *bench = *state;
    rotation_switch(bench->rotation, 2, false, SPAN("switched off"));
    report(bench);
    assert_shows(bench, DISABLED("2", "person"), 1);
    assert_null(find(bench, STATE("2", "ready")));
    end(bench, lend(bench), OUTCOME_RISK_CONTROL);
    report(bench);
    assert_shows(bench, DISABLED("1", "risk_control"), 1);
    rotation_switch(bench->rotation, 1, false,
                    SPAN("switched off")); /* the state stays, its reason does not */
    report(bench);
    assert_shows(bench, DISABLED("1", "person"), 1);
    assert_null(find(bench, DISABLED("1", "risk_control")));
}

/* Told only of what can be refreshed: for the others a person must come before the end. */
static void test_when_a_refresh_is_due(void **state)
{
    struct bench *bench = *state;
    struct credential_file *file = &bench->credentials[0].file;
    report(bench);
    assert_null(find(bench, NAME("refresh_due_timestamp_seconds", "1")));
    assert_int_equal(secret_set(&file->refresh_token, SPAN("again")), 0);
    assert_int_equal(secret_set(&bench->credentials[1].file.refresh_token, SPAN("again")), 0);
    file->created_wall_ms = 1790000000000; /* of 9,000 s, half */
    report(bench);
    assert_shows(bench, NAME("refresh_due_timestamp_seconds", "1"), 1790004500);
    assert_null(find(bench, NAME("refresh_due_timestamp_seconds", "2"))); /* no known end */
    file->expires_wall_ms = 1790019000000;                                /* refreshed */
    file->created_wall_ms = 1790004000000;
    report(bench);
    assert_shows(bench, NAME("refresh_due_timestamp_seconds", "1"), 1790011500);
    assert_int_equal(rotation_sync(bench->rotation, bench->facts + 1, 2), 0);
    report(bench);
    assert_null(find(bench, NAME("refresh_due_timestamp_seconds", "1")));
    secret_fini(&file->refresh_token);
    secret_fini(&bench->credentials[1].file.refresh_token);
}

static void test_one_that_went(void **state)
{
    struct bench *bench = *state;
    lend(bench);
    report(bench);
    assert_int_equal(rotation_sync(bench->rotation, bench->facts + 1, 2), 0);
    report(bench);
    assert_null(find(bench, STATE("1", "ready")));
    assert_null(find(bench, NAME("in_flight", "1")));
    assert_null(find(bench, NAME("expires_timestamp_seconds", "1")));
    assert_non_null(find(bench, NAME("uses_total", "1"))); /* counters stay */
    assert_shows(bench, STATE("3", "ready"), 1);
}

static void count_states(void *owner, const char *name, int64_t value_micro)
{
    size_t *states = owner;
    (void)value_micro;
    *states += strncmp(name, "codebuddy2api_credential_state{", 31) == 0;
}

static void drop_nothing(void *owner, const char *name)
{
    (void)owner;
    (void)name;
}

static void count_nothing(void *owner, const char *name, uint64_t add)
{
    (void)owner;
    (void)name;
    (void)add;
}

static void test_a_thousand_at_most(void **state)
{
    enum { MANY = CREDENTIAL_NUMBERS_MAX + 5 };
    struct bench *bench = *state;
    size_t states = 0;
    const struct number_sink sink = {count_states, drop_nothing, count_nothing, &states};
    struct credential *credentials = calloc(MANY, sizeof *credentials);
    struct rotation_fact *facts = calloc(MANY, sizeof *facts);
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(credentials[i].id, CREDENTIAL_ID_BYTES, "%016x", i);
        facts[i] =
            (struct rotation_fact){.id = i + 1, .number = i + 1, .generation = 1, .subject = &credentials[i]};
    }
    struct credential_numbers *numbers = credential_numbers_new(&sink);
    assert_int_equal(rotation_sync(bench->rotation, facts, MANY), 0);
    credential_numbers_report(numbers, bench->rotation, &bench->moment);
    assert_int_equal(states, CREDENTIAL_NUMBERS_MAX);
    credential_numbers_free(&numbers);
    free(facts);
    free(credentials);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, bench_open, bench_close)
    const struct CMUnitTest tests[] = {CASE(test_a_ready_one),           CASE(test_lent_and_back),
                                       CASE(test_states_come_and_go),    CASE(test_who_disabled_it),
                                       CASE(test_when_a_refresh_is_due), CASE(test_one_that_went),
                                       CASE(test_a_thousand_at_most)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
