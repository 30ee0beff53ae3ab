/* SPDX-License-Identifier: MIT */
/* testbed - for tests that run the real credd: directories of its own, the daemon, a client on its link that
 * is a worker or a gateway, and the stand-in upstream. Everything fails the cmocka test that uses it. */
#ifndef CREDD_TESTBED_H
#define CREDD_TESTBED_H

#include "credd/broker.h"
#include "proto/clock.h"
#include "proto/link.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 /* a bound for a hang, not a wait: every loop below ends on its event */ };

struct client {
    struct settings settings;
    struct service *service;
    struct link *link;
    struct peer *credd;
    uv_timer_t beat; /* so that a turn ends though nothing happens */
    uint64_t next_request;
    struct msg_grant grant; /* the last answer; spans are not kept */
    struct msg_refuse refuse;
    char token[4096];
    char granted_id[CREDENTIAL_ID_BYTES];
    uint16_t reply_status;
    json_t *reply; /* owned; the last one */
    int answers;
};

struct world {
    char root[64], run[96], creds[96], data[96];
    const char *sites_dir;
    const char *word;        /* an argument for credd; NULL: none */
    const char *settings[8]; /* more of them, NAME=VALUE; NULL ends */
    char endpoint[80];       /* the stand-in's URL; empty: the default site */
    char log[96];            /* what credd says */
    pid_t pid, upstream_pid;
    struct client client;
};

/* cmocka's setup and teardown. */
int world_open(void **state);
int world_close(void **state);

void start_credd(struct world *world);
/* Sends the signal (0: none) and waits. Returns the exit status, or 1000 + the signal that ended it. */
int end_credd(struct world *world, int signal_number);
/* Writes a file in the credentials directory as a careful person does: whole, by renaming. */
void put_file(struct world *world, const char *name, const char *text);
/* The same with a token in it. */
void put_credential(struct world *world, const char *name, const char *token);
/* The path of a file in the credentials directory; static. */
const char *creds_path(const struct world *world, const char *name);
/* The JSON of such a file, owned. */
json_t *read_credential(const struct world *world, const char *name);
/* Whether credd's log has the text. */
bool log_has(const struct world *world, const char *text);
/* The same, for what must be there soon: a process writes its log at the end of a turn, maybe after it
 * answered. */
bool log_gets(const struct world *world, const char *text);

/* Starts the stand-in; credd, started after, has it as its site. */
void start_upstream(struct world *world);
/* POST /_control/PATH with a JSON body. */
void control(const struct world *world, const char *path, const char *body);
/* One counter of GET /_control/stats. */
int64_t counter(const struct world *world, const char *name);
/* Waits until the counter is there. */
void wait_for_counter(const struct world *world, const char *name, int64_t at_least);
/* The records of one kind of request, owned. */
json_t *requests(const struct world *world, const char *kind);

void client_open(struct world *world, const char *role);
void client_close(struct client *client);
/* Sends LEASE. */
void ask(struct client *client, uint32_t wait_ms);
/* Asks and waits for the answer. Returns the lease, 0 if refused. */
uint64_t lease(struct client *client, uint32_t wait_ms);
void release(struct client *client, uint64_t number, enum outcome outcome);
void renew(struct client *client, const uint64_t *numbers, size_t count);
/* Sends CALL with these arguments (JSON) and the actor `tester`. */
void ask_call(struct client *client, const char *method, const char *arguments);
/* The same, waits for the REPLY and checks its status. Returns client->reply. */
const json_t *call(struct client *client, const char *method, const char *arguments, int status);

#define TURN_UNTIL(client, condition)                                                                        \
    do {                                                                                                     \
        int64_t until_ms = clock_now_ms() + PATIENCE_MS;                                                     \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ms() < until_ms);                                                          \
            uv_run(service_loop((client)->service), UV_RUN_ONCE);                                            \
        }                                                                                                    \
    } while (0)

#endif
