/* SPDX-License-Identifier: MIT */
#include "proto/link.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/link_socket.h"
#include "proto/log.h"

#include <assert.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

enum {
    TICK_MS = 250,        /* how often silence is looked at */
    PING_AFTER_MS = 1000, /* of silence */
    HUNG_AFTER_MS = 3000, /* of silence, pings included */
    RESOLVE_EVERY_MS = 5000,
    TRAIN_FLUSH_BYTES = 512 << 10, /* longer trains leave at once, within the turn */
    ENDPOINT_BYTES = 512
};

/* GREETING (connected side only): HELLO sent, none heard. UP: HELLO heard. DOWN: told the owner; to be freed.
 *
 *   state     | HELLO heard        | other frame | connection lost | silent
 *   (none)    | UP (bound side)    | RESET sent / HELLO sent       | -               | -
 *   GREETING  | UP                 | counted     | freed           | HELLO again each second
 *   UP        | DOWN, then UP anew | handed on   | DOWN            | DOWN
 */
enum peer_state { PEER_GREETING, PEER_UP, PEER_DOWN };

struct peer {
    struct channel *channel;
    enum peer_state state;
    char id[ROUTING_ID_MAX_BYTES]; /* one NUL byte on the connected side */
    size_t id_length;
    int fd; /* of its connection, for the monitor's word about it */
    int64_t heard_ms, pinged_ms;
    struct buffer train;
    bool dirty; /* on the link's list of those with something to send */
    char name[256];
    void *context;
    struct peer *dirty_prev, *dirty_next;
    UT_hash_handle hh;
};

/* One ZeroMQ socket of a link: the ROUTER with all its peers, or a DEALER with at most one. */
struct channel {
    struct link *link;
    struct link_socket *socket;
    char endpoint[ENDPOINT_BYTES]; /* with the resolved address */
    struct peer *peers;
    bool connected;              /* connected side: the transport is up */
    const struct target *target; /* the name it was resolved from, or NULL */
    bool seen;                   /* by the resolution that is being compared */
    struct channel *prev, *next;
};

/* A name to be resolved again and again: tcp://name:port of the connected side. */
struct target {
    struct link *link;
    char name[256], port[16];
    uv_getaddrinfo_t request;
    bool resolving;
    struct target *prev, *next;
};

struct link {
    struct service *service;
    const struct link_handlers *handlers;
    void *owner;
    const char *server_role; /* connected side */
    bool bound, closing;
    struct channel *channels;
    struct target *targets;
    struct peer *dirty;
    struct peer **up; /* array, for link_peer */
    size_t up_count, up_capacity;
    struct turn_hook *hook;
    uv_timer_t *tick;
    int64_t ticked_ms, resolved_ms;
    struct link_counters counters;
};

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
    DL_DELETE2(peer->channel->link->dirty, peer, dirty_prev, dirty_next);
}

static int peer_flush(struct peer *peer)
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

static int peer_queue(struct peer *peer, enum message_type type, uint64_t request, const void *message)
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

static struct peer *peer_new(struct channel *channel, struct span id, int fd)
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

static void peer_down(struct peer *peer, enum link_down why)
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

static void peer_say_hello(struct peer *peer)
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

static void peer_up(struct peer *peer, const struct msg_hello *hello)
{
    struct link *link = peer->channel->link;
    snprintf(peer->name, sizeof peer->name, "%.*s@%.*s:%" PRIu32, (int)hello->name.length, hello->name.data,
             (int)hello->host.length, hello->host.data, hello->pid);
    peer->state = PEER_UP;
    up_add(link, peer);
    log_info(NULL, "peer_up", LOG_STR("peer", peer->name));
    link->handlers->up(link->owner, peer, hello);
}

static void channel_greet(struct channel *channel)
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

/* ---- channels ---- */

static struct channel *channel_open(struct link *link, const char *endpoint)
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

static void channel_close(struct channel *channel, enum link_down why)
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

/* ---- silence ---- */

static void peer_watch_silence(struct peer *peer, int64_t now_ms)
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

static void resolve_targets(struct link *link);

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
    if (now_ms - link->resolved_ms >= RESOLVE_EVERY_MS)
        resolve_targets(link);
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

/* ---- names ---- */

static void mark_address(struct link *link, const struct target *target, const struct sockaddr *address)
{
    char host[64], endpoint[ENDPOINT_BYTES];
    struct channel *channel;
    socklen_t length =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(address, length, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
        return;
    snprintf(endpoint, sizeof endpoint, address->sa_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s",
             host, target->port);
    DL_FOREACH (link->channels, channel) {
        if (strcmp(channel->endpoint, endpoint) == 0) {
            channel->seen = true;
            return;
        }
    }
    log_info(NULL, "link_address", LOG_STR("name", target->name), LOG_STR("endpoint", endpoint));
    channel = channel_open(link, endpoint);
    if (channel) {
        channel->target = target;
        channel->seen = true;
    }
}

/* An address that the name no longer has is dropped once its peer is gone too. */
static void drop_unseen(struct link *link, const struct target *target)
{
    struct channel *channel, *next;
    DL_FOREACH_SAFE (link->channels, channel, next) {
        if (channel->target == target && !channel->seen && !channel->connected)
            channel_close(channel, LINK_DOWN_LOST);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct target *target = request->data;
    struct link *link = target->link;
    struct channel *channel;
    target->resolving = false;
    if (!link) { /* closed meanwhile */
        free(target);
    } else if (status == 0) {
        DL_FOREACH (link->channels, channel) {
            channel->seen = false;
        }
        for (const struct addrinfo *address = addresses; address; address = address->ai_next)
            mark_address(link, target, address->ai_addr);
        drop_unseen(link, target);
    }
    uv_freeaddrinfo(addresses);
}

static void resolve_targets(struct link *link)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct target *target;
    link->resolved_ms = clock_now_ms();
    DL_FOREACH (link->targets, target) {
        if (target->resolving)
            continue;
        target->request.data = target;
        target->resolving = uv_getaddrinfo(service_loop(link->service), &target->request, on_resolved,
                                           target->name, NULL, &hints) == 0;
    }
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

/* tcp://name:port is a target to resolve; anything else is connected to as it stands. */
static void connect_to(void *context, struct span endpoint)
{
    struct link *link = context;
    char text[ENDPOINT_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)endpoint.length, endpoint.data);
    const char *colon = strrchr(text, ':');
    size_t scheme = strlen("tcp://");
    if (!span_starts_with(endpoint, SPAN("tcp://")) || colon < text + scheme) {
        channel_open(link, text);
        return;
    }
    struct target *target = calloc(1, sizeof *target);
    if (!target)
        return;
    struct span name = span_of(text + scheme, (size_t)(colon - text) - scheme);
    if (name.length > 1 && name.data[0] == '[' && name.data[name.length - 1] == ']')
        name = span_of(name.data + 1, name.length - 2);
    target->link = link;
    snprintf(target->name, sizeof target->name, "%.*s", (int)name.length, name.data);
    snprintf(target->port, sizeof target->port, "%s", colon + 1);
    DL_APPEND(link->targets, target);
}

struct link *link_connect(struct service *service, const char *role, const char *endpoints,
                          const struct link_handlers *handlers, void *owner)
{
    struct link *link = link_new(service, role, handlers, owner);
    if (link) {
        settings_each_in_list(endpoints, connect_to, link);
        resolve_targets(link);
    }
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
    struct target *target, *next_target;
    *link_pointer = NULL;
    if (!link)
        return;
    link->closing = true;
    DL_FOREACH_SAFE (link->channels, channel, next) {
        channel_close(channel, LINK_DOWN_CLOSED);
    }
    DL_FOREACH_SAFE (link->targets, target, next_target) {
        DL_DELETE(link->targets, target);
        target->link = NULL;
        if (!target->resolving)
            free(target);
    }
    service_remove_hook(link->service, &link->hook);
    uv_timer_stop(link->tick);
    uv_close((uv_handle_t *)link->tick, on_tick_closed);
    service_defer(link->service, link_free_deferred, link);
}
