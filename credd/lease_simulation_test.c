/* SPDX-License-Identifier: MIT */
/* A million leases through broker and rotation, by random outcomes, deaths, restarts and people, each held
 * against a plain model of what design.md and upstream.md say. Seeded, so that a failure can be seen again.
 */
#include "credd/broker.h"
#include "credd/state_text.h"
#include "proto/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    LEASES = 1000000,
    CREDENTIALS = 5,
    MODELS = 3,
    CONVERSATIONS = 6,
    WORKERS = 4,
    TURN = 3,  /* rotation_count */
    LIMIT = 6, /* in flight per credential */
    MAX_LIVE = 64,
    MAX_WAITING = 64,
    EXHAUSTED_MS = 20000,
};

/* ---- the model ---- */

struct model_credential {
    int64_t cools_until_ms[MODELS], exhausted_until_ms;
    bool is_bad; /* unauthorized or disabled, until a new token */
    bool is_off; /* by a person */
    int in_flight;
};

struct model_lease {
    uint64_t number;
    int credential, worker, model; /* worker -1: it died */
    int64_t expires_ms;
    bool is_old_token;
};

struct waiting {
    uint64_t request;
    int worker, model, conversation; /* conversation -1: none */
};

struct simulation {
    char directory[64];
    struct sites *sites;
    struct vault *vault;
    struct broker *broker;
    struct moment moment;
    long tickets; /* that broker_lease was given and that have not ended */
    uint64_t random, next_request, tokens;
    struct model_credential credentials[CREDENTIALS];
    int64_t not_served_until_ms[MODELS];
    struct model_lease live[MAX_LIVE];
    size_t live_count;
    struct waiting waiting[MAX_WAITING]; /* asked and not answered, oldest first */
    size_t waiting_count;
    int current, served, pinned; /* -1: none */
    bool is_auto;
    int bound_to[CONVERSATIONS]; /* -1: none */
    int64_t bound_ms[CONVERSATIONS];
    uint64_t granted, refused, adopted, expired, waited, restarts;
};

static uint32_t roll(struct simulation *sim, uint32_t below)
{
    sim->random ^= sim->random << 13; /* xorshift64 */
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (uint32_t)(sim->random >> 33) % below;
}

static const char *const models[MODELS] = {"gpt", "claude", "gemini"};

static bool is_ready(const struct simulation *sim, int c, int model)
{
    const struct model_credential *credential = &sim->credentials[c];
    return !credential->is_bad && !credential->is_off &&
           credential->exhausted_until_ms <= sim->moment.now_ms &&
           credential->cools_until_ms[model] <= sim->moment.now_ms &&
           sim->not_served_until_ms[model] <= sim->moment.now_ms;
}

static bool has_room(const struct simulation *sim, int c)
{
    return sim->credentials[c].in_flight < LIMIT;
}

static int next_in_turn(const struct simulation *sim, int model)
{
    int start = sim->is_auto && sim->served >= TURN ? sim->current + 1 : sim->current;
    for (int k = 0; k < CREDENTIALS; k++) {
        int c = (start + k) % CREDENTIALS;
        if (is_ready(sim, c, model) && has_room(sim, c))
            return c;
    }
    return -1;
}

static bool is_bound(const struct simulation *sim, int conversation)
{
    return conversation >= 0 && sim->bound_to[conversation] >= 0 &&
           sim->moment.now_ms - sim->bound_ms[conversation] < 3600000;
}

/* Which credential the request must get by the rules; moves turn and bonds. -1: none can serve. */
static int expect_choice(struct simulation *sim, const struct waiting *asked)
{
    int conversation = asked->conversation, bound = -1;
    if (sim->pinned >= 0 && is_ready(sim, sim->pinned, asked->model) && has_room(sim, sim->pinned))
        return sim->pinned;
    if (is_bound(sim, conversation) && is_ready(sim, sim->bound_to[conversation], asked->model))
        bound = sim->bound_to[conversation];
    if (bound >= 0 && has_room(sim, bound)) {
        sim->bound_ms[conversation] = sim->moment.now_ms;
        return bound;
    }
    int c = next_in_turn(sim, asked->model);
    if (c < 0)
        return -1;
    bool goes_on = c == sim->current && (!sim->is_auto || sim->served < TURN);
    sim->served = goes_on ? sim->served + 1 : 1;
    sim->current = c;
    if (conversation >= 0 && bound < 0) {
        sim->bound_to[conversation] = c;
        sim->bound_ms[conversation] = sim->moment.now_ms;
    }
    return c;
}

/* ---- answers, checked against it ---- */

static struct waiting take_waiting(struct simulation *sim, uint64_t request)
{
    for (size_t i = 0; i < sim->waiting_count; i++) {
        struct waiting found = sim->waiting[i];
        if (found.request != request)
            continue;
        memmove(&sim->waiting[i], &sim->waiting[i + 1], (sim->waiting_count - i - 1) * sizeof found);
        sim->waiting_count--;
        return found;
    }
    fail_msg("an answer to nobody's question");
    return (struct waiting){0};
}

static int on_grant(void *owner, void *worker, uint64_t request, const struct msg_grant *grant)
{
    struct simulation *sim = owner;
    struct waiting asked = take_waiting(sim, request);
    for (size_t i = 0; i < sim->waiting_count; i++) /* first come, first served */
        assert_false(sim->waiting[i].request < request && sim->waiting[i].model == asked.model);
    for (size_t i = 0; i < sim->live_count; i++) /* nothing is lent twice */
        assert_int_not_equal(sim->live[i].number, grant->lease);
    int expected = expect_choice(sim, &asked);
    assert_true(expected >= 0);
    assert_true(span_equals(grant->credential_id, span_str(vault_at(sim->vault, (size_t)expected)->id)));
    assert_int_equal(grant->lease >> 32, vault_at(sim->vault, (size_t)expected)->number);
    assert_true(++sim->credentials[expected].in_flight <= LIMIT);
    assert_true(sim->live_count < MAX_LIVE);
    sim->live[sim->live_count++] = (struct model_lease){.number = grant->lease,
                                                        .credential = expected,
                                                        .worker = (int)*(char *)worker,
                                                        .model = asked.model,
                                                        .expires_ms = sim->moment.now_ms + LEASE_TTL_MS};
    sim->granted++;
    return 0;
}

static void on_refuse(void *owner, void *worker, uint64_t request, const struct msg_refuse *refuse)
{
    struct simulation *sim = owner;
    struct waiting asked = take_waiting(sim, request);
    bool any_ready = false, any_back = false;
    int64_t back_ms = INT64_MAX;
    (void)worker;
    for (int c = 0; c < CREDENTIALS; c++) {
        const struct model_credential *credential = &sim->credentials[c];
        int64_t until_ms = credential->cools_until_ms[asked.model];
        any_ready |= is_ready(sim, c, asked.model);
        if (credential->exhausted_until_ms > sim->moment.now_ms)
            until_ms = credential->exhausted_until_ms; /* is asked first */
        else if (sim->not_served_until_ms[asked.model] > sim->moment.now_ms)
            continue;
        if (credential->is_bad || credential->is_off || until_ms <= sim->moment.now_ms)
            continue;
        any_back = true;
        back_ms = until_ms < back_ms ? until_ms : back_ms;
    }
    assert_int_equal(next_in_turn(sim, asked.model), -1);
    if (any_ready) {
        assert_int_equal(refuse->failure, FAILURE_OVERLOADED);
    } else if (any_back) {
        assert_int_equal(refuse->failure, FAILURE_RATE_LIMITED);
        assert_int_equal(refuse->retry_after_s, (back_ms - sim->moment.now_ms + 999) / 1000);
    } else if (sim->not_served_until_ms[asked.model] > sim->moment.now_ms) {
        assert_true(refuse->failure == FAILURE_MODEL_NOT_FOUND || refuse->failure == FAILURE_NO_CREDENTIAL);
    } else {
        assert_int_equal(refuse->failure, FAILURE_NO_CREDENTIAL);
    }
    sim->refused++;
}

/* A ticket is the number of those that are out. */
static void on_ended(void *owner, void *ticket)
{
    struct simulation *sim = owner;
    assert_ptr_equal(ticket, &sim->tickets);
    assert_true(sim->tickets-- > 0);
}

static void *on_adopted(void *owner, uint64_t key)
{
    (void)owner;
    (void)key;
    return NULL;
}

static const struct broker_answers answers = {on_grant, on_refuse, on_ended, on_adopted};

/* ---- steps ---- */

static char workers[WORKERS] = {0, 1, 2, 3}; /* their addresses are the workers */

static void step_lease(struct simulation *sim)
{
    static const char *const conversations[CONVERSATIONS] = {"c0", "c1", "c2", "c3", "c4", "c5"};
    int conversation = roll(sim, 3) == 0 ? (int)roll(sim, CONVERSATIONS) : -1;
    int model = (int)roll(sim, MODELS), worker = (int)roll(sim, WORKERS);
    if (sim->waiting_count == MAX_WAITING || sim->live_count + sim->waiting_count >= MAX_LIVE)
        return;
    uint64_t request = ++sim->next_request;
    struct msg_lease lease = {.model = span_str(models[model]),
                              .conversation_id =
                                  span_str(conversation < 0 ? NULL : conversations[conversation]),
                              .wait_ms = roll(sim, 2) * 5000};
    sim->waiting[sim->waiting_count++] = (struct waiting){request, worker, model, conversation};
    size_t open_before = sim->waiting_count;
    sim->tickets++;
    broker_lease(sim->broker, &workers[worker], request, &lease, &sim->tickets, &sim->moment);
    if (sim->waiting_count == open_before)
        sim->waited++;
}

static void drop_live(struct simulation *sim, size_t i)
{
    sim->credentials[sim->live[i].credential].in_flight--;
    sim->live[i] = sim->live[--sim->live_count];
}

/* What the outcome does to the credential, by the table of upstream.md, 6. */
static void model_outcome(struct simulation *sim, const struct model_lease *lease, enum outcome outcome,
                          uint32_t retry_after_s)
{
    struct model_credential *credential = &sim->credentials[lease->credential];
    int64_t now_ms = sim->moment.now_ms;
    int64_t until_ms = now_ms + (retry_after_s ? retry_after_s * 1000 : 60000);
    if (outcome == OUTCOME_MODEL_NOT_SERVED)
        sim->not_served_until_ms[lease->model] = now_ms + ROTATION_NOT_SERVED_MS;
    if (lease->is_old_token)
        return;
    if (outcome == OUTCOME_RATE_LIMITED && credential->cools_until_ms[lease->model] < until_ms)
        credential->cools_until_ms[lease->model] = until_ms;
    if (outcome == OUTCOME_EXHAUSTED && !credential->is_bad)
        credential->exhausted_until_ms = now_ms + EXHAUSTED_MS;
    if (outcome == OUTCOME_UNAUTHORIZED || outcome == OUTCOME_RISK_CONTROL) {
        credential->is_bad = true;
        credential->exhausted_until_ms = 0;
    }
}

static void step_release(struct simulation *sim)
{
    static const enum outcome often[] = {OUTCOME_OK, OUTCOME_CANCELLED, OUTCOME_BLAMELESS, OUTCOME_TRANSIENT};
    static const enum outcome seldom[] = {OUTCOME_RATE_LIMITED, OUTCOME_RATE_LIMITED,
                                          OUTCOME_EXHAUSTED,    OUTCOME_UNAUTHORIZED,
                                          OUTCOME_RISK_CONTROL, OUTCOME_MODEL_NOT_SERVED};
    if (sim->live_count == 0)
        return;
    size_t i = roll(sim, (uint32_t)sim->live_count);
    struct model_lease lease = sim->live[i];
    if (lease.worker < 0)
        return;
    enum outcome outcome = roll(sim, 25) == 0 ? seldom[roll(sim, 6)] : often[roll(sim, 4)];
    uint32_t retry_after_s = roll(sim, 2) * (1 + roll(sim, 20));
    struct msg_release release = {.lease = lease.number,
                                  .outcome = (uint8_t)outcome,
                                  .retry_after_s = retry_after_s,
                                  .model = span_str(models[lease.model])};
    model_outcome(sim, &lease, outcome, retry_after_s);
    drop_live(sim, i);
    broker_release(sim->broker, &release, &sim->moment);
}

static void step_renew(struct simulation *sim, int worker)
{
    char bytes[MAX_LIVE * 8], keys[MAX_LIVE * 8] = {0};
    size_t length = 0;
    for (size_t i = 0; i < sim->live_count; i++) {
        if (sim->live[i].worker != worker)
            continue;
        sim->live[i].expires_ms = sim->moment.now_ms + LEASE_TTL_MS;
        for (int shift = 56; shift >= 0; shift -= 8)
            bytes[length++] = (char)(sim->live[i].number >> shift);
    }
    struct msg_renew renew = {.leases = span_of(bytes, length), .keys = span_of(keys, length)};
    assert_int_equal(broker_renew(sim->broker, &renew, &sim->moment), 0);
}

static void step_time(struct simulation *sim)
{
    int64_t ms = roll(sim, 50) == 0 ? roll(sim, 4000) : roll(sim, 200);
    sim->moment.now_ms += ms;
    sim->moment.wall_ms += ms;
    for (size_t i = sim->live_count; i-- > 0;)
        if (sim->live[i].expires_ms <= sim->moment.now_ms) {
            sim->expired++;
            drop_live(sim, i);
        }
    broker_tick(sim->broker, &sim->moment);
}

/* A worker dies: its questions and renewals stop, its leases live to their end. */
static void step_death(struct simulation *sim)
{
    int worker = (int)roll(sim, WORKERS);
    size_t kept = 0;
    for (size_t i = 0; i < sim->waiting_count; i++)
        if (sim->waiting[i].worker != worker)
            sim->waiting[kept++] = sim->waiting[i];
    sim->waiting_count = kept;
    broker_forget_worker(sim->broker, &workers[worker]);
    for (size_t i = 0; i < sim->live_count; i++)
        if (sim->live[i].worker == worker)
            sim->live[i].worker = -1;
}

static void put_token(struct simulation *sim, int c)
{
    char path[96], text[64];
    snprintf(path, sizeof path, "%s/%c.json", sim->directory, 'a' + c);
    snprintf(text, sizeof text, "{\"bearer_token\":\"token-%llu\"}", (unsigned long long)++sim->tokens);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void step_new_token(struct simulation *sim)
{
    int c = (int)roll(sim, CREDENTIALS);
    struct model_credential *credential = &sim->credentials[c];
    put_token(sim, c);
    *credential = (struct model_credential){.in_flight = credential->in_flight, .is_off = credential->is_off};
    for (size_t i = 0; i < sim->live_count; i++)
        if (sim->live[i].credential == c)
            sim->live[i].is_old_token = true;
    assert_true(vault_scan(sim->vault));
    assert_false(broker_sync(sim->broker, &sim->moment));
}

static void start_broker(struct simulation *sim)
{
    static const struct rotation_rules rules = {TURN, LIMIT, EXHAUSTED_MS};
    unsigned char seed[20];
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (unsigned char)roll(sim, 256);
    sim->broker = broker_new(sim->vault, &rules, &answers, sim, seed);
    assert_non_null(sim->broker);
    assert_false(broker_sync(sim->broker, &sim->moment));
}

/* credd is killed and comes back: its state file has states, turn and what people decided; bonds and who
 * waits are forgotten; the workers' first RENEW tells it their leases. What dead workers held is free. */
static void step_restart(struct simulation *sim)
{
    struct buffer state = {0};
    assert_int_equal(state_text_append(&state, sim->vault, broker_rotation(sim->broker), &sim->moment), 0);
    broker_free(&sim->broker);
    assert_int_equal(sim->tickets, 0);
    sim->waiting_count = 0; /* workers ask again; here they are new questions */
    for (int i = 0; i < CONVERSATIONS; i++)
        sim->bound_to[i] = -1;
    memset(sim->not_served_until_ms, 0, sizeof sim->not_served_until_ms);
    for (size_t i = sim->live_count; i-- > 0;) {
        sim->live[i].is_old_token = false; /* as far as the new one can know */
        if (sim->live[i].worker < 0)
            drop_live(sim, i);
    }
    start_broker(sim);
    assert_int_equal(
        state_text_apply(buffer_span(&state), sim->vault, broker_rotation(sim->broker), &sim->moment), 0);
    buffer_fini(&state);
    sim->restarts++;
    for (int worker = 0; worker < WORKERS; worker++)
        step_renew(sim, worker);
    sim->adopted += broker_counters(sim->broker)->adopted;
}

static void step_person(struct simulation *sim)
{
    struct rotation *rotation = broker_rotation(sim->broker);
    int c = (int)roll(sim, CREDENTIALS);
    uint32_t number = vault_at(sim->vault, (size_t)c)->number, dice = roll(sim, 10);
    struct model_credential *credential = &sim->credentials[c];
    if (dice < 2) {
        sim->pinned = c;
        rotation_pin(rotation, number);
    } else if (dice < 4) {
        sim->pinned = -1;
        rotation_pin(rotation, 0);
    } else if (dice == 4) {
        sim->is_auto = !sim->is_auto;
        rotation_set_auto(rotation, sim->is_auto);
    } else if (dice == 5) {
        credential->is_off = true;
        assert_true(rotation_switch(rotation, number, false, SPAN("a person")));
    } else {
        struct rotation_memory memory;
        rotation_recall(rotation, (size_t)c, &memory);
        bool was_refused = memory.verdict == CREDENTIAL_NEEDS_LOGIN; /* switching on does not cure that */
        *credential = (struct model_credential){.in_flight = credential->in_flight,
                                                .is_bad = credential->is_bad && was_refused};
        assert_true(rotation_switch(rotation, number, true, SPAN("")));
    }
}

static void check(const struct simulation *sim)
{
    assert_int_equal(broker_lease_count(sim->broker), sim->live_count);
    assert_int_equal(broker_waiter_count(sim->broker), sim->waiting_count);
    for (size_t c = 0; c < CREDENTIALS; c++) {
        struct rotation_view view;
        rotation_look(broker_rotation(sim->broker), c, &sim->moment, &view);
        assert_int_equal(view.in_flight, sim->credentials[c].in_flight);
    }
}

static void step(struct simulation *sim)
{
    uint32_t dice = roll(sim, 1000);
    if (dice < 450)
        step_lease(sim);
    else if (dice < 850)
        step_release(sim);
    else if (dice < 900)
        step_renew(sim, (int)roll(sim, WORKERS));
    else if (dice < 990)
        step_time(sim);
    else if (dice < 992)
        step_restart(sim);
    else if (dice < 995)
        step_death(sim);
    else if (dice < 997)
        step_person(sim);
    else
        step_new_token(sim);
    broker_pump(sim->broker, &sim->moment); /* the end of the turn */
    check(sim);
}

static void test_random_lives(void **state)
{
    struct simulation *sim = *state;
    while (sim->granted < LEASES)
        step(sim);
    print_message("granted %llu refused %llu waited %llu adopted %llu expired %llu restarts %llu\n",
                  (unsigned long long)sim->granted, (unsigned long long)sim->refused,
                  (unsigned long long)sim->waited, (unsigned long long)sim->adopted,
                  (unsigned long long)sim->expired, (unsigned long long)sim->restarts);
    assert_true(sim->refused > 10000 && sim->waited > 10000 && sim->adopted > 10000 && sim->expired > 1000 &&
                sim->restarts > 1000); /* it went everywhere */
}

static int simulation_open(void **state)
{
    struct simulation *sim = calloc(1, sizeof *sim);
    sim->random = 20261123;
    sim->pinned = -1;
    sim->is_auto = true;
    sim->moment = (struct moment){.now_ms = 1000, .wall_ms = 1790000000000};
    snprintf(sim->directory, sizeof sim->directory, "/tmp/lease_simulation.XXXXXX");
    assert_non_null(mkdtemp(sim->directory));
    for (int c = 0; c < CREDENTIALS; c++)
        put_token(sim, c);
    for (int i = 0; i < CONVERSATIONS; i++)
        sim->bound_to[i] = -1;
    sim->sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    sim->vault = vault_open(&(struct vault_parts){sim->directory, sim->sites, NULL, NULL});
    assert_non_null(sim->vault);
    start_broker(sim);
    *state = sim;
    return 0;
}

static int simulation_close(void **state)
{
    struct simulation *sim = *state;
    char path[96];
    broker_free(&sim->broker);
    assert_int_equal(sim->tickets, 0);
    vault_close(&sim->vault);
    sites_free(&sim->sites);
    for (int c = 0; c < CREDENTIALS; c++) {
        snprintf(path, sizeof path, "%s/%c.json", sim->directory, 'a' + c);
        unlink(path);
    }
    rmdir(sim->directory);
    free(sim);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_lives, simulation_open, simulation_close),
    };
    log_init("credd", (enum log_level)(LOG_LEVEL_ERROR + 1)); /* thousands of states change on purpose */
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
