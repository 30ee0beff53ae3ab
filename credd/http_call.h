/* SPDX-License-Identifier: MIT */
/* http_call - one small question to an upstream over libcurl, on the loop: refresh, login, models. Never
 * follows redirects, speaks http and https only, takes at most HTTP_ANSWER_MAX_BYTES and
 * HTTP_CALL_TIMEOUT_MS. Headers and answers may hold tokens and are wiped. Owned by desk. */
#ifndef CREDD_HTTP_CALL_H
#define CREDD_HTTP_CALL_H

#include "proto/secret.h"
#include "proto/settings.h"

#include <uv.h>

enum { HTTP_ANSWER_MAX_BYTES = 1 << 20, HTTP_CALL_TIMEOUT_MS = 30000 };

struct http_calls;
struct http_call;

/* Borrows. Returns owned, NULL when out of memory. */
struct http_calls *http_calls_new(uv_loop_t *loop, const struct settings *settings);
/* No call may be open. NULL-safe. */
void http_calls_free(struct http_calls **calls);

struct http_question {
    struct span base_url;      /* of a site */
    const char *path;          /* with its query */
    const char *body;          /* NULL: GET, else POST */
    struct span lines;         /* `Name: value`, LF between */
    const char *more_lines;    /* the same; "" for none */
    struct span token;         /* bearer; empty: none */
    struct span refresh_token; /* X-Refresh-Token; empty: none */
};

struct http_answer {
    int error;  /* 0; ERR_TIMEOUT, ERR_TOO_LARGE, ERR_NOMEM, ERR_IO (all else) */
    int status; /* with error 0 */
    struct span body;
    const char *problem; /* of an error, in libcurl's words; static */
};

/* `done` is called once, on the loop, not in here; the call is gone then. Borrows the question for the call.
 * Returns NULL, and never calls, when out of memory. */
struct http_call *http_call_start(struct http_calls *calls, const struct http_question *question,
                                  void (*done)(void *context, const struct http_answer *answer),
                                  void *context);
/* `done` is not called. NULL-safe. Not inside `done` of the same call. */
void http_call_cancel(struct http_call **call);

#endif
