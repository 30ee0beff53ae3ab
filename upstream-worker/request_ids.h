/* SPDX-License-Identifier: MIT */
/* request_ids - random ids for the upstream's headers and for completions. Random bytes are drawn 512 at a
 * time, since each draw is a system call. Nothing blocks once the kernel has entropy. Not thread-safe. */
#ifndef UPSTREAM_WORKER_REQUEST_IDS_H
#define UPSTREAM_WORKER_REQUEST_IDS_H

#include <stddef.h>
#include <stdint.h>

enum { ID_HEX_BYTES = 32, ID_UUID_BYTES = 36, ID_SPAN_BYTES = 16 }; /* without the NUL */

/* Embedded; `draw` fills `bytes` with randomness (tests pass their own). */
struct request_ids {
    void (*draw)(void *bytes, size_t length);
    uint8_t pool[512];
    size_t used;
};

/* `draw` NULL: libsodium's. */
void request_ids_init(struct request_ids *ids, void (*draw)(void *bytes, size_t length));
/* 32 lower-case hex digits and NUL. */
void request_ids_make_hex(struct request_ids *ids, char out[ID_HEX_BYTES + 1]);
/* 16 lower-case hex digits, not all of them 0, and NUL: a span's id in a trace. */
void request_ids_make_span(struct request_ids *ids, char out[ID_SPAN_BYTES + 1]);
/* An RFC 9562 version 4 UUID and NUL. */
void request_ids_make_uuid(struct request_ids *ids, char out[ID_UUID_BYTES + 1]);

#endif
