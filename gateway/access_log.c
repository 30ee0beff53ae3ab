/* SPDX-License-Identifier: MIT */
#include "gateway/access_log.h"
#include "gateway/call.h"
#include "gateway/routes.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/outcome.h"

#include <arpa/inet.h>

enum { MAX_FIELDS = 24 };

struct line {
    struct log_field fields[MAX_FIELDS]; /* zeroed: its end is marked wherever it is */
    size_t count;
    char client[INET6_ADDRSTRLEN];
};

static void add_text(struct line *line, const char *key, struct span text)
{
    if (text.length > 0)
        line->fields[line->count++] = LOG_SPAN(key, text);
}

static void add_word(struct line *line, const char *key, const char *word)
{
    add_text(line, key, span_str(word));
}

static void add_number(struct line *line, const char *key, int64_t number)
{
    line->fields[line->count++] = LOG_INT(key, number);
}

const char *access_log_method(struct span method)
{
    static const char *const words[] = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (span_equals(method, span_str(words[i])))
            return words[i];
    return "other";
}

static void add_client(struct line *line, const struct connection *connection)
{
    const struct sockaddr *peer = connection_peer(connection);
    const void *address = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    int family = peer->sa_family;
    if (family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(v6);
        address = is_mapped ? (const void *)(v6->s6_addr + 12) : v6;
        family = is_mapped ? AF_INET : AF_INET6;
    } else if (family != AF_INET) {
        return; /* its name could not be had */
    }
    if (inet_ntop(family, address, line->client, sizeof line->client))
        add_word(line, "client", line->client);
}

static const char *plain_outcome(int status, enum failure failure)
{
    if (failure == FAILURE_NONE)
        return "ok";
    if (failure == FAILURE_CANCELLED)
        return "cancelled";
    return status < 500 ? "refused" : "failed";
}

static void add_answer(struct line *line, const char *route, int status, enum failure failure,
                       const char *outcome)
{
    add_word(line, "route", route);
    add_number(line, "status", status);
    add_word(line, "outcome", outcome ? outcome : plain_outcome(status, failure));
    if (failure != FAILURE_NONE)
        add_word(line, "code", failure_code(failure));
}

static void add_service(struct line *line, const struct call *call)
{
    const struct call_service *service = &call->service;
    add_text(line, "model", service->model);
    add_text(line, "credential", service->credential_id);
    if (!service->is_completion)
        return;
    add_number(line, "prompt_tokens", (int64_t)service->prompt_tokens);
    add_number(line, "completion_tokens", (int64_t)service->completion_tokens);
    add_number(line, "attempts", service->attempts);
    add_number(line, "moves", service->moves);
}

void access_log_call(const struct call *call)
{
    struct line line = {0};
    const struct call_service *service = &call->service;
    if (!call->gateway->settings->access_log || !log_is_on(LOG_LEVEL_INFO))
        return;
    add_word(&line, "method", call->method);
    add_answer(&line, call->route ? call->route->name : "none", call->status, call->failure,
               service->is_judged ? outcome_word(service->outcome) : NULL);
    add_number(&line, "ms", clock_now_ms() - call->started_ms);
    if (call->began_ms > 0 && call->status != failure_status(FAILURE_CANCELLED))
        add_number(&line, "first_ms", call->began_ms - call->started_ms);
    add_number(&line, "in_bytes", (int64_t)call->body_bytes);
    add_number(&line, "out_bytes", (int64_t)call->sent_bytes);
    add_service(&line, call);
    add_word(&line, "key", call->caller.key_id);
    add_client(&line, call->connection);
    add_text(&line, "trace", call_trace_id(call));
    log_emit(LOG_LEVEL_INFO, call->id, "request", line.fields);
}

void access_log_refusal(const struct connection *connection, const struct head *head,
                        const struct access_refusal *refusal)
{
    struct line line = {0};
    struct route_match match = {0};
    if (head) {
        routes_find(head->method, head->path, &match);
        add_word(&line, "method", access_log_method(head->method));
    }
    add_answer(&line, match.route ? match.route->name : "none", failure_status(refusal->failure),
               refusal->failure, NULL);
    add_word(&line, "reason", refusal->reason);
    add_number(&line, "ms", connection_request_ms(connection));
    add_number(&line, "in_bytes", (int64_t)connection_body_bytes(connection));
    add_number(&line, "out_bytes", 0);
    add_client(&line, connection);
    log_emit(LOG_LEVEL_INFO, refusal->id, "request", line.fields);
}
