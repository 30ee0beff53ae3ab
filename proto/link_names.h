/* SPDX-License-Identifier: MIT */
/* link_names - the addresses behind the names in a link's endpoints (tcp://name:port), looked up again and
 * again on libuv's pool. Internal to link. */
#ifndef PROTO_LINK_NAMES_H
#define PROTO_LINK_NAMES_H

#include "proto/bytes.h"

#include <uv.h>

enum { LINK_ENDPOINT_BYTES = 512 };

struct link_names;
struct link_name; /* one of them */

/* What a name stands for now: address() for each, then complete(). Neither is called when it could not be
 * found out. */
struct link_names_handlers {
    void (*address)(void *owner, const struct link_name *name, const char *endpoint); /* tcp://address:port */
    void (*complete)(void *owner, const struct link_name *name);
};

/* Borrows handlers and owner. Returns owned, NULL when out of memory. */
struct link_names *link_names_new(uv_loop_t *loop, const struct link_names_handlers *handlers, void *owner);
/* No callback comes any more. NULL-safe. */
void link_names_free(struct link_names **names);
/* Keeps the name, to be looked up from now on (when out of memory not, which is logged). False, and nothing
 * is kept: the endpoint is none of a name and a port, e.g. ipc://path. An address as name is one, too. */
bool link_names_add(struct link_names *names, const char *endpoint);
/* Asks for all that are not being asked for. */
void link_names_look_up(struct link_names *names);
/* For logs. Valid as long as the name. */
const char *link_name_text(const struct link_name *name);

#endif
