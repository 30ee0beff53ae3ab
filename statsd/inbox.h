/* SPDX-License-Identifier: MIT */
/* inbox - events received and not yet durable, and who must be told when they are. Pure; owned by the writer.
 *
 * Two batches: one gathers, one is being committed (sealed). A sender is one connection of a peer. Its events
 * are numbered; they are taken in order only, starting with whatever comes first on the connection. One that
 * was taken already is a repeat; one past a gap (something was refused before it) is refused too, so that an
 * ACK always means: everything up to here. A refused event comes again (proto/reporter.c). */
#ifndef STATSD_INBOX_H
#define STATSD_INBOX_H

#include "proto/message.h"

struct inbox;
struct sender;

/* Gathers at most `limit_bytes`; past it events are refused. Returns owned, NULL when out of memory. */
struct inbox *inbox_new(size_t limit_bytes);
void inbox_free(struct inbox **inbox); /* and all senders; NULL-safe */

/* `peer` (borrowed) is handed back with acknowledgements. Returns borrowed, valid until removed; NULL when
 * out of memory. */
struct sender *inbox_add_sender(struct inbox *inbox, void *peer);
/* Its events stay and are committed; nobody is told. NULL-safe. */
void inbox_remove_sender(struct inbox *inbox, struct sender **sender);

enum inbox_taken {
    INBOX_TAKEN,   /* in the gathering batch */
    INBOX_KNOWN,   /* on its way already; its ACK will come */
    INBOX_DURABLE, /* acknowledged already: that was the last ACK, which may have been lost */
    INBOX_REFUSED  /* past a gap, over the limit, or out of memory */
};
enum inbox_taken inbox_take(struct inbox *inbox, struct sender *sender, uint64_t sequence,
                            const struct msg_event *event);

size_t inbox_gathered_count(const struct inbox *inbox);
size_t inbox_sealed_count(const struct inbox *inbox);
/* Makes the gathered batch the sealed one, unless there is one still. Returns the sealed one: EVENT frames,
 * valid until settled. */
struct span inbox_seal(struct inbox *inbox);
/* The sealed batch is durable: forgets it and calls `acknowledge` for each sender that has something in it.
 */
void inbox_settle(struct inbox *inbox, void (*acknowledge)(void *context, void *peer, uint64_t sequence),
                  void *context);

#endif
