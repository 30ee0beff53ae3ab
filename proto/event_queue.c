/* SPDX-License-Identifier: MIT */
#include "proto/event_queue.h"
#include "proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

/* A chunk is closed to new events at this size; one event is at most about 600 bytes. */
enum { CHUNK_BYTES = 64 << 10 };

struct chunk {
    struct chunk *next, *prev;
    struct buffer frames;   /* EVENT frames, back to back */
    uint64_t last_sequence; /* of the newest frame */
};

struct event_queue {
    struct chunk *chunks;
    size_t limit, window;
    uint64_t pushed, sent, acknowledged; /* sequence numbers; acknowledged <= sent <= pushed */
    struct chunk *cursor;                /* chunk of event sent + 1; NULL: look it up or wait for a push */
    size_t cursor_bytes;                 /* where in it */
    size_t peeked_bytes;                 /* where the frame after the peeked one begins; 0: none peeked */
};

struct event_queue *event_queue_new(size_t limit, size_t window)
{
    assert(limit > 0 && window > 0);
    struct event_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->limit = limit;
    queue->window = window;
    return queue;
}

static void chunk_drop(struct event_queue *queue, struct chunk *chunk)
{
    if (queue->cursor == chunk)
        queue->cursor = NULL;
    DL_DELETE(queue->chunks, chunk);
    buffer_fini(&chunk->frames);
    free(chunk);
}

void event_queue_free(struct event_queue **queue)
{
    if (!*queue)
        return;
    while ((*queue)->chunks)
        chunk_drop(*queue, (*queue)->chunks);
    free(*queue);
    *queue = NULL;
}

/* The chunk that takes the next event. */
static struct chunk *chunk_for_push(struct event_queue *queue)
{
    struct chunk *last = queue->chunks ? queue->chunks->prev : NULL; /* utlist: the head's prev is the tail */
    if (last && last->frames.length < CHUNK_BYTES)
        return last;
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk) /* The analyzer does not know that a head has a tail. NOLINTNEXTLINE(clang-analyzer-*) */
        DL_APPEND(queue->chunks, chunk);
    return chunk;
}

/* What the codec takes as it is; otherwise an ASCII copy in `scratch`, cut to `bound`. */
static struct span text_clean(struct span text, size_t bound, char *scratch)
{
    bool clean = text.length <= bound && span_is_utf8(text) &&
                 (text.length == 0 || !memchr(text.data, '\0', text.length));
    if (clean)
        return text;
    size_t length = text.length < bound ? text.length : bound;
    for (size_t i = 0; i < length; i++)
        scratch[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '?';
    return span_of(scratch, length);
}

static int event_encode(struct buffer *frames, uint64_t sequence, const struct msg_event *event)
{
    struct msg_event clean = *event;
#define CLEAN_U8(field, bound)
#define CLEAN_U16(field, bound)
#define CLEAN_U32(field, bound)
#define CLEAN_U64(field, bound)
#define CLEAN_I64(field, bound)
#define CLEAN_STR(field, bound)                                                                              \
    char scratch_##field[(bound)];                                                                           \
    clean.field = text_clean(event->field, (bound), scratch_##field);
#define F(kind, field, bound, meaning) CLEAN_##kind(field, bound)
    EVENT_FIELDS(F)
#undef F
    return message_encode(frames, MESSAGE_EVENT, sequence, &clean);
}

int event_queue_push(struct event_queue *queue, const struct msg_event *event)
{
    if (event_queue_count(queue) >= queue->limit)
        return ERR_BUSY;
    struct chunk *chunk = chunk_for_push(queue);
    if (!chunk)
        return ERR_NOMEM;
    int error = event_encode(&chunk->frames, queue->pushed + 1, event);
    if (error < 0) {
        if (chunk->frames.length == 0)
            chunk_drop(queue, chunk);
        return error;
    }
    queue->pushed++;
    chunk->last_sequence = queue->pushed;
    return 0;
}

/* Puts the cursor on event sent + 1, which exists: the first chunk that holds something newer than `sent`.
 * Inside that chunk it walks; this happens once after a rewind and once per chunk, never per event. */
static void cursor_place(struct event_queue *queue)
{
    struct chunk *chunk = queue->chunks;
    while (chunk->last_sequence <= queue->sent)
        chunk = chunk->next;
    queue->cursor = chunk;
    queue->cursor_bytes = 0;
    struct span rest = buffer_span(&chunk->frames);
    struct frame frame;
    while (train_next(&rest, &frame) == 1 && frame.request <= queue->sent)
        queue->cursor_bytes = chunk->frames.length - rest.length;
}

bool event_queue_peek(struct event_queue *queue, uint64_t *sequence, struct msg_event *event)
{
    if (queue->sent == queue->pushed || queue->sent - queue->acknowledged >= queue->window)
        return false;
    if (!queue->cursor || queue->cursor_bytes == queue->cursor->frames.length)
        cursor_place(queue);
    struct chunk *chunk = queue->cursor;
    struct span rest =
        span_of(chunk->frames.data + queue->cursor_bytes, chunk->frames.length - queue->cursor_bytes);
    struct frame frame;
    int got = train_next(&rest, &frame);
    assert(got == 1 && frame.request == queue->sent + 1); /* we encoded it */
    int error = message_decode(&frame, event);
    assert(error == 0);
    *sequence = frame.request;
    queue->peeked_bytes = chunk->frames.length - rest.length;
    return true;
}

void event_queue_sent(struct event_queue *queue)
{
    assert(queue->cursor && queue->peeked_bytes > 0);
    queue->cursor_bytes = queue->peeked_bytes;
    queue->peeked_bytes = 0;
    queue->sent++;
}

bool event_queue_ack(struct event_queue *queue, uint64_t sequence)
{
    if (sequence <= queue->acknowledged || sequence > queue->sent)
        return false;
    queue->acknowledged = sequence;
    while (queue->chunks && queue->chunks->last_sequence <= sequence)
        chunk_drop(queue, queue->chunks);
    return true;
}

void event_queue_rewind(struct event_queue *queue)
{
    queue->sent = queue->acknowledged;
    queue->cursor = NULL;
    queue->peeked_bytes = 0;
}

size_t event_queue_count(const struct event_queue *queue)
{
    return (size_t)(queue->pushed - queue->acknowledged);
}

size_t event_queue_in_flight_count(const struct event_queue *queue)
{
    return (size_t)(queue->sent - queue->acknowledged);
}

size_t event_queue_memory_bytes(const struct event_queue *queue)
{
    size_t bytes = sizeof *queue;
    for (const struct chunk *chunk = queue->chunks; chunk; chunk = chunk->next)
        bytes += sizeof *chunk + chunk->frames.capacity;
    return bytes;
}
