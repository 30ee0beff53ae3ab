/* SPDX-License-Identifier: MIT */
/* request_id - the id of a request: in its X-Request-ID header, in every log line, in the usage ledger, and
 * sent upstream, which expects 32 hex digits (upstream.md, 3). */
#ifndef GATEWAY_REQUEST_ID_H
#define GATEWAY_REQUEST_ID_H

#include "proto/bytes.h"

enum { REQUEST_ID_BYTES = 65 /* 64 characters and NUL: what a REQUEST can carry */ };

/* The client's own id if it is 1 to 64 characters of [A-Za-z0-9._-], else 32 hex digits made from `random`
 * (16 bytes). */
void request_id_choose(char id[REQUEST_ID_BYTES], struct span wanted, const unsigned char random[16]);

#endif
