/* SPDX-License-Identifier: MIT */
/* questions - what the gateway asks statsd for (CALL), and the answers (README.md, "Questions").
 *
 *   stats, processes   at once, from memory
 *   usage, requests    by the reader, from the ledger
 *   live               both
 *
 * An unknown method is a 404. Owned by the hub; lives on the loop. */
#ifndef STATSD_QUESTIONS_H
#define STATSD_QUESTIONS_H

#include "proto/link.h"
#include "statsd/registry.h"
#include "statsd/writer.h"

struct questions;

/* Borrows registry and writer. Returns owned, NULL when out of memory. */
struct questions *questions_new(uv_loop_t *loop, const char *directory, const struct registry *registry,
                                const struct writer *writer);
void questions_free(struct questions **questions); /* before registry and writer; NULL-safe */
/* Answers one, now or later. */
void questions_take(struct questions *questions, struct peer *peer, uint64_t request,
                    const struct msg_call *call);
/* The peer is gone: nobody waits for its answers. */
void questions_forget(struct questions *questions, const struct peer *peer);
/* Once a second: how fast things go. */
void questions_tick(struct questions *questions);

#endif
