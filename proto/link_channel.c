/* SPDX-License-Identifier: MIT */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link_private.h"
#include "proto/log.h"

#include <stdlib.h>
#include <utlist.h>

void channel_greet(struct channel *channel)
{
    struct peer *peer = peer_new(channel, span_of(NULL, 0), -1);
    if (!peer)
        return; /* the tick tries again */
    peer->state = PEER_GREETING;
    peer_say_hello(peer);
}

/* ---- frames ---- */

/* A HELLO makes a fresh peer, whatever was there before: the other side has forgotten what was said to it. */
static struct peer *on_hello(struct channel *channel, struct peer *peer, struct span id, int fd,
                             const struct frame *frame)
{
    struct msg_hello hello;
    struct link *link = channel->link;
    if (message_decode(frame, &hello) < 0) {
        link->counters.bad_frames++;
        return peer;
    }
    const char *certified = link_socket_sender_role(channel->socket);
    if (certified && !span_equals(hello.role, span_str(certified))) {
        link->counters.bad_frames++;
        log_warning(NULL, "link_role_refused", LOG_SPAN("claimed", hello.role), LOG_STR("key_of", certified));
        return peer;
    }
    if (peer && peer->state == PEER_UP) {
        peer_down(peer, LINK_DOWN_LOST);
        peer = NULL;
    }
    if (link->closing)
        return NULL;
    if (!peer)
        peer = peer_new(channel, id, fd);
    if (!peer)
        return NULL;
    peer->fd = fd;
    if (link->bound)
        peer_say_hello(peer);
    peer_up(peer, &hello);
    return peer;
}

static void say_unknown(struct peer *peer, unsigned type)
{
    struct msg_unknown unknown = {(uint8_t)type};
    peer_queue(peer, MESSAGE_UNKNOWN, 0, &unknown);
}

static void on_garbage(struct link *link, struct peer *peer, const char *what, unsigned type)
{
    link->counters.bad_frames++;
    log_warning(NULL, "bad_frame", LOG_STR("peer", peer ? peer->name : "stranger"), LOG_STR("problem", what),
                LOG_INT("type", type));
}

/* Largest struct of the list, for decoding on the stack. */
union any_message {
#define M(id, name, value, direction, loss) struct msg_##name name;
    MESSAGE_LIST(M)
#undef M
};

/* One frame of a peer that is up. */
static void on_frame(struct peer *peer, const struct frame *frame)
{
    struct link *link = peer->channel->link;
    union any_message message;
    if (message_is_secret(frame->type))
        link_socket_wipe_delivered(peer->channel->socket);
    int error = message_decode(frame, &message);
    if (error < 0) {
        on_garbage(link, peer, error_text(error), frame->type);
        return;
    }
    link->counters.frames_in++;
    if (frame->type == MESSAGE_PING) {
        struct msg_pong pong = {message.ping.sent_us};
        peer_queue(peer, MESSAGE_PONG, frame->request, &pong);
    } else if (frame->type == MESSAGE_RESET && !link->bound) {
        struct channel *channel = peer->channel;
        peer_down(peer, LINK_DOWN_LOST);
        if (!link->closing)
            channel_greet(channel);
    } else if (frame->type != MESSAGE_PONG && frame->type != MESSAGE_UNKNOWN &&
               frame->type != MESSAGE_RESET) {
        link->handlers->frame(link->owner, peer, frame, &message);
    }
}

/* Somebody who never said HELLO, or whom we took for dead. Answered once per train, without keeping anything.
 */
static void on_stranger(struct channel *channel, struct span id)
{
    struct link *link = channel->link;
    link->counters.strangers++;
    if (!link->bound) {
        if (!channel->peers)
            channel_greet(channel);
        return;
    }
    struct buffer train;
    struct msg_reset reset = {RESET_STRANGER};
    buffer_init(&train);
    if (message_encode(&train, MESSAGE_RESET, 0, &reset) == 0)
        link_socket_send(channel->socket, id, &train);
    buffer_fini(&train);
}

static struct peer *channel_find(struct channel *channel, struct span id)
{
    struct peer *peer;
    static const char dealer_id[1];
    const char *key = id.length ? id.data : dealer_id;
    HASH_FIND(hh, channel->peers, key, id.length ? id.length : 1, peer);
    return peer;
}

/* False if the rest of the train is not for us any more. */
static bool on_train_frame(struct channel *channel, struct span id, int fd, const struct frame *frame)
{
    if (frame->type == MESSAGE_HELLO)
        link_socket_settle(channel->socket);
    struct peer *peer = channel_find(channel, id);
    if (frame->type == MESSAGE_HELLO)
        return on_hello(channel, peer, id, fd, frame) != NULL;
    if (!peer) {
        on_stranger(channel, id);
        return false;
    }
    if (peer->state == PEER_GREETING) {
        if (frame->type == MESSAGE_RESET)
            peer_say_hello(peer);
        return true; /* left over from before: HELLO comes first */
    }
    on_frame(peer, frame);
    return true;
}

static void channel_on_message(void *owner, struct span id, int fd, struct span train)
{
    struct channel *channel = owner;
    struct link *link = channel->link;
    struct frame frame = {0};
    struct peer *peer = channel_find(channel, id);
    if (peer)
        peer->heard_ms = clock_now_ms();
    link->counters.trains_in++;
    link->counters.bytes_in += train.length;
    while (!link->closing) {
        int got = train_next(&train, &frame);
        if (got == 0)
            return;
        if (got < 0) {
            peer = channel_find(channel, id);
            on_garbage(link, peer, error_text(got), (unsigned)frame.type);
            if (peer && (got == ERR_UNKNOWN_TYPE || got == ERR_VERSION))
                say_unknown(peer, (unsigned)frame.type);
            if (got != ERR_UNKNOWN_TYPE)
                return; /* no telling where the next frame begins */
        } else if (!on_train_frame(channel, id, fd, &frame)) {
            return;
        }
    }
}

static void channel_on_connected(void *owner)
{
    struct channel *channel = owner;
    channel->connected = true;
    if (!channel->peers && !channel->link->closing)
        channel_greet(channel);
}

static void channel_on_disconnected(void *owner, int fd)
{
    struct channel *channel = owner;
    struct peer *peer, *next;
    channel->connected = false;
    HASH_ITER (hh, channel->peers, peer, next) {
        if (!channel->link->bound || peer->fd == fd)
            peer_down(peer, LINK_DOWN_LOST);
    }
}

static void channel_on_refused(void *owner)
{
    struct channel *channel = owner;
    channel->link->counters.refused++;
}

static const struct link_socket_handlers channel_handlers = {channel_on_message, channel_on_connected,
                                                             channel_on_disconnected, channel_on_refused};

/* ---- life ---- */

struct channel *channel_open(struct link *link, const char *endpoint)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->link = link;
    snprintf(channel->endpoint, sizeof channel->endpoint, "%s", endpoint);
    channel->socket =
        link_socket_open(link->service, endpoint, link->server_role, &channel_handlers, channel);
    if (!channel->socket) {
        free(channel);
        return NULL;
    }
    DL_APPEND(link->channels, channel);
    return channel;
}

void channel_close(struct channel *channel, enum link_down why)
{
    struct peer *peer, *next;
    HASH_ITER (hh, channel->peers, peer, next) {
        if (peer->dirty)
            peer_flush(peer);
        peer_down(peer, why);
    }
    DL_DELETE(channel->link->channels, channel);
    link_socket_close(&channel->socket);
    service_defer(channel->link->service, free, channel);
}
