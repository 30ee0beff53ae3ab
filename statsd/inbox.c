/* SPDX-License-Identifier: MIT */
#include "statsd/inbox.h"

#include <stdlib.h>
#include <utlist.h>

struct sender {
    struct sender *prev, *next;
    void *peer;
    uint64_t expected;     /* the next sequence to take; 0: any, the connection is new */
    uint64_t sealed;       /* the last one in the sealed batch, or before */
    uint64_t acknowledged; /* the last one told */
};

struct batch {
    struct buffer frames;
    size_t count;
};

struct inbox {
    struct batch gathered, committing;
    size_t limit_bytes;
    struct sender *senders;
};

struct inbox *inbox_new(size_t limit_bytes)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox)
        inbox->limit_bytes = limit_bytes;
    return inbox;
}

void inbox_free(struct inbox **inbox)
{
    if (!*inbox)
        return;
    while ((*inbox)->senders) {
        struct sender *sender = (*inbox)->senders;
        inbox_remove_sender(*inbox, &sender);
    }
    buffer_fini(&(*inbox)->gathered.frames);
    buffer_fini(&(*inbox)->committing.frames);
    free(*inbox);
    *inbox = NULL;
}

struct sender *inbox_add_sender(struct inbox *inbox, void *peer)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return NULL;
    sender->peer = peer;
    DL_APPEND(inbox->senders, sender);
    return sender;
}

void inbox_remove_sender(struct inbox *inbox, struct sender **sender)
{
    if (!*sender)
        return;
    DL_DELETE(inbox->senders, *sender);
    free(*sender);
    *sender = NULL;
}

enum inbox_taken inbox_take(struct inbox *inbox, struct sender *sender, uint64_t sequence,
                            const struct msg_event *event)
{
    struct batch *batch = &inbox->gathered;
    if (sender->expected == 0 && sequence > 0) {
        sender->expected = sequence;
        sender->sealed = sender->acknowledged = sequence - 1;
    }
    if (sequence < sender->expected)
        return sequence == sender->acknowledged ? INBOX_DURABLE : INBOX_KNOWN;
    if (sequence > sender->expected || sequence == 0 || batch->frames.length >= inbox->limit_bytes ||
        message_encode(&batch->frames, MESSAGE_EVENT, sequence, event) < 0)
        return INBOX_REFUSED;
    batch->count++;
    sender->expected++;
    return INBOX_TAKEN;
}

size_t inbox_gathered_count(const struct inbox *inbox)
{
    return inbox->gathered.count;
}

size_t inbox_sealed_count(const struct inbox *inbox)
{
    return inbox->committing.count;
}

struct span inbox_seal(struct inbox *inbox)
{
    if (inbox->committing.count == 0) {
        struct batch empty = inbox->committing; /* its memory is used again */
        inbox->committing = inbox->gathered;
        inbox->gathered = empty;
        struct sender *sender;
        DL_FOREACH (inbox->senders, sender) {
            if (sender->expected > 0)
                sender->sealed = sender->expected - 1;
        }
    }
    return buffer_span(&inbox->committing.frames);
}

void inbox_settle(struct inbox *inbox, void (*acknowledge)(void *context, void *peer, uint64_t sequence),
                  void *context)
{
    enum { KEEP_BYTES = 1 << 20 }; /* a burst's memory is given back */
    if (inbox->committing.frames.capacity > KEEP_BYTES)
        buffer_fini(&inbox->committing.frames);
    buffer_clear(&inbox->committing.frames);
    inbox->committing.count = 0;
    struct sender *sender;
    DL_FOREACH (inbox->senders, sender) {
        if (sender->sealed == sender->acknowledged)
            continue;
        sender->acknowledged = sender->sealed;
        acknowledge(context, sender->peer, sender->acknowledged);
    }
}
