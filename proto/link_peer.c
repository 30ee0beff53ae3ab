/* SPDX-License-Identifier: MIT */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link_private.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { TRAIN_FLUSH_BYTES = 512 << 10 /* longer trains leave at once, within the turn */ };

/* ---- the list of those that are up ---- */

static void up_add(struct link *link, struct peer *peer)
{
    if (link->up_count == link->up_capacity) {
        size_t capacity = link->up_capacity ? link->up_capacity * 2 : 8;
        struct peer **up = realloc(link->up, capacity * sizeof(struct peer *));
        if (!up)
            abort(); /* a few pointers: without them the link is of no use */
        link->up = up;
        link->up_capacity = capacity;
    }
    link->up[link->up_count++] = peer;
}

static void up_remove(struct link *link, const struct peer *peer)
{
    for (size_t i = 0; i < link->up_count; i++)
        if (link->up[i] == peer) {
            link->up[i] = link->up[--link->up_count];
            return;
        }
}

void peer_set_context(struct peer *peer, void *context)
{
    peer->context = context;
}

void *peer_context(const struct peer *peer)
{
    return peer->context;
}

const char *peer_name(const struct peer *peer)
{
    return peer->name;
}

void peer_refuse_frame(struct peer *peer, const struct frame *frame)
{
    peer->channel->link->counters.bad_frames++;
    log_warning(NULL, "unexpected_message", LOG_STR("peer", peer->name),
                LOG_STR("type", message_name((unsigned)frame->type)));
}

/* ---- sending ---- */

static struct span routing_id_of(const struct peer *peer)
{
    return peer->channel->link->bound ? span_of(peer->id, peer->id_length) : span_of(NULL, 0);
}

static void peer_mark_dirty(struct peer *peer)
{
    if (peer->dirty)
        return;
    peer->dirty = true;
    DL_APPEND2(peer->channel->link->dirty, peer, dirty_prev, dirty_next);
    service_turn_again(peer->channel->link->service);
}

static void peer_unmark_dirty(struct peer *peer)
{
    if (!peer->dirty)
        return;
    peer->dirty = false;
    /* The analyzer does not know that the head's prev is the last one. NOLINTNEXTLINE(clang-analyzer-*) */
    DL_DELETE2(peer->channel->link->dirty, peer, dirty_prev, dirty_next);
}

int peer_flush(struct peer *peer)
{
    struct link *link = peer->channel->link;
    size_t length = peer->train.length;
    peer_unmark_dirty(peer);
    if (length == 0)
        return 0;
    link->counters.trains_out++;
    link->counters.bytes_out += length;
    return link_socket_send(peer->channel->socket, routing_id_of(peer), &peer->train);
}

int peer_queue(struct peer *peer, enum message_type type, uint64_t request, const void *message)
{
    if (message_is_secret(type))
        peer->train.is_secret = true;
    int error = message_encode(&peer->train, type, request, message);
    if (error < 0)
        return error;
    peer->channel->link->counters.frames_out++;
    peer_mark_dirty(peer);
    return 0;
}

int peer_send(struct peer *peer, enum message_type type, uint64_t request, const void *message)
{
    if (peer->state != PEER_UP)
        return ERR_PEER_GONE;
    int error = peer_queue(peer, type, request, message);
    if (error == 0 && peer->train.length >= TRAIN_FLUSH_BYTES) {
        error = peer_flush(peer);
        peer_mark_dirty(peer); /* the end of turn must pump; a failure will show there or by the monitor */
    }
    return error;
}

/* ---- life of a peer ---- */

static void peer_free(void *context)
{
    struct peer *peer = context;
    buffer_fini(&peer->train);
    free(peer);
}

struct peer *peer_new(struct channel *channel, struct span id, int fd)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->channel = channel;
    peer->fd = fd;
    peer->heard_ms = peer->pinged_ms = clock_now_ms();
    peer->id_length = id.length ? id.length : 1;
    if (id.length)
        memcpy(peer->id, id.data, id.length);
    HASH_ADD(hh, channel->peers, id, peer->id_length, peer);
    return peer;
}

void peer_down(struct peer *peer, enum link_down why)
{
    struct link *link = peer->channel->link;
    bool was_up = peer->state == PEER_UP;
    peer_unmark_dirty(peer);
    HASH_DEL(peer->channel->peers, peer);
    peer->state = PEER_DOWN;
    if (was_up) {
        up_remove(link, peer);
        link->counters.peers_lost += why == LINK_DOWN_LOST;
        link->counters.peers_hung += why == LINK_DOWN_HUNG;
        if (why != LINK_DOWN_CLOSED)
            log_info(NULL, "peer_down", LOG_STR("peer", peer->name),
                     LOG_STR("why", why == LINK_DOWN_HUNG ? "hung" : "lost"));
        link->handlers->down(link->owner, peer, why);
    }
    service_defer(link->service, peer_free, peer);
}

void peer_say_hello(struct peer *peer)
{
    struct service *service = peer->channel->link->service;
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    struct msg_hello hello = {
        .role = span_str(service_role(service)),
        .name = span_str(service_name(service)),
        .host = span_str(host),
        .pid = (uint32_t)getpid(),
        .started_wall_ms = service_started_wall_ms(service),
        .version = span_str(CB_VERSION),
    };
    peer->pinged_ms = clock_now_ms();
    peer_queue(peer, MESSAGE_HELLO, 0, &hello); /* out of memory: said again by the tick */
}

void peer_up(struct peer *peer, const struct msg_hello *hello)
{
    struct link *link = peer->channel->link;
    snprintf(peer->name, sizeof peer->name, "%.*s@%.*s:%" PRIu32, (int)hello->name.length, hello->name.data,
             (int)hello->host.length, hello->host.data, hello->pid);
    peer->state = PEER_UP;
    up_add(link, peer);
    log_info(NULL, "peer_up", LOG_STR("peer", peer->name));
    link->handlers->up(link->owner, peer, hello);
}

/* ---- silence ---- */

void peer_watch_silence(struct peer *peer, int64_t now_ms)
{
    int64_t silent_ms = now_ms - peer->heard_ms;
    if (peer->state == PEER_GREETING) {
        if (now_ms - peer->pinged_ms >= PING_AFTER_MS)
            peer_say_hello(peer);
    } else if (silent_ms >= HUNG_AFTER_MS) {
        peer_down(peer, LINK_DOWN_HUNG);
    } else if (silent_ms >= PING_AFTER_MS && now_ms - peer->pinged_ms >= PING_AFTER_MS) {
        struct msg_ping ping = {(uint64_t)clock_now_us()};
        peer->pinged_ms = now_ms;
        peer_queue(peer, MESSAGE_PING, 0, &ping);
    }
}
