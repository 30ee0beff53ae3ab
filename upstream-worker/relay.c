/* SPDX-License-Identifier: MIT */
#include "upstream-worker/relay.h"
#include "proto/error.h"

#include <assert.h>
#include <sys/types.h>

void relay_init(struct relay *relay, struct peer *peer, uint64_t request, int64_t now_ms)
{
    *relay = (struct relay){
        .peer = peer, .request = request, .window_bytes = WINDOW_BYTES, .last_sent_ms = now_ms};
}

void relay_fini(struct relay *relay)
{
    buffer_fini(&relay->held);
    relay->held_offset = 0;
}

int relay_send_head(struct relay *relay, const struct msg_head *head, int64_t now_ms)
{
    assert(!relay->is_head_sent);
    relay->is_head_sent = true;
    relay->last_sent_ms = now_ms;
    return relay->peer ? peer_send(relay->peer, MESSAGE_HEAD, relay->request, head) : ERR_PEER_GONE;
}

/* Sends from the front of `bytes` what the window lets through; how much, or a negative enum error. */
static ssize_t relay_push(struct relay *relay, struct span bytes)
{
    size_t sent = 0;
    while (sent < bytes.length && relay->window_bytes > 0) {
        size_t length = bytes.length - sent;
        if (length > relay->window_bytes)
            length = relay->window_bytes;
        if (length > DATA_MAX_BYTES)
            length = DATA_MAX_BYTES;
        struct msg_data data = {span_of(bytes.data + sent, length)};
        int error = relay->peer ? peer_send(relay->peer, MESSAGE_DATA, relay->request, &data) : ERR_PEER_GONE;
        if (error < 0)
            return error;
        sent += length;
        relay->window_bytes -= length;
    }
    return (ssize_t)sent;
}

static int relay_push_held(struct relay *relay, int64_t now_ms)
{
    struct span rest = span_of(relay->held.data + relay->held_offset, relay_held_bytes(relay));
    ssize_t sent = relay_push(relay, rest);
    if (sent < 0)
        return (int)sent;
    if (sent > 0)
        relay->last_sent_ms = now_ms;
    relay->held_offset += (size_t)sent;
    if (relay_held_bytes(relay) == 0) {
        relay_fini(relay); /* a slow reader was an exception: back to no memory */
    } else if (relay->held_offset > relay->held.length / 2) {
        buffer_consume(&relay->held, relay->held_offset);
        relay->held_offset = 0;
    }
    return 0;
}

int relay_send(struct relay *relay, struct buffer *bytes, int64_t now_ms)
{
    assert(relay->is_head_sent);
    ssize_t sent = 0;
    if (relay_held_bytes(relay) == 0) {
        sent = relay_push(relay, buffer_span(bytes));
        if (sent < 0)
            return (int)sent;
        if (sent > 0)
            relay->last_sent_ms = now_ms;
    }
    if ((size_t)sent == bytes->length) {
        buffer_clear(bytes);
        return 0;
    }
    if (relay->held.length == 0 && bytes->length - (size_t)sent > bytes->capacity / 2) {
        relay->held = *bytes; /* take the memory: a whole plain answer may be 64 MiB */
        relay->held_offset = (size_t)sent;
        *bytes = (struct buffer){0};
        return 0;
    }
    /* A reader who stops holds its rest for long: not in a buffer that was made for a burst. */
    int error = buffer_append(&relay->held, bytes->data + sent, bytes->length - (size_t)sent);
    buffer_clear(bytes);
    return error;
}

int relay_credit(struct relay *relay, size_t bytes, int64_t now_ms)
{
    size_t room = WINDOW_BYTES - relay->window_bytes;
    relay->window_bytes += bytes < room ? bytes : room; /* more than was sent: not from a sound gateway */
    return relay_held_bytes(relay) > 0 ? relay_push_held(relay, now_ms) : 0;
}

void relay_finish(struct relay *relay, enum message_type type, const void *message)
{
    assert(relay_held_bytes(relay) == 0);
    if (relay->peer)
        peer_send(relay->peer, type, relay->request, message); /* a failure: the gateway is going down */
    relay->peer = NULL;
}
