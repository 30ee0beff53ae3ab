/* SPDX-License-Identifier: MIT */
#include "upstream-worker/worker.h"
#include "proto/error.h"
#include "proto/log.h"
#include "upstream-worker/exchange.h"
#include "upstream-worker/rulebook.h"

#include <stdlib.h>

#include <uthash.h>
#include <utlist.h>

enum {
    TICK_MS = 250, /* the grain of all time limits; comments and time-outs count in seconds */
    REPORT_MS = 1000
};

struct slot_key {
    const struct peer *peer;
    uint64_t number;
};

/* An exchange's place in the worker. */
struct slot {
    struct exchange *exchange;
    struct slot_key key;
    bool is_scanning;
    struct slot *scan_prev, *scan_next;
    struct slot *dead_next;
    UT_hash_handle hh;
};

struct worker {
    struct service *service;
    struct exchange_home home;
    struct follow *follow;
    struct link *gateways;
    struct slot *slots;    /* by gateway and number */
    struct slot *scanning; /* bodies that are too large for one turn */
    struct slot *dead;     /* to be freed at the end of the turn */
    struct turn_hook *hook;
    uv_timer_t *timer;
    int64_t reported_ms;
    struct exchange_counters reported;
    bool is_draining, is_holding;
};

/* ---- slots ---- */

static struct slot *slot_find(struct worker *worker, const struct peer *peer, uint64_t number)
{
    struct slot_key key;
    struct slot *slot;
    memset(&key, 0, sizeof key); /* hashed as bytes */
    key.peer = peer;
    key.number = number;
    HASH_FIND(hh, worker->slots, &key, sizeof key, slot);
    return slot;
}

static void slot_scan_later(struct worker *worker, struct slot *slot)
{
    if (slot->is_scanning)
        return;
    slot->is_scanning = true;
    DL_APPEND2(worker->scanning, slot, scan_prev, scan_next);
}

static void slot_stop_scanning(struct worker *worker, struct slot *slot)
{
    if (!slot->is_scanning)
        return;
    slot->is_scanning = false;
    DL_DELETE2(worker->scanning, slot, scan_prev, scan_next);
}

static void slot_body_grew(struct worker *worker, struct slot *slot)
{
    if (exchange_state(slot->exchange) != EXCHANGE_READING)
        return;
    slot_scan_later(worker, slot);
    service_turn_again(worker->service); /* our hook may have run already */
}

static void slot_bury(struct worker *worker, struct slot *slot)
{
    slot_stop_scanning(worker, slot);
    LL_PREPEND2(worker->dead, slot, dead_next);
}

static void worker_on_over(void *owner, struct exchange *exchange)
{
    struct worker *worker = owner;
    struct slot *slot = *exchange_place(exchange);
    if (!slot)
        return; /* over before it had a place: see worker_take_request */
    HASH_DEL(worker->slots, slot);
    slot_bury(worker, slot);
}

static void worker_free_dead(struct worker *worker)
{
    while (worker->dead) {
        struct slot *slot = worker->dead;
        LL_DELETE2(worker->dead, slot, dead_next);
        exchange_free(&slot->exchange);
        free(slot);
    }
}

/* ---- drain ---- */

static void worker_send_ready(const struct worker *worker, struct peer *peer)
{
    const struct msg_ready ready = {.accepting = worker->is_draining ? 0 : 1};
    peer_send(peer, MESSAGE_READY, 0, &ready);
}

/* Once nothing runs any more; the reporter holds on for its last events. */
static void worker_report(struct worker *worker)
{
    const struct exchange_counters *now = &worker->home.counters;
    struct exchange_counters *then = &worker->reported;
    struct reporter *reporter = worker->home.reporter;
    reporter_count(reporter, "codebuddy2api_worker_attempts_total", now->attempts - then->attempts);
    reporter_count(reporter, "codebuddy2api_worker_retries_total{credential=\"same\"}",
                   now->retries_same - then->retries_same);
    reporter_count(reporter, "codebuddy2api_worker_retries_total{credential=\"other\"}",
                   now->retries_other - then->retries_other);
    reporter_count(reporter, "codebuddy2api_worker_cancelled_total", now->cancelled - then->cancelled);
    reporter_count(reporter, "codebuddy2api_worker_upstream_events_total",
                   now->upstream_events - then->upstream_events);
    gaps_report(&now->gaps, &then->gaps, reporter);
    *then = *now;
}

static void worker_finish_drain(struct worker *worker)
{
    if (!worker->is_holding || worker->slots)
        return;
    worker->is_holding = false;
    worker_report(worker);
    reporter_hold_drain(worker->home.reporter);
    service_release(worker->service);
}

static void worker_on_drain(void *context)
{
    struct worker *worker = context;
    worker->is_draining = worker->is_holding = true;
    service_hold(worker->service);
    for (size_t i = 0; i < link_peer_count(worker->gateways); i++)
        worker_send_ready(worker, link_peer(worker->gateways, i));
    worker_finish_drain(worker);
}

/* ---- frames ---- */

static void worker_refuse(struct peer *peer, uint64_t number, enum failure failure)
{
    const struct msg_fail fail = {.failure = (uint16_t)failure, .movable = 1, .retry_after_s = 1};
    peer_send(peer, MESSAGE_FAIL, number, &fail);
}

static void worker_take_request(struct worker *worker, struct peer *peer, uint64_t number,
                                const struct msg_request *request)
{
    if (worker->is_draining) { /* it crossed our READY */
        worker_refuse(peer, number, FAILURE_UNAVAILABLE);
        return;
    }
    if (slot_find(worker, peer, number)) {
        log_warning(NULL, "duplicate_request", LOG_STR("peer", peer_name(peer)), LOG_INT("number", number));
        return;
    }
    struct slot *slot = calloc(1, sizeof *slot);
    if (slot)
        slot->exchange = exchange_new(&worker->home, peer, number, request);
    if (!slot || !slot->exchange) {
        free(slot);
        worker_refuse(peer, number, FAILURE_INTERNAL);
        return;
    }
    slot->key = (struct slot_key){peer, number};
    if (exchange_state(slot->exchange) == EXCHANGE_OVER) {
        slot_bury(worker, slot);
        return;
    }
    *exchange_place(slot->exchange) = slot;
    HASH_ADD(hh, worker->slots, key, sizeof slot->key, slot);
    slot_body_grew(worker, slot);
}

static void worker_on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct worker *worker = owner;
    if (frame->type == MESSAGE_REQUEST) {
        worker_take_request(worker, peer, frame->request, message);
        return;
    }
    struct slot *slot = slot_find(worker, peer, frame->request);
    if (frame->type == MESSAGE_BODY) {
        if (!slot)
            return; /* refused already, as are CANCEL and WINDOW for what is over */
        exchange_take_body(slot->exchange, ((const struct msg_body *)message)->body);
        slot_body_grew(worker, slot);
    } else if (frame->type == MESSAGE_WINDOW) {
        if (slot)
            exchange_credit(slot->exchange, ((const struct msg_window *)message)->bytes);
    } else if (frame->type == MESSAGE_CANCEL) {
        if (slot)
            exchange_cancel(slot->exchange);
    } else {
        peer_refuse_frame(peer, frame);
    }
}

static void worker_on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    (void)hello;
    worker_send_ready(owner, peer);
}

static void worker_on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct worker *worker = owner;
    struct slot *slot, *next;
    size_t lost_count = 0;
    (void)why;
    HASH_ITER (hh, worker->slots, slot, next) {
        if (slot->key.peer != peer)
            continue;
        exchange_lose_gateway(slot->exchange);
        lost_count++;
    }
    if (lost_count > 0)
        log_warning(NULL, "requests_lost", LOG_STR("peer", peer_name(peer)), LOG_INT("count", lost_count));
    worker_finish_drain(worker);
}

static const struct link_handlers gateway_handlers = {worker_on_up, worker_on_down, worker_on_frame};

/* ---- the turn and the tick ---- */

/* One slice of one large body per turn: whatever is uploaded, a stream waits for less than a millisecond. */
static bool worker_on_turn_end(void *context)
{
    struct worker *worker = context;
    struct slot *slot = worker->scanning;
    if (slot) {
        slot_stop_scanning(worker, slot);
        if (exchange_scan(slot->exchange))
            slot_scan_later(worker, slot);
    }
    worker_free_dead(worker);
    worker_finish_drain(worker);
    return worker->scanning != NULL;
}

static void worker_on_tick(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    int64_t now_ms = (int64_t)uv_now(service_loop(worker->service));
    struct slot *slot, *next;
    leases_tick(worker->home.leases, now_ms);
    transfers_tick(worker->home.transfers);
    HASH_ITER (hh, worker->slots, slot, next) {
        exchange_tick(slot->exchange);
    }
    if (now_ms - worker->reported_ms >= REPORT_MS) {
        worker->reported_ms = now_ms;
        worker_report(worker);
    }
}

/* ---- life ---- */

static int64_t worker_now_ms(const void *context)
{
    return (int64_t)uv_now(context);
}

static int64_t read_streams(void *context)
{
    return HASH_COUNT(((struct worker *)context)->slots);
}

static int64_t read_leases(void *context)
{
    return (int64_t)leases_held_count(((struct worker *)context)->home.leases);
}

/* Readiness (statsd/readiness.h) wants a worker that can ask for credentials. */
static int64_t read_credd_up(void *context)
{
    return link_peer_count(leases_link(((struct worker *)context)->home.leases)) > 0;
}

static int64_t read_connections(void *context)
{
    return (int64_t)transfers_connection_count(((struct worker *)context)->home.transfers);
}

static int64_t read_paused(void *context)
{
    return (int64_t)transfers_paused_count(((struct worker *)context)->home.transfers);
}

/* Everything that does not need the network. */
static int worker_prepare(struct worker *worker, const struct settings *settings)
{
    const struct transfers_options options = {
        .verify = settings->ssl_verify,
        .ca_file = settings->ca_file,
        .connections_max = (long)settings->max_streams, /* so that no idle one is closed for another's sake */
    };
    uv_loop_t *loop = service_loop(worker->service);
    if (!settings->ssl_verify)
        log_warning(NULL, "ssl_verify_off", LOG_STR("meaning", "anyone on the way can read the tokens"));
    worker->home.rulebook = rulebook_new(settings);
    worker->home.now_context = loop;
    worker->hook = service_at_turn_end(worker->service, worker_on_turn_end, worker);
    worker->timer = calloc(1, sizeof *worker->timer);
    worker->home.transfers = transfers_new(loop, &options);
    if (!worker->home.rulebook || !worker->hook || !worker->timer || !worker->home.transfers) {
        log_error(NULL, "out_of_memory");
        return ERR_NOMEM;
    }
    uv_timer_init(loop, worker->timer);
    worker->timer->data = worker;
    uv_timer_start(worker->timer, worker_on_tick, TICK_MS, TICK_MS);
    return 0;
}

/* credd told us the settings: they hold for the next request. */
static void worker_on_state(void *context, const json_t *state)
{
    struct worker *worker = context;
    struct rulebook *next = rulebook_new(worker->home.settings);
    (void)state;
    if (!next)
        return; /* logged; the old ones hold */
    rulebook_drop(&worker->home.rulebook);
    worker->home.rulebook = next;
}

static const char *worker_missing(void *context)
{
    const struct worker *worker = context;
    if (link_peer_count(leases_link(worker->home.leases)) == 0)
        return "no link to credd";
    return link_peer_count(worker->gateways) == 0 ? "no link to a gateway" : NULL;
}

static bool gateway_is_connected(void *context)
{
    const struct worker *worker = context;
    return link_peer_count(worker->gateways) > 0;
}

struct worker *worker_new(struct service *service, struct live *live, struct reporter *reporter)
{
    const struct settings *settings = live_settings(live);
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->service = service;
    worker->home.settings = settings;
    worker->home.reporter = reporter;
    worker->home.now_ms = worker_now_ms;
    worker->home.over = worker_on_over;
    worker->home.owner = worker;
    scratch_init(&worker->home.scratch);
    request_ids_init(&worker->home.ids, NULL);
    int error = worker_prepare(worker, settings);
    if (error == 0)
        worker->home.leases = leases_new(service, settings->credd_endpoint);
    if (worker->home.leases)
        worker->gateways =
            link_connect(service, "gateway", settings->gateway_endpoints, &gateway_handlers, worker);
    if (worker->gateways)
        worker->follow = follow_new(service, live, worker_on_state, worker);
    if (!worker->follow) {
        worker_free(&worker);
        return NULL;
    }
    reporter_watch_link(reporter, "gateway", worker->gateways);
    reporter_watch_link(reporter, "credd", leases_link(worker->home.leases));
    reporter_watch_link(reporter, "follow", follow_link(worker->follow));
    service_on_drain(service, worker_on_drain, worker);
    service_on_orphaned(service, gateway_is_connected, worker);
    service_on_health(service, worker_missing, worker);
    service_report_gauge(service, "streams", read_streams, worker);
    service_report_gauge(service, "leases", read_leases, worker);
    service_report_gauge(service, "worker_credd_up", read_credd_up, worker);
    service_report_gauge(service, "upstream_connections", read_connections, worker);
    service_report_gauge(service, "streams_paused", read_paused, worker);
    return worker;
}

static void timer_on_closed(uv_handle_t *handle)
{
    free(handle);
}

void worker_free(struct worker **worker_at)
{
    struct worker *worker = *worker_at;
    struct slot *slot, *next;
    *worker_at = NULL;
    if (!worker)
        return;
    worker->is_draining = true;
    HASH_ITER (hh, worker->slots, slot, next) {
        exchange_lose_gateway(slot->exchange);
    }
    worker_free_dead(worker);
    follow_free(&worker->follow);
    link_close(&worker->gateways);
    leases_free(&worker->home.leases);
    transfers_free(&worker->home.transfers);
    service_remove_hook(worker->service, &worker->hook);
    if (worker->timer && worker->timer->data)
        uv_close((uv_handle_t *)worker->timer, timer_on_closed);
    else
        free(worker->timer);
    scratch_fini(&worker->home.scratch);
    buffer_fini(&worker->home.spare);
    rulebook_drop(&worker->home.rulebook);
    free(worker);
}
