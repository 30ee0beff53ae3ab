/* SPDX-License-Identifier: MIT */
/* front - HTTP: h2o set up for HTTP/1.1 and nothing else, the listening socket, and what happens to a request
 * before its handler: method, path, who asks, content type, CORS. Owned by the gateway. */
#ifndef GATEWAY_FRONT_H
#define GATEWAY_FRONT_H

#include "gateway/gateway.h"

struct front;

/* Listens (service_listen, "http") but takes nobody in yet; TLS when settings have a certificate. Borrows the
 * gateway, whose other parts must be there. Returns owned; NULL on failure (logged). */
struct front *front_new(struct gateway *gateway);
/* Begins to take connections in. */
void front_open(struct front *front);
/* Stops accepting, lets what runs finish, and holds the service until the last connection is gone. */
void front_drain(struct front *front);
/* Cuts what is left. Calls must have been aborted. NULL-safe. */
void front_free(struct front **front);
size_t front_connection_count(const struct front *front);

#endif
