/* SPDX-License-Identifier: MIT */
/* key_ring - the API keys there are, as STATE tells them (proto/follow.h): hashes, and when they expire. What
 * a key may do is kept by credd, where each request passes. Pure: time is passed in. */
#ifndef GATEWAY_KEY_RING_H
#define GATEWAY_KEY_RING_H

#include "proto/bytes.h"

#include <jansson.h>

enum { KEY_ID_MAX_BYTES = 64 /* as in REQUEST */ };

struct key_ring;

/* Makes a ring of STATE's `keys`; an entry that is not as it should be is left out. Returns owned, NULL when
 * out of memory. */
struct key_ring *key_ring_new(const json_t *keys);
void key_ring_free(struct key_ring **ring); /* NULL-safe */
/* The id of the key that `text` is, NULL if it is none or has expired. Borrowed from the ring. */
const char *key_ring_find(const struct key_ring *ring, struct span text, int64_t wall_ms);

#endif
