/* SPDX-License-Identifier: MIT */
/* exchange_testbed - a world for one exchange: the gateway, credd and upstream that it meets are functions of
 * this file, which stand in at link time for link.c, lease.c, transfer.c and reporter.c. Time is a variable;
 * allocations fail when a test says so. Everything there is, is in `world`. */
#ifndef UPSTREAM_WORKER_EXCHANGE_TESTBED_H
#define UPSTREAM_WORKER_EXCHANGE_TESTBED_H

#include "upstream-worker/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FIRST_BYTE_S = 300, IDLE_S = 120, KEEPALIVE_S = 15, TOTAL_S = 3600 };

/* What the worker said to the gateway. */
struct said {
    int head_count, end_count, fail_count;
    struct msg_head head;
    struct buffer data;
    struct msg_end end;
    struct msg_fail fail;
    char message[256], code[64], param[64];
};

/* The one transfer of an exchange. */
struct transfer {
    bool is_over, is_paused, is_multiplexed;
    enum transfer_result result;
};

extern struct world {
    int64_t now_ms;
    struct said said;
    struct settings settings;
    struct exchange_home home;
    struct rulebook rulebook;
    int over_count;

    int ask_count;
    char exclude[256];
    struct lease *lease;
    int release_count;
    struct msg_release release;

    int start_count, cancel_count, finish_count, resume_count;
    bool is_fresh; /* the latest start */
    bool start_fails, can_drop;
    struct transfer transfer;
    const struct transfer_handlers *handlers;
    void *owner;

    int event_count;
    struct msg_event event;
    char event_code[64];
} world;

int world_set_up(void **state);
int world_tear_down(void **state);
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_set_up, world_tear_down)

/* After `count` more the next allocation fails, and peer_send of DATA as if it had; negative: none does. */
void world_allow_allocations(long count);
/* Time passes; the exchange learns of it at the end only. */
void world_pass(struct exchange *exchange, int64_t seconds);

/* ---- the gateway ---- */

extern struct peer *const gateway;
extern const char stream_body[], plain_body[]; /* of requests */
/* A new exchange; what the request does not say is filled in. */
struct exchange *gateway_ask_with(struct msg_request request, const char *body);
struct exchange *gateway_ask(const char *body);
/* And its credential is c1. */
struct exchange *gateway_ask_and_grant(const char *body);
/* All DATA so far. Valid until more comes. */
const char *gateway_heard(void);

/* What holds at every end; they free the exchange. */
void check_over(struct exchange *exchange);
void check_failed(struct exchange *exchange, enum failure failure, enum outcome outcome);
void check_ended(struct exchange *exchange, enum outcome outcome);

/* ---- credd: answers what was asked ---- */

void credd_grant(const char *credential_id);
void credd_refuse(enum failure failure, uint32_t retry_after_s);
void credd_refuse_saying(enum failure failure, uint32_t retry_after_s, struct span words);

/* ---- the upstream: answers the latest call ---- */

void upstream_respond(uint16_t status, enum response_content content);
void upstream_respond_later(uint16_t status, const char *retry_after);
/* One batch. False if the bytes were not taken. */
bool upstream_send_bytes(struct span bytes);
bool upstream_send(const char *text);
void upstream_finish(enum transfer_result result);
/* A refusal, whole. */
void upstream_refuse(uint16_t status, const char *body);

#define CHUNK(text)                                                                                          \
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","                \
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define LAST                                                                                                 \
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","                \
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"                                   \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n"
#define DONE "data: [DONE]\n\n"

#endif
