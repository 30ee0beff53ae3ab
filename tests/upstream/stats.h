/* SPDX-License-Identifier: MIT */
/* What the stand-in counted: named counters (tests can wait for each), answers per status, usage per
 * credential, and the texts of failed checks. Single thread. */
#ifndef UPSTREAM_STATS_H
#define UPSTREAM_STATS_H

#include <jansson.h>
#include <stdint.h>

#include "tests/upstream/answer.h"

/* X(name, meaning). Those ending in _now go down again; a reset leaves them. */
#define STATS_COUNTERS(X)                                                                                    \
    X(connections_accepted, "TCP connections")                                                               \
    X(connections_now, "open connections, control's included")                                               \
    X(connections_peak, "most at a time")                                                                    \
    X(requests, "HTTP requests but control's")                                                               \
    X(malformed, "what was no HTTP request")                                                                 \
    X(chat, "chat requests")                                                                                 \
    X(login_start, "logins started")                                                                         \
    X(login_poll, "polls")                                                                                   \
    X(login_done, "polls that gave a token")                                                                 \
    X(login_account, "account calls")                                                                        \
    X(refresh, "refresh calls")                                                                              \
    X(refresh_done, "refreshes that gave a token")                                                           \
    X(models, "models calls")                                                                                \
    X(quota_personal, "personal quota calls")                                                                \
    X(quota_enterprise, "enterprise quota calls")                                                            \
    X(unknown, "requests to other paths")                                                                    \
    X(check_failures, "things wrong in what was received")                                                   \
    X(completed, "chat answers sent whole, errors included")                                                 \
    X(cut_short, "chat answers the scenario broke off")                                                      \
    X(aborts, "chat requests whose client left before the end")                                              \
    X(aborts_early, "of these, before the first event was sent")                                             \
    X(streams_now, "chat answers under way")                                                                 \
    X(streams_peak, "most at a time")                                                                        \
    X(events, "SSE events sent whole, [DONE] not counted")                                                   \
    X(tokens, "completion tokens of answers sent whole")                                                     \
    X(bytes_sent, "bytes of chat answers")

enum stats_counter {
#define STATS_ENUM(name, meaning) STATS_##name,
    STATS_COUNTERS(STATS_ENUM)
#undef STATS_ENUM
        STATS_COUNTER_COUNT
};

struct stats;
struct stats_credential; /* of one bearer token; lives until stats_free */

struct stats *stats_new(void);
void stats_free(struct stats **stats);
/* Everything to 0 but what is _now. */
void stats_reset(struct stats *stats);

/* Direct: the hot path adds a dozen times per request. Borrowed, STATS_COUNTER_COUNT long. */
int64_t *stats_counters(struct stats *stats);
void stats_add_status(struct stats *stats, int status);
/* Adds delta to a _now counter and keeps its peak. */
void stats_move(struct stats *stats, enum stats_counter now, enum stats_counter peak, int delta);
/* Notes one failed check of request number request. */
void stats_add_failure(struct stats *stats, uint64_t request, const char *text);
/* The row of a token, made if need be. */
struct stats_credential *stats_find_credential(struct stats *stats, struct span token);
void stats_credential_request(struct stats_credential *credential, int status);
void stats_credential_usage(struct stats_credential *credential, const struct answer_usage *usage);

/* False: no counter of that name ("status_429" and the like are counters too). */
bool stats_read(const struct stats *stats, struct span name, int64_t *value);
/* Returns owned: everything, as GET /_control/stats shows it. */
json_t *stats_to_json(const struct stats *stats);

#endif
