/* SPDX-License-Identifier: MIT */
/* handlers - the small answers: health, a landing page, a credential's test. */
#include "gateway/handlers.h"
#include "gateway/call.h"
#include "gateway/completions.h"
#include "gateway/health.h"
#include "gateway/percent.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <inttypes.h>
#include <jansson.h>

enum { FIELDLESS_BODY_MAX_BYTES = 16 << 10 };

static const char JSON_TYPE[] = "application/json";

static void reply_json(struct call *call, int error, int status, struct buffer *body)
{
    if (error < 0)
        call_fail(call, FAILURE_INTERNAL, 0);
    else
        call_reply(call, status, JSON_TYPE, buffer_span(body));
    buffer_fini(body);
}

bool body_has_no_fields(struct call *call)
{
    struct call_problem problem = {.failure = FAILURE_INVALID_REQUEST,
                                   .message = SPAN("The body is not a JSON object.")};
    if (call->body.length == 0)
        return true;
    json_t *body = NULL;
    if (call->body.length > FIELDLESS_BODY_MAX_BYTES)
        problem = (struct call_problem){.failure = FAILURE_TOO_LARGE};
    else
        body = json_loadb(call->body.data, call->body.length, JSON_REJECT_DUPLICATES, NULL);
    bool is_empty = json_is_object(body) && json_object_size(body) == 0;
    if (json_is_object(body) && !is_empty)
        problem = (struct call_problem){.failure = FAILURE_BAD_FIELD,
                                        .param = span_str(json_object_iter_key(json_object_iter(body))),
                                        .message = SPAN("There is no such field.")};
    if (!is_empty)
        call_fail_with(call, &problem);
    json_decref(body);
    return is_empty;
}

/* ---- health ---- */

void answer_health(struct call *call, const struct head *head, struct span rest)
{
    struct gateway *gateway = call->gateway;
    struct completions_census census = completions_count(gateway->completions);
    struct health health;
    int64_t up_ms = clock_wall_ms() - service_started_wall_ms(gateway->service);
    struct buffer body = {0};
    (void)head;
    (void)rest;
    health_gather(gateway, &health);
    int error = buffer_printf(&body,
                              "{\"status\":\"%s\",\"service\":\"codebuddy2api\",\"version\":\"%s\","
                              "\"uptime_s\":%" PRId64 ",\"workers\":%zu,\"workers_ready\":%zu,"
                              "\"streams\":%zu,\"waiting\":%zu}",
                              health_status(&health), CB_VERSION, up_ms / 1000, census.workers,
                              census.accepting, census.in_flight, census.waiting);
    call_add_header(call, "Cache-Control", SPAN("no-store"));
    reply_json(call, error, census.accepting == 0 ? 503 : 200, &body);
}

/* ---- a landing page for those whom the upstream sends back ---- */

void answer_callback(struct call *call, const struct head *head, struct span rest)
{
    (void)head;
    (void)rest; /* nothing of the query is believed or shown */
    call_add_header(call, "Content-Security-Policy", SPAN("default-src 'none'; frame-ancestors 'none'"));
    call_reply(call, 200, "text/plain; charset=utf-8",
               SPAN("The login was handed over. You can close this page.\n"));
}

/* ---- the test of a credential ---- */

/* A tiny completion that only this credential may serve; what the client gets is that completion, or why it
 * failed. */
void answer_credential_test(struct call *call, const struct head *head, struct span rest)
{
    if (!body_has_no_fields(call))
        return;
    int length = percent_decode(rest, call->credential_id, sizeof call->credential_id - 1);
    if (length <= 0 || !span_is_header_safe(span_of(call->credential_id, (size_t)length))) {
        call->credential_id[0] = '\0';
        call_fail(call, FAILURE_NOT_FOUND, 0);
        return;
    }
    call->credential_id[length] = '\0';
    call->body = SPAN("{\"messages\":[{\"role\":\"user\",\"content\":\"Say ok.\"}],\"max_tokens\":16}");
    completions_start(call->gateway->completions, call, head);
}
