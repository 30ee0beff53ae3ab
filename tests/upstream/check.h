/* SPDX-License-Identifier: MIT */
/* What a chat request must look like (upstream.md, 3 and 4). A failed check is noted for the tests to
 * assert on; only what the real far end refuses is refused. Pure. */
#ifndef UPSTREAM_CHECK_H
#define UPSTREAM_CHECK_H

#include "tests/upstream/server.h"

#define CHECK_MAX_COUNT 24 /* texts per request */

struct check_result {
    char texts[CHECK_MAX_COUNT][120];
    unsigned count;
    int refuse_code; /* 0: goes through; else the envelope's code, with a status 400 */
    const char *refuse_msg;
};

struct check_rules {
    bool intl; /* the first message must be a system message, else 11128 */
    bool fast; /* only what decides whether the request is refused */
};

void check_chat(const struct server_request *request, const struct check_rules *rules,
                struct check_result *result);
/* Headers of the login calls (upstream.md, 3, end); poll also wants B3 headers. */
void check_login(const struct server_request *request, bool poll, struct check_result *result);
/* Headers of the calls made with a token outside chat. */
void check_account(const struct server_request *request, bool refresh, struct check_result *result);

#endif
