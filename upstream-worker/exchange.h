/* SPDX-License-Identifier: MIT */
/* exchange - one request's life at the worker, from REQUEST to END or FAIL.
 *
 *     state      | leaves it by                                                → to
 *     READING    | body whole and checked                                      → LEASING
 *                | body refused, deadline                                      → FLUSHING (FAIL)
 *     LEASING    | GRANT                                                       → CALLING
 *                | REFUSE, no answer in time                                   → FLUSHING (FAIL)
 *     CALLING    | upstream trouble that another try may repair                → CALLING (same lease, once)
 *                |                                                             → LEASING (another credential)
 *                | first part of a stream                                      → ANSWERING
 *                | whole plain answer, trouble that none may repair, deadline  → FLUSHING
 *     ANSWERING  | whole answer, any trouble, deadline                         → FLUSHING
 *     FLUSHING   | the client took all that was held: END or FAIL is sent      → OVER
 *     any        | CANCEL, the gateway gone                                    → OVER
 *
 * Before HEAD trouble is repaired silently, within the deadline; after HEAD nothing is tried again. The lease
 * goes back and the transfer ends on the way to FLUSHING. On the way to OVER exactly one END or FAIL is sent
 * and exactly one usage event is recorded.
 *
 * An exchange is freed by its owner, at the end of the turn in which `over` was called, never inside a
 * callback. */
#ifndef UPSTREAM_WORKER_EXCHANGE_H
#define UPSTREAM_WORKER_EXCHANGE_H

#include "proto/reporter.h"
#include "upstream-worker/answer.h"
#include "upstream-worker/gaps.h"
#include "upstream-worker/lease.h"
#include "upstream-worker/request_ids.h"
#include "upstream-worker/rulebook.h"
#include "upstream-worker/transfer.h"

enum exchange_state {
    EXCHANGE_READING,
    EXCHANGE_LEASING,
    EXCHANGE_CALLING,
    EXCHANGE_ANSWERING,
    EXCHANGE_FLUSHING,
    EXCHANGE_OVER
};

struct exchange;

struct exchange_counters {
    uint64_t attempts;        /* upstream calls begun */
    uint64_t retries_same;    /* begun again with the same credential */
    uint64_t retries_other;   /* another credential asked for */
    uint64_t cancelled;       /* by CANCEL or a lost gateway */
    uint64_t upstream_events; /* taken from upstreams */
    struct gaps gaps;         /* between them, within an answer */
};

/* What a worker's exchanges share. Borrowed by each for its life. */
struct exchange_home {
    const struct settings *settings;
    struct leases *leases;
    struct transfers *transfers;
    struct reporter *reporter;
    struct scratch scratch;
    struct request_ids ids;
    struct rulebook *rulebook; /* for the next request */
    struct buffer spare;       /* output memory, used again and again: streams that wait hold none */
    struct exchange_counters counters;
    int64_t (*now_ms)(const void *context); /* the loop's time */
    const void *now_context;
    void (*over)(void *owner, struct exchange *exchange);
    void *owner;
};

/* Takes over a REQUEST (borrowed) of the gateway `peer`; `number` is its frame's. May call `over` before it
 * returns. Returns owned; NULL: out of memory, nothing was sent. */
struct exchange *exchange_new(struct exchange_home *home, struct peer *peer, uint64_t number,
                              const struct msg_request *request);
/* It must be OVER. NULL-safe. */
void exchange_free(struct exchange **exchange);

void exchange_take_body(struct exchange *exchange, struct span piece);
/* Scans one slice of the body. True: there is more to scan now. */
bool exchange_scan(struct exchange *exchange);
void exchange_credit(struct exchange *exchange, size_t bytes);
void exchange_cancel(struct exchange *exchange);
void exchange_lose_gateway(struct exchange *exchange);
/* Looks at the time: deadline, silence of the upstream, comments for the client. Call every few 100 ms. */
void exchange_tick(struct exchange *exchange);

enum exchange_state exchange_state(const struct exchange *exchange);
const struct peer *exchange_peer(const struct exchange *exchange); /* NULL once it is gone or told */
uint64_t exchange_number(const struct exchange *exchange);
void **exchange_place(struct exchange *exchange); /* a pointer for the owner's use, NULL at first */

#endif
