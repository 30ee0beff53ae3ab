/* SPDX-License-Identifier: MIT */
/* reader - questions to the ledger, answered on libuv's pool by a read-only connection of its own: neither
 * commits nor probes wait for one. One at a time, 32 waiting at most; one that takes longer than two seconds
 * is given up. Owned by the hub; lives on the loop. */
#ifndef STATSD_READER_H
#define STATSD_READER_H

#include "proto/bytes.h"

#include <jansson.h>
#include <uv.h>

struct reader;

enum reader_method {
    READER_USAGE,    /* usage.h */
    READER_REQUESTS, /* requests.h */
    READER_LIVE      /* {"first_event_ms":…,"requests":[…]}: the ledger's part of /api/live */
};

/* Called once, on the loop, never in reader_ask: `status` is HTTP's, `body` (borrowed) is what it says. */
typedef void reader_answered(void *context, uint16_t status, struct span body);

/* Opens nothing yet. Returns owned, NULL when out of memory. */
struct reader *reader_new(uv_loop_t *loop, const char *directory);
/* No answer comes after this; a question that is being answered is waited for by the loop's last run, which
 * frees. NULL-safe. */
void reader_free(struct reader **reader);
/* Takes `arguments` (an object, never NULL). `ledger_life`: another number than before means that the file
 * is a new one. False, and nothing will be called: too many questions, or out of memory. */
bool reader_ask(struct reader *reader, enum reader_method method, json_t *arguments, unsigned ledger_life,
                reader_answered *answered, void *context);

#endif
