/* SPDX-License-Identifier: MIT */
/* model_answers - GET /models and /models/{id}: the configured models and what the upstream adds, which credd
 * knows (CALL models.list). While it does not answer, the configured ones alone. */
#include "gateway/call.h"
#include "gateway/handlers.h"
#include "gateway/models.h"
#include "gateway/percent.h"
#include "gateway/routes.h"
#include "gateway/rpc.h"
#include "proto/error.h"

#include <jansson.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 5000 /* it may have to ask the upstream, which is asked again later all the same */ };

struct listing {
    struct call *call;
    struct rpc_question *open; /* NULL once answered */
    char wanted[MODEL_NAME_MAX_BYTES];
    int wanted_length; /* -1: all */
};

static void reply(struct call *call, int error, struct buffer *body)
{
    struct call_problem problem = {.failure = FAILURE_MODEL_NOT_FOUND, .param = SPAN("model")};
    if (error == ERR_NOT_FOUND)
        call_fail_with(call, &problem);
    else if (error < 0)
        call_fail(call, FAILURE_INTERNAL, 0);
    else
        call_reply(call, 200, "application/json", buffer_span(body));
    buffer_fini(body);
}

static void answer_configured(const struct listing *listing)
{
    struct buffer body = {0};
    const struct gateway *gateway = listing->call->gateway;
    int64_t created_s = service_started_wall_ms(gateway->service) / 1000; /* when we began to offer it */
    int error = listing->wanted_length < 0
                    ? models_append_list(&body, gateway->settings->models, created_s)
                    : models_append_one(&body, gateway->settings->models,
                                        span_of(listing->wanted, (size_t)listing->wanted_length), created_s);
    reply(listing->call, error, &body);
}

static int append_wanted(struct buffer *body, struct span text, struct span wanted)
{
    size_t i;
    json_t *model, *root = json_loadb(text.data, text.length, 0, NULL);
    int error = root ? ERR_NOT_FOUND : ERR_NOMEM;
    json_array_foreach (json_object_get(root, "data"), i, model) {
        const json_t *id = json_object_get(model, "id");
        if (error != ERR_NOT_FOUND ||
            !span_equals(wanted, span_of(json_string_value(id), json_string_length(id))))
            continue;
        char *dumped = json_dumps(model, JSON_COMPACT);
        error = dumped ? buffer_append_span(body, span_str(dumped)) : ERR_NOMEM;
        free(dumped);
    }
    json_decref(root);
    return error;
}

static void on_answered(void *context, int error, int status, struct span text)
{
    struct listing *listing = context;
    struct buffer body = {0};
    listing->open = NULL;
    if (error < 0 || status != 200) {
        answer_configured(listing);
        return;
    }
    error = listing->wanted_length < 0
                ? buffer_append_span(&body, text)
                : append_wanted(&body, text, span_of(listing->wanted, (size_t)listing->wanted_length));
    reply(listing->call, error, &body);
}

static void on_left(void *owner)
{
    struct listing *listing = owner;
    rpc_drop(&listing->open);
    call_abort(listing->call);
}

static void on_ended(void *owner)
{
    struct listing *listing = owner;
    rpc_drop(&listing->open);
    free(listing);
}

static void on_written(void *owner)
{
    (void)owner; /* the answer is one piece */
}

static const struct call_events events = {on_written, on_left, on_ended};

void answer_models(struct call *call, const struct head *head, struct span rest)
{
    struct listing *listing = calloc(1, sizeof *listing);
    (void)head;
    if (!listing) {
        call_fail(call, FAILURE_INTERNAL, 0);
        return;
    }
    listing->call = call;
    call_watch(call, &events, listing);
    listing->wanted_length = -1;
    if (call->route->takes_rest) {
        listing->wanted_length = percent_decode(rest, listing->wanted, sizeof listing->wanted);
        if (listing->wanted_length < 0) {
            struct buffer none = {0};
            reply(call, ERR_NOT_FOUND, &none);
            return;
        }
    }
    listing->open =
        rpc_ask(call->gateway->credd, call->route->ask, SPAN("{}"), TIMEOUT_MS, on_answered, listing);
    if (!listing->open)
        answer_configured(listing);
}
