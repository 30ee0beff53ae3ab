/* SPDX-License-Identifier: MIT */
#include "proto/link.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link_private.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    TICK_MS = 250, /* how often silence is looked at */
    LOOK_UP_EVERY_MS = 5000
};

size_t link_peer_count(const struct link *link)
{
    return link->up_count;
}

struct peer *link_peer(const struct link *link, size_t i)
{
    assert(i < link->up_count);
    return link->up[i];
}

const struct link_counters *link_counters(const struct link *link)
{
    return &link->counters;
}

/* ---- names ---- */

static void on_address(void *owner, const struct link_name *name, const char *endpoint)
{
    struct link *link = owner;
    struct channel *channel;
    DL_FOREACH (link->channels, channel) {
        if (strcmp(channel->endpoint, endpoint) == 0) {
            channel->seen = true;
            return;
        }
    }
    log_info(NULL, "link_address", LOG_STR("name", link_name_text(name)), LOG_STR("endpoint", endpoint));
    channel = channel_open(link, endpoint);
    if (channel) {
        channel->name = name;
        channel->seen = true;
    }
}

/* An address that the name no longer has is dropped once its peer is gone too. */
static void on_addresses_complete(void *owner, const struct link_name *name)
{
    struct link *link = owner;
    struct channel *channel, *next;
    DL_FOREACH_SAFE (link->channels, channel, next) {
        if (channel->name == name && !channel->seen && !channel->connected)
            channel_close(channel, LINK_DOWN_LOST);
        else
            channel->seen = false; /* for the next name's */
    }
}

static const struct link_names_handlers names_handlers = {on_address, on_addresses_complete};

static void look_up_names(struct link *link)
{
    link->looked_up_ms = clock_now_ms();
    if (link->names)
        link_names_look_up(link->names);
}

/* ---- silence ---- */

static void on_tick(uv_timer_t *timer)
{
    struct link *link = timer->data;
    int64_t now_ms = clock_now_ms();
    bool was_stopped = now_ms - link->ticked_ms > HUNG_AFTER_MS / 2; /* we were: the others may have spoken */
    struct channel *channel, *next_channel;
    struct peer *peer, *next;
    link->ticked_ms = now_ms;
    DL_FOREACH_SAFE (link->channels, channel, next_channel) {
        HASH_ITER (hh, channel->peers, peer, next) {
            if (was_stopped)
                peer->heard_ms = now_ms;
            peer_watch_silence(peer, now_ms);
        }
        if (!link->bound && channel->connected && !channel->peers)
            channel_greet(channel);
    }
    if (now_ms - link->looked_up_ms >= LOOK_UP_EVERY_MS)
        look_up_names(link);
}

/* ---- end of turn ---- */

static bool on_turn_end(void *context)
{
    struct link *link = context;
    bool more = false;
    struct channel *channel, *next;
    while (link->dirty) {
        struct peer *peer = link->dirty;
        if (peer_flush(peer) < 0) {
            if (peer->state == PEER_UP)
                peer_down(peer, LINK_DOWN_LOST);
        }
    }
    DL_FOREACH_SAFE (link->channels, channel, next) {
        if (link_socket_pump(channel->socket))
            more = true;
    }
    return more || link->dirty;
}

/* ---- life of a link ---- */

static void link_free(struct link *link)
{
    free(link->up);
    free(link);
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

static struct link *link_new(struct service *service, const char *server_role,
                             const struct link_handlers *handlers, void *owner)
{
    struct link *link = calloc(1, sizeof *link);
    uv_timer_t *tick = calloc(1, sizeof *tick);
    struct turn_hook *hook = link ? service_at_turn_end(service, on_turn_end, link) : NULL;
    if (!link || !tick || !hook) {
        log_error(NULL, "link_failed", LOG_STR("problem", error_text(ERR_NOMEM)));
        service_remove_hook(service, &hook);
        free(tick);
        free(link);
        return NULL;
    }
    *link = (struct link){.service = service,
                          .server_role = server_role,
                          .bound = !server_role,
                          .handlers = handlers,
                          .owner = owner,
                          .hook = hook};
    link->tick = tick;
    link->ticked_ms = clock_now_ms();
    uv_timer_init(service_loop(service), tick);
    tick->data = link;
    uv_timer_start(tick, on_tick, TICK_MS, TICK_MS);
    return link;
}

struct link *link_bind(struct service *service, const char *endpoint, const struct link_handlers *handlers,
                       void *owner)
{
    struct link *link = link_new(service, NULL, handlers, owner);
    if (link && !channel_open(link, endpoint))
        link_close(&link);
    return link;
}

static void connect_to(void *context, struct span endpoint)
{
    struct link *link = context;
    char text[LINK_ENDPOINT_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)endpoint.length, endpoint.data);
    if (!link_names_add(link->names, text))
        channel_open(link, text);
}

struct link *link_connect(struct service *service, const char *role, const char *endpoints,
                          const struct link_handlers *handlers, void *owner)
{
    struct link *link = link_new(service, role, handlers, owner);
    if (!link)
        return NULL;
    link->names = link_names_new(service_loop(service), &names_handlers, link);
    if (!link->names) {
        log_error(NULL, "link_failed", LOG_STR("problem", error_text(ERR_NOMEM)));
        link_close(&link);
        return NULL;
    }
    settings_each_in_list(endpoints, connect_to, link);
    look_up_names(link);
    return link;
}

static void link_free_deferred(void *context)
{
    link_free(context);
}

void link_close(struct link **link_pointer)
{
    struct link *link = *link_pointer;
    struct channel *channel, *next;
    *link_pointer = NULL;
    if (!link)
        return;
    link->closing = true;
    DL_FOREACH_SAFE (link->channels, channel, next) {
        channel_close(channel, LINK_DOWN_CLOSED);
    }
    link_names_free(&link->names);
    service_remove_hook(link->service, &link->hook);
    uv_timer_stop(link->tick);
    uv_close((uv_handle_t *)link->tick, on_tick_closed);
    service_defer(link->service, link_free_deferred, link);
}
