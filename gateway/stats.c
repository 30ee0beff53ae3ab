/* SPDX-License-Identifier: MIT */
/* stats - GET /api/stats: statsd's answer, handed on. 503 when statsd is away or slow. */
#include "gateway/call.h"
#include "gateway/handlers.h"
#include "gateway/rpc.h"
#include "proto/error.h"

#include <stdlib.h>

enum { TIMEOUT_MS = 2000, RETRY_S = 2 };

struct stats_answer {
    struct call *call;
    struct rpc_question *question; /* NULL once answered */
};

static void fail(struct call *call)
{
    struct call_problem problem = {
        .failure = FAILURE_UNAVAILABLE,
        .retry_after_s = RETRY_S,
        .message = SPAN("The statistics service does not answer; try again shortly."),
    };
    call_fail_with(call, &problem);
}

static void on_answered(void *context, int error, int status, struct span body)
{
    struct stats_answer *answer = context;
    answer->question = NULL;
    if (error < 0 || status < 200 || status > 599)
        fail(answer->call);
    else
        call_reply(answer->call, status, "application/json", body);
}

static void on_left(void *owner)
{
    struct stats_answer *answer = owner;
    rpc_drop(&answer->question);
    call_abort(answer->call);
}

static void on_ended(void *owner)
{
    struct stats_answer *answer = owner;
    rpc_drop(&answer->question);
    free(answer);
}

static void on_written(void *owner)
{
    (void)owner; /* the answer is one piece */
}

static const struct call_events events = {on_written, on_left, on_ended};

void answer_stats(struct call *call, const struct head *head, struct span rest)
{
    struct stats_answer *answer = calloc(1, sizeof *answer);
    (void)head;
    (void)rest;
    if (!answer) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    answer->call = call;
    call_watch(call, &events, answer);
    answer->question = rpc_ask(call->gateway->statsd, "stats", SPAN("{}"), TIMEOUT_MS, on_answered, answer);
    if (!answer->question)
        fail(call);
}
