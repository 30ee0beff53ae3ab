/* SPDX-License-Identifier: MIT */
/* followers - who is on desk's link, and who of them is told the STATE. Keeps what it knows in the peers'
 * contexts: they are this module's. Never blocks.
 *
 * Upstream-workers and gateways may FOLLOW; each is then told every change until it goes. */
#ifndef CREDD_FOLLOWERS_H
#define CREDD_FOLLOWERS_H

#include "credd/office.h"
#include "proto/link.h"

/* Call when the peer came up, before anything else. */
void followers_meet(struct peer *peer, const struct msg_hello *hello);
bool followers_may_lease(const struct peer *peer);
/* Takes a FOLLOW: tells the peer, if it does not know the present state. False if it may not follow. */
bool followers_add(const struct office *office, struct peer *peer, const struct msg_follow *follow);
/* Tells all that follow. */
void followers_tell(const struct office *office, const struct link *link);

#endif
