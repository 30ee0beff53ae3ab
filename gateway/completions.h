/* SPDX-License-Identifier: MIT */
/* completions - chat completions on their way through this gateway: to a worker and back to the client.
 *
 *   state     | what is going on                        | has a worker | ends with
 *   WAITING   | no worker takes requests just now       | no           | a worker; 10 s; the deadline
 *   SENDING   | the body goes out in pieces             | yes          | its last piece
 *   SENT      | the worker is at it                     | yes          | HEAD, FAIL
 *   RELAYING  | HEAD is here; DATA goes to the client   | yes          | END, FAIL
 *   FINISHING | no worker is in it any more; the rest   | no           | the call's end
 *             | goes out to the client, or its error    |              |
 *   OVER      | freed at the end of the turn            | no           |
 *
 *   WAITING → SENDING | SENT → RELAYING → FINISHING → OVER. A worker's death, or a FAIL that may be moved,
 * leads from SENDING or SENT back to WAITING, at most twice. The client's leaving and the deadline lead to
 * FINISHING from anywhere, with CANCEL for the worker.
 *
 * Flow: a worker may have WINDOW_BYTES of DATA that the client's socket has not taken; what it has taken is
 * returned by WINDOW in portions of at least 64 KiB. So whenever a client has taken everything, its worker
 * has more than 192 KiB of window: a worker must send what fits into what is left, and never wait for the
 * whole window.
 *
 * Memory: the request's body is kept (in h2o's buffer) until HEAD, for a move; then it is freed. Never
 * blocks. */
#ifndef GATEWAY_COMPLETIONS_H
#define GATEWAY_COMPLETIONS_H

#include "gateway/call.h"

struct completions;

/* Binds the link that workers connect to. Borrows the gateway, whose service, settings, reporter and metrics
 * must be there. Returns owned; NULL on failure (logged). */
struct completions *completions_new(struct gateway *gateway);
/* Aborts those in flight. NULL-safe. */
void completions_abort_all(struct completions *completions);
/* None may be in flight. NULL-safe. */
void completions_free(struct completions **completions);

/* Takes over an authenticated call, answers it. */
void completions_start(struct completions *completions, struct call *call, const struct head *head);
/* True at CODEBUDDY_MAX_STREAMS. */
bool completions_are_full(const struct completions *completions);

struct completions_census {
    size_t in_flight, waiting; /* completions; waiting are among those in flight */
    size_t workers, accepting; /* upstream-workers connected, and ready for requests */
};
/* The link that workers connect to, for its counters. Borrowed. */
const struct link *completions_link(const struct completions *completions);
struct completions_census completions_count(const struct completions *completions);

#endif
