/* SPDX-License-Identifier: MIT */
/* ops - the endpoint for probes and Prometheus (http-api.md, 4): GET and HEAD of /metrics, /livez, /readyz
 * over HTTP/1.1, one request per connection, no proof asked (it listens on loopback by default). Anything
 * else is 404 or 405 in the error form; every answer has an X-Request-ID. At most 64 connections; a head that
 * is not here in 10 s, or larger than h2o's 12 KiB, ends the connection. Owned by main; lives on the
 * service's loop. */
#ifndef STATSD_OPS_H
#define STATSD_OPS_H

#include "statsd/hub.h"

struct ops;

/* Listens on the inherited socket `ops`, or else on ops_host:ops_port. Borrows both. Returns owned; NULL on
 * failure (logged). */
struct ops *ops_open(struct service *service, const struct hub *hub);
/* Cuts what is open. Runs the loop for a moment: call outside its callbacks, before hub_close. NULL-safe. */
void ops_close(struct ops **ops);

#endif
