/* SPDX-License-Identifier: MIT */
/* link_private - what the parts of a link share: link.c (which sockets there are, silence, the end of a
 * turn), link_channel.c (one socket, and what is heard on it) and link_peer.c (the life of a peer, and what
 * is said to it). What all of them promise to others is in link.h. */
#ifndef PROTO_LINK_PRIVATE_H
#define PROTO_LINK_PRIVATE_H

#include "proto/link.h"
#include "proto/link_names.h"
#include "proto/link_socket.h"

#include <uthash.h>

enum {
    PING_AFTER_MS = 1000, /* of silence */
    HUNG_AFTER_MS = 3000, /* of silence, pings included */
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
    char endpoint[LINK_ENDPOINT_BYTES]; /* with the resolved address */
    struct peer *peers;
    bool connected;               /* connected side: the transport is up */
    const struct link_name *name; /* that it was resolved from, or NULL */
    bool seen;                    /* among the addresses that are being told */
    struct channel *prev, *next;
};

struct link {
    struct service *service;
    const struct link_handlers *handlers;
    void *owner;
    const char *server_role; /* connected side */
    bool bound, closing;
    struct channel *channels;
    struct link_names *names; /* connected side */
    struct peer *dirty;
    struct peer **up; /* array, for link_peer */
    size_t up_count, up_capacity;
    struct turn_hook *hook;
    uv_timer_t *tick;
    int64_t ticked_ms, looked_up_ms;
    struct link_counters counters;
};

/* ---- link_channel.c ---- */

/* Opens a socket and puts it on the list. NULL on failure (logged). */
struct channel *channel_open(struct link *link, const char *endpoint);
/* Sends what waits, then all its peers go down. */
void channel_close(struct channel *channel, enum link_down why);
/* Connected side, while there is no peer: makes it, GREETING, and says HELLO. */
void channel_greet(struct channel *channel);

/* ---- link_peer.c ---- */

/* `id` empty on the connected side; `fd` -1: not known yet. NULL when out of memory. */
struct peer *peer_new(struct channel *channel, struct span id, int fd);
void peer_say_hello(struct peer *peer);
/* GREETING or new → UP: tells the owner. */
void peer_up(struct peer *peer, const struct msg_hello *hello);
/* Any → DOWN: off all lists, tells the owner if it was up; freed at the end of the turn. */
void peer_down(struct peer *peer, enum link_down why);
/* What the tick does for it: says HELLO or PING again, and takes it down when it hangs. */
void peer_watch_silence(struct peer *peer, int64_t now_ms);
/* peer_send in any state. */
int peer_queue(struct peer *peer, enum message_type type, uint64_t request, const void *message);
/* Sends what is queued now. 0 or ERR_PEER_GONE. */
int peer_flush(struct peer *peer);

#endif
