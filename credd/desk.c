/* SPDX-License-Identifier: MIT */
#include "credd/desk.h"
#include "credd/calls.h"
#include "credd/credential_calls.h"
#include "credd/desk_numbers.h"
#include "credd/file_maker.h"
#include "credd/state_store.h"
#include "credd/followers.h"
#include "credd/http_call.h"
#include "credd/logins.h"
#include "credd/model_lists.h"
#include "credd/quotas.h"
#include "credd/refresher.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <sodium.h>
#include <stdlib.h>

enum {
    REPORT_EVERY_MS = 1000,
    SYNC_AGAIN_MS = 100,
    LINGER_MS = 5000, /* see desk.h; a worker waits as long for an answer */
};

struct desk {
    struct service *service;
    const struct sites *sites;
    struct vault *vault;
    struct office *office;
    const char *directory;
    const struct settings *settings; /* live */
    struct reporter *reporter;
    struct desk_numbers *numbers;
    struct broker *broker;
    struct state_store *store;
    struct file_maker *maker;
    struct calls *calls;
    struct credential_calls *credential_calls;
    struct http_calls *http;
    struct quotas *quotas;
    struct refresher *refresher;
    struct logins *logins;
    struct model_lists *model_lists;
    struct link *link;
    struct turn_hook *hook;
    uv_timer_t *due;    /* broker_tick */
    uv_timer_t *report; /* numbers, each second */
    int64_t due_ms;     /* when `due` fires; INT64_MAX: not armed */
    bool must_sync;     /* the last sync ran out of memory */
    bool is_held;       /* a drain waits for us … */
    int64_t let_go_ms;  /* … until then at most */
};

static struct moment now(void)
{
    return (struct moment){.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
}

/* ---- answers ---- */

static int send_grant(void *owner, void *worker, uint64_t request, const struct msg_grant *grant)
{
    (void)owner;
    return peer_send(worker, MESSAGE_GRANT, request, grant);
}

static void send_refuse(void *owner, void *worker, uint64_t request, const struct msg_refuse *refuse)
{
    (void)owner;
    peer_send(worker, MESSAGE_REFUSE, request, refuse); /* lost with the worker: then nobody asks any more */
}

static void end_key_use(void *owner, void *ticket)
{
    struct desk *desk = owner;
    keys_end(office_keys(desk->office), ticket);
}

static void *adopt_key_use(void *owner, uint64_t key)
{
    struct desk *desk = owner;
    return keys_adopt(office_keys(desk->office), key);
}

static const struct broker_answers answers = {send_grant, send_refuse, end_key_use, adopt_key_use};

static void send_reply(void *owner, void *peer, uint64_t request, const struct msg_reply *reply)
{
    (void)owner;
    peer_send(peer, MESSAGE_REPLY, request, reply); /* lost with the gateway: its client's answer is 503 */
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer);

/* Arms the timer, if the broker needs it before it fires anyway. Never with 0: libuv runs a timer that is set
 * to 0 in its own callback again in the same turn, and the end of the turn, which lets go, would never come.
 */
static void arm(struct desk *desk, int64_t now_ms)
{
    int64_t due_ms = broker_next_due_ms(desk->broker, now_ms);
    if (desk->must_sync && now_ms + SYNC_AGAIN_MS < due_ms)
        due_ms = now_ms + SYNC_AGAIN_MS;
    if (desk->is_held && desk->let_go_ms < due_ms)
        due_ms = desk->let_go_ms;
    if (due_ms >= desk->due_ms)
        return;
    desk->due_ms = due_ms;
    uv_update_time(desk->due->loop);
    uv_timer_start(desk->due, on_due, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 1, 0);
}

static void on_due(uv_timer_t *timer)
{
    struct desk *desk = timer->data;
    struct moment moment = now();
    desk->due_ms = INT64_MAX;
    if (desk->must_sync)
        desk->must_sync = broker_sync(desk->broker, &moment);
    broker_tick(desk->broker, &moment);
    arm(desk, moment.now_ms);
}

/* ---- messages ---- */

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    (void)owner;
    followers_meet(peer, hello);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct desk *desk = owner;
    broker_forget_worker(desk->broker, peer);
    calls_forget_peer(desk->calls, peer);
    (void)why;
}

/* Leases as far as the request's API key allows. */
static void take_lease(struct desk *desk, struct peer *peer, uint64_t request, const struct msg_lease *lease,
                       const struct moment *moment)
{
    struct key *key;
    const char *message;
    struct msg_refuse refuse = {0};
    enum failure failure =
        keys_begin(office_keys(desk->office), lease, moment, &key, &message, &refuse.retry_after_s);
    if (failure == FAILURE_NONE) {
        if (lease->credential_id.length > 0) /* a person tests it */
            quotas_want(desk->quotas, (uint32_t)(credential_id_value(lease->credential_id) >> 32));
        broker_lease(desk->broker, peer, request, lease, key, moment);
        return;
    }
    refuse.failure = (uint16_t)failure;
    refuse.message = span_str(message);
    desk_numbers_key_refused(desk->numbers, failure);
    send_refuse(desk, peer, request, &refuse);
}

/* A token that was refused is refreshed before the request asks again. */
static void take_release(struct desk *desk, const struct msg_release *release, const struct moment *moment)
{
    broker_release(desk->broker, release, moment);
    if (release->outcome == OUTCOME_UNAUTHORIZED)
        refresher_tick(desk->refresher);
}

/* What workers say. Returns false if it is none of it. */
static bool take_from_worker(struct desk *desk, struct peer *peer, const struct frame *frame,
                             const void *message)
{
    struct moment moment = now();
    if (frame->type == MESSAGE_LEASE)
        take_lease(desk, peer, frame->request, message, &moment);
    else if (frame->type == MESSAGE_RELEASE)
        take_release(desk, message, &moment);
    else if (frame->type != MESSAGE_RENEW || broker_renew(desk->broker, message, &moment) < 0)
        return false;
    arm(desk, moment.now_ms);
    return true;
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct desk *desk = owner;
    bool is_expected = true;
    if (frame->type == MESSAGE_CALL && !followers_may_lease(peer))
        calls_take(desk->calls, peer, frame->request, message);
    else if (frame->type == MESSAGE_FOLLOW)
        is_expected = followers_add(desk->office, peer, message);
    else
        is_expected = followers_may_lease(peer) && take_from_worker(desk, peer, frame, message);
    if (!is_expected)
        peer_refuse_frame(peer, frame);
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

/* ---- changes of settings and keys ---- */

static struct rotation_rules rules_of(const struct settings *settings)
{
    return (struct rotation_rules){.rotation_count = settings->rotation_count,
                                   .max_in_flight = settings->credential_max_in_flight,
                                   .exhausted_ms = settings->credential_exhausted_s * 1000};
}

/* Before the next request: here now, at the others as fast as a message goes. */
static void on_office_changed(void *context)
{
    struct desk *desk = context;
    const struct rotation_rules rules = rules_of(desk->settings);
    rotation_set_rules(broker_rotation(desk->broker), &rules); /* on_turn_end serves those who wait */
    followers_tell(desk->office, desk->link);
}

/* ---- end of turn, drain ---- */

static bool worker_is_connected(void *context)
{
    const struct desk *desk = context;
    for (size_t i = 0; i < link_peer_count(desk->link); i++)
        if (followers_may_lease(link_peer(desk->link, i)))
            return true;
    return false;
}

static void let_go(struct desk *desk)
{
    bool in_use = broker_lease_count(desk->broker) > 0 || broker_waiter_count(desk->broker) > 0;
    bool is_busy = (in_use && worker_is_connected(desk)) || refresher_is_busy(desk->refresher) ||
                   office_is_busy(desk->office);
    if (is_busy && clock_now_ms() < desk->let_go_ms)
        return;
    desk->is_held = false;
    service_release(desk->service);
}

static bool on_turn_end(void *context)
{
    struct desk *desk = context;
    if (broker_waiter_count(desk->broker) > 0) {
        struct moment moment = now();
        broker_pump(desk->broker, &moment);
    }
    state_store_tick(desk->store);
    if (desk->is_held)
        let_go(desk);
    return false;
}

static void on_drain(void *context)
{
    struct desk *desk = context;
    desk->is_held = true;
    desk->let_go_ms = clock_now_ms() + LINGER_MS;
    service_hold(desk->service);
    arm(desk, clock_now_ms());
}

/* ---- once a second ---- */

static void on_report(uv_timer_t *timer)
{
    struct desk *desk = timer->data;
    state_store_tick(desk->store);
    if (!service_draining(desk->service)) { /* no new ones then */
        refresher_tick(desk->refresher);
        quotas_tick(desk->quotas);
    }
    office_save(desk->office);
    struct moment moment = now();
    desk_numbers_report(desk->numbers, desk->broker, desk->refresher, &moment);
}

/* For the heartbeat; the reporter sends it as codebuddy2api_leases. */
static int64_t read_leases(void *context)
{
    const struct desk *desk = context;
    return (int64_t)broker_lease_count(desk->broker);
}

/* ---- life ---- */

static uv_timer_t *timer_new(struct desk *desk)
{
    uv_timer_t *timer = calloc(1, sizeof *timer);
    if (!timer)
        return NULL;
    uv_timer_init(service_loop(desk->service), timer);
    timer->data = desk;
    return timer;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void timer_close(uv_timer_t *timer)
{
    if (timer)
        uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void rescan(void *context)
{
    struct desk *desk = context;
    if (vault_scan(desk->vault))
        desk_take_vault(desk);
}

static int rebind(void *context, uint32_t number)
{
    struct desk *desk = context;
    int error = vault_rebind(desk->vault, number);
    if (error == 0)
        rescan(desk);
    return error;
}

static int desk_acquire_files(struct desk *desk)
{
    uv_loop_t *loop = service_loop(desk->service);
    struct moment moment = now();
    desk->store =
        state_store_open(loop, desk->directory, desk->vault, broker_rotation(desk->broker), &moment);
    desk->maker = desk->store ? file_maker_new(loop, desk->vault) : NULL;
    if (!desk->maker)
        return ERR_IO;
    const struct credential_calls_parts parts = {.sites = desk->sites,
                                                 .vault = desk->vault,
                                                 .broker = desk->broker,
                                                 .store = desk->store,
                                                 .maker = desk->maker,
                                                 .quotas = desk->quotas,
                                                 .settings = desk->settings,
                                                 .rescan = rescan,
                                                 .rebind = rebind,
                                                 .owner = desk};
    desk->credential_calls = credential_calls_new(desk->calls, &parts);
    return desk->credential_calls ? 0 : ERR_NOMEM;
}

static int desk_acquire_quotas(struct desk *desk)
{
    desk->http = http_calls_new(service_loop(desk->service), desk->settings);
    if (!desk->http)
        return ERR_NOMEM;
    const struct quotas_parts quota_parts = {.vault = desk->vault,
                                             .rotation = broker_rotation(desk->broker),
                                             .http = desk->http,
                                             .settings = desk->settings};
    desk->quotas = quotas_new(&quota_parts);
    return desk->quotas ? 0 : ERR_NOMEM;
}

static int desk_acquire_upstream(struct desk *desk)
{
    const struct refresher_parts refresher_parts = {.sites = desk->sites,
                                                    .vault = desk->vault,
                                                    .broker = desk->broker,
                                                    .maker = desk->maker,
                                                    .http = desk->http,
                                                    .quotas = desk->quotas,
                                                    .rescan = rescan,
                                                    .owner = desk};
    const struct logins_parts logins_parts = {
        .sites = desk->sites, .maker = desk->maker, .http = desk->http, .rescan = rescan, .owner = desk};
    const struct model_lists_parts model_parts = {
        .broker = desk->broker, .http = desk->http, .settings = desk->settings};
    desk->refresher = refresher_new(desk->calls, &refresher_parts);
    desk->logins = logins_new(desk->calls, &logins_parts);
    desk->model_lists = model_lists_new(desk->calls, &model_parts);
    return desk->refresher && desk->logins && desk->model_lists ? 0 : ERR_NOMEM;
}

static int desk_acquire(struct desk *desk)
{
    const struct rotation_rules rules = rules_of(desk->settings);
    unsigned char seed[20];
    randombytes_buf(seed, sizeof seed);
    desk->broker = broker_new(desk->vault, &rules, &answers, desk, seed);
    desk->due = timer_new(desk);
    desk->report = timer_new(desk);
    desk->hook = service_at_turn_end(desk->service, on_turn_end, desk); /* before the link's: it sends */
    desk->calls = calls_new(send_reply, desk);
    desk->numbers = desk_numbers_new(desk->reporter);
    if (!desk->broker || !desk->numbers || !desk->due || !desk->report || !desk->hook || !desk->calls ||
        office_serve(desk->office, service_loop(desk->service), desk->calls, on_office_changed, desk) < 0) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        return ERR_NOMEM;
    }
    desk_take_vault(desk); /* before its states are put back */
    int error = desk_acquire_quotas(desk);
    error = error ? error : desk_acquire_files(desk);
    error = error ? error : desk_acquire_upstream(desk);
    if (error < 0)
        return error;
    desk->link = link_bind(desk->service, desk->settings->credd_bind, &handlers, desk);
    return desk->link ? 0 : ERR_IO;
}

struct desk *desk_open(struct service *service, const struct desk_parts *parts)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        return NULL;
    }
    desk->service = service;
    desk->sites = parts->sites;
    desk->vault = parts->vault;
    desk->office = parts->office;
    desk->directory = parts->directory;
    desk->settings = parts->settings;
    desk->reporter = parts->reporter;
    desk->due_ms = INT64_MAX;
    if (desk_acquire(desk) < 0) {
        desk_close(&desk);
        return NULL;
    }
    reporter_watch_link(desk->reporter, "credd", desk->link);
    uv_timer_start(desk->report, on_report, 0, REPORT_EVERY_MS);
    service_report_gauge(service, "leases", read_leases, desk);
    service_on_drain(service, on_drain, desk);
    service_on_orphaned(service, worker_is_connected, desk);
    return desk;
}

void desk_close(struct desk **desk_pointer)
{
    struct desk *desk = *desk_pointer;
    if (!desk)
        return;
    if (desk->link)
        link_close(&desk->link);
    service_remove_hook(desk->service, &desk->hook);
    timer_close(desk->due);
    timer_close(desk->report);
    file_maker_free(&desk->maker); /* these two answer who waits for them */
    state_store_close(&desk->store);
    credential_calls_free(&desk->credential_calls);
    refresher_free(&desk->refresher);
    quotas_free(&desk->quotas);
    logins_free(&desk->logins);
    model_lists_free(&desk->model_lists);
    office_stop(desk->office); /* and this one, too */
    http_calls_free(&desk->http);
    calls_free(&desk->calls);
    desk_numbers_free(&desk->numbers);
    broker_free(&desk->broker);
    free(desk);
    *desk_pointer = NULL;
}

void desk_take_vault(void *context)
{
    struct desk *desk = context;
    struct moment moment = now();
    desk->must_sync = broker_sync(desk->broker, &moment);
    arm(desk, moment.now_ms);
}
