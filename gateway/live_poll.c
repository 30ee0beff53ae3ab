/* SPDX-License-Identifier: MIT */
#include "gateway/live_poll.h"
#include "gateway/health.h"
#include "gateway/rpc.h"
#include "proto/error.h"
#include "proto/log.h"

#include <jansson.h>
#include <stdlib.h>

enum {
    STATSD_TIMEOUT_MS = 5000,
    CREDD_TIMEOUT_MS = 5000,
    /* Enough for every number that statsd and we write (millionths below a billion), and few enough that 0.1
     * stays 0.1. */
    DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(15)
};

/* One question of a round. */
struct topic {
    struct live_poll *poll;
    struct rpc_question *open;
    struct buffer answer; /* the last good one; empty before */
    void (*answered)(struct live_poll *poll);
};

struct live_poll {
    struct gateway *gateway;
    void (*changed)(void *owner, enum live_event event);
    void *owner;
    struct topic live, list, current;
    bool is_ledger_failing;
    int64_t usable_credentials;
    struct buffer texts[LIVE_EVENT_COUNT]; /* as sent */
    struct buffer shown_credentials;       /* what they were made of, without what only time changes */
};

/* ---- events ---- */

static void set_event(struct live_poll *poll, enum live_event event, struct span data)
{
    static const char *const words[] = {
#define E(name, word) [name] = (word),
        LIVE_EVENT_LIST(E)
#undef E
    };
    struct buffer text = {0}, *known = &poll->texts[event];
    int error = buffer_printf(&text, "event: %s\ndata: ", words[event]);
    if (error == 0)
        error = buffer_append_span(&text, data);
    if (error == 0)
        error = buffer_append_span(&text, SPAN("\n\n"));
    if (error < 0 || span_equals(buffer_span(&text), buffer_span(known))) {
        buffer_fini(&text); /* out of memory: the next round tells it */
        return;
    }
    buffer_fini(known);
    *known = text;
    poll->changed(poll->owner, event);
}

static void set_json(struct live_poll *poll, enum live_event event, const json_t *value)
{
    char *text = value ? json_dumps(value, DUMP_FLAGS) : NULL;
    if (text)
        set_event(poll, event, span_str(text));
    free(text);
}

static void tell_health(struct live_poll *poll)
{
    struct health health;
    struct buffer text = {0};
    health_gather(poll->gateway, &health);
    health.is_ledger_failing = health.has_statsd && poll->is_ledger_failing;
    health.usable_credentials = health.has_credd ? poll->usable_credentials : -1;
    if (health_append_json(&text, &health) == 0)
        set_event(poll, LIVE_HEALTH, buffer_span(&text));
    buffer_fini(&text);
}

/* ---- statsd's part ---- */

/* Of {"stats","processes","ledger":{"first_event_ms","newest":{"requests"}}|null,"ledger_failing"}. */
static void tell_live(struct live_poll *poll)
{
    json_t *root = json_loadb(poll->live.answer.data, poll->live.answer.length, 0, NULL);
    json_t *stats = json_object_get(root, "stats"), *ledger = json_object_get(root, "ledger");
    json_t *first = json_object_get(ledger, "first_event_ms");
    json_t *requests = json_object_get(json_object_get(ledger, "newest"), "requests");
    json_t *processes = json_pack("{s:O}", "processes", json_object_get(root, "processes"));
    json_t *newest = requests ? json_pack("{s:O}", "requests", requests) : NULL;
    poll->is_ledger_failing = json_is_true(json_object_get(root, "ledger_failing"));
    if (json_object_set_new(stats, "first_event_ms", first ? json_incref(first) : json_null()) == 0)
        set_json(poll, LIVE_STATS, stats);
    set_json(poll, LIVE_PROCESSES, processes);
    set_json(poll, LIVE_REQUESTS, newest);
    json_decref(processes);
    json_decref(newest);
    json_decref(root);
}

/* ---- credd's part ---- */

/* How often a member stands there. Within a text the quotes would be escaped. */
static int64_t count_members(struct span list, struct span member)
{
    int64_t count = 0;
    for (const char *at; list.length > 0 && (at = memmem(list.data, list.length, member.data, member.length));
         count++) {
        size_t skip = (size_t)(at - list.data) + member.length;
        list = span_of(list.data + skip, list.length - skip);
    }
    return count;
}

/* One that cools for a model serves the others. */
static int64_t count_usable(struct span list)
{
    return count_members(list, SPAN("\"state\":\"ready\"")) +
           count_members(list, SPAN("\"state\":\"cooling\""));
}

/* Appends `list` without the members that count down: a clock's tick is no news. */
static int append_lasting(struct buffer *out, struct span list)
{
    struct span ticking = SPAN("\"time_remaining");
    int error = 0;
    for (const char *at; error == 0 && list.length > 0;) {
        at = memmem(list.data, list.length, ticking.data, ticking.length);
        size_t length = at ? (size_t)(at - list.data) : list.length;
        error = buffer_append(out, list.data, length);
        list = span_of(list.data + length, list.length - length);
        size_t skip = 0; /* up to the member's end; its value has no comma */
        while (skip < list.length && list.data[skip] != ',' && list.data[skip] != '}')
            skip++;
        list = span_of(list.data + skip, list.length - skip);
    }
    return error;
}

/* The list's object goes on with what is current. */
static void tell_credentials(struct live_poll *poll)
{
    struct buffer lasting = {0}, text = {0};
    struct span list = buffer_span(&poll->list.answer), current = buffer_span(&poll->current.answer);
    if (list.length < 2 || current.length == 0 || list.data[list.length - 1] != '}')
        return;
    poll->usable_credentials = count_usable(list);
    int error = append_lasting(&lasting, list);
    if (error == 0)
        error = buffer_append_span(&lasting, current);
    if (error == 0)
        error = buffer_append(&text, list.data, list.length - 1);
    if (error == 0)
        error = buffer_append_span(&text, SPAN(",\"current\":"));
    if (error == 0)
        error = buffer_append_span(&text, current);
    if (error == 0)
        error = buffer_append_char(&text, '}');
    if (error == 0 && !span_equals(buffer_span(&lasting), buffer_span(&poll->shown_credentials))) {
        buffer_fini(&poll->shown_credentials);
        poll->shown_credentials = lasting;
        lasting = (struct buffer){0};
        set_event(poll, LIVE_CREDENTIALS, buffer_span(&text));
    }
    buffer_fini(&lasting);
    buffer_fini(&text);
}

/* ---- rounds ---- */

static void on_answered(void *context, int error, int status, struct span body)
{
    struct topic *topic = context;
    struct live_poll *poll = topic->poll;
    topic->open = NULL;
    if (error == 0 && status == 200) {
        buffer_clear(&topic->answer);
        if (buffer_append_span(&topic->answer, body) == 0)
            topic->answered(poll);
    }
    tell_health(poll);
}

static void ask(struct topic *topic, struct rpc *rpc, const char *method, uint64_t timeout_ms)
{
    if (!topic->open)
        topic->open = rpc_ask(rpc, method, SPAN("{\"actor\":\"live\",\"arguments\":{}}"), timeout_ms,
                              on_answered, topic);
}

void live_poll_round(struct live_poll *poll)
{
    ask(&poll->live, poll->gateway->statsd, "live", STATSD_TIMEOUT_MS);
    ask(&poll->list, poll->gateway->credd, "credentials.list", CREDD_TIMEOUT_MS);
    ask(&poll->current, poll->gateway->credd, "credentials.current", CREDD_TIMEOUT_MS);
    tell_health(poll);
}

static void topic_forget(struct topic *topic)
{
    rpc_drop(&topic->open);
    buffer_fini(&topic->answer);
}

void live_poll_forget(struct live_poll *poll)
{
    topic_forget(&poll->live);
    topic_forget(&poll->list);
    topic_forget(&poll->current);
    for (size_t i = 0; i < LIVE_EVENT_COUNT; i++)
        buffer_fini(&poll->texts[i]);
    buffer_fini(&poll->shown_credentials);
    poll->usable_credentials = -1;
    poll->is_ledger_failing = false;
}

struct span live_poll_text(const struct live_poll *poll, enum live_event event)
{
    return buffer_span(&poll->texts[event]);
}

/* ---- life ---- */

struct live_poll *live_poll_new(struct gateway *gateway, void (*changed)(void *owner, enum live_event event),
                                void *owner)
{
    struct live_poll *poll = calloc(1, sizeof *poll);
    if (!poll)
        return NULL;
    poll->gateway = gateway;
    poll->changed = changed;
    poll->owner = owner;
    poll->usable_credentials = -1;
    poll->live = (struct topic){.poll = poll, .answered = tell_live};
    poll->list = (struct topic){.poll = poll, .answered = tell_credentials};
    poll->current = (struct topic){.poll = poll, .answered = tell_credentials};
    return poll;
}

void live_poll_free(struct live_poll **poll)
{
    if (*poll)
        live_poll_forget(*poll);
    free(*poll);
    *poll = NULL;
}
