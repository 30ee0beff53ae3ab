/* SPDX-License-Identifier: MIT */
/* refusal - an error answered before h2o has seen the request, as the bytes of a whole HTTP response. Pure.
 */
#ifndef GATEWAY_REFUSAL_H
#define GATEWAY_REFUSAL_H

#include "gateway/head.h"
#include "proto/failure.h"

/* Appends status line, headers (Connection: close, X-Request-ID) and JSON body. `reason` empty: the list's
 * message; it is shown to the client. 0 or ERR_NOMEM. */
int refusal_format(struct buffer *out, const char *id, enum failure failure, const char *reason,
                   uint32_t retry_after_s);
/* The reason phrase of a status. Static. */
const char *status_phrase(int status);

#endif
