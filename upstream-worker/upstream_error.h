/* SPDX-License-Identifier: MIT */
/* upstream_error - what an upstream's refusal means: to the client, to the credential, and for what to do
 * next.
 *
 * The table is upstream.md 6. Refusals come as an HTTP status with a body (JSON in several forms, or HTML),
 * as a JSON error in a 200, or as an event inside a stream; all end in one verdict. Nothing blocks, nothing
 * is allocated. */
#ifndef UPSTREAM_WORKER_UPSTREAM_ERROR_H
#define UPSTREAM_WORKER_UPSTREAM_ERROR_H

#include "proto/bytes.h"
#include "proto/failure.h"
#include "proto/outcome.h"
#include "upstream-worker/json_tree.h"

enum {
    UPSTREAM_TEXT_MAX_BYTES = 1023,   /* http-api.md: only strings under 1 KiB are copied */
    UPSTREAM_COOLDOWN_MAX_S = 86400,  /* upstream.md 6 */
    UPSTREAM_COOLDOWN_DEFAULT_S = 60, /* a 429 that does not say how long: the usual window of a rate limit */
};

/* What the upstream said, copied. Texts are UTF-8, NUL-terminated, empty if absent, too long or HTML. */
struct upstream_error {
    uint16_t status; /* HTTP; 200 if the refusal came in a 200's body or stream */
    int64_t code;    /* the upstream's number; 0 if it gave none */
    char message[UPSTREAM_TEXT_MAX_BYTES + 1];
    char type[UPSTREAM_TEXT_MAX_BYTES + 1];
    char code_text[UPSTREAM_TEXT_MAX_BYTES + 1]; /* the code, if it is text */
};

enum upstream_action {
    UPSTREAM_FAIL,             /* tell the client */
    UPSTREAM_RETRY_ONCE,       /* the same again, once, before the client's first byte only */
    UPSTREAM_REFRESH_OR_OTHER, /* have the credential refreshed and try again once, else another credential */
    UPSTREAM_TRY_OTHER,        /* another credential */
    UPSTREAM_TRY_OTHER_SITE    /* a credential of another site */
};

struct upstream_verdict {
    enum failure failure;        /* what the client is told if nothing more can be tried */
    enum upstream_action action; /* what to try first */
    enum outcome outcome;        /* what to report to credd about the credential */
    int64_t retry_after_s; /* with OUTCOME_RATE_LIMITED: for how long, 1 to UPSTREAM_COOLDOWN_MAX_S; else 0 */
    bool shows_upstream_text; /* the upstream's message may be shown; those of a 401 or 403 speak of our
                                 credential */
};

/* True if the object `node` is an error: it has an `error` that says something (not null, false, "" or {}),
 * or a `code` that is not 0 and no `choices`; fills *error (its status: `status`). False: *error is all zero.
 */
bool upstream_error_read(const struct json_tree *tree, uint32_t node, uint16_t status,
                         struct upstream_error *error);
/* Reads the body of a non-200 (may be cut, HTML, empty: then there is only the status). `tree` is used as
 * scratch. */
void upstream_error_read_body(uint16_t status, struct span body, struct json_tree *tree,
                              struct upstream_error *error);
/* `retry_after`: the header's value, empty if absent; seconds or an HTTP date. `now_wall_s`: seconds since
 * 1970. A time in the message is read if the header is silent: "in 20 s", "after 5 minutes", "30 秒后", or a
 * date (without a zone: China's, where the service is). What a refusal inside a 200 means is decided by its
 * code, and by its type or code text if they are OpenAI's words for a rate limit. */
void upstream_error_judge(const struct upstream_error *error, struct span retry_after, int64_t now_wall_s,
                          struct upstream_verdict *verdict);
/* The verdict on a connection that failed, reset, or timed out before an answer. */
void upstream_error_judge_connection(bool is_timeout, struct upstream_verdict *verdict);
/* Appends the client's error body: the verdict's failure, with the upstream's message where it may be shown,
 * and its type and code where the failure is the upstream's own (FAILURE_UPSTREAM). `error` may be NULL. 0 or
 * ERR_NOMEM. */
int upstream_error_append_json(const struct upstream_error *error, const struct upstream_verdict *verdict,
                               struct buffer *out);

#endif
