/* SPDX-License-Identifier: MIT */
/* access_log - one line at INFO for each finished request, event `request`, unless CODEBUDDY_ACCESS_LOG is
 * off. Exactly one, however it ended: answered, failed, refused before its body came, or left by its client.
 * Not for a client that leaves before its request was whole.
 *
 *     field           | meaning                                             | left out when
 *     method          | GET, HEAD, POST …; `other`: none that we know       | the head was not understood
 *     route           | the route's name in metrics; `none`                 |
 *     status          | of the answer; 499: the client left before it began |
 *     outcome         | of a completion: as in the ledger (outcome.h);      |
 *                     | else ok, cancelled, refused (4xx), failed (5xx)     |
 *     code            | the error's, also of one in the midst of a stream   | there was none
 *     reason          | why a head was refused                              | as above
 *     ms              | from the whole request to the answer's end;         |
 *                     | of a refused one: from its first byte               |
 *     first_ms        | to the answer's beginning                           | it did not begin
 *     in_bytes        | of the request's body                               |
 *     out_bytes       | of the answer's body, taken by the client's         |
 *                     | socket or on their way to it                        |
 *     model           | of a completion, as the client named it             | it was not known
 *     credential, key | ids                                                 | there was none
 *     prompt_tokens … | and completion_tokens, attempts, moves              | not a completion
 *     client          | its address                                         |
 *     trace           | trace id of the client's traceparent                | there was none
 *
 * Never a body, a value of a header (but the trace id), a path, a query or a secret. Nothing blocks. */
#ifndef GATEWAY_ACCESS_LOG_H
#define GATEWAY_ACCESS_LOG_H

#include "proto/failure.h"

struct call;
struct connection;
struct head;

/* The word for a method: what a client calls it is its own, what we log is one of ours. Static. */
const char *access_log_method(struct span method);
/* A call that is over. */
void access_log_call(const struct call *call);
/* A request that was refused before it became a call. `head`: NULL if it was not understood; `id` of its
 * answer; `reason` may be empty. */
struct access_refusal {
    const char *id, *reason;
    enum failure failure;
};
void access_log_refusal(const struct connection *connection, const struct head *head,
                        const struct access_refusal *refusal);

#endif
