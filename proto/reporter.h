/* SPDX-License-Identifier: MIT */
/* reporter - the sending side of usage: keeps events until statsd says they are durable, and sends gauges.
 *
 * Events are numbered from 1 within a process and sent as EVENT frames; ACK n drops those up to n. When
 * statsd comes back (link up) everything unacknowledged is sent again; request ids make that harmless. At
 * most 100,000 events are kept (design.md, "Usage"); what comes then is dropped, counted and logged. Owned by
 * its service; never blocks. */
#ifndef PROTO_REPORTER_H
#define PROTO_REPORTER_H

#include "proto/link.h"

struct reporter;

/* Connects to settings' statsd_endpoint. Also sends the service's gauges (service_report_gauge), process
 * gauges (rss, cpu, fds, loop lag, build) and link counters once a second. Returns owned; NULL on failure
 * (logged).
 */
struct reporter *reporter_new(struct service *service);
/* Waits for nothing: what is unacknowledged now is lost. Let drain wait with reporter_hold_drain. NULL-safe.
 */
void reporter_free(struct reporter **reporter);
/* Queues a copy of the event. Never fails towards the caller: over the limit it is counted as dropped. */
void reporter_event(struct reporter *reporter, const struct msg_event *event);
/* Adds to a counter; its total is reported each second. `name` with labels as in GAUGE (statsd/README.md says
 * what names are taken), copied. At most 8,000 names of counters and gauges; more are dropped and logged. */
void reporter_count(struct reporter *reporter, const char *name, uint64_t add);
/* As reporter_count, in millionths: for sums of seconds. */
void reporter_count_micro(struct reporter *reporter, const char *name, uint64_t add_micro);
/* Sets a gauge reported each second. `name` is copied. */
void reporter_gauge(struct reporter *reporter, const char *name, int64_t value_micro);
/* The gauge is gone, with what it was about: statsd shows it no more. Nothing happens if there is none. */
void reporter_drop_gauge(struct reporter *reporter, const char *name);
/* Reports this link's counters too, labelled link="NAME" (a literal, borrowed). The link stays open as long
 * as the loop runs. At most 8. */
void reporter_watch_link(struct reporter *reporter, const char *name, const struct link *link);
/* While draining, holds the service (service_hold) until all events are acknowledged or 2 s have passed. Call
 * in the service's drain callback; an event that comes after it is waited for in the same way. */
void reporter_hold_drain(struct reporter *reporter);
size_t reporter_pending_count(const struct reporter *reporter);
uint64_t reporter_dropped_count(const struct reporter *reporter);

#endif
