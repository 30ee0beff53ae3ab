/* SPDX-License-Identifier: MIT */
/* event_queue - a sender's usage events between their end and statsd's ACK. Pure: no time, no I/O.
 *
 * Events are numbered from 1 in the order of push. At most `window` of them may be sent and unacknowledged at
 * a time, which bounds what statsd must hold for one peer. They are kept encoded, back to back in chunks of
 * 64 KiB that are freed once all of a chunk is acknowledged: about 150 bytes an event.
 *
 *     acknowledged … | sent, in the window … | waiting …
 *
 * Owned by the reporter. */
#ifndef PROTO_EVENT_QUEUE_H
#define PROTO_EVENT_QUEUE_H

#include "proto/message.h"

struct event_queue;

/* Holds at most `limit` events, of which `window` are in flight. Returns owned, NULL when out of memory. */
struct event_queue *event_queue_new(size_t limit, size_t window);
void event_queue_free(struct event_queue **queue); /* NULL-safe */

/* Copies the event in. A text over its bound is cut, and one that is not UTF-8 or holds a NUL is kept as
 * ASCII with `?` for the rest: a strange model name must not lose the event. 0, ERR_BUSY (at the limit),
 * ERR_NOMEM.
 */
int event_queue_push(struct event_queue *queue, const struct msg_event *event);
/* The next event to send, if there is one and the window has room. Its spans borrow from the queue and stay
 * valid until it is acknowledged. Does not move on: event_queue_sent does. */
bool event_queue_peek(struct event_queue *queue, uint64_t *sequence, struct msg_event *event);
/* The event that peek showed is on its way. Call only after a peek that returned true. */
void event_queue_sent(struct event_queue *queue);
/* Drops the events up to `sequence`. False, and nothing done, if it was never sent or is no news. */
bool event_queue_ack(struct event_queue *queue, uint64_t sequence);
/* Everything unacknowledged is to be sent again: the connection is a new one. */
void event_queue_rewind(struct event_queue *queue);

size_t event_queue_count(const struct event_queue *queue);           /* kept */
size_t event_queue_in_flight_count(const struct event_queue *queue); /* sent, not acknowledged */
size_t event_queue_memory_bytes(const struct event_queue *queue);

#endif
