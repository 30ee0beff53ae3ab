/* SPDX-License-Identifier: MIT */
#include "credd/desk_numbers.h"
#include "credd/credential_numbers.h"

#include <stdlib.h>

enum { MICRO = 1000000 };

struct desk_numbers {
    struct reporter *reporter;
    struct number_sink sink; /* the reporter's functions */
    struct credential_numbers *each;
    struct broker_counters reported;
    struct refresher_counters refreshes_reported;
    uint64_t key_refusals[FAILURE_COUNT], key_refusals_reported[FAILURE_COUNT];
};

static void sink_gauge(void *owner, const char *name, int64_t value_micro)
{
    reporter_gauge(owner, name, value_micro);
}

static void sink_drop_gauge(void *owner, const char *name)
{
    reporter_drop_gauge(owner, name);
}

static void sink_count(void *owner, const char *name, uint64_t add)
{
    reporter_count(owner, name, add);
}

struct desk_numbers *desk_numbers_new(struct reporter *reporter)
{
    struct desk_numbers *numbers = calloc(1, sizeof *numbers);
    if (!numbers)
        return NULL;
    numbers->reporter = reporter;
    numbers->sink = (struct number_sink){sink_gauge, sink_drop_gauge, sink_count, reporter};
    numbers->each = credential_numbers_new(&numbers->sink);
    if (!numbers->each)
        desk_numbers_free(&numbers);
    return numbers;
}

void desk_numbers_free(struct desk_numbers **numbers)
{
    if (!*numbers)
        return;
    credential_numbers_free(&(*numbers)->each);
    free(*numbers);
    *numbers = NULL;
}

void desk_numbers_key_refused(struct desk_numbers *numbers, enum failure failure)
{
    numbers->key_refusals[failure]++;
}

/* From the start, so that a rate has its zero. */
static void report_count(struct desk_numbers *numbers, const char *name, uint64_t total, uint64_t *reported)
{
    reporter_count(numbers->reporter, name, total - *reported);
    *reported = total;
}

/* Most codes never come up here. */
static void report_refusals(struct desk_numbers *numbers, const char *name, uint64_t total,
                            uint64_t *reported)
{
    if (total != *reported)
        report_count(numbers, name, total, reported);
}

static void report_refreshes(struct desk_numbers *numbers, const struct refresher *refresher)
{
    const struct refresher_counters *refreshes = refresher_counters(refresher);
    struct refresher_counters *reported = &numbers->refreshes_reported;
    report_count(numbers, "codebuddy2api_refreshes_total{result=\"ok\"}", refreshes->refreshed,
                 &reported->refreshed);
    report_count(numbers, "codebuddy2api_refreshes_total{result=\"failed\"}", refreshes->failed,
                 &reported->failed);
    report_count(numbers, "codebuddy2api_refreshes_total{result=\"needs_login\"}", refreshes->needs_login,
                 &reported->needs_login);
}

static void report_leases(struct desk_numbers *numbers, const struct broker *broker)
{
    static const char *const refused_names[FAILURE_COUNT] = {
#define F(name, status, type, code, message) [name] = "codebuddy2api_lease_refusals_total{code=\"" code "\"}",
        FAILURE_LIST(F)
#undef F
    };
    static const char *const key_names[FAILURE_COUNT] = {
#define F(name, status, type, code, message) [name] = "codebuddy2api_key_refusals_total{code=\"" code "\"}",
        FAILURE_LIST(F)
#undef F
    };
    static const char *const outcome_names[OUTCOME_COUNT] = {
#define O(name, value, word) [name] = "codebuddy2api_lease_outcomes_total{outcome=\"" word "\"}",
        OUTCOME_LIST(O)
#undef O
    };
    const struct broker_counters *counters = broker_counters(broker);
    struct broker_counters *reported = &numbers->reported;
    report_count(numbers, "codebuddy2api_lease_grants_total", counters->granted, &reported->granted);
    report_count(numbers, "codebuddy2api_leases_expired_total", counters->expired, &reported->expired);
    report_count(numbers, "codebuddy2api_leases_adopted_total", counters->adopted, &reported->adopted);
    report_count(numbers, "codebuddy2api_lease_unknown_releases_total", counters->released_unlent,
                 &reported->released_unlent);
    for (size_t i = 1; i < FAILURE_COUNT; i++)
        report_refusals(numbers, refused_names[i], counters->refused[i], &reported->refused[i]);
    for (size_t i = 1; i < FAILURE_COUNT; i++)
        report_refusals(numbers, key_names[i], numbers->key_refusals[i], &numbers->key_refusals_reported[i]);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        report_count(numbers, outcome_names[i], counters->released[i], &reported->released[i]);
}

static void report_states(struct desk_numbers *numbers, const struct rotation *rotation,
                          const struct moment *moment)
{
    static const char *const names[CREDENTIAL_STATE_COUNT] = {
#define CS(name, word) [name] = "codebuddy2api_credentials{state=\"" word "\"}",
        CREDENTIAL_STATE_LIST(CS)
#undef CS
    };
    int64_t counts[CREDENTIAL_STATE_COUNT] = {0}, usable_count = 0;
    for (size_t i = 0; i < rotation_size(rotation); i++) {
        struct rotation_view view;
        rotation_look(rotation, i, moment, &view);
        counts[view.state]++;
        /* One that cools for a model serves the others. */
        usable_count +=
            view.state == CREDENTIAL_READY || (view.state == CREDENTIAL_COOLING && view.model.length > 0);
    }
    for (size_t i = 0; i < CREDENTIAL_STATE_COUNT; i++)
        reporter_gauge(numbers->reporter, names[i], counts[i] * MICRO);
    reporter_gauge(numbers->reporter, "codebuddy2api_credentials_usable", usable_count * MICRO);
    credential_numbers_report(numbers->each, rotation, moment);
}

void desk_numbers_report(struct desk_numbers *numbers, const struct broker *broker,
                         const struct refresher *refresher, const struct moment *moment)
{
    report_states(numbers, broker_rotation(broker), moment);
    report_leases(numbers, broker);
    report_refreshes(numbers, refresher);
    reporter_gauge(numbers->reporter, "codebuddy2api_lease_waiters",
                   (int64_t)broker_waiter_count(broker) * MICRO);
}
