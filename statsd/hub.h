/* SPDX-License-Identifier: MIT */
/* hub - statsd's end of the links: who is connected, what they send, where it goes.
 *
 * EVENT → the inbox, ACK once it is durable. GAUGE → the registry. CALL → an answer (questions.h).
 * Also reports statsd's own numbers, as any other process does. Owned by main; lives on the service's loop.
 */
#ifndef STATSD_HUB_H
#define STATSD_HUB_H

#include "proto/service.h"
#include "statsd/registry.h"
#include "statsd/totals.h"

struct hub;

/* Opens the ledger, in `directory`, and binds the link. Returns owned; NULL on failure (logged): `exit_code`
 * says whether a restart can help (the ledger is a newer program's: it cannot). */
struct hub *hub_open(struct service *service, const char *directory, int *exit_code);
void hub_close(struct hub **hub); /* NULL-safe */

const struct totals *hub_totals(const struct hub *hub); /* valid until the next turn */
const struct registry *hub_registry(const struct hub *hub);
bool hub_ledger_is_failing(const struct hub *hub);

#endif
