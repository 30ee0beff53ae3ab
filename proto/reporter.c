/* SPDX-License-Identifier: MIT */
#include "proto/reporter.h"
#include "proto/build_info.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/event_queue.h"
#include "proto/log.h"
#include "proto/process_usage.h"

#include <assert.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* uthash exits on a failed malloc otherwise */
#include <uthash.h>

enum {
    MAX_EVENTS = 100000,   /* design.md, "Usage" */
    WINDOW_EVENTS = 8192,  /* in flight: statsd holds so much per peer; 50 ms of 160,000 events a second */
    REPORT_MS = 1000,      /* how often numbers are sent */
    RESEND_ALL_MS = 30000, /* unchanged numbers too, and events that nobody acknowledged */
    DROP_LOG_MS = 10000,   /* how often dropped events are logged */
    HOLD_MS = 2000,        /* how long a drain waits for acknowledgements */
    WALK_FDS_MS = 30000,   /* see process_usage_read */
    MAX_NUMBERS = 8000,    /* names: credd has some for each of 1,000 credentials */
    MAX_LINKS = 8,
    MICRO = 1000000
};

/* A counter or gauge and what statsd was last told of it. */
struct number {
    UT_hash_handle hh;
    enum gauge_kind kind;
    bool told;
    bool is_gone; /* a gauge that statsd is to forget */
    int64_t value_micro, told_micro;
    char name[];
};

struct watched_link {
    const char *name;
    const struct link *link;
};

struct reporter {
    struct service *service;
    struct link *link;
    struct peer *peer; /* the statsd in use; NULL: none is up */
    struct event_queue *queue;
    struct number *numbers;
    bool numbers_full;
    struct watched_link links[MAX_LINKS];
    size_t link_count;
    uv_timer_t *tick, *hold;
    bool holding, drain_begun;
    uint64_t dropped_count, dropped_logged_count;
    int64_t dropped_logged_ms, progress_ms, told_all_ms, walked_fds_ms;
};

static int64_t to_micro(uint64_t count)
{
    return count > INT64_MAX / MICRO ? INT64_MAX : (int64_t)count * MICRO;
}

/* ---- events ---- */

static void send_events(struct reporter *reporter)
{
    uint64_t sequence;
    struct msg_event event;
    while (reporter->peer && event_queue_peek(reporter->queue, &sequence, &event)) {
        if (peer_send(reporter->peer, MESSAGE_EVENT, sequence, &event) < 0)
            return; /* stays unsent: the next event, acknowledgement or connection tries again */
        if (event_queue_in_flight_count(reporter->queue) == 0)
            reporter->progress_ms = clock_now_ms();
        event_queue_sent(reporter->queue);
    }
}

static void log_drops(struct reporter *reporter, int64_t now_ms)
{
    bool is_first = reporter->dropped_logged_count == 0;
    if (reporter->dropped_count == reporter->dropped_logged_count ||
        (!is_first && now_ms - reporter->dropped_logged_ms < DROP_LOG_MS))
        return;
    log_error(NULL, "events_dropped",
              LOG_INT("count", reporter->dropped_count - reporter->dropped_logged_count),
              LOG_INT("total", reporter->dropped_count), LOG_INT("kept", event_queue_count(reporter->queue)),
              LOG_STR("action", "usage is not recorded: see why statsd does not take it"));
    reporter->dropped_logged_count = reporter->dropped_count;
    reporter->dropped_logged_ms = now_ms;
}

static void begin_hold(struct reporter *reporter);

void reporter_event(struct reporter *reporter, const struct msg_event *event)
{
    if (event_queue_push(reporter->queue, event) < 0) {
        reporter->dropped_count++;
        log_drops(reporter, clock_now_ms());
        return;
    }
    send_events(reporter);
    if (reporter->drain_begun)
        begin_hold(reporter);
}

/* ---- numbers ---- */

static struct number *number_for(struct reporter *reporter, const char *name, enum gauge_kind kind)
{
    struct number *number = NULL;
    size_t name_bytes = strlen(name);
    HASH_FIND(hh, reporter->numbers, name, name_bytes, number);
    if (number) {
        number->told = number->told && !number->is_gone;
        number->is_gone = false;
        return number;
    }
    if (HASH_COUNT(reporter->numbers) >= MAX_NUMBERS) {
        if (!reporter->numbers_full)
            log_error(NULL, "too_many_metrics", LOG_STR("name", name), LOG_INT("limit", MAX_NUMBERS));
        reporter->numbers_full = true;
        return NULL;
    }
    number = calloc(1, sizeof *number + name_bytes + 1);
    if (!number)
        return NULL;
    number->kind = kind;
    memcpy(number->name, name, name_bytes);
    HASH_ADD_KEYPTR(hh, reporter->numbers, number->name, name_bytes, number);
    if (!number->hh.tbl) {
        free(number);
        return NULL;
    }
    return number;
}

void reporter_count_micro(struct reporter *reporter, const char *name, uint64_t add_micro)
{
    struct number *number = number_for(reporter, name, GAUGE_COUNTER);
    if (number && __builtin_add_overflow(number->value_micro, add_micro, &number->value_micro))
        number->value_micro = INT64_MAX;
}

void reporter_count(struct reporter *reporter, const char *name, uint64_t add)
{
    reporter_count_micro(reporter, name, (uint64_t)to_micro(add));
}

void reporter_gauge(struct reporter *reporter, const char *name, int64_t value_micro)
{
    struct number *number = number_for(reporter, name, GAUGE_NOW);
    if (number)
        number->value_micro = value_micro;
}

static void number_free(struct reporter *reporter, struct number *number)
{
    /* The analyzer does not know that what is in a table has the table. NOLINTNEXTLINE(clang-analyzer-*) */
    HASH_DEL(reporter->numbers, number);
    free(number);
}

void reporter_drop_gauge(struct reporter *reporter, const char *name)
{
    struct number *number = NULL;
    HASH_FIND_STR(reporter->numbers, name, number);
    if (!number || number->kind != GAUGE_NOW)
        return;
    number->is_gone = true; /* sent with the next report, then forgotten */
    number->told = false;
}

/* A counter whose total somebody else keeps. */
static void set_counter(struct reporter *reporter, const char *name, int64_t total_micro)
{
    struct number *number = number_for(reporter, name, GAUGE_COUNTER);
    if (number)
        number->value_micro = total_micro;
}

static void set_service_gauge(void *context, const char *key, int64_t value)
{
    struct reporter *reporter = context;
    char name[129];
    snprintf(name, sizeof name, "codebuddy2api_%s", key);
    reporter_gauge(reporter, name, value < 0 ? value * MICRO : to_micro((uint64_t)value));
}

static void read_process(struct reporter *reporter, int64_t now_ms)
{
    struct process_usage usage;
    bool walk_fds = reporter->walked_fds_ms == 0 || now_ms - reporter->walked_fds_ms >= WALK_FDS_MS;
    process_usage_read(&usage, walk_fds);
    if (walk_fds)
        reporter->walked_fds_ms = now_ms;
    reporter_gauge(reporter, "codebuddy2api_process_resident_memory_bytes",
                   to_micro((uint64_t)usage.resident_bytes));
    set_counter(reporter, "codebuddy2api_process_cpu_seconds_total", usage.cpu_us);
    if (usage.open_fds >= 0)
        reporter_gauge(reporter, "codebuddy2api_process_open_fds", to_micro((uint64_t)usage.open_fds));
    if (usage.max_fds >= 0)
        reporter_gauge(reporter, "codebuddy2api_process_max_fds", to_micro((uint64_t)usage.max_fds));
    reporter_gauge(reporter, "codebuddy2api_process_loop_lag_seconds",
                   service_loop_lag_ms(reporter->service) * (MICRO / 1000));
}

static void report_build(struct reporter *reporter)
{
    char name[129];
    snprintf(name, sizeof name, "codebuddy2api_build_info{version=\"%s\",revision=\"%.40s\"}", CB_VERSION,
             build_revision());
    reporter_gauge(reporter, name, MICRO);
}

static void set_link_counter(struct reporter *reporter, const char *metric, const char *link,
                             const char *direction, uint64_t total)
{
    char name[129];
    snprintf(name, sizeof name, "codebuddy2api_link_%s_total{link=\"%s\"%s%s%s}", metric, link,
             direction ? ",direction=\"" : "", direction ? direction : "", direction ? "\"" : "");
    set_counter(reporter, name, to_micro(total));
}

static void read_link(struct reporter *reporter, const struct watched_link *watched)
{
    const struct link_counters *counters = link_counters(watched->link);
    set_link_counter(reporter, "frames", watched->name, "in", counters->frames_in);
    set_link_counter(reporter, "frames", watched->name, "out", counters->frames_out);
    set_link_counter(reporter, "trains", watched->name, "in", counters->trains_in);
    set_link_counter(reporter, "trains", watched->name, "out", counters->trains_out);
    set_link_counter(reporter, "bytes", watched->name, "in", counters->bytes_in);
    set_link_counter(reporter, "bytes", watched->name, "out", counters->bytes_out);
    set_link_counter(reporter, "bad_frames", watched->name, NULL, counters->bad_frames);
    set_link_counter(reporter, "strangers", watched->name, NULL, counters->strangers);
    set_link_counter(reporter, "refused", watched->name, NULL, counters->refused);
    set_link_counter(reporter, "peers_lost", watched->name, NULL, counters->peers_lost);
    set_link_counter(reporter, "peers_hung", watched->name, NULL, counters->peers_hung);
}

static void read_own(struct reporter *reporter)
{
    reporter_gauge(reporter, "codebuddy2api_reporter_events_pending",
                   to_micro(event_queue_count(reporter->queue)));
    set_counter(reporter, "codebuddy2api_reporter_events_dropped_total", to_micro(reporter->dropped_count));
}

/* Sends what changed since it was last sent to this statsd. */
static void send_numbers(struct reporter *reporter)
{
    struct number *next, *number = reporter->numbers;
    for (; number && reporter->peer; number = next) {
        next = number->hh.next;
        if (number->told && number->told_micro == number->value_micro)
            continue;
        uint8_t kind = (uint8_t)(number->is_gone ? GAUGE_GONE : number->kind);
        struct msg_gauge gauge = {span_str(number->name), kind, number->value_micro};
        if (peer_send(reporter->peer, MESSAGE_GAUGE, 0, &gauge) < 0)
            return; /* the next report says it */
        number->told = true;
        number->told_micro = number->value_micro;
        if (number->is_gone)
            number_free(reporter, number);
    }
}

static void forget_told(struct reporter *reporter, int64_t now_ms)
{
    for (struct number *number = reporter->numbers; number; number = number->hh.next)
        number->told = false;
    reporter->told_all_ms = now_ms;
}

static void report(struct reporter *reporter)
{
    int64_t now_ms = clock_now_ms();
    service_each_gauge(reporter->service, set_service_gauge, reporter);
    read_process(reporter, now_ms);
    read_own(reporter);
    for (size_t i = 0; i < reporter->link_count; i++)
        read_link(reporter, &reporter->links[i]);
    if (now_ms - reporter->told_all_ms >= RESEND_ALL_MS)
        forget_told(reporter, now_ms);
    send_numbers(reporter);
}

static void on_tick(uv_timer_t *timer)
{
    struct reporter *reporter = timer->data;
    int64_t now_ms = clock_now_ms();
    report(reporter);
    log_drops(reporter, now_ms);
    if (event_queue_in_flight_count(reporter->queue) > 0 && now_ms - reporter->progress_ms >= RESEND_ALL_MS) {
        /* statsd could not keep them (its disk, its memory): repeats are harmless */
        log_warning(NULL, "events_unacknowledged", LOG_INT("count", event_queue_count(reporter->queue)));
        event_queue_rewind(reporter->queue);
    }
    send_events(reporter);
}

/* ---- the link ---- */

static void use_peer(struct reporter *reporter, struct peer *peer)
{
    reporter->peer = peer;
    event_queue_rewind(reporter->queue);
    if (!peer)
        return;
    forget_told(reporter, clock_now_ms());
    report(reporter);
    send_events(reporter);
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct reporter *reporter = owner;
    (void)hello;
    if (!reporter->peer) /* a second one has no use: there is one ledger */
        use_peer(reporter, peer);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct reporter *reporter = owner;
    if (reporter->peer != peer)
        return;
    bool another = why != LINK_DOWN_CLOSED && reporter->link && link_peer_count(reporter->link) > 0;
    use_peer(reporter, another ? link_peer(reporter->link, 0) : NULL);
}

static void end_hold(struct reporter *reporter)
{
    if (!reporter->holding)
        return;
    reporter->holding = false;
    uv_timer_stop(reporter->hold);
    report(reporter); /* the last of the counters */
    service_release(reporter->service);
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct reporter *reporter = owner;
    const struct msg_ack *ack = message;
    if (frame->type != MESSAGE_ACK) {
        peer_refuse_frame(peer, frame);
        return;
    }
    if (peer != reporter->peer)
        return;
    if (!event_queue_ack(reporter->queue, ack->sequence))
        return;
    reporter->progress_ms = clock_now_ms();
    send_events(reporter);
    if (event_queue_count(reporter->queue) == 0)
        end_hold(reporter);
}

/* ---- drain ---- */

static void on_hold_over(uv_timer_t *timer)
{
    struct reporter *reporter = timer->data;
    log_warning(NULL, "events_lost", LOG_INT("count", event_queue_count(reporter->queue)),
                LOG_STR("problem", "statsd did not acknowledge them before the end of the drain"));
    end_hold(reporter);
}

static void begin_hold(struct reporter *reporter)
{
    if (reporter->holding)
        return;
    reporter->holding = true;
    service_hold(reporter->service);
    uv_update_time(service_loop(reporter->service));
    uv_timer_start(reporter->hold, on_hold_over, HOLD_MS, 0);
}

void reporter_hold_drain(struct reporter *reporter)
{
    reporter->drain_begun = true;
    report(reporter);
    if (event_queue_count(reporter->queue) > 0)
        begin_hold(reporter);
}

/* ---- life ---- */

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static uv_timer_t *timer_new(struct reporter *reporter)
{
    uv_timer_t *timer = calloc(1, sizeof *timer);
    if (!timer)
        return NULL;
    uv_timer_init(service_loop(reporter->service), timer);
    timer->data = reporter;
    return timer;
}

static void timer_close(uv_timer_t *timer)
{
    if (timer)
        uv_close((uv_handle_t *)timer, on_timer_closed);
}

struct reporter *reporter_new(struct service *service)
{
    struct reporter *reporter = calloc(1, sizeof *reporter);
    if (reporter) {
        reporter->service = service;
        reporter->queue = event_queue_new(MAX_EVENTS, WINDOW_EVENTS);
        reporter->tick = timer_new(reporter);
        reporter->hold = timer_new(reporter);
        if (reporter->queue && reporter->tick && reporter->hold)
            reporter->link = link_connect(service, "statsd", service_settings(service)->statsd_endpoint,
                                          &handlers, reporter);
    }
    if (!reporter || !reporter->link) {
        log_error(NULL, "reporter_failed", LOG_STR("problem", error_text(ERR_NOMEM)));
        reporter_free(&reporter);
        return NULL;
    }
    report_build(reporter);
    reporter_watch_link(reporter, "statsd", reporter->link);
    uv_timer_start(reporter->tick, on_tick, REPORT_MS, REPORT_MS);
    uv_unref((uv_handle_t *)reporter->tick); /* what it reports must not keep a loop alive */
    return reporter;
}

void reporter_free(struct reporter **reporter_pointer)
{
    struct reporter *reporter = *reporter_pointer;
    *reporter_pointer = NULL;
    if (!reporter)
        return;
    if (reporter->link)
        link_close(&reporter->link);
    timer_close(reporter->tick);
    timer_close(reporter->hold);
    event_queue_free(&reporter->queue);
    struct number *number = reporter->numbers;
    HASH_CLEAR(hh, reporter->numbers); /* the elements stay, and stay chained */
    while (number) {
        struct number *next = number->hh.next;
        free(number);
        number = next;
    }
    free(reporter);
}

void reporter_watch_link(struct reporter *reporter, const char *name, const struct link *link)
{
    assert(reporter->link_count < MAX_LINKS);
    reporter->links[reporter->link_count++] = (struct watched_link){name, link};
}

size_t reporter_pending_count(const struct reporter *reporter)
{
    return event_queue_count(reporter->queue);
}

uint64_t reporter_dropped_count(const struct reporter *reporter)
{
    return reporter->dropped_count;
}
