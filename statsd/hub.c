/* SPDX-License-Identifier: MIT */
#include "statsd/hub.h"
#include "statsd/ledger.h"
#include "proto/build_info.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link.h"
#include "proto/log.h"
#include "proto/process_usage.h"
#include "statsd/process_name.h"
#include "statsd/supervisor_watch.h"
#include "statsd/questions.h"
#include "statsd/writer.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    REPORT_MS = 1000,
    SWEEP_EVERY = 60,    /* reports */
    WALK_FDS_EVERY = 30, /* reports, see process_usage.h */
    DRAIN_LIMIT_MS =
        2000, /* senders that go on sending do not keep a draining statsd: they keep the events */
    MICRO = 1000000
};

/* A connected peer: its numbers and its events. Either may be NULL when memory was short. */
struct guest {
    struct source *source;
    struct sender *sender;
};

struct hub {
    struct service *service;
    struct registry *registry;
    struct writer *writer;
    struct questions *questions;
    struct link *link;
    struct source *self;
    struct supervisor_watch *watch; /* NULL: there is no supervisor */
    char host[PROCESS_HOST_BYTES];
    uv_timer_t *tick;
    unsigned tick_count;
    bool draining; /* holds the service until the writer rests */
    int64_t drain_until_ms;
};

/* ---- who is connected ---- */

/* Our supervisor tells of the processes of its host. */
static bool is_own_host(const struct hub *hub, struct span host)
{
    char host_text[PROCESS_HOST_BYTES];
    process_name_clean(host_text, sizeof host_text, host);
    return strcmp(host_text, hub->host) == 0;
}

static struct source *open_source(struct hub *hub, struct span role, struct span name, struct span host,
                                  uint32_t pid, int64_t started_wall_ms)
{
    char role_text[33], process[PROCESS_NAME_BYTES];
    process_name_clean(role_text, sizeof role_text, role);
    process_name_make(process, name, host);
    struct source *source = registry_open_source(hub->registry, role_text, process, pid, started_wall_ms);
    if (!source) {
        log_error(NULL, "process_not_registered", LOG_STR("process", process));
        return NULL;
    }
    int64_t now_wall_ms = clock_wall_ms();
    registry_report(hub->registry, source, SPAN("codebuddy2api_process_up"), GAUGE_NOW, MICRO, now_wall_ms);
    registry_report(hub->registry, source, SPAN("codebuddy2api_process_start_time_seconds"), GAUGE_NOW,
                    started_wall_ms * (MICRO / 1000), now_wall_ms);
    if (!hub->watch || !is_own_host(hub, host))
        registry_source_has_no_witness(source);
    return source;
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct hub *hub = owner;
    struct guest *guest = calloc(1, sizeof *guest);
    peer_set_context(peer, guest);
    if (!guest)
        return; /* its frames are ignored; its events come again on its next connection */
    int64_t started_wall_ms = hello->started_wall_ms;
    if (started_wall_ms < 0 || started_wall_ms > INT64_MAX / MICRO)
        started_wall_ms = 0; /* nonsense: only a number to tell lives apart */
    guest->source = open_source(hub, hello->role, hello->name, hello->host, hello->pid, started_wall_ms);
    guest->sender = inbox_add_sender(writer_inbox(hub->writer), peer);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct hub *hub = owner;
    struct guest *guest = peer_context(peer);
    (void)why;
    peer_set_context(peer, NULL);
    if (!guest)
        return;
    questions_forget(hub->questions, peer);
    registry_close_source(hub->registry, &guest->source, clock_wall_ms());
    inbox_remove_sender(writer_inbox(hub->writer), &guest->sender);
    free(guest);
}

/* ---- what they send ---- */

static void acknowledge(void *owner, void *peer, uint64_t sequence)
{
    struct msg_ack ack = {sequence};
    (void)owner;
    if (peer_send(peer, MESSAGE_ACK, 0, &ack) < 0) /* a later one says it too, or the next connection */
        log_debug(NULL, "ack_not_sent", LOG_STR("peer", peer_name(peer)));
}

static void on_event(struct hub *hub, struct peer *peer, struct guest *guest, uint64_t sequence,
                     const struct msg_event *event)
{
    if (!guest->sender)
        return;
    switch (inbox_take(writer_inbox(hub->writer), guest->sender, sequence, event)) {
    case INBOX_TAKEN:
        writer_wake(hub->writer);
        break;
    case INBOX_DURABLE:
        acknowledge(hub, peer, sequence);
        break;
    case INBOX_KNOWN:
    case INBOX_REFUSED:
        break;
    }
}

static void on_gauge(struct hub *hub, struct guest *guest, const struct msg_gauge *gauge)
{
    if (!guest->source)
        return;
    if (gauge->kind == GAUGE_GONE) {
        registry_drop_gauge(guest->source, gauge->name);
        return;
    }
    enum gauge_kind kind = gauge->kind == GAUGE_COUNTER ? GAUGE_COUNTER : GAUGE_NOW;
    int error =
        registry_report(hub->registry, guest->source, gauge->name, kind, gauge->value_micro, clock_wall_ms());
    if (error < 0)
        log_debug(NULL, "metric_refused", LOG_SPAN("name", gauge->name),
                  LOG_STR("problem", error_text(error)));
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct hub *hub = owner;
    struct guest *guest = peer_context(peer);
    if (!guest)
        return;
    if (frame->type == MESSAGE_EVENT)
        on_event(hub, peer, guest, frame->request, message);
    else if (frame->type == MESSAGE_GAUGE)
        on_gauge(hub, guest, message);
    else if (frame->type == MESSAGE_CALL)
        questions_take(hub->questions, peer, frame->request, message);
    else
        peer_refuse_frame(peer, frame);
}

static const struct link_handlers link_handlers = {on_up, on_down, on_frame};

/* ---- our own numbers ---- */

static void report(struct hub *hub, const char *name, enum gauge_kind kind, int64_t value_micro)
{
    if (hub->self)
        registry_report(hub->registry, hub->self, span_str(name), kind, value_micro, clock_wall_ms());
}

static void report_count(struct hub *hub, const char *name, uint64_t count)
{
    report(hub, name, GAUGE_COUNTER, count > INT64_MAX / MICRO ? INT64_MAX : (int64_t)count * MICRO);
}

static void report_build(struct hub *hub)
{
    char name[128];
    snprintf(name, sizeof name, "codebuddy2api_build_info{version=\"%s\",revision=\"%.40s\"}", CB_VERSION,
             build_revision());
    report(hub, name, GAUGE_NOW, MICRO);
}

static void report_process(struct hub *hub)
{
    struct process_usage usage;
    process_usage_read(&usage, hub->tick_count % WALK_FDS_EVERY == 0);
    report(hub, "codebuddy2api_process_resident_memory_bytes", GAUGE_NOW, usage.resident_bytes * MICRO);
    report(hub, "codebuddy2api_process_cpu_seconds_total", GAUGE_COUNTER, usage.cpu_us);
    if (usage.open_fds >= 0)
        report(hub, "codebuddy2api_process_open_fds", GAUGE_NOW, usage.open_fds * MICRO);
    if (usage.max_fds >= 0)
        report(hub, "codebuddy2api_process_max_fds", GAUGE_NOW, usage.max_fds * MICRO);
    report(hub, "codebuddy2api_process_loop_lag_seconds", GAUGE_NOW,
           service_loop_lag_ms(hub->service) * (MICRO / 1000));
}

static void report_link(struct hub *hub)
{
#define LINK_METRIC(metric, labels) "codebuddy2api_link_" metric "_total{link=\"statsd\"" labels "}"
    const struct link_counters *counters = link_counters(hub->link);
    report_count(hub, LINK_METRIC("frames", ",direction=\"in\""), counters->frames_in);
    report_count(hub, LINK_METRIC("frames", ",direction=\"out\""), counters->frames_out);
    report_count(hub, LINK_METRIC("trains", ",direction=\"in\""), counters->trains_in);
    report_count(hub, LINK_METRIC("trains", ",direction=\"out\""), counters->trains_out);
    report_count(hub, LINK_METRIC("bytes", ",direction=\"in\""), counters->bytes_in);
    report_count(hub, LINK_METRIC("bytes", ",direction=\"out\""), counters->bytes_out);
    report_count(hub, LINK_METRIC("bad_frames", ""), counters->bad_frames);
    report_count(hub, LINK_METRIC("strangers", ""), counters->strangers);
    report_count(hub, LINK_METRIC("refused", ""), counters->refused);
    report_count(hub, LINK_METRIC("peers_lost", ""), counters->peers_lost);
    report_count(hub, LINK_METRIC("peers_hung", ""), counters->peers_hung);
}

static int64_t queued_events(void *context)
{
    struct hub *hub = context;
    const struct inbox *inbox = writer_inbox(hub->writer);
    return (int64_t)(inbox_gathered_count(inbox) + inbox_sealed_count(inbox));
}

static int64_t memory_bytes(void *context)
{
    (void)context;
    return ledger_memory_bytes();
}

static void report_ledger(struct hub *hub)
{
    const struct writer_counters *counters = writer_counters(hub->writer);
    report(hub, "codebuddy2api_ledger_failing", GAUGE_NOW, writer_is_failing(hub->writer) ? MICRO : 0);
    report(hub, "codebuddy2api_ledger_queued_events", GAUGE_NOW, queued_events(hub) * MICRO);
    report(hub, "codebuddy2api_ledger_backlog_events", GAUGE_NOW, writer_backlog_count(hub->writer) * MICRO);
    report(hub, "codebuddy2api_ledger_commit_duration_seconds", GAUGE_NOW, counters->last_commit_us);
    report_count(hub, "codebuddy2api_ledger_failures_total", counters->failures);
    report_count(hub, "codebuddy2api_ledger_commits_total", counters->commits);
    report_count(hub, "codebuddy2api_ledger_repeated_events_total", counters->repeats);
    report_count(hub, "codebuddy2api_ledger_set_aside_total", writer_set_aside_count(hub->writer));
    report_count(hub, "codebuddy2api_metrics_refused_total", registry_refused_count(hub->registry));
}

static void on_tick(uv_timer_t *timer)
{
    struct hub *hub = timer->data;
    report_process(hub);
    report_link(hub);
    report_ledger(hub);
    if (!writer_is_failing(hub->writer)) /* so it was opened, and its counters are here */
        registry_count_lives(hub->registry, clock_wall_ms());
    questions_tick(hub->questions);
    if (++hub->tick_count % SWEEP_EVERY == 0)
        registry_sweep(hub->registry, clock_wall_ms());
}

/* ---- drain ---- */

static void end_drain(struct hub *hub)
{
    hub->draining = false;
    if (queued_events(hub) > 0)
        log_warning(NULL, "events_left", LOG_INT("count", queued_events(hub)),
                    LOG_STR("reason", "not durable, so not acknowledged: their senders keep them"));
    service_release(hub->service);
}

static void on_writer_rested(void *owner)
{
    struct hub *hub = owner;
    if (!hub->draining)
        return;
    bool has_time = clock_now_ms() < hub->drain_until_ms && !writer_is_failing(hub->writer);
    if (queued_events(hub) > 0 && has_time)
        writer_flush(hub->writer);
    else
        end_drain(hub);
}

static void on_drain(void *context)
{
    struct hub *hub = context;
    hub->draining = true;
    hub->drain_until_ms = clock_now_ms() + DRAIN_LIMIT_MS;
    service_hold(hub->service);
    on_tick(hub->tick); /* the last of our counters */
    writer_flush(hub->writer);
}

static const struct writer_handlers writer_handlers = {acknowledge, on_writer_rested};

/* ---- life ---- */

static int open_parts(struct hub *hub, const char *directory, int *exit_code)
{
    const struct settings *settings = service_settings(hub->service);
    uv_loop_t *loop = service_loop(hub->service);
    hub->registry = registry_new();
    hub->tick = calloc(1, sizeof *hub->tick);
    if (hub->tick) {
        uv_timer_init(loop, hub->tick);
        hub->tick->data = hub;
    }
    process_name_own_host(hub->host);
    if (hub->registry && service_is_supervised(hub->service))
        hub->watch = supervisor_watch_new(loop, settings->run_dir, hub->registry);
    const struct retention retention = {.events_days = settings->usage_events_days,
                                        .minutes_days = settings->usage_minutes_days};
    if (hub->registry)
        hub->writer = writer_new(loop, directory, &retention, hub->registry, &writer_handlers, hub);
    if (hub->writer)
        hub->questions = questions_new(loop, directory, hub->registry, hub->writer);
    if (!hub->tick || !hub->questions) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        return ERR_NOMEM;
    }
    int error = writer_open(hub->writer);
    if (error == ERR_VERSION)
        *exit_code = EXIT_CONFIG;
    if (error == ERR_VERSION || error == ERR_BUSY) /* the other statsd may end: a restart can help */
        return error;
    hub->link = link_bind(hub->service, settings->statsd_bind, &link_handlers, hub);
    return hub->link ? 0 : ERR_IO;
}

static bool sender_is_connected(void *context)
{
    const struct hub *hub = context;
    return link_peer_count(hub->link) > 0;
}

struct hub *hub_open(struct service *service, const char *directory, int *exit_code)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        return NULL;
    }
    hub->service = service;
    if (open_parts(hub, directory, exit_code) < 0) {
        hub_close(&hub);
        return NULL;
    }
    hub->self = open_source(hub, span_str(service_role(service)), span_str(service_name(service)),
                            span_str(hub->host), (uint32_t)getpid(), service_started_wall_ms(service));
    report_build(hub);
    service_on_drain(service, on_drain, hub);
    service_on_orphaned(service, sender_is_connected, hub);
    service_report_gauge(service, "queued_events", queued_events, hub);
    service_report_gauge(service, "ledger_memory_bytes", memory_bytes, hub);
    uv_timer_start(hub->tick, on_tick, 0, REPORT_MS);
    return hub;
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

void hub_close(struct hub **hub_pointer)
{
    struct hub *hub = *hub_pointer;
    *hub_pointer = NULL;
    if (!hub)
        return;
    if (hub->link)
        link_close(&hub->link); /* takes leave of every guest */
    if (hub->tick)
        uv_close((uv_handle_t *)hub->tick, on_tick_closed);
    supervisor_watch_free(&hub->watch);
    questions_free(&hub->questions);
    writer_free(&hub->writer);
    registry_free(&hub->registry);
    free(hub);
}

const struct totals *hub_totals(const struct hub *hub)
{
    return writer_totals(hub->writer);
}

const struct registry *hub_registry(const struct hub *hub)
{
    return hub->registry;
}

bool hub_ledger_is_failing(const struct hub *hub)
{
    return writer_is_failing(hub->writer);
}
