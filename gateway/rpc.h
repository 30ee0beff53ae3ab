/* SPDX-License-Identifier: MIT */
/* rpc - questions to another service: CALL out, REPLY back, or a timeout. Owned by the gateway; never blocks.
 */
#ifndef GATEWAY_RPC_H
#define GATEWAY_RPC_H

#include "proto/link.h"

enum { RPC_MAX_BYTES = 16 << 20 /* of an answer, which may come in several REPLYs */ };

struct rpc;
struct rpc_question;

/* Connects to the `role` (borrows, a literal) at `endpoints`, now or whenever there is somebody. Returns
 * owned; NULL on failure (logged). */
struct rpc *rpc_new(struct service *service, const char *role, const char *endpoints);
/* Open questions must have been dropped. NULL-safe. */
void rpc_free(struct rpc **rpc);
bool rpc_is_up(const struct rpc *rpc);
/* Its link, for its counters. Borrowed. */
const struct link *rpc_link(const struct rpc *rpc);

/* Asks `method` (borrows, a literal). While the other service has been away for less than 2 s, so just after
 * our own start too, the question waits for it. `answered` is called once, on the loop, never in here: error
 * 0 with status and JSON body (borrowed), or ERR_TIMEOUT, ERR_PEER_GONE, ERR_TOO_LARGE (over RPC_MAX_BYTES),
 * ERR_NOMEM. The question is gone then. Returns NULL, and will never call, when nobody has been there for a
 * while or memory is out. */
struct rpc_question *rpc_ask(struct rpc *rpc, const char *method, struct span body, uint64_t timeout_ms,
                             void (*answered)(void *context, int error, int status, struct span body),
                             void *context);
/* Within `answered`: what the answer says of Retry-After, s; 0: nothing. */
uint32_t rpc_retry_after_s(const struct rpc *rpc);
/* Forgets a question: `answered` will not be called. NULL-safe. */
void rpc_drop(struct rpc_question **question);

#endif
