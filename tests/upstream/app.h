/* SPDX-License-Identifier: MIT */
/* The stand-in as a whole: everything it knows, and the table of its routes. */
#ifndef UPSTREAM_APP_H
#define UPSTREAM_APP_H

#include "tests/upstream/account.h"
#include "tests/upstream/catalog.h"
#include "tests/upstream/record.h"
#include "tests/upstream/server.h"

struct waiter; /* control.c */

struct app {
    bool fast;             /* no checks of headers, no records: for load */
    bool intl;             /* the first message must be system, else 11128 */
    struct server *server; /* borrowed */
    struct stats *stats;
    struct records *records;
    struct catalog *catalog;
    struct account *account;
    struct waiter *waiters;
};

struct app *app_new(bool fast);
/* After the server is gone. Accepts NULL and sets *app to it. */
void app_free(struct app **app);
/* The handler that makes a server play this app; its context is app. */
struct server_handler app_handler(struct app *app);

/* Returns owned: an answer in JSON; takes json. */
struct script *app_reply_json(int status, json_t *json);
/* Milliseconds of the wall clock. */
int64_t app_wall_ms(void);

#endif
