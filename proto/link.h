/* SPDX-License-Identifier: MIT */
/* link - peers over ZeroMQ, on a service's loop. The bound side is a ROUTER with many peers; the connected
 * side is a set of DEALERs, one for each address that its endpoints resolve to, each with one peer.
 *
 * What the link does for both: HELLO in both directions (a peer is `up` once it was heard), application PING
 * every second with a peer taken for hung after 3 s of silence, the loss of a connection noticed at once
 * (socket monitor), reconnection (10 to 100 ms), names resolved again every 5 s, frames gathered into one
 * train per peer and loop turn, receiving capped per turn, garbage counted and answered. CURVE when the
 * settings have keys, and then nobody can claim another role than that of its key; the rules about which
 * endpoints need it are settings_check's.
 *
 * Ownership: a peer is valid from up() until down() returns. Callbacks run on the loop, and inside a call to
 * this module only down(), in link_close. Spans of a frame are valid during the callback only. Not
 * thread-safe. */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "proto/message.h"
#include "proto/service.h"

struct link;
struct peer;

enum link_down {
    LINK_DOWN_LOST = 1 /* the connection broke */,
    LINK_DOWN_HUNG = 2 /* silent for 3 s */,
    LINK_DOWN_CLOSED = 3 /* link_close */
};

struct link_handlers {
    /* A peer said HELLO. Fresh: nothing that was said to an earlier incarnation is known to it. */
    void (*up)(void *owner, struct peer *peer, const struct msg_hello *hello);
    void (*down)(void *owner, struct peer *peer, enum link_down why);
    /* Any other message of the list, already decoded: `message` is the struct msg_… that fits frame->type. */
    void (*frame)(void *owner, struct peer *peer, const struct frame *frame, const void *message);
};

/* Binds one endpoint (ipc://path, tcp://host:port). Borrows handlers (static) and owner. Returns owned; NULL
 * on failure (logged). A stale ipc path is replaced. */
struct link *link_bind(struct service *service, const char *endpoint, const struct link_handlers *handlers,
                       void *owner);
/* Connects to each endpoint of a comma separated list; servers of `role` (borrows, a literal) are there.
 * Never fails for an absent peer: it connects when it comes. */
struct link *link_connect(struct service *service, const char *role, const char *endpoints,
                          const struct link_handlers *handlers, void *owner);
/* Closes at once (what was flushed is still delivered by ZeroMQ, up to 1 s); down() is called for each peer.
 */
void link_close(struct link **link);

/* Queues one message for the peer; it leaves at the end of this turn. 0, ERR_PEER_GONE (not up),
 * ERR_TOO_LARGE, ERR_NOMEM. Success is not delivery: a peer that dies takes what it had not read (see `loss`
 * in the list). */
int peer_send(struct peer *peer, enum message_type type, uint64_t request, const void *message);
/* For a frame that this peer has no business sending: counted with the bad ones, and logged. */
void peer_refuse_frame(struct peer *peer, const struct frame *frame);
void peer_set_context(struct peer *peer, void *context);
void *peer_context(const struct peer *peer);
/* role-instance@host:pid, for logs. Valid as long as the peer. */
const char *peer_name(const struct peer *peer);

/* Number of peers that are up; the i-th of them for i below it, in no stated order. */
size_t link_peer_count(const struct link *link);
struct peer *link_peer(const struct link *link, size_t i);

struct link_counters {
    uint64_t frames_in, frames_out, trains_in, trains_out, bytes_in, bytes_out;
    uint64_t bad_frames; /* malformed, unknown or unexpected */
    uint64_t strangers;  /* frames from a peer that had not said HELLO */
    uint64_t refused;    /* handshakes: a key that is not allowed, or no peer of ours */
    uint64_t peers_lost, peers_hung;
};
const struct link_counters *link_counters(const struct link *link);

#endif
