/* SPDX-License-Identifier: MIT */
#include "credd/broker.h"
#include "credd/lease_refusal.h"
#include "credd/leases.h"
#include "credd/second_chances.h"
#include "credd/waiters.h"
#include "proto/error.h"
#include "proto/log.h"

#include <sodium.h>
#include <stdlib.h>

struct broker {
    const struct vault *vault;
    const struct broker_answers *answers;
    void *owner;
    struct rotation *rotation;
    struct leases leases;
    struct waiters waiters;
    uint32_t next_count; /* lower half of the next lease's number; starts at random, so that a restarted
                            broker does not give out the numbers of leases that still live */
    struct second_chances chances;
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
    bool had_credential; /* at the last sync; true at first, so that none is said at start */
    struct broker_counters counters;
};

struct broker *broker_new(const struct vault *vault, const struct rotation_rules *rules,
                          const struct broker_answers *answers, void *owner, const unsigned char seed[20])
{
    struct broker *broker = calloc(1, sizeof *broker);
    if (!broker)
        return NULL;
    broker->vault = vault;
    broker->answers = answers;
    broker->owner = owner;
    broker->had_credential = true;
    memcpy(&broker->next_count, seed + 16, sizeof broker->next_count);
    memcpy(broker->hash_key, seed, sizeof broker->hash_key);
    broker->rotation = rotation_new(rules, seed);
    if (!broker->rotation)
        broker_free(&broker);
    return broker;
}

static uint64_t hash_request(const struct broker *broker, struct span request_id)
{
    uint64_t hash = 0;
    if (request_id.length > 0)
        crypto_shorthash((unsigned char *)&hash, (const unsigned char *)request_id.data, request_id.length,
                         broker->hash_key);
    return hash;
}

static void note_refused_token(struct broker *broker, const struct lease *lease)
{
    const struct credential *credential = vault_find(broker->vault, lease_credential(lease->number));
    uint64_t id = credential ? credential_id_value(span_str(credential->id)) : 0;
    if (id != 0)
        second_chances_note(&broker->chances, lease->request, id);
}

static void ticket_end(const struct broker *broker, void *ticket)
{
    if (ticket)
        broker->answers->ended(broker->owner, ticket);
}

static void lease_end(struct broker *broker, struct lease *lease)
{
    rotation_end(broker->rotation, lease_credential(lease->number));
    ticket_end(broker, lease->ticket);
    leases_remove(&broker->leases, lease);
}

/* Drops those who wait for `worker`; NULL: all. */
static void forget_waiters(struct broker *broker, const void *worker)
{
    struct waiter *next, *waiter = waiters_first(&broker->waiters);
    for (; waiter; waiter = next) {
        next = waiters_next(waiter);
        if (worker && waiter->worker != worker)
            continue;
        ticket_end(broker, waiter->ticket);
        waiters_remove(&broker->waiters, waiter);
    }
}

void broker_free(struct broker **broker)
{
    if (!*broker)
        return;
    while (leases_soonest(&(*broker)->leases))
        lease_end(*broker, leases_soonest(&(*broker)->leases));
    forget_waiters(*broker, NULL);
    rotation_free(&(*broker)->rotation);
    free(*broker);
    *broker = NULL;
}

static void fill_facts(const struct vault *vault, struct rotation_fact *facts, bool *any)
{
    for (size_t i = 0; i < vault_count(vault); i++) {
        const struct credential *credential = vault_at(vault, i);
        bool usable = credential->problem[0] == '\0';
        facts[i] = (struct rotation_fact){.id = credential_id_value(span_str(credential->id)),
                                          .number = credential->number,
                                          .subject = credential};
        if (!usable)
            continue;
        *any = true;
        facts[i].site = site_number(credential->site);
        facts[i].generation = credential->token_generation;
        facts[i].can_refresh = !secret_is_empty(&credential->file.refresh_token);
        facts[i].expires_wall_ms = credential->file.expires_wall_ms;
    }
}

static void note_whether_any(struct broker *broker, bool any)
{
    if (!any && broker->had_credential)
        log_warning(NULL, "no_credential", LOG_STR("directory", vault_directory(broker->vault)),
                    LOG_INT("files", vault_count(broker->vault)),
                    LOG_STR("do", "put a credential file (*.json) there; it is taken up within a second"));
    broker->had_credential = any;
}

bool broker_sync(struct broker *broker, const struct moment *moment)
{
    bool any = false;
    size_t count = vault_count(broker->vault);
    struct rotation_fact *facts = calloc(count + 1, sizeof *facts);
    if (facts)
        fill_facts(broker->vault, facts, &any);
    int error = facts ? rotation_sync(broker->rotation, facts, count) : ERR_NOMEM;
    free(facts);
    if (error < 0) { /* what rotation has may point to credentials that went */
        log_error(NULL, "credentials_withdrawn", LOG_STR("error", error_text(error)));
        rotation_clear(broker->rotation);
        return true;
    }
    note_whether_any(broker, any);
    broker_pump(broker, moment);
    return false;
}

/* Finds a number for a new lease of this credential that no live lease has. */
static uint64_t new_number(struct broker *broker, uint32_t credential)
{
    uint64_t number;
    do
        number = (uint64_t)credential << 32 | broker->next_count++;
    while (leases_find(&broker->leases, number));
    return number;
}

static void refuse(struct broker *broker, const struct waiter *asker, const struct lease_refusal *refusal)
{
    struct msg_refuse refuse = {.failure = (uint16_t)refusal->failure,
                                .retry_after_s = refusal->retry_after_s,
                                .message = span_str(refusal->message)};
    broker->counters.refused[refusal->failure]++;
    broker->answers->refuse(broker->owner, asker->worker, asker->request, &refuse);
    ticket_end(broker, asker->ticket);
}

static void refuse_overloaded(struct broker *broker, const struct waiter *asker)
{
    struct lease_refusal refusal;
    lease_refusal_overloaded(&refusal);
    refuse(broker, asker, &refusal);
}

static void grant(struct broker *broker, const struct waiter *asker, const struct rotation_choice *choice,
                  int64_t now_ms)
{
    const struct credential *credential = choice->subject;
    struct lease *lease =
        leases_add(&broker->leases, new_number(broker, choice->number), choice->generation, now_ms);
    if (!lease) {
        rotation_end(broker->rotation, choice->number);
        refuse_overloaded(broker, asker);
        return;
    }
    lease->ticket = asker->ticket;
    lease->request = asker->request_hash;
    struct msg_grant grant = {.lease = lease->number,
                              .ttl_ms = LEASE_TTL_MS,
                              .credential_id = span_of(credential->id, CREDENTIAL_ID_BYTES - 1),
                              .base_url = span_str(site_base_url(credential->site)),
                              .headers = buffer_span(&credential->headers),
                              .token = secret_span(&credential->file.token)};
    if (broker->answers->grant(broker->owner, asker->worker, asker->request, &grant) < 0)
        lease_end(broker, lease); /* it did not leave: nobody holds it */
    else
        broker->counters.granted++;
}

/* Answers the asker, if it can be answered now. */
static bool try_answer(struct broker *broker, const struct waiter *asker, const struct moment *moment)
{
    struct rotation_choice choice;
    struct lease_refusal refusal;
    enum rotation_answer answer = rotation_choose(broker->rotation, &asker->wish, moment, &choice);
    if (answer == ROTATION_BUSY)
        return false;
    if (answer == ROTATION_GRANTED) {
        grant(broker, asker, &choice, moment->now_ms);
        return true;
    }
    lease_refusal_of(answer, &asker->wish, &choice, broker->vault, broker->rotation, moment, &refusal);
    refuse(broker, asker, &refusal);
    return true;
}

/* The one wanted; 0: any. What is no id is wanted all the same, and there is none. */
static uint64_t wanted_id(struct span credential_id)
{
    uint64_t id = credential_id_value(credential_id);
    return credential_id.length > 0 && id == 0 ? UINT64_MAX : id;
}

/* The asker's patience less the way back. */
static int64_t deadline_of(const struct msg_lease *lease, int64_t now_ms)
{
    int64_t wait_ms = lease->wait_ms < BROKER_MAX_WAIT_MS ? lease->wait_ms : BROKER_MAX_WAIT_MS;
    int64_t margin_ms = wait_ms / 10 < BROKER_WAIT_TICK_MS ? wait_ms / 10 : BROKER_WAIT_TICK_MS;
    return now_ms + wait_ms - margin_ms;
}

/* The worker's and the gateway's lines have the same id. */
static void log_ask(const struct msg_lease *lease, size_t excluded_count)
{
    char id[65];
    if (lease->request_id.length == 0 || lease->request_id.length >= sizeof id)
        return;
    memcpy(id, lease->request_id.data, lease->request_id.length);
    id[lease->request_id.length] = '\0';
    log_debug(id, "lease_asked", LOG_SPAN("model", lease->model), LOG_OPT("key", lease->key_id),
              LOG_INT("excluded", excluded_count));
}

void broker_lease(struct broker *broker, void *worker, uint64_t request, const struct msg_lease *lease,
                  void *ticket, const struct moment *moment)
{
    uint64_t excluded[WAITER_MAX_EXCLUDED];
    uint64_t request_hash = hash_request(broker, lease->request_id);
    size_t excluded_count = credential_ids_parse(lease->exclude, excluded, WAITER_MAX_EXCLUDED);
    struct waiter asker = {.worker = worker,
                           .request = request,
                           .request_hash = request_hash,
                           .ticket = ticket,
                           .deadline_ms = deadline_of(lease, moment->now_ms),
                           .wish = {.model = lease->model,
                                    .conversation = lease->conversation_id,
                                    .excluded = excluded,
                                    .only = wanted_id(lease->credential_id),
                                    .excluded_count = second_chances_give(&broker->chances, request_hash,
                                                                          excluded, excluded_count)}};
    if (log_is_on(LOG_LEVEL_DEBUG))
        log_ask(lease, excluded_count);
    if (lease->wait_ms == 0)
        broker_pump(broker, moment); /* the others first; then it is now or never */
    /* Who comes while others wait waits behind them; the pump at the end of the turn looks at all. */
    bool is_its_turn = lease->wait_ms == 0 || waiters_count(&broker->waiters) == 0;
    if (is_its_turn && try_answer(broker, &asker, moment))
        return;
    if (lease->wait_ms == 0 || waiters_count(&broker->waiters) >= BROKER_MAX_WAITERS ||
        waiters_append(&broker->waiters, &asker) < 0)
        refuse_overloaded(broker, &asker);
}

static void adopt(struct broker *broker, uint64_t number, uint64_t key, int64_t now_ms)
{
    uint64_t generation;
    if (!rotation_adopt(broker->rotation, lease_credential(number), &generation))
        return;
    struct lease *lease = leases_add(&broker->leases, number, generation, now_ms);
    if (!lease) {
        rotation_end(broker->rotation, lease_credential(number));
        return;
    }
    broker->counters.adopted++;
    lease->ticket = broker->answers->adopted(broker->owner, key);
}

static uint64_t read_u64(const char *bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof value; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

int broker_renew(struct broker *broker, const struct msg_renew *renew, const struct moment *moment)
{
    if (renew->leases.length % sizeof(uint64_t) != 0 || renew->keys.length != renew->leases.length)
        return ERR_INVALID;
    for (size_t i = 0; i < renew->leases.length; i += sizeof(uint64_t)) {
        uint64_t number = read_u64(renew->leases.data + i);
        struct lease *lease = leases_find(&broker->leases, number);
        if (lease)
            leases_renew(&broker->leases, lease, moment->now_ms);
        else
            adopt(broker, number, read_u64(renew->keys.data + i), moment->now_ms);
    }
    return 0;
}

static void log_change(const struct rotation_view *view, int64_t now_ms)
{
    const struct credential *credential = view->subject;
    /* Whether a person must act, service is degraded, or it is everyday life. */
    enum log_level level = view->state >= CREDENTIAL_NEEDS_LOGIN ? LOG_LEVEL_ERROR
                           : view->state >= CREDENTIAL_EXHAUSTED ? LOG_LEVEL_WARNING
                                                                 : LOG_LEVEL_INFO;
    log_emit(level, NULL, "credential_state",
             LOG_FIELDS(LOG_STR("credential", credential->id), LOG_STR("file", credential->filename),
                        LOG_STR("state", credential_state_word(view->state)), LOG_SPAN("model", view->model),
                        LOG_INT("for_s", view->until_ms ? (view->until_ms - now_ms) / 1000 : 0),
                        LOG_SPAN("reason", view->reason)));
}

void broker_release(struct broker *broker, const struct msg_release *release, const struct moment *moment)
{
    struct lease *lease = leases_find(&broker->leases, release->lease);
    struct rotation_view view;
    struct rotation_report report = {.number = lease_credential(release->lease),
                                     .generation = lease ? lease->generation : 0,
                                     .outcome = release->outcome,
                                     .model = release->model,
                                     .retry_after_s = release->retry_after_s,
                                     .reason = release->reason};
    if (release->outcome < OUTCOME_COUNT)
        broker->counters.released[release->outcome]++;
    if (rotation_report(broker->rotation, &report, moment, &view))
        log_change(&view, moment->now_ms);
    if (lease && release->outcome == OUTCOME_UNAUTHORIZED)
        note_refused_token(broker, lease);
    if (lease)
        lease_end(broker, lease);
    else
        broker->counters.released_unlent++;
}

void broker_forget_worker(struct broker *broker, const void *worker)
{
    forget_waiters(broker, worker);
}

/* Models for which a waiter that had tried nothing found all busy: no other waiter for them can do better. */
struct busy_models {
    struct span models[8];
    size_t count;
};

static bool is_busy(const struct busy_models *busy, struct span model)
{
    for (size_t i = 0; i < busy->count; i++)
        if (span_equals(busy->models[i], model))
            return true;
    return false;
}

void broker_pump(struct broker *broker, const struct moment *moment)
{
    struct busy_models busy = {.count = 0};
    struct waiter *next, *waiter = waiters_first(&broker->waiters);
    for (; waiter; waiter = next) {
        next = waiters_next(waiter);
        bool is_choosy = waiter->wish.only != 0;
        if (!is_choosy && is_busy(&busy, waiter->wish.model))
            continue;
        if (try_answer(broker, waiter, moment))
            waiters_remove(&broker->waiters, waiter);
        else if (!is_choosy && waiter->wish.excluded_count == 0 &&
                 busy.count < sizeof busy.models / sizeof busy.models[0])
            busy.models[busy.count++] = waiter->wish.model;
    }
}

void broker_tick(struct broker *broker, const struct moment *moment)
{
    struct lease *lease;
    while ((lease = leases_soonest(&broker->leases)) && lease->expires_ms <= moment->now_ms) {
        broker->counters.expired++;
        lease_end(broker, lease);
    }
    broker_pump(broker, moment);
    struct waiter *next, *waiter = waiters_first(&broker->waiters);
    for (; waiter; waiter = next) {
        next = waiters_next(waiter);
        if (waiter->deadline_ms > moment->now_ms)
            continue;
        refuse_overloaded(broker, waiter);
        waiters_remove(&broker->waiters, waiter);
    }
}

int64_t broker_next_due_ms(const struct broker *broker, int64_t now_ms)
{
    const struct lease *soonest = leases_soonest(&broker->leases);
    int64_t due_ms = soonest ? soonest->expires_ms : INT64_MAX;
    int64_t tick_ms = now_ms + BROKER_WAIT_TICK_MS;
    return waiters_count(&broker->waiters) > 0 && tick_ms < due_ms ? tick_ms : due_ms;
}

const struct broker_counters *broker_counters(const struct broker *broker)
{
    return &broker->counters;
}

size_t broker_lease_count(const struct broker *broker)
{
    return leases_count(&broker->leases);
}

size_t broker_waiter_count(const struct broker *broker)
{
    return waiters_count(&broker->waiters);
}

struct rotation *broker_rotation(const struct broker *broker)
{
    return broker->rotation;
}
