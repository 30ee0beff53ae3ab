/* SPDX-License-Identifier: MIT */
#include "credd/followers.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <stdint.h>

/* A context is the address of one of these: what a peer is, and whether it follows. */
enum { IS_WORKER = 1, IS_GATEWAY = 2, MAY_FOLLOW = 4, FOLLOWS = 8, KINDS = 16 };
static const char kinds[KINDS];

static unsigned kind_of(const struct peer *peer)
{
    const char *context = peer_context(peer);
    return context ? (unsigned)(context - kinds) : 0;
}

static void set_kind(struct peer *peer, unsigned kind)
{
    peer_set_context(peer, (void *)(uintptr_t)&kinds[kind]); /* only its address counts */
}

void followers_meet(struct peer *peer, const struct msg_hello *hello)
{
    unsigned kind = 0;
    if (span_equals(hello->role, SPAN("upstream-worker")))
        kind = IS_WORKER | MAY_FOLLOW;
    else if (span_equals(hello->role, SPAN("gateway")))
        kind = IS_GATEWAY | MAY_FOLLOW;
    else if (span_equals(hello->role, SPAN("statsd")))
        kind = MAY_FOLLOW;
    set_kind(peer, kind);
}

bool followers_may_lease(const struct peer *peer)
{
    return kind_of(peer) & IS_WORKER;
}

/* `body` is STATE's, made when it is first needed. A failure is logged. */
static void tell(const struct office *office, struct peer *peer, struct buffer *body)
{
    if (body->length == 0 && office_append_state(office, kind_of(peer) & IS_GATEWAY, body) < 0) {
        log_error(NULL, "state_not_sent", LOG_STR("problem", error_text(ERR_NOMEM)));
        return;
    }
    const struct msg_state state = {.version = office_version(office), .body = buffer_span(body)};
    int error = peer_send(peer, MESSAGE_STATE, 0, &state);
    if (error < 0 && error != ERR_PEER_GONE)
        log_error(NULL, "state_not_sent", LOG_STR("peer", peer_name(peer)),
                  LOG_STR("problem", error_text(error)));
}

bool followers_add(const struct office *office, struct peer *peer, const struct msg_follow *follow)
{
    struct buffer body = {0};
    if (!(kind_of(peer) & MAY_FOLLOW))
        return false;
    set_kind(peer, kind_of(peer) | FOLLOWS);
    if (follow->version != office_version(office))
        tell(office, peer, &body);
    buffer_fini_secret(&body);
    return true;
}

void followers_tell(const struct office *office, const struct link *link)
{
    struct buffer for_gateways = {0}, for_others = {0};
    for (size_t i = 0; i < link_peer_count(link); i++) {
        struct peer *peer = link_peer(link, i);
        if (kind_of(peer) & FOLLOWS)
            tell(office, peer, kind_of(peer) & IS_GATEWAY ? &for_gateways : &for_others);
    }
    buffer_fini_secret(&for_gateways);
    buffer_fini_secret(&for_others);
}
