/* SPDX-License-Identifier: MIT */
/* Quotas with clocks of paper and an upstream of this file, in place of the real ones at link time. */
#include "credd/quotas.h"
#include "proto/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXHAUSTED_S = 7200, COUNT = 2 };
#define WALL_MS INT64_C(1748707200000) /* 2025-06-01 00:00:00 at the service's home, when now_ms is 0 */

static struct {
    int64_t now_ms;
    void (*done)(void *context, const struct http_answer *answer); /* of the question under way */
    void *context;
    int questions; /* so far */
    char path[128], token[32];
    char directory[64];
    struct settings settings;
    struct sites *sites;
    struct vault *vault;
    struct rotation *rotation;
    struct quotas *quotas;
} world;

/* The linker (--wrap) wants these names. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*) */
int64_t __wrap_clock_now_ms(void);
int64_t __wrap_clock_wall_ms(void);
struct http_call *__wrap_http_call_start(struct http_calls *calls, const struct http_question *question,
                                         void (*done)(void *context, const struct http_answer *answer),
                                         void *context);
void __wrap_http_call_cancel(struct http_call **call);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */

int64_t __wrap_clock_now_ms(void)
{
    return world.now_ms;
}

int64_t __wrap_clock_wall_ms(void)
{
    return WALL_MS + world.now_ms;
}

struct http_call *__wrap_http_call_start(struct http_calls *calls, const struct http_question *question,
                                         void (*done)(void *context, const struct http_answer *answer),
                                         void *context)
{
    (void)calls;
    assert_null(world.done); /* one at a time */
    assert_string_equal(question->body, "{}");
    snprintf(world.path, sizeof world.path, "%s", question->path);
    snprintf(world.token, sizeof world.token, "%.*s", (int)question->token.length, question->token.data);
    world.done = done;
    world.context = context;
    world.questions++;
    return (struct http_call *)&world;
}

void __wrap_http_call_cancel(struct http_call **call)
{
    *call = NULL;
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", world.directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void sync_files(void)
{
    struct rotation_fact facts[COUNT];
    vault_scan(world.vault);
    size_t count = vault_count(world.vault);
    assert_true(count <= COUNT);
    for (size_t i = 0; i < count; i++) {
        const struct credential *credential = vault_at(world.vault, i);
        facts[i] = (struct rotation_fact){.id = i + 1,
                                          .number = credential->number,
                                          .generation = credential->token_generation,
                                          .subject = credential};
    }
    assert_int_equal(rotation_sync(world.rotation, facts, count), 0);
}

static int world_open(void **state)
{
    const struct rotation_rules rules = {.max_in_flight = 1, .exhausted_ms = EXHAUSTED_S * 1000};
    (void)state;
    memset(&world, 0, sizeof world);
    world.now_ms = 1000;
    world.settings.credential_exhausted_s = EXHAUSTED_S;
    snprintf(world.directory, sizeof world.directory, "/tmp/quotas.XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    put("a.json", "{\"bearer_token\":\"token-a\"}");
    put("b.json", "{\"bearer_token\":\"token-b\",\"enterprise_id\":\"e\"}");
    world.sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    world.vault = vault_open(&(struct vault_parts){.directory = world.directory, .sites = world.sites});
    world.rotation = rotation_new(&rules, (const unsigned char[16]){0});
    assert_true(world.sites && world.vault && world.rotation);
    sync_files();
    world.quotas = quotas_new(&(struct quotas_parts){
        .vault = world.vault, .rotation = world.rotation, .settings = &world.settings});
    assert_non_null(world.quotas);
    return 0;
}

static int world_close(void **state)
{
    char path[128];
    (void)state;
    quotas_free(&world.quotas);
    rotation_free(&world.rotation);
    vault_close(&world.vault);
    sites_free(&world.sites);
    for (int name = 'a'; name <= 'b'; name++) {
        snprintf(path, sizeof path, "%s/%c.json", world.directory, name);
        unlink(path);
    }
    return rmdir(world.directory);
}

static void exhaust(size_t i)
{
    const struct credential *credential = vault_at(world.vault, i);
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    const struct rotation_report report = {.number = credential->number,
                                           .generation = credential->token_generation,
                                           .outcome = OUTCOME_EXHAUSTED,
                                           .reason = SPAN("14018")};
    struct rotation_view view;
    rotation_report(world.rotation, &report, &moment, &view);
}

static struct rotation_view look_at(size_t i)
{
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    struct rotation_view view;
    rotation_look(world.rotation, i, &moment, &view);
    return view;
}

static void tick_after(int64_t ms)
{
    world.now_ms += ms;
    quotas_tick(world.quotas);
}

static void answer(int status, const char *body)
{
    const struct http_answer http = {.status = status, .body = span_str(body)};
    void (*done)(void *context, const struct http_answer *answer) = world.done;
    assert_non_null(done);
    world.done = NULL;
    done(world.context, &http);
}

/* The personal account a's; NULL: no date. */
static void answer_left(const char *remain, const char *end)
{
    char body[256];
    snprintf(body, sizeof body,
             "{\"code\":0,\"data\":{\"Accounts\":[{\"CapacitySize\":100,\"CapacityRemain\":%s,"
             "\"CycleEndTime\":\"%s\"}]}}",
             remain, end ? end : "");
    answer(200, body);
}

static void test_nobody_asks_for_those_that_serve(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        tick_after(60000);
    assert_int_equal(world.questions, 0);
    assert_null(quotas_find(world.quotas, vault_at(world.vault, 0)));
}

static void test_exhausted_until_the_cycle_ends(void **state)
{
    (void)state;
    exhaust(0);
    tick_after(500);
    assert_int_equal(world.questions, 1);
    assert_string_equal(world.path, "/v2/billing/meter/get-user-resource");
    assert_string_equal(world.token, "token-a");
    answer_left("0", "2025-06-01 10:00:00");
    assert_int_equal(look_at(0).until_ms, 36000000);
    assert_string_equal(look_at(0).reason.data, "14018");
    const struct quota *quota = quotas_find(world.quotas, vault_at(world.vault, 0));
    assert_int_equal(quota->total_micro, 100000000);
    assert_int_equal(quota->remaining_micro, 0);
    assert_int_equal(quota->resets_wall_ms, WALL_MS + 36000000);
    tick_after(QUOTA_AGAIN_MS - 1);
    assert_int_equal(world.questions, 1);
    tick_after(1);
    assert_int_equal(world.questions, 2);
    answer_left("0", "2025-06-01 11:00:00"); /* not put off for ever: it is tried at its time */
    assert_int_equal(look_at(0).until_ms, 36000000);
    world.now_ms = 36000000;
    assert_int_equal(look_at(0).state, CREDENTIAL_READY);
    tick_after(0); /* and what does it come back with? */
    assert_int_equal(world.questions, 3);
    answer_left("100", "2025-06-02 10:00:00");
    assert_int_equal(quotas_find(world.quotas, vault_at(world.vault, 0))->remaining_micro, 100000000);
    tick_after(QUOTA_AGAIN_MS);
    assert_int_equal(world.questions, 3);
}

static void test_a_far_end_is_bounded(void **state)
{
    (void)state;
    exhaust(0);
    tick_after(0);
    answer_left("0", "2099-01-01 00:00:00");
    assert_int_equal(look_at(0).until_ms, world.now_ms + QUOTA_UNTIL_MAX_MS);
}

static void test_new_credits_bring_it_back(void **state)
{
    (void)state;
    exhaust(0);
    tick_after(0);
    answer_left("0.5", NULL); /* too little for one request */
    assert_int_equal(look_at(0).until_ms, 1000 + EXHAUSTED_S * 1000);
    tick_after(QUOTA_AGAIN_MS);
    answer_left("0.25", NULL);
    tick_after(QUOTA_AGAIN_MS);
    answer_left("0.25", NULL);
    assert_int_equal(look_at(0).state, CREDENTIAL_EXHAUSTED);
    tick_after(QUOTA_AGAIN_MS);
    answer_left("0.3", NULL); /* more than the least */
    assert_int_equal(look_at(0).state, CREDENTIAL_READY);
    exhaust(0); /* it was not enough: the usual time, and no question before it is due */
    assert_int_equal(look_at(0).until_ms, world.now_ms + EXHAUSTED_S * 1000);
    int64_t until_ms = look_at(0).until_ms;
    tick_after(QUOTA_LEAST_MS - 1);
    assert_int_equal(world.questions, 4);
    tick_after(QUOTA_AGAIN_MS);
    answer_left("80", "2025-06-02 00:00:00"); /* what the upstream says itself contradicts its 14018 */
    assert_int_equal(look_at(0).until_ms, until_ms);
}

static void test_trouble_leaves_the_usual_time(void **state)
{
    static const struct {
        int status;
        const char *body;
    } troubles[] = {
        {500, "{}"},
        {200, "<html>"},
        {401, "{\"code\":401,\"msg\":\"no\"}"},
        {200, "{\"code\":0,\"data\":{\"Accounts\":[]}}"},
        {200, "{\"code\":0,\"data\":{\"Accounts\":[{\"CapacitySize\":1,\"CapacityRemain\":\"-\"}]}}"}};
    (void)state;
    exhaust(0);
    int64_t until_ms = look_at(0).until_ms;
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
        tick_after(QUOTA_AGAIN_MS);
        answer(troubles[i].status, troubles[i].body);
        assert_int_equal(look_at(0).until_ms, until_ms);
        assert_null(quotas_find(world.quotas, vault_at(world.vault, 0)));
    }
    const struct http_answer lost = {.error = -1, .problem = "lost"};
    tick_after(QUOTA_AGAIN_MS);
    world.done(world.context, &lost);
    world.done = NULL;
    assert_int_equal(look_at(0).until_ms, until_ms);
}

/* A far return, of which nothing is known any more: a restart, and the upstream says nothing. */
static void test_trouble_ends_a_long_wait(void **state)
{
    (void)state;
    exhaust(0);
    tick_after(0);
    answer_left("0", "2025-06-01 20:00:00");
    tick_after(QUOTA_AGAIN_MS);
    answer(503, "");
    assert_int_equal(look_at(0).until_ms, world.now_ms + EXHAUSTED_S * 1000);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    exhaust(0);
    exhaust(1);
    tick_after(0);
    tick_after(5000);
    assert_int_equal(world.questions, 1);
    answer_left("0", NULL);
    tick_after(1000);
    assert_int_equal(world.questions, 2);
    assert_string_equal(world.path, "/v2/billing/meter/get-enterprise-user-usage");
    assert_string_equal(world.token, "token-b");
    answer(200,
           "{\"code\":0,\"data\":{\"credit\":5,\"limitNum\":5,\"cycleEndTime\":\"2025-06-01 10:00:00\"}}");
    assert_int_equal(look_at(1).until_ms, 36000000);
}

static void test_a_person_asks(void **state)
{
    uint32_t number = vault_at(world.vault, 0)->number;
    (void)state;
    quotas_want(world.quotas, 12345); /* there is none */
    quotas_want(world.quotas, number);
    tick_after(1000);
    answer_left("42", NULL);
    assert_int_equal(quotas_find(world.quotas, vault_at(world.vault, 0))->remaining_micro, 42000000);
    quotas_want(world.quotas, number);
    tick_after(QUOTA_LEAST_MS - 1);
    assert_int_equal(world.questions, 1);
    tick_after(1);
    assert_int_equal(world.questions, 2);
    tick_after(0);
    answer_left("41", NULL);
    tick_after(QUOTA_AGAIN_MS);
    assert_int_equal(world.questions, 2);
    assert_int_equal(look_at(0).state, CREDENTIAL_READY);
}

static void test_an_answer_for_another_token_is_dropped(void **state)
{
    (void)state;
    exhaust(0);
    tick_after(0);
    put("a.json", "{\"bearer_token\":\"token-c\"}");
    sync_files();
    answer_left("0", "2025-06-01 10:00:00");
    assert_null(quotas_find(world.quotas, vault_at(world.vault, 0)));
    assert_int_equal(look_at(0).state, CREDENTIAL_READY);
}

static void test_gone_or_switched_on_while_we_ask(void **state)
{
    char path[128];
    (void)state;
    exhaust(0);
    exhaust(1);
    tick_after(0);
    rotation_switch(world.rotation, vault_at(world.vault, 0)->number, true, SPAN(""));
    answer_left("0", "2025-06-01 10:00:00");
    assert_int_equal(look_at(0).state, CREDENTIAL_READY);
    tick_after(1000);
    snprintf(path, sizeof path, "%s/b.json", world.directory);
    unlink(path);
    sync_files();
    answer(200, "{\"code\":0,\"data\":{\"credit\":5,\"limitNum\":5}}");
    tick_after(QUOTA_AGAIN_MS);
    assert_int_equal(vault_count(world.vault), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_nobody_asks_for_those_that_serve),
        T(test_exhausted_until_the_cycle_ends),
        T(test_a_far_end_is_bounded),
        T(test_new_credits_bring_it_back),
        T(test_trouble_leaves_the_usual_time),
        T(test_trouble_ends_a_long_wait),
        T(test_one_at_a_time),
        T(test_a_person_asks),
        T(test_an_answer_for_another_token_is_dropped),
        T(test_gone_or_switched_on_while_we_ask),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
