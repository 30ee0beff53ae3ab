/* SPDX-License-Identifier: MIT */
/* desk_numbers - what metrics say of leases and credentials: how many there are in each state, how leases,
 * refusals and refreshes add up (README.md lists the names), and through credential_numbers each credential.
 * Owned by desk; never blocks. */
#ifndef CREDD_DESK_NUMBERS_H
#define CREDD_DESK_NUMBERS_H

#include "credd/broker.h"
#include "credd/refresher.h"
#include "proto/reporter.h"

struct desk_numbers;
/* Borrows the reporter. Returns owned, NULL when out of memory. */
struct desk_numbers *desk_numbers_new(struct reporter *reporter);
void desk_numbers_free(struct desk_numbers **numbers); /* NULL-safe */
/* A request that its API key's limits refused. */
void desk_numbers_key_refused(struct desk_numbers *numbers, enum failure failure);
/* Says what changed since the last time. Call once a second. */
void desk_numbers_report(struct desk_numbers *numbers, const struct broker *broker,
                         const struct refresher *refresher, const struct moment *moment);

#endif
