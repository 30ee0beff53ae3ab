/* SPDX-License-Identifier: MIT */
/* request_id - the id of a request: in its answer's X-Request-ID header, in every log line, and the key of
 * its line in the usage ledger.
 *
 * Always made here, never taken from the client: a client that used an id twice, an honest retry among them,
 * would be counted once. The client's own X-Request-ID goes to the upstream. */
#ifndef GATEWAY_REQUEST_ID_H
#define GATEWAY_REQUEST_ID_H

#include "proto/bytes.h"

enum {
    REQUEST_ID_BYTES = 33 /* 32 hex digits and NUL, the form that the upstream expects (upstream.md, 3) */
};

/* 12 hex digits of the wall clock in ms, then 20 of `random` (10 bytes): the ledger's index grows at its end.
 */
void request_id_make(char id[REQUEST_ID_BYTES], int64_t wall_ms, const unsigned char random[10]);

#endif
