/* SPDX-License-Identifier: MIT */
/* completion_private - what completions.c (states, beginning, the whole), completion_client.c (towards the
 * client) and completion_worker.c (to and from a worker) share. For nobody else. */
#ifndef GATEWAY_COMPLETION_PRIVATE_H
#define GATEWAY_COMPLETION_PRIVATE_H

#include "gateway/completions.h"
#include "gateway/pool.h"
#include "proto/outcome.h"

#include <uthash.h>

enum completion_state { WAITING, SENDING, SENT, RELAYING, FINISHING, OVER };

struct completion {
    struct completions *all;
    struct call *call; /* NULL when OVER */
    enum completion_state state;
    struct worker *worker; /* SENDING to RELAYING */
    uint64_t number;       /* its `request` on the link, a new one for each move */
    UT_hash_handle hh;     /* by number, while it has a worker */
    uint8_t moves;
    bool is_begun, is_stream; /* after HEAD */
    bool is_dirty;            /* on the list to be flushed when the turn ends */
    int64_t deadline_ms;
    size_t sent_bytes;       /* of the body, to the worker */
    int64_t content_bytes;   /* still to come, -1: unknown */
    size_t unreturned_bytes; /* DATA that was not returned by WINDOW yet */
    size_t owed_bytes;       /* of these: what the client's socket has taken */
    struct buffer pending, writing;
    struct span conversation_id, conversation_request_id, conversation_message_id,
        client_request_id; /* into the head */
    h2o_timeout_entry_t timer;
    struct completion *prev, *next;           /* waiting, or the worker's */
    struct completion *send_prev, *send_next; /* SENDING */
    struct completion *dirty_prev, *dirty_next;
};

struct completions {
    struct gateway *gateway;
    struct pool *pool;
    struct turn_hook *hook;
    struct completion *by_number, *waiting, *sending, *dirty;
    bool is_flush_due;
    size_t count, waiting_count;
    uint64_t last_number;
    h2o_timeout_t wait_timeout, total_timeout;
};

/* The one place that changes the state; the table is in completions.h. `worker` is for the states that have
 * one. */
void completion_enter(struct completion *c, enum completion_state state, struct worker *worker);
bool completion_has_worker(enum completion_state state);
/* Takes it from its worker, who is told: FINISHING. */
void completion_cancel(struct completion *c, enum cancel_reason reason);
/* The usage event of one that no worker will report. */
void completion_report(const struct completion *c, enum failure failure, enum outcome outcome);
void completion_on_timer(h2o_timeout_entry_t *entry);

/* ---- completion_client.c ---- */

extern const struct call_events completion_call_events;
/* Tells the client, as far as its answer has come. Its worker is out of it already, or never was in it. */
void completion_fail(struct completion *c, const struct call_problem *problem);
void completion_fail_plainly(struct completion *c, enum failure failure, uint32_t retry_after_s);
/* What is pending goes out when the turn ends, so that HEAD, DATA and END of one train are one write. */
void completion_flush_later(struct completion *c);
void completion_forget_dirty(struct completion *c);

/* ---- completion_worker.c ---- */

extern const struct pool_events completions_pool_events;
/* Gives one that is WAITING to a worker, if there is one; `except` (may be NULL) only if there is no other.
 */
void completion_dispatch(struct completion *c, const struct worker *except);
/* End-of-turn work: a few pieces of bodies. True if there are more. */
bool completions_send_pieces(void *completions);

#endif
