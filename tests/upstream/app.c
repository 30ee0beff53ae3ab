/* SPDX-License-Identifier: MIT */
#include "tests/upstream/app.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/upstream/chat.h"
#include "tests/upstream/check.h"
#include "tests/upstream/control.h"

#define CONTROL_PREFIX "/_control/"

struct route {
    const char *method, *path, *kind;
    enum stats_counter counter;
    enum account_call call; /* CALL_COUNT: chat */
};

static const struct route routes[] = {
    {"POST", "/v2/chat/completions", "chat", STATS_chat, CALL_COUNT},
    {"POST", "/v2/plugin/auth/state", "start", STATS_login_start, CALL_START},
    {"GET", "/v2/plugin/auth/token", "poll", STATS_login_poll, CALL_POLL},
    {"GET", "/v2/plugin/login/account", "account", STATS_login_account, CALL_ACCOUNT},
    {"POST", "/v2/plugin/auth/token/refresh", "refresh", STATS_refresh, CALL_REFRESH},
    {"GET", "/console/enterprises/personal/models", "models", STATS_models, CALL_MODELS},
    {"POST", "/v2/billing/meter/get-user-resource", "quota_personal", STATS_quota_personal,
     CALL_QUOTA_PERSONAL},
    {"POST", "/v2/billing/meter/get-enterprise-user-usage", "quota_enterprise", STATS_quota_enterprise,
     CALL_QUOTA_ENTERPRISE},
};

struct app *app_new(bool fast)
{
    struct app *app = memory_new_zero(1, sizeof(*app));

    app->fast = fast;
    app->stats = stats_new();
    app->records = records_new();
    app->catalog = catalog_new();
    app->account = account_new();
    account_use_stats(app->account, app->stats);
    return app;
}

void app_free(struct app **app)
{
    if (!*app)
        return;
    control_forget_waiters(*app);
    account_free(&(*app)->account);
    catalog_free(&(*app)->catalog);
    records_free(&(*app)->records);
    stats_free(&(*app)->stats);
    free(*app);
    *app = NULL;
}

struct script *app_reply_json(int status, json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    struct script *script = script_new_reply(status, "application/json", "", span_of(text ? text : "null"));

    free(text);
    json_decref(json);
    return script;
}

int64_t app_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const struct route *find_route(const struct http_request *http)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (span_equal(http->path, routes[i].path))
            return &routes[i];
    return NULL;
}

static uint64_t record(struct app *app, const struct server_request *request, const char *kind)
{
    struct record_request wanted = {
        .kind = kind,
        .head = request->head,
        .body = request->body,
        .body_bytes = request->body_bytes,
        .sha256 = request->sha256,
        .wall_ms = app_wall_ms(),
    };

    return records_add(app->records, &wanted);
}

static struct script *refuse(struct app *app, uint64_t number, int status, const char *why)
{
    stats_add_failure(app->stats, number, why);
    return app_reply_json(status, json_pack("{s:i,s:s}", "code", status, "msg", why));
}

static struct script *answer_account(struct app *app, const struct route *route,
                                     const struct server_request *request, uint64_t number)
{
    struct account_input input = {
        .request = request, .models = catalog_models(app->catalog), .wall_s = app_wall_ms() / 1000};
    struct check_result check;

    if (route->call == CALL_START || route->call == CALL_POLL)
        check_login(request, route->call == CALL_POLL, &check);
    else
        check_account(request, route->call == CALL_REFRESH, &check);
    for (unsigned i = 0; i < check.count; i++)
        stats_add_failure(app->stats, number, check.texts[i]);
    return account_answer(app->account, route->call, &input);
}

static void on_request(void *context, struct conn *conn, const struct server_request *request)
{
    struct app *app = context;
    struct server_exchange *exchange = server_conn_exchange(conn);
    const struct route *route;

    if (span_has_prefix(request->http->path, CONTROL_PREFIX)) {
        control_handle(app, conn, request);
        return;
    }
    route = find_route(request->http);
    stats_counters(app->stats)[STATS_requests]++;
    stats_counters(app->stats)[route ? route->counter : STATS_unknown]++;
    if (!app->fast || !route || route->call != CALL_COUNT)
        exchange->record = record(app, request, route ? route->kind : "unknown");
    if (!route)
        server_play(conn, refuse(app, exchange->record, 404, "no such path"));
    else if (!span_equal(request->http->method, route->method))
        server_play(conn, refuse(app, exchange->record, 405, "wrong method"));
    else if (route->call == CALL_COUNT)
        chat_handle(app, conn, request);
    else
        server_play(conn, answer_account(app, route, request, exchange->record));
}

static const char *outcome_word(enum server_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_COMPLETE:
        return "complete";
    case OUTCOME_CUT:
        return "cut";
    case OUTCOME_ABORTED:
        break;
    }
    return "aborted";
}

static void on_end(void *context, struct server_exchange *exchange, const struct script *script,
                   enum server_outcome outcome)
{
    struct app *app = context;
    struct record_end end = {
        .outcome = outcome_word(outcome),
        .status = script && script->run_count ? script->status : 0,
        .events = exchange->events,
        .duration_us = server_now_us(app->server) - exchange->started_us,
    };

    if (exchange->parked)
        control_forget_waiter(app, exchange->parked);
    if (exchange->is_chat && script && outcome == OUTCOME_COMPLETE) {
        stats_counters(app->stats)[STATS_tokens] += script->usage.completion;
        if (script->usage.prompt || script->usage.completion)
            stats_credential_usage(exchange->credential, &script->usage);
    }
    records_end(app->records, exchange->record, &end);
}

static void on_turn(void *context)
{
    control_check_waiters(context);
}

struct server_handler app_handler(struct app *app)
{
    return (struct server_handler){
        .context = app, .on_request = on_request, .on_end = on_end, .on_turn = on_turn};
}
