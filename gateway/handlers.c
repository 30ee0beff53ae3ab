/* SPDX-License-Identifier: MIT */
/* handlers - the small answers: models, health, the plain page. */
#include "gateway/handlers.h"
#include "gateway/call.h"
#include "gateway/completions.h"
#include "gateway/models.h"
#include "gateway/rpc.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <inttypes.h>

static const char JSON_TYPE[] = "application/json";

static void reply_json(struct call *call, int error, int status, struct buffer *body)
{
    if (error < 0)
        call_fail(call, FAILURE_INTERNAL, 0);
    else
        call_reply(call, status, JSON_TYPE, buffer_span(body));
    buffer_fini(body);
}

/* ---- models ---- */

static int64_t created_s(const struct call *call)
{
    return service_started_wall_ms(call->gateway->service) / 1000; /* when we began to offer it */
}

void answer_models(struct call *call, const struct head *head, struct span rest)
{
    struct buffer body = {0};
    (void)head;
    (void)rest;
    int error = models_append_list(&body, call->gateway->settings->models, created_s(call));
    reply_json(call, error, 200, &body);
}

void answer_model(struct call *call, const struct head *head, struct span rest)
{
    struct buffer body = {0};
    (void)head;
    int error = models_append_one(&body, call->gateway->settings->models, rest, created_s(call));
    if (error == ERR_NOT_FOUND) {
        struct call_problem problem = {.failure = FAILURE_MODEL_NOT_FOUND, .param = SPAN("model")};
        call_fail_with(call, &problem);
        return;
    }
    reply_json(call, error, 200, &body);
}

/* ---- health ---- */

/* Unhealthy: requests fail. Degraded: they work, but something is missing (usage waits, or we are stopping).
 */
static const char *judge_health(const struct gateway *gateway, const struct completions_census *census)
{
    if (census->accepting == 0)
        return "unhealthy";
    if (service_draining(gateway->service) || !rpc_is_up(gateway->statsd))
        return "degraded";
    return "healthy";
}

void answer_health(struct call *call, const struct head *head, struct span rest)
{
    struct gateway *gateway = call->gateway;
    struct completions_census census = completions_count(gateway->completions);
    const char *status = judge_health(gateway, &census);
    int64_t up_ms = clock_wall_ms() - service_started_wall_ms(gateway->service);
    struct buffer body = {0};
    (void)head;
    (void)rest;
    int error = buffer_printf(&body,
                              "{\"status\":\"%s\",\"service\":\"codebuddy2api\",\"version\":\"%s\","
                              "\"uptime_s\":%" PRId64 ",\"workers\":%zu,\"workers_ready\":%zu,"
                              "\"streams\":%zu,\"waiting\":%zu}",
                              status, CB_VERSION, up_ms / 1000, census.workers, census.accepting,
                              census.in_flight, census.waiting);
    call_add_header(call, "Cache-Control", SPAN("no-store"));
    reply_json(call, error, census.accepting == 0 ? 503 : 200, &body);
}

/* ---- the page ---- */

void answer_page(struct call *call, const struct head *head, struct span rest)
{
    static const char page[] = "<!doctype html>\n"
                               "<html lang=\"en\">\n"
                               "<meta charset=\"utf-8\">\n"
                               "<title>codebuddy2api</title>\n"
                               "<h1>codebuddy2api</h1>\n"
                               "<p>This gateway is running (version " CB_VERSION "). "
                               "Point an OpenAI client at <code>/v1</code> of this address; <a "
                               "href=\"/health\">/health</a> tells how it "
                               "does.</p>\n"
                               "</html>\n";
    (void)head;
    (void)rest;
    call_add_header(call, "Content-Security-Policy", SPAN("default-src 'none'; frame-ancestors 'none'"));
    call_add_header(call, "Cache-Control", SPAN("no-cache"));
    call_reply(call, 200, "text/html; charset=utf-8", span_of(page, sizeof page - 1));
}
