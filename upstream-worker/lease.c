/* SPDX-License-Identifier: MIT */
#include "upstream-worker/lease.h"
#include "proto/failure.h"
#include "proto/key_number.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>

#include <utlist.h>

enum {
    RETRY_AFTER_S = 1,             /* credd restarts in under a second */
    RENEW_MAX = 8192,              /* leases that one RENEW names: 64 KiB */
    RENEW_EVERY_MIN_MS = 100,      /* whatever life credd gives a lease */
    RENEW_EVERY_DEFAULT_MS = 3333, /* a third of credd's 10 s, until a grant says otherwise */
    LEASE_NUMBER_BYTES = 8
};

struct leases {
    struct link *link;
    struct peer *credd; /* NULL while it is away */
    struct lease *asking, *held;
    size_t held_count;
    uint64_t last_ticket;
    int64_t renew_every_ms;
    uv_timer_t *renew_timer;
};

static void leases_send_release(struct leases *leases, const struct msg_release *release)
{
    if (leases->credd)
        peer_send(leases->credd, MESSAGE_RELEASE, 0, release); /* lost: the lease ends by itself */
}

static void leases_send_ask(struct leases *leases, struct lease *lease)
{
    if (leases->credd)
        peer_send(leases->credd, MESSAGE_LEASE, lease->ticket, &lease->ask);
}

static void number_append(struct buffer *numbers, uint64_t number)
{
    unsigned char bytes[LEASE_NUMBER_BYTES] = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(number >> (8 * (sizeof bytes - 1 - i)));
    memcpy(numbers->data + numbers->length, bytes, sizeof bytes);
    numbers->length += sizeof bytes;
}

/* Renews at most `most` from `lease` on. Returns the first that is left, NULL: none. */
static struct lease *leases_renew_some(struct leases *leases, struct lease *lease, size_t most,
                                       struct buffer *numbers, struct buffer *keys)
{
    buffer_clear(numbers);
    buffer_clear(keys);
    for (; lease && numbers->length < most * LEASE_NUMBER_BYTES; lease = lease->next) {
        number_append(numbers, lease->number);
        number_append(keys, lease->key);
    }
    const struct msg_renew renew = {.leases = buffer_span(numbers), .keys = buffer_span(keys)};
    peer_send(leases->credd, MESSAGE_RENEW, 0, &renew);
    return lease;
}

static void leases_renew(struct leases *leases)
{
    size_t room = leases->held_count < RENEW_MAX ? leases->held_count : RENEW_MAX;
    struct buffer numbers = {0}, keys = {0};
    struct lease *lease = leases->held;
    if (!leases->credd || room == 0)
        return;
    if (buffer_reserve(&numbers, room * LEASE_NUMBER_BYTES) == 0 &&
        buffer_reserve(&keys, room * LEASE_NUMBER_BYTES) == 0) /* else: once more before the leases end */
        while (lease)
            lease = leases_renew_some(leases, lease, room, &numbers, &keys);
    buffer_fini(&numbers);
    buffer_fini(&keys);
}

static void leases_on_renew_timer(uv_timer_t *timer)
{
    leases_renew(timer->data);
}

/* Follows the shortest life that was granted. */
static void leases_keep_pace(struct leases *leases, uint32_t ttl_ms)
{
    int64_t every_ms = ttl_ms / 3;
    if (every_ms < RENEW_EVERY_MIN_MS)
        every_ms = RENEW_EVERY_MIN_MS;
    if (every_ms >= leases->renew_every_ms)
        return;
    leases->renew_every_ms = every_ms;
    uv_timer_start(leases->renew_timer, leases_on_renew_timer, (uint64_t)every_ms, (uint64_t)every_ms);
}

static struct lease *leases_find_asking(struct leases *leases, uint64_t ticket)
{
    struct lease *lease;
    DL_FOREACH (leases->asking, lease)
        if (lease->ticket == ticket)
            return lease;
    return NULL;
}

static void lease_refuse(struct leases *leases, struct lease *lease, const struct msg_refuse *refuse)
{
    DL_DELETE(leases->asking, lease);
    lease->state = LEASE_NONE;
    lease->handlers->refused(lease->owner, lease, refuse);
}

static void leases_take_grant(struct leases *leases, uint64_t ticket, const struct msg_grant *grant)
{
    struct lease *lease = leases_find_asking(leases, ticket);
    if (!lease) { /* whoever asked has gone, or asked twice because credd was away */
        struct msg_release release = {.lease = grant->lease, .outcome = OUTCOME_CANCELLED};
        leases_send_release(leases, &release);
        return;
    }
    leases_keep_pace(leases, grant->ttl_ms);
    DL_DELETE(leases->asking, lease);
    DL_APPEND(leases->held, lease);
    leases->held_count++;
    lease->state = LEASE_HELD;
    lease->number = grant->lease;
    lease->handlers->granted(lease->owner, lease, grant);
}

static void leases_on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct leases *leases = owner;
    struct lease *lease;
    (void)hello;
    leases->credd = peer;
    log_info(NULL, "credd_up", LOG_STR("peer", peer_name(peer)), LOG_INT("leases", leases->held_count));
    leases_renew(leases);
    DL_FOREACH (leases->asking, lease)
        leases_send_ask(leases, lease);
}

static void leases_on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct leases *leases = owner;
    if (why != LINK_DOWN_CLOSED)
        log_warning(NULL, "credd_down", LOG_STR("peer", peer_name(peer)));
    if (leases->credd != peer)
        return;
    leases->credd = NULL;
    for (size_t i = 0; leases->link && i < link_peer_count(leases->link); i++)
        if (link_peer(leases->link, i) != peer)
            leases->credd = link_peer(leases->link, i);
}

static void leases_on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct leases *leases = owner;
    if (frame->type == MESSAGE_GRANT) {
        leases_take_grant(leases, frame->request, message);
    } else if (frame->type == MESSAGE_REFUSE) {
        struct lease *lease = leases_find_asking(leases, frame->request);
        if (lease)
            lease_refuse(leases, lease, message);
    } else {
        peer_refuse_frame(peer, frame);
    }
}

static const struct link_handlers leases_handlers = {leases_on_up, leases_on_down, leases_on_frame};

struct leases *leases_new(struct service *service, const char *credd_endpoint)
{
    struct leases *leases = calloc(1, sizeof *leases);
    if (leases)
        leases->renew_timer = calloc(1, sizeof *leases->renew_timer);
    if (!leases || !leases->renew_timer) {
        free(leases);
        log_error(NULL, "out_of_memory");
        return NULL;
    }
    leases->renew_every_ms = RENEW_EVERY_DEFAULT_MS;
    uv_timer_init(service_loop(service), leases->renew_timer);
    leases->renew_timer->data = leases;
    uv_timer_start(leases->renew_timer, leases_on_renew_timer, RENEW_EVERY_DEFAULT_MS,
                   RENEW_EVERY_DEFAULT_MS);
    leases->link = link_connect(service, "credd", credd_endpoint, &leases_handlers, leases);
    if (!leases->link)
        leases_free(&leases);
    return leases;
}

static void timer_free(uv_handle_t *handle)
{
    free(handle);
}

void leases_free(struct leases **leases_at)
{
    struct leases *leases = *leases_at;
    if (!leases)
        return;
    assert(!leases->asking && !leases->held);
    if (leases->link)
        link_close(&leases->link);
    uv_close((uv_handle_t *)leases->renew_timer, timer_free);
    free(leases);
    *leases_at = NULL;
}

void lease_ask(struct leases *leases, struct lease *lease, const struct msg_lease *ask,
               const struct lease_handlers *handlers, void *owner, int64_t now_ms)
{
    assert(lease->state == LEASE_NONE);
    *lease = (struct lease){.state = LEASE_ASKING,
                            .ticket = ++leases->last_ticket,
                            .key = key_number(ask->key_id),
                            .give_up_ms = now_ms + LEASE_WAIT_MS,
                            .ask = *ask,
                            .handlers = handlers,
                            .owner = owner};
    lease->ask.wait_ms = LEASE_WAIT_MS;
    DL_APPEND(leases->asking, lease);
    leases_send_ask(leases, lease);
}

void lease_give_back(struct leases *leases, struct lease *lease, struct msg_release release)
{
    switch (lease->state) {
    case LEASE_NONE:
        return;
    case LEASE_ASKING:
        DL_DELETE(leases->asking, lease);
        break;
    case LEASE_HELD:
        DL_DELETE(leases->held, lease);
        leases->held_count--;
        release.lease = lease->number;
        leases_send_release(leases, &release);
        break;
    }
    lease->state = LEASE_NONE;
}

void leases_tick(struct leases *leases, int64_t now_ms)
{
    const struct msg_refuse refuse = {
        .failure = FAILURE_UNAVAILABLE,
        .retry_after_s = RETRY_AFTER_S,
        .message = SPAN("No credential could be leased in time; try again shortly."),
    };
    /* The list is in order of asking, so of giving up. A refused owner may ask again: it goes to the end. */
    while (leases->asking && leases->asking->give_up_ms <= now_ms)
        lease_refuse(leases, leases->asking, &refuse);
}

size_t leases_held_count(const struct leases *leases)
{
    return leases->held_count;
}

const struct link *leases_link(const struct leases *leases)
{
    return leases->link;
}
