/* SPDX-License-Identifier: MIT */
#include "gateway/rpc.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

/* How long after we began, or lost it, the other service is waited for. A restart takes a fraction of that;
 * who is away for longer is not: questions fail at once. */
enum { AWAY_PATIENCE_MS = 2000 };

struct rpc_question {
    struct rpc *rpc;
    struct peer *peer; /* NULL: waits for one */
    const char *method;
    struct buffer asked; /* while it waits */
    uint64_t number, timeout_ms;
    uv_timer_t timer;
    void (*answered)(void *context, int error, int status, struct span body);
    void *context;
    struct buffer body; /* the pieces that came so far */
    struct rpc_question *prev, *next;
};

struct rpc {
    struct service *service;
    struct link *link;
    struct rpc_question *open;
    uint64_t last_number;
    int64_t away_since_ms;  /* while nobody is there */
    uint32_t retry_after_s; /* of the REPLY that is being handed on */
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct rpc_question *question = handle->data;
    buffer_fini_secret(&question->asked);
    buffer_fini(&question->body);
    free(question);
}

void rpc_drop(struct rpc_question **question_pointer)
{
    struct rpc_question *question = *question_pointer;
    *question_pointer = NULL;
    if (!question)
        return;
    DL_DELETE(question->rpc->open, question);
    uv_close((uv_handle_t *)&question->timer, on_timer_closed);
}

static void answer(struct rpc_question *question, int error, int status, struct span body)
{
    void (*answered)(void *context, int error, int status, struct span body) = question->answered;
    void *context = question->context;
    rpc_drop(&question);
    answered(context, error, status, body);
}

static void on_timeout(uv_timer_t *timer)
{
    struct rpc_question *question = timer->data;
    answer(question, question->peer ? ERR_TIMEOUT : ERR_PEER_GONE, 0, span_of(NULL, 0));
}

static int question_send(struct rpc_question *question, struct peer *peer, struct span body)
{
    struct msg_call call = {span_str(question->method), body};
    int error = peer_send(peer, MESSAGE_CALL, question->number, &call);
    if (error == 0) {
        question->peer = peer;
        uv_timer_start(&question->timer, on_timeout, question->timeout_ms, 0);
    }
    return error;
}

/* The first one that was sent to the peer; of NULL: that waits. Looked for anew each time, because whoever is
 * answered may drop others. */
static struct rpc_question *first_of(const struct rpc *rpc, const struct peer *peer)
{
    struct rpc_question *question;
    DL_SEARCH_SCALAR(rpc->open, question, peer, peer);
    return question;
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct rpc *rpc = owner;
    struct rpc_question *question;
    (void)hello;
    while ((question = first_of(rpc, NULL))) {
        int error = question_send(question, peer, buffer_span(&question->asked));
        buffer_fini_secret(&question->asked);
        if (error < 0)
            answer(question, error, 0, span_of(NULL, 0));
    }
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct rpc *rpc = owner;
    struct rpc_question *question;
    (void)why;
    rpc->away_since_ms = clock_now_ms();
    while ((question = first_of(rpc, peer)))
        answer(question, ERR_PEER_GONE, 0, span_of(NULL, 0));
}

static void take_reply(struct rpc_question *question, const struct msg_reply *reply)
{
    int error = question->body.length + reply->body.length > RPC_MAX_BYTES ? ERR_TOO_LARGE : 0;
    bool is_whole = reply->status != REPLY_MORE && question->body.length == 0;
    if (error == 0 && !is_whole)
        error = buffer_append_span(&question->body, reply->body);
    if (error < 0)
        answer(question, error, 0, span_of(NULL, 0));
    else if (reply->status != REPLY_MORE)
        answer(question, 0, reply->status, is_whole ? reply->body : buffer_span(&question->body));
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct rpc *rpc = owner;
    const struct msg_reply *reply = message;
    struct rpc_question *question;
    if (frame->type != MESSAGE_REPLY) {
        peer_refuse_frame(peer, frame);
        return;
    }
    DL_FOREACH (rpc->open, question) {
        if (question->number == frame->request && question->peer == peer) {
            rpc->retry_after_s = reply->retry_after_s;
            take_reply(question, reply);
            return;
        }
    }
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

struct rpc *rpc_new(struct service *service, const char *role, const char *endpoints)
{
    struct rpc *rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return NULL;
    rpc->service = service;
    rpc->away_since_ms = clock_now_ms();
    rpc->link = link_connect(service, role, endpoints, &handlers, rpc);
    if (!rpc->link)
        rpc_free(&rpc);
    return rpc;
}

void rpc_free(struct rpc **rpc_pointer)
{
    struct rpc *rpc = *rpc_pointer;
    *rpc_pointer = NULL;
    if (!rpc)
        return;
    if (rpc->link)
        link_close(&rpc->link);
    assert(!rpc->open);
    free(rpc);
}

const struct link *rpc_link(const struct rpc *rpc)
{
    return rpc->link;
}

uint32_t rpc_retry_after_s(const struct rpc *rpc)
{
    return rpc->retry_after_s;
}

bool rpc_is_up(const struct rpc *rpc)
{
    return link_peer_count(rpc->link) > 0;
}

/* Sends it, or keeps it for who may be back in a moment. 0, ERR_PEER_GONE, or what sending gives. */
static int send_or_wait(struct rpc_question *question, struct span body)
{
    struct rpc *rpc = question->rpc;
    if (rpc_is_up(rpc))
        return question_send(question, link_peer(rpc->link, 0), body);
    int64_t patience_ms = rpc->away_since_ms + AWAY_PATIENCE_MS - clock_now_ms();
    if (patience_ms <= 0)
        return ERR_PEER_GONE;
    uv_timer_start(&question->timer, on_timeout, (uint64_t)patience_ms, 0);
    return buffer_append_span(&question->asked, body);
}

struct rpc_question *rpc_ask(struct rpc *rpc, const char *method, struct span body, uint64_t timeout_ms,
                             void (*answered)(void *context, int error, int status, struct span body),
                             void *context)
{
    struct rpc_question *question = calloc(1, sizeof *question);
    if (!question)
        return NULL;
    question->rpc = rpc;
    question->method = method;
    question->number = ++rpc->last_number;
    question->timeout_ms = timeout_ms;
    question->answered = answered;
    question->context = context;
    question->timer.data = question;
    uv_timer_init(service_loop(rpc->service), &question->timer);
    DL_APPEND(rpc->open, question);
    if (send_or_wait(question, body) < 0)
        rpc_drop(&question); /* and it is NULL */
    return question;
}
