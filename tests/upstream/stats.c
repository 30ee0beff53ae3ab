/* SPDX-License-Identifier: MIT */
#include "tests/upstream/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define FAILURE_MAX_COUNT    200 /* texts kept; the counter goes on */
#define CREDENTIAL_MAX_COUNT 10000
#define STATUS_MAX           600

struct failure {
    uint64_t request;
    char text[200];
};

struct stats_credential {
    char *token;
    int64_t requests, refused, answers;
    struct answer_usage usage;
    UT_hash_handle hh;
};

struct stats {
    int64_t counters[STATS_COUNTER_COUNT];
    int64_t status[STATUS_MAX];
    struct failure failures[FAILURE_MAX_COUNT];
    unsigned failure_count;
    struct stats_credential *credentials;
    struct stats_credential *last; /* requests come in rows from one credential */
};

static const char *const counter_names[] = {
#define STATS_NAME(name, meaning) #name,
    STATS_COUNTERS(STATS_NAME)
#undef STATS_NAME
};

struct stats *stats_new(void)
{
    return memory_new_zero(1, sizeof(struct stats));
}

void stats_free(struct stats **stats)
{
    struct stats_credential *credential, *next;

    if (!*stats)
        return;
    credential = (*stats)->credentials;
    HASH_CLEAR(hh, (*stats)->credentials); /* the table goes, the list of its members stays */
    for (; credential; credential = next) {
        next = credential->hh.next;
        free(credential->token);
        free(credential);
    }
    free(*stats);
    *stats = NULL;
}

void stats_reset(struct stats *stats)
{
    int64_t connections = stats->counters[STATS_connections_now];
    int64_t streams = stats->counters[STATS_streams_now];
    struct stats_credential *credential, *next;

    memset(stats->counters, 0, sizeof(stats->counters));
    memset(stats->status, 0, sizeof(stats->status));
    stats->failure_count = 0;
    stats->counters[STATS_connections_now] = stats->counters[STATS_connections_peak] = connections;
    stats->counters[STATS_streams_now] = stats->counters[STATS_streams_peak] = streams;
    HASH_ITER (hh, stats->credentials, credential, next) { /* streams under way hold pointers to them */
        credential->requests = credential->refused = credential->answers = 0;
        credential->usage = (struct answer_usage){0};
    }
}

int64_t *stats_counters(struct stats *stats)
{
    return stats->counters;
}

void stats_add_status(struct stats *stats, int status)
{
    if (status >= 0 && status < STATUS_MAX)
        stats->status[status]++;
}

void stats_move(struct stats *stats, enum stats_counter now, enum stats_counter peak, int delta)
{
    stats->counters[now] += delta;
    if (stats->counters[now] > stats->counters[peak])
        stats->counters[peak] = stats->counters[now];
}

void stats_add_failure(struct stats *stats, uint64_t request, const char *text)
{
    struct failure *failure;

    stats->counters[STATS_check_failures]++;
    if (stats->failure_count == FAILURE_MAX_COUNT)
        return;
    failure = &stats->failures[stats->failure_count++];
    failure->request = request;
    span_copy(span_of(text), failure->text, sizeof(failure->text));
}

struct stats_credential *stats_find_credential(struct stats *stats, struct span token)
{
    struct stats_credential *found = stats->last;

    if (found && strlen(found->token) == token.size && memcmp(found->token, token.data, token.size) == 0)
        return found;
    HASH_FIND(hh, stats->credentials, token.data, token.size, found);
    if (!found) {
        if (HASH_COUNT(stats->credentials) >= CREDENTIAL_MAX_COUNT)
            return NULL;
        found = memory_new_zero(1, sizeof(*found));
        found->token = memory_copy_text(token.data, token.size);
        HASH_ADD_KEYPTR(hh, stats->credentials, found->token, token.size, found);
    }
    stats->last = found;
    return found;
}

void stats_credential_request(struct stats_credential *credential, int status)
{
    if (!credential)
        return;
    credential->requests++;
    if (status >= 400)
        credential->refused++;
}

void stats_credential_usage(struct stats_credential *credential, const struct answer_usage *usage)
{
    if (!credential)
        return;
    credential->answers++;
    credential->usage.prompt += usage->prompt;
    credential->usage.completion += usage->completion;
    credential->usage.cached += usage->cached;
    credential->usage.reasoning += usage->reasoning;
    credential->usage.credit_nano += usage->credit_nano;
}

bool stats_read(const struct stats *stats, struct span name, int64_t *value)
{
    int64_t status;

    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++) {
        if (!span_equal(name, counter_names[i]))
            continue;
        *value = stats->counters[i];
        return true;
    }
    if (!span_has_prefix(name, "status_") ||
        !span_to_number((struct span){name.data + 7, name.size - 7}, &status) || status >= STATUS_MAX)
        return false;
    *value = stats->status[status];
    return true;
}

static json_t *credentials_to_json(const struct stats *stats)
{
    json_t *all = json_object();
    struct stats_credential *credential, *next;

    HASH_ITER (hh, stats->credentials, credential, next) {
        const struct answer_usage *usage = &credential->usage;

        if (credential->requests == 0)
            continue;
        json_object_set_new(
            all, credential->token,
            json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "requests", (json_int_t)credential->requests,
                      "refused", (json_int_t)credential->refused, "answers", (json_int_t)credential->answers,
                      "prompt_tokens", (json_int_t)usage->prompt, "completion_tokens",
                      (json_int_t)usage->completion, "cached_tokens", (json_int_t)usage->cached,
                      "reasoning_tokens", (json_int_t)usage->reasoning, "credit_nano",
                      (json_int_t)usage->credit_nano, "credit", (double)usage->credit_nano / 1e9));
    }
    return all;
}

json_t *stats_to_json(const struct stats *stats)
{
    json_t *all = json_object(), *status = json_object(), *failures = json_array();

    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
        json_object_set_new(all, counter_names[i], json_integer(stats->counters[i]));
    for (int i = 0; i < STATUS_MAX; i++) {
        char name[16];

        if (stats->status[i] == 0)
            continue;
        snprintf(name, sizeof(name), "%d", i);
        json_object_set_new(status, name, json_integer(stats->status[i]));
    }
    for (unsigned i = 0; i < stats->failure_count; i++)
        json_array_append_new(failures,
                              json_pack("{s:I,s:s}", "request", (json_int_t)stats->failures[i].request,
                                        "text", stats->failures[i].text));
    json_object_set_new(all, "status", status);
    json_object_set_new(all, "failures", failures);
    json_object_set_new(all, "credentials", credentials_to_json(stats));
    return all;
}
