/* SPDX-License-Identifier: MIT */
/* desk - where the others ask credd: binds its link, takes each message to the broker, the office or the
 * methods of the admin API, keeps their time, and reports their numbers. Owned by main; never blocks but
 * where office does.
 *
 * Only peers that came as upstream-worker may lease, as far as the API key of the request allows, and only
 * others may CALL (calls.h). Draining: leases are granted and renewed on while some live and a worker is
 * connected, for 5 s at most: requests already taken in find a credential, and a replaced credd does not keep
 * its successor waiting. */
#ifndef CREDD_DESK_H
#define CREDD_DESK_H

#include "credd/broker.h"
#include "credd/office.h"
#include "proto/reporter.h"
#include "proto/service.h"

struct desk;
struct desk_parts {
    const struct sites *sites;
    struct vault *vault;
    struct office *office;
    const char *directory;           /* credd's own (proto/data_directory.h) */
    const struct settings *settings; /* the live ones */
    struct reporter *reporter;
};
/* Borrows all parts. Returns owned, NULL on failure (logged). */
struct desk *desk_open(struct service *service, const struct desk_parts *parts);
void desk_close(struct desk **desk);
/* Call after each vault_scan that returned true. `desk` is a struct desk. */
void desk_take_vault(void *desk);

#endif
