/* SPDX-License-Identifier: MIT */
/* system_testbed - what the tests of a whole gateway share beyond harness.h: one gateway for all tests of a
 * program that do not need their own, and what is asked and looked at again and again. */
#ifndef GATEWAY_SYSTEM_TESTBED_H
#define GATEWAY_SYSTEM_TESTBED_H

#include "gateway/harness.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define AUTH "Authorization: Bearer secret\r\n"
#define CHAT "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n" AUTH

/* With small limits (see there) and worker 0. Set up and torn down once for a group of tests. */
extern struct harness shared;
int shared_set_up(void **state);
int shared_tear_down(void **state);

/* On a connection of its own. Fills `answer`: clear it. */
void client_ask_and_read(struct harness *harness, const char *id, const char *script, struct answer *answer);
/* Fails unless it is the error of that status and code, in http-api.md's form. */
void answer_check_error(const struct answer *answer, int status, const char *code);
/* What fake_worker says as `sum` of a body. */
uint64_t buffer_checksum(const struct buffer *buffer);

#endif
