/* SPDX-License-Identifier: MIT */
/* The calls under /_control/, by which tests set the stand-in up, read what it saw, and wait for it.
 * Documented in README.md. */
#ifndef UPSTREAM_CONTROL_H
#define UPSTREAM_CONTROL_H

#include "tests/upstream/app.h"

/* Answers conn's request, or parks it until a counter is where the test wants it. */
void control_handle(struct app *app, struct conn *conn, const struct server_request *request);
/* Answers the parked ones whose counter is there. Cheap when there are none. */
void control_check_waiters(struct app *app);
/* The client of a parked request has left, or has been answered. */
void control_forget_waiter(struct app *app, struct waiter *waiter);
/* Frees all, at the end of the program. */
void control_forget_waiters(struct app *app);

#endif
