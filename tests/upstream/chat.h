/* SPDX-License-Identifier: MIT */
/* The chat call: check, choose the scenario, play it. */
#ifndef UPSTREAM_CHAT_H
#define UPSTREAM_CHAT_H

#include "tests/upstream/app.h"

/* Answers conn's request. */
void chat_handle(struct app *app, struct conn *conn, const struct server_request *request);

#endif
