/* SPDX-License-Identifier: MIT */
#include "gateway/live_feed.h"
#include "gateway/call.h"
#include "gateway/handlers.h"
#include "gateway/live_poll.h"
#include "gateway/routes.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <utlist.h>

enum { ROUND_MS = 1000, RETRY_S = 5, EVERYTHING = (1U << LIVE_EVENT_COUNT) - 1 };

struct listener {
    struct live_feed *feed;
    struct call *call;
    unsigned news;   /* events to tell, by bit */
    bool needs_sign; /* a comment is due, to show that we are there */
    bool is_over;    /* one more write, the last */
    bool has_session;
    char session[SESSION_TOKEN_BYTES];
    int64_t signed_ms; /* when the last comment was due */
    struct buffer out; /* being written */
    struct listener *prev, *next;
};

struct live_feed {
    struct gateway *gateway;
    struct live_poll *poll;
    struct listener *listeners;
    size_t count;
    uv_timer_t *timer;
    bool is_over;
};

/* ---- one listener ---- */

static int gather(struct listener *listener)
{
    int error = 0;
    for (unsigned i = 0; i < LIVE_EVENT_COUNT && error == 0; i++)
        if (listener->news & (1U << i))
            error =
                buffer_append_span(&listener->out, live_poll_text(listener->feed->poll, (enum live_event)i));
    if (error == 0 && listener->needs_sign)
        error = buffer_append_span(&listener->out, SPAN(": keepalive\n\n"));
    return error;
}

/* Writes what there is to tell, unless a write is under way. May free the listener. */
static void tell(struct listener *listener)
{
    struct call *call = listener->call;
    if (call->phase != CALL_IDLE)
        return;
    if (gather(listener) < 0) {
        call_abort(call); /* it comes again */
        return;
    }
    listener->news = 0;
    listener->needs_sign = false;
    if (listener->out.length > 0 || listener->is_over)
        call_write(call, buffer_span(&listener->out), listener->is_over);
}

static void on_written(void *owner)
{
    struct listener *listener = owner;
    buffer_clear(&listener->out);
    tell(listener);
}

static void on_left(void *owner)
{
    struct listener *listener = owner;
    call_abort(listener->call);
}

static void on_ended(void *owner)
{
    struct listener *listener = owner;
    struct live_feed *feed = listener->feed;
    DL_DELETE(feed->listeners, listener);
    feed->count--;
    sodium_memzero(listener->session, sizeof listener->session);
    buffer_fini(&listener->out);
    free(listener);
    if (feed->count > 0)
        return;
    uv_timer_stop(feed->timer);
    live_poll_forget(feed->poll);
}

static const struct call_events events = {on_written, on_left, on_ended};

/* ---- all of them ---- */

static void on_changed(void *owner, enum live_event event)
{
    struct live_feed *feed = owner;
    struct listener *listener, *next;
    DL_FOREACH_SAFE (feed->listeners, listener, next) {
        listener->news |= 1U << event;
        tell(listener);
    }
}

static void check(struct listener *listener)
{
    const struct gateway *gateway = listener->feed->gateway;
    int64_t now_ms = clock_now_ms();
    if (now_ms - listener->signed_ms >= gateway->settings->keepalive_s * 1000) {
        listener->signed_ms = now_ms;
        listener->needs_sign = true;
    }
    if (listener->has_session &&
        !auth_session_holds(gateway->auth, span_str(listener->session), clock_wall_ms()))
        listener->is_over = true;
    if (listener->needs_sign || listener->is_over)
        tell(listener);
}

static void on_round(uv_timer_t *timer)
{
    struct live_feed *feed = timer->data;
    struct listener *listener, *next;
    DL_FOREACH_SAFE (feed->listeners, listener, next)
        check(listener);
    if (feed->listeners)
        live_poll_round(feed->poll);
}

void live_feed_end(struct live_feed *feed)
{
    struct listener *listener, *next;
    feed->is_over = true;
    DL_FOREACH_SAFE (feed->listeners, listener, next) {
        listener->is_over = true;
        tell(listener);
    }
}

void live_feed_abort_all(struct live_feed *feed)
{
    struct listener *listener, *next;
    if (!feed)
        return;
    feed->is_over = true;
    DL_FOREACH_SAFE (feed->listeners, listener, next)
        call_abort(listener->call);
}

/* ---- a new one ---- */

static struct listener *listener_new(struct live_feed *feed, struct call *call, const struct head *head)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener || buffer_append_span(&listener->out, SPAN("retry: 1000\n\n")) < 0) {
        free(listener);
        return NULL;
    }
    listener->feed = feed;
    listener->call = call;
    listener->news = EVERYTHING;
    listener->signed_ms = clock_now_ms();
    listener->has_session = call->caller.has_session;
    struct span token = session_find_cookie(head_find(head, SPAN("cookie")));
    if (listener->has_session && token.length < sizeof listener->session)
        memcpy(listener->session, token.data, token.length);
    return listener;
}

static void listen_to(struct live_feed *feed, struct call *call, const struct head *head)
{
    struct listener *listener = listener_new(feed, call, head);
    if (!listener) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    DL_APPEND(feed->listeners, listener);
    feed->count++;
    call_watch(call, &events, listener);
    call_begin(call, 200, true, -1);
    if (feed->count == 1)
        uv_timer_start(feed->timer, on_round, ROUND_MS, ROUND_MS);
    if (feed->count > 1) {
        tell(listener); /* what the others know */
        return;
    }
    live_poll_forget(feed->poll); /* of an earlier time */
    live_poll_round(feed->poll);  /* tells health at once, the rest as it is answered */
}

void answer_live(struct call *call, const struct head *head, struct span rest)
{
    struct live_feed *feed = call->gateway->live_feed;
    (void)rest;
    json_t *none = json_object();
    bool is_wanted = none && read_query(call, head, none);
    if (!none)
        call_fail(call, FAILURE_INTERNAL, 0);
    json_decref(none);
    if (!is_wanted)
        return;
    if (feed->is_over)
        call_fail(call, FAILURE_UNAVAILABLE, 1);
    else if (feed->count >= LIVE_MAX_LISTENERS)
        call_fail(call, FAILURE_OVERLOADED, RETRY_S);
    else if (call->is_head)
        call_reply(call, 200, "text/event-stream; charset=utf-8", span_of(NULL, 0));
    else
        listen_to(feed, call, head);
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

struct live_feed *live_feed_new(struct gateway *gateway)
{
    struct live_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->gateway = gateway;
    feed->timer = calloc(1, sizeof *feed->timer);
    if (feed->timer) {
        uv_timer_init(service_loop(gateway->service), feed->timer);
        feed->timer->data = feed;
        feed->poll = live_poll_new(gateway, on_changed, feed);
    }
    if (!feed->poll)
        live_feed_free(&feed);
    return feed;
}

void live_feed_free(struct live_feed **feed_pointer)
{
    struct live_feed *feed = *feed_pointer;
    *feed_pointer = NULL;
    if (!feed)
        return;
    assert(!feed->listeners);
    live_poll_free(&feed->poll);
    if (feed->timer)
        uv_close((uv_handle_t *)feed->timer, on_timer_closed);
    free(feed);
}
