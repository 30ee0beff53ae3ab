/* SPDX-License-Identifier: MIT */
#include "credd/rotation.h"
#include "credd/affinity.h"
#include "proto/error.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const unsigned char seed[16] = "sixteen bytes..";
enum { SITE_A = 1, SITE_B = 2 };

struct bench {
    struct rotation *rotation;
    struct moment moment;
    struct rotation_fact facts[8];
    size_t count;
};

/* `count` ready credentials, numbered from 1, ids 101, 102, …, of site A. */
static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    const struct rotation_rules rules = {.rotation_count = 2, .max_in_flight = 100, .exhausted_ms = 3600000};
    bench->rotation = rotation_new(&rules, seed);
    bench->moment = (struct moment){.now_ms = 1000, .wall_ms = 1790000000000};
    bench->count = 3;
    for (size_t i = 0; i < 8; i++)
        bench->facts[i] = (struct rotation_fact){
            .id = 101 + i, .number = (uint32_t)i + 1, .site = SITE_A, .generation = i + 1};
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, bench->count), 0);
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;
    rotation_free(&bench->rotation);
    free(bench);
    return 0;
}

static void set_rules(struct bench *bench, int64_t rotation_count, int64_t max_in_flight)
{
    const struct rotation_rules rules = {rotation_count, max_in_flight, 3600000};
    rotation_set_rules(bench->rotation, &rules);
}

static enum rotation_answer choose_for(struct bench *bench, const char *model, const char *conversation,
                                       struct rotation_choice *choice)
{
    const struct rotation_wish wish = {.model = span_str(model), .conversation = span_str(conversation)};
    return rotation_choose(bench->rotation, &wish, &bench->moment, choice);
}

/* The number of the credential granted, 0 if none was. */
static uint32_t take(struct bench *bench)
{
    struct rotation_choice choice;
    return choose_for(bench, "m", NULL, &choice) == ROTATION_GRANTED ? choice.number : 0;
}

static void assert_takes(struct bench *bench, const char *expected)
{
    for (; *expected; expected++)
        assert_int_equal(take(bench), *expected - '0');
}

static bool tell(struct bench *bench, uint32_t number, enum outcome outcome, const char *model,
                 uint32_t retry_after_s)
{
    struct rotation_view view;
    const struct rotation_report report = {.number = number,
                                           .generation = bench->facts[number - 1].generation,
                                           .outcome = outcome,
                                           .model = span_str(model),
                                           .retry_after_s = retry_after_s,
                                           .reason = SPAN("why")};
    return rotation_report(bench->rotation, &report, &bench->moment, &view);
}

static struct rotation_view look(struct bench *bench, uint32_t number)
{
    struct rotation_view view;
    rotation_look(bench->rotation, number - 1, &bench->moment, &view);
    return view;
}

static enum rotation_answer ask(struct bench *bench, const char *model, int64_t *return_ms)
{
    struct rotation_choice choice;
    enum rotation_answer answer = choose_for(bench, model, NULL, &choice);
    if (return_ms)
        *return_ms = choice.return_ms;
    return answer;
}

/* ---- turns ---- */

static void test_turns_by_count_in_order(void **state)
{
    struct bench *bench = *state;
    assert_takes(bench, "112233112233");
    set_rules(bench, 1, 100);
    assert_takes(bench, "123123");
    set_rules(bench, 0, 100); /* stay */
    assert_takes(bench, "33333333");
    assert_true(tell(bench, 3, OUTCOME_RISK_CONTROL, "m", 0));
    assert_takes(bench, "1111");
}

static void test_none_at_all(void **state)
{
    struct bench *bench = *state;
    rotation_clear(bench->rotation);
    assert_int_equal(ask(bench, "m", NULL), ROTATION_NONE);
    assert_int_equal(rotation_size(bench->rotation), 0);
}

static void test_order_survives_changes(void **state)
{
    struct bench *bench = *state;
    struct rotation_fact facts[4] = {bench->facts[0], bench->facts[3], bench->facts[1], bench->facts[2]};
    assert_takes(bench, "112"); /* 2 is current, one left */
    assert_int_equal(rotation_sync(bench->rotation, facts, 4), 0);
    assert_takes(bench, "233114422");                              /* order is now 1 4 2 3 */
    assert_int_equal(rotation_sync(bench->rotation, facts, 2), 0); /* 2, the current, and 3 go */
    assert_takes(bench, "1144");
    assert_int_equal(rotation_sync(bench->rotation, facts + 2, 2), 0); /* none of the old stays */
    assert_takes(bench, "2233");
}

static void test_excluded_are_passed_over(void **state)
{
    struct bench *bench = *state;
    struct rotation_choice choice;
    const uint64_t tried[] = {101, 103, 102};
    struct rotation_wish wish = {.model = SPAN("m"), .excluded = tried, .excluded_count = 2};
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_GRANTED);
    assert_int_equal(choice.number, 2);
    wish.excluded_count = 3;
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_TRIED);
    /* tried and cooling: it comes back, so the client may too */
    assert_true(tell(bench, 1, OUTCOME_RATE_LIMITED, "m", 5));
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_COOLING);
    assert_int_equal(choice.return_ms, 6000);
}

static void test_limit_in_flight(void **state)
{
    struct bench *bench = *state;
    set_rules(bench, 10, 2);
    assert_takes(bench, "112233");
    assert_int_equal(ask(bench, "m", NULL), ROTATION_BUSY);
    rotation_end(bench->rotation, 2);
    assert_takes(bench, "2");
    assert_int_equal(ask(bench, "m", NULL), ROTATION_BUSY);
    uint64_t generation = 0;
    assert_true(rotation_adopt(bench->rotation, 1, &generation)); /* it is there, whatever the limit says */
    assert_int_equal(generation, 1);
    assert_int_equal(look(bench, 1).in_flight, 3);
    assert_false(rotation_adopt(bench->rotation, 77, &generation));
}

/* ---- states ---- */

static void test_cooling_is_per_model(void **state)
{
    struct bench *bench = *state;
    int64_t return_ms;
    assert_true(tell(bench, 1, OUTCOME_RATE_LIMITED, "m", 30));
    assert_false(tell(bench, 1, OUTCOME_RATE_LIMITED, "m", 40)); /* longer, but no news */
    assert_true(tell(bench, 2, OUTCOME_RATE_LIMITED, "m", 0));   /* 60 s by default */
    assert_takes(bench, "33");
    assert_true(tell(bench, 3, OUTCOME_RATE_LIMITED, "m", 1000000)); /* a day at most */
    assert_int_equal(ask(bench, "m", &return_ms), ROTATION_COOLING);
    assert_int_equal(return_ms, 1000 + 40000);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_COOLING);
    assert_int_equal(look(bench, 2).until_ms, 61000);
    assert_int_equal(look(bench, 3).until_ms, 1000 + ROTATION_COOL_MAX_MS);
    assert_int_equal(ask(bench, "other", NULL), ROTATION_GRANTED);
    bench->moment.now_ms = 41000;
    assert_takes(bench, "1111");
    assert_int_equal(look(bench, 1).state, CREDENTIAL_READY);
    assert_int_equal(look(bench, 1).reason.length, 0);
}

static void test_cooling_models_are_bounded(void **state)
{
    struct bench *bench = *state;
    char model[16];
    for (uint32_t i = 0; i < 10 * ROTATION_MAX_MODELS; i++) {
        snprintf(model, sizeof model, "m%u", i);
        tell(bench, 1, OUTCOME_RATE_LIMITED, model, 1000 + i);
    }
    bench->count = 1;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 1), 0);
    assert_int_equal(ask(bench, model, NULL), ROTATION_COOLING); /* the last is kept, the first made room */
    assert_int_equal(ask(bench, "m0", NULL), ROTATION_GRANTED);
}

static void test_exhausted_comes_back(void **state)
{
    struct bench *bench = *state;
    struct rotation_choice choice;
    assert_true(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0));
    assert_false(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0));
    assert_takes(bench, "2233");
    assert_int_equal(look(bench, 1).state, CREDENTIAL_EXHAUSTED);
    assert_true(span_equals(look(bench, 1).reason, SPAN("why")));
    tell(bench, 2, OUTCOME_EXHAUSTED, "m", 0);
    tell(bench, 3, OUTCOME_EXHAUSTED, "m", 0);
    assert_int_equal(choose_for(bench, "m", NULL, &choice), ROTATION_COOLING);
    assert_true(choice.is_exhausted && !choice.is_cooling);
    assert_int_equal(choice.return_ms, 1000 + 3600000);
    bench->moment.now_ms += 3600000;
    assert_int_equal(look(bench, 1).state, CREDENTIAL_READY);
    assert_true(take(bench) != 0);
    assert_true(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0)); /* news again */
}

static void test_expiry_is_five_minutes_early(void **state)
{
    struct bench *bench = *state;
    bench->facts[0].expires_wall_ms = bench->moment.wall_ms + 5 * 60000;
    bench->facts[1].expires_wall_ms = bench->moment.wall_ms + 5 * 60000 + 1;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_EXPIRED);
    assert_takes(bench, "2233");
    bench->moment.wall_ms++;
    assert_takes(bench, "333");
}

static void test_unauthorized_until_a_new_token(void **state)
{
    struct bench *bench = *state;
    bench->facts[1].can_refresh = true;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_true(tell(bench, 1, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_true(tell(bench, 2, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_int_equal(look(bench, 1).state, CREDENTIAL_NEEDS_LOGIN);
    assert_int_equal(look(bench, 2).state, CREDENTIAL_EXPIRED);
    bench->moment.now_ms += 100LL * 86400000; /* time alone does not help */
    assert_takes(bench, "3333");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0); /* nor does another edit */
    assert_int_equal(look(bench, 1).state, CREDENTIAL_NEEDS_LOGIN);
    uint64_t old = bench->facts[0].generation;
    bench->facts[0].generation = 50;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_READY);
    /* what was said of the old token does not touch the new one */
    bench->facts[0].generation = old;
    assert_false(tell(bench, 1, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_false(tell(bench, 1, OUTCOME_RISK_CONTROL, "m", 0));
    bench->facts[0].generation = 0; /* a lease that is not known: which token was it? */
    assert_false(tell(bench, 1, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_true(tell(bench, 1, OUTCOME_RISK_CONTROL, "m", 0));
}

static void test_broken_for_a_moment_keeps_the_state(void **state)
{
    struct bench *bench = *state;
    struct rotation_fact broken[3] = {bench->facts[0], bench->facts[1], bench->facts[2]};
    broken[0].generation = 0;
    assert_true(tell(bench, 1, OUTCOME_RISK_CONTROL, "m", 0));
    assert_true(tell(bench, 2, OUTCOME_RATE_LIMITED, "m", 0));
    broken[1].generation = 0;
    assert_int_equal(rotation_sync(bench->rotation, broken, 3), 0);
    assert_int_equal(look(bench, 2).state, CREDENTIAL_NEEDS_LOGIN);
    assert_takes(bench, "333");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_DISABLED);
    assert_int_equal(look(bench, 2).state, CREDENTIAL_COOLING);
}

static void test_a_worse_state_stays(void **state)
{
    struct bench *bench = *state;
    assert_true(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0));
    assert_true(tell(bench, 1, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_true(tell(bench, 1, OUTCOME_RISK_CONTROL, "m", 0));
    assert_false(tell(bench, 1, OUTCOME_UNAUTHORIZED, "m", 0));
    assert_false(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0));
    tell(bench, 1, OUTCOME_OK, "m", 0);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_DISABLED);
    assert_string_equal(credential_state_word(look(bench, 1).state), "disabled");
}

static void test_blameless_outcomes_change_nothing(void **state)
{
    struct bench *bench = *state;
    static const unsigned outcomes[] = {OUTCOME_OK,        OUTCOME_CANCELLED, OUTCOME_BLAMELESS,
                                        OUTCOME_TRANSIENT, OUTCOME_COUNT,     255};
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        assert_false(tell(bench, 1, (enum outcome)outcomes[i], "m", 9));
    assert_takes(bench, "112233");
}

static void test_model_not_served_is_about_the_site(void **state)
{
    struct bench *bench = *state;
    bench->facts[2].site = SITE_B;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    tell(bench, 1, OUTCOME_MODEL_NOT_SERVED, "m", 0);
    assert_takes(bench, "3333");
    tell(bench, 3, OUTCOME_MODEL_NOT_SERVED, "m", 0);
    assert_int_equal(ask(bench, "m", NULL), ROTATION_NOT_SERVED);
    assert_int_equal(ask(bench, "other", NULL), ROTATION_GRANTED);
    bench->moment.now_ms += ROTATION_NOT_SERVED_MS;
    assert_int_equal(ask(bench, "m", NULL), ROTATION_GRANTED);
}

/* ---- files that go while in use ---- */

static void test_gone_but_in_flight(void **state)
{
    struct bench *bench = *state;
    assert_takes(bench, "112");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts + 1, 2), 0);
    assert_takes(bench, "233");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0); /* the same name again */
    assert_int_equal(look(bench, 1).in_flight, 2);
    rotation_end(bench->rotation, 1);
    assert_int_equal(rotation_sync(bench->rotation, bench->facts + 1, 2), 0);
    rotation_end(bench->rotation, 1);
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_int_equal(look(bench, 1).in_flight, 0);
}

/* ---- conversations ---- */

static uint32_t talk(struct bench *bench, const char *conversation)
{
    struct rotation_choice choice;
    return choose_for(bench, "m", conversation, &choice) == ROTATION_GRANTED ? choice.number : 0;
}

static void test_conversations_stay_for_an_hour(void **state)
{
    struct bench *bench = *state;
    set_rules(bench, 1, 100);
    assert_int_equal(talk(bench, "x"), 1);
    assert_int_equal(talk(bench, "y"), 2);
    for (int i = 0; i < 5; i++) {
        bench->moment.now_ms += AFFINITY_TTL_MS - 1; /* each use renews it */
        assert_int_equal(talk(bench, "x"), 1);
    }
    assert_int_equal(talk(bench, "y"), 3); /* its hour is over: the next in turn, which x did not disturb */
    bench->moment.now_ms += AFFINITY_TTL_MS;
    assert_takes(bench, "12");
    assert_int_equal(talk(bench, "x"), 3);
}

static void test_conversation_moves_only_when_it_must(void **state)
{
    struct bench *bench = *state;
    set_rules(bench, 1, 1);
    assert_int_equal(talk(bench, "x"), 1);
    assert_int_equal(talk(bench, "x"), 2); /* 1 is busy, but ready */
    rotation_end(bench->rotation, 1);
    assert_int_equal(talk(bench, "x"), 1);
    rotation_end(bench->rotation, 1);
    rotation_end(bench->rotation, 2);
    tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0);
    assert_int_equal(talk(bench, "x"), 3);
    bench->moment.now_ms += 3600000 - 1;
    rotation_end(bench->rotation, 3);
    assert_int_equal(talk(bench, "x"), 3); /* its cache is here now */
}

static void test_affinity_is_bounded(void **state)
{
    struct affinity *affinity = affinity_new(seed);
    char id[16];
    (void)state;
    for (uint32_t i = 0; i < AFFINITY_MAX_COUNT + 10; i++) {
        snprintf(id, sizeof id, "c%u", i);
        affinity_bind(affinity, span_str(id), i + 1, 5);
    }
    assert_int_equal(affinity_count(affinity), AFFINITY_MAX_COUNT);
    assert_int_equal(affinity_find(affinity, span_str(id), 5), AFFINITY_MAX_COUNT + 10);
    assert_int_equal(affinity_find(affinity, SPAN("c0"), 5), 0);
    affinity_bind(affinity, SPAN("new"), 1, 5 + AFFINITY_TTL_MS); /* sweeps what is over */
    assert_int_equal(affinity_count(affinity), 1);
    affinity_free(&affinity);
}

/* ---- what a person decides ---- */

static void test_pinned_serves_while_it_can(void **state)
{
    struct bench *bench = *state;
    struct rotation_choice choice;
    int64_t served;
    rotation_pin(bench->rotation, 3);
    assert_takes(bench, "333");
    assert_int_equal(choose_for(bench, "m", "talk", &choice), ROTATION_GRANTED);
    assert_int_equal(choice.number, 3);
    assert_true(tell(bench, 3, OUTCOME_RATE_LIMITED, "m", 10));
    assert_takes(bench, "1122"); /* the turns go on where they were */
    assert_int_equal(rotation_next(bench->rotation, &bench->moment, &served),
                     2); /* for other models, it can */
    bench->moment.now_ms += 10000;
    assert_takes(bench, "33");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 2), 0); /* its file went … */
    assert_int_equal(rotation_pinned(bench->rotation), 0);
    assert_takes(bench, "11");
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0); /* … and came back */
    assert_int_equal(rotation_pinned(bench->rotation), 3);
    rotation_pin(bench->rotation, 0);
    assert_takes(bench, "2233");
}

static void test_without_rotation_one_serves_until_it_cannot(void **state)
{
    struct bench *bench = *state;
    rotation_set_auto(bench->rotation, false);
    assert_takes(bench, "11111");
    assert_true(tell(bench, 1, OUTCOME_RISK_CONTROL, "m", 0));
    assert_takes(bench, "2222");
    rotation_set_auto(bench->rotation, true);
    assert_takes(bench, "3322");
}

static void test_next_is_told_without_being_taken(void **state)
{
    struct bench *bench = *state;
    int64_t served;
    assert_int_equal(rotation_next(bench->rotation, &bench->moment, &served), 0);
    assert_int_equal(served, 0);
    assert_takes(bench, "1");
    assert_int_equal(rotation_next(bench->rotation, &bench->moment, &served), 0);
    assert_int_equal(served, 1);
    assert_takes(bench, "1");
    assert_int_equal(rotation_next(bench->rotation, &bench->moment, &served), 1);
    assert_int_equal(served, 0);
    for (uint32_t number = 1; number <= 3; number++)
        assert_true(tell(bench, number, OUTCOME_RISK_CONTROL, "m", 0));
    assert_true(rotation_next(bench->rotation, &bench->moment, &served) == SIZE_MAX);
}

static void test_switched_off_stays_so_over_a_new_token(void **state)
{
    struct bench *bench = *state;
    assert_true(tell(bench, 1, OUTCOME_RATE_LIMITED, "m", 50));
    assert_true(rotation_switch(bench->rotation, 1, false, SPAN("by a person")));
    assert_int_equal(look(bench, 1).state, CREDENTIAL_DISABLED);
    bench->facts[0].generation = 77;
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_DISABLED);
    assert_true(span_equals(look(bench, 1).reason, SPAN("by a person")));
    assert_takes(bench, "2233");
    assert_true(rotation_switch(bench->rotation, 1, true, SPAN("")));
    assert_int_equal(look(bench, 1).state, CREDENTIAL_READY);
    assert_true(tell(bench, 2, OUTCOME_RISK_CONTROL, "m", 0));
    assert_true(rotation_switch(bench->rotation, 2, true, SPAN("")));
    assert_int_equal(look(bench, 2).state, CREDENTIAL_READY);
    assert_false(rotation_switch(bench->rotation, 9, true, SPAN("")));
}

static void test_one_is_wanted_in_whatever_state(void **state)
{
    struct bench *bench = *state;
    struct rotation_choice choice;
    const uint64_t tried[] = {102};
    struct rotation_wish wish = {.model = SPAN("m"), .only = 102};
    assert_true(tell(bench, 2, OUTCOME_RISK_CONTROL, "m", 0));
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_GRANTED);
    assert_int_equal(choice.number, 2);
    assert_takes(bench, "1133"); /* no turn was taken */
    wish.excluded = tried;
    wish.excluded_count = 1;
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_TRIED);
    wish.only = 999;
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_NONE);
    wish = (struct rotation_wish){.model = SPAN("m"), .only = 102};
    set_rules(bench, 2, 1);
    assert_int_equal(rotation_choose(bench->rotation, &wish, &bench->moment, &choice), ROTATION_BUSY);
}

static void test_what_is_recalled_can_be_restored(void **state)
{
    struct bench *bench = *state;
    struct rotation_memory memory;
    struct rotation_turn turn;
    assert_takes(bench, "112");
    assert_true(tell(bench, 1, OUTCOME_RATE_LIMITED, "m", 50));
    assert_true(tell(bench, 1, OUTCOME_RATE_LIMITED, "n", 5));
    assert_true(tell(bench, 1, OUTCOME_EXHAUSTED, "m", 0));
    rotation_set_auto(bench->rotation, false);
    rotation_pin(bench->rotation, 3);
    turn = rotation_turn(bench->rotation);
    assert_int_equal(turn.current, 2);
    assert_int_equal(turn.served, 1);
    rotation_recall(bench->rotation, 0, &memory);
    assert_int_equal(memory.cooling_count, 2);
    assert_int_equal(memory.uses, 2);
    struct rotation *after = bench->rotation;
    const struct rotation_rules rules = {2, 100, 3600000};
    bench->rotation = rotation_new(&rules, seed);
    assert_int_equal(rotation_sync(bench->rotation, bench->facts, 3), 0);
    bench->moment.now_ms += 6000;
    assert_int_equal(rotation_restore(bench->rotation, 1, &memory, bench->moment.now_ms), 0);
    assert_int_equal(rotation_restore(bench->rotation, 9, &memory, bench->moment.now_ms), ERR_NOT_FOUND);
    rotation_set_turn(bench->rotation, &turn);
    rotation_free(&after);
    assert_int_equal(look(bench, 1).state, CREDENTIAL_EXHAUSTED);
    assert_int_equal(look(bench, 1).uses, 2);
    assert_true(span_equals(look(bench, 1).reason, SPAN("why")));
    rotation_recall(bench->rotation, 0, &memory);
    assert_int_equal(memory.cooling_count, 1); /* the other is over */
    assert_int_equal(rotation_pinned(bench->rotation), 3);
    assert_false(rotation_is_auto(bench->rotation));
    rotation_pin(bench->rotation, 0);
    rotation_set_auto(bench->rotation, true);
    assert_takes(bench, "2332");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, bench_open, bench_close)
        T(test_turns_by_count_in_order),
        T(test_none_at_all),
        T(test_order_survives_changes),
        T(test_excluded_are_passed_over),
        T(test_limit_in_flight),
        T(test_cooling_is_per_model),
        T(test_cooling_models_are_bounded),
        T(test_exhausted_comes_back),
        T(test_expiry_is_five_minutes_early),
        T(test_unauthorized_until_a_new_token),
        T(test_broken_for_a_moment_keeps_the_state),
        T(test_a_worse_state_stays),
        T(test_blameless_outcomes_change_nothing),
        T(test_model_not_served_is_about_the_site),
        T(test_gone_but_in_flight),
        T(test_conversations_stay_for_an_hour),
        T(test_conversation_moves_only_when_it_must),
        T(test_pinned_serves_while_it_can),
        T(test_without_rotation_one_serves_until_it_cannot),
        T(test_next_is_told_without_being_taken),
        T(test_switched_off_stays_so_over_a_new_token),
        T(test_one_is_wanted_in_whatever_state),
        T(test_what_is_recalled_can_be_restored),
        cmocka_unit_test(test_affinity_is_bounded),
#undef T
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
