/* SPDX-License-Identifier: MIT */
/* desk - where the others ask credd: binds its link, takes each message to the broker, keeps its time, and
 * reports its numbers. Owned by main; never blocks.
 *
 * Only peers that came as upstream-worker may lease, and only others may CALL (calls.h). Draining: leases are
 * granted and renewed on while some live and a worker is connected, for 5 s at most: requests already taken
 * in find a credential, and a replaced credd does not keep its successor waiting. */
#ifndef CREDD_DESK_H
#define CREDD_DESK_H

#include "credd/broker.h"
#include "proto/reporter.h"
#include "proto/service.h"

struct desk;
/* Borrows all. Returns owned, NULL on failure (logged). */
struct desk *desk_open(struct service *service, const struct sites *sites, struct vault *vault,
                       struct reporter *reporter);
void desk_close(struct desk **desk);
/* Call after each vault_scan that returned true. `desk` is a struct desk. */
void desk_take_vault(void *desk);

#endif
