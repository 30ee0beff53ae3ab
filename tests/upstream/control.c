/* SPDX-License-Identifier: MIT */
#include "tests/upstream/control.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define WAIT_DEFAULT_MS 10000
#define WAIT_MAX_MS     600000
#define RECENT_DEFAULT  20

/* A test that waits for a counter: >= at_least and <= at_most. */
struct waiter {
    struct server_timer timer; /* first: on_fire casts back */
    struct app *app;
    struct conn *conn;
    char counter[64];
    int64_t at_least, at_most;
    struct waiter *prev, *next;
};

static struct script *reply_ok(void)
{
    return app_reply_json(200, json_pack("{s:b}", "ok", 1));
}

static struct script *reply_bad(const char *why)
{
    return app_reply_json(400, json_pack("{s:b,s:s}", "ok", 0, "error", why));
}

/* Takes why. */
static struct script *reply_done(bool done, char *why)
{
    struct script *script = done ? reply_ok() : reply_bad(why ? why : "malformed");

    free(why);
    return script;
}

static struct span text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? span_of(text) : (struct span){"", 0};
}

/* ---- set up ---- */

static struct script *set_default(struct app *app, const json_t *body)
{
    char *why = NULL;
    bool done = catalog_set_default(app->catalog, text_of(body, "scenario"), &why);

    return reply_done(done, why);
}

static struct script *set_rule(struct app *app, const json_t *body)
{
    int64_t times = json_integer_value(json_object_get(body, "times"));
    char *why = NULL;
    bool done = catalog_set_rule(app->catalog, text_of(body, "token"), text_of(body, "model"),
                                 text_of(body, "scenario"), times, &why);

    return reply_done(done, why);
}

static struct script *set_site(struct app *app, const json_t *body)
{
    const json_t *intl = json_object_get(body, "intl");
    const json_t *models = json_object_get(body, "models");

    if ((intl && !json_is_boolean(intl)) || (models && !json_is_array(models)))
        return reply_bad("intl is true or false, models an array of names");
    if (intl)
        app->intl = json_is_true(intl);
    if (models)
        catalog_set_models(app->catalog, models);
    return reply_ok();
}

static struct script *set_account(struct app *app, json_t *body)
{
    const char *why = "";

    return account_set_options(app->account, body, &why) ? reply_ok() : reply_bad(why);
}

static struct script *set_answer(struct app *app, const json_t *body)
{
    const char *why = "";

    return account_set_answer(app->account, body, &why) ? reply_ok() : reply_bad(why);
}

static struct script *reset(struct app *app, struct span query)
{
    struct span what = http_query_value(query, "what");

    stats_reset(app->stats);
    records_reset(app->records);
    if (span_equal(what, "stats"))
        return reply_ok();
    catalog_reset(app->catalog);
    account_reset(app->account);
    app->intl = false;
    return reply_ok();
}

/* ---- look ---- */

static int64_t query_number(struct span query, const char *key, int64_t otherwise)
{
    int64_t number;

    return span_to_number(http_query_value(query, key), &number) ? number : otherwise;
}

static struct script *show_stats(struct app *app)
{
    return app_reply_json(200, stats_to_json(app->stats));
}

static struct script *show_requests(struct app *app, struct span query)
{
    struct span kind = http_query_value(query, "kind");
    int64_t limit = query_number(query, "limit", RECENT_DEFAULT);

    return app_reply_json(200,
                          json_pack("{s:o}", "requests", records_to_json(app->records, kind, (size_t)limit)));
}

static struct script *show_state(struct app *app)
{
    return app_reply_json(200,
                          json_pack("{s:b,s:b,s:o,s:o}", "fast", app->fast, "intl", app->intl, "chat",
                                    catalog_to_json(app->catalog), "account", account_to_json(app->account)));
}

static struct script *show_scenarios(void)
{
    struct buffer text = {0};
    struct script *script;

    scenario_print_table(&text);
    script = script_new_reply(200, "text/markdown; charset=utf-8", "", (struct span){text.data, text.size});
    buffer_fini(&text);
    return script;
}

/* ---- wait ---- */

static bool is_reached(const struct app *app, const struct waiter *waiter, int64_t *value)
{
    return stats_read(app->stats, span_of(waiter->counter), value) && *value >= waiter->at_least &&
           *value <= waiter->at_most;
}

static struct script *reply_wait(bool reached, const struct waiter *waiter, int64_t value)
{
    return app_reply_json(reached ? 200 : 504, json_pack("{s:b,s:s,s:I}", "reached", reached, "counter",
                                                         waiter->counter, "value", (json_int_t)value));
}

static void waiter_free(struct app *app, struct waiter *waiter)
{
    DL_DELETE(app->waiters, waiter);
    server_timer_stop(app->server, &waiter->timer);
    free(waiter);
}

static void waiter_answer(struct waiter *waiter, bool reached, int64_t value)
{
    struct conn *conn = waiter->conn;
    struct script *script = reply_wait(reached, waiter, value);

    server_conn_exchange(conn)->parked = NULL;
    waiter_free(waiter->app, waiter);
    server_play(conn, script);
}

static void waiter_on_timeout(struct server_timer *timer)
{
    struct waiter *waiter = (struct waiter *)timer;
    int64_t value = 0;
    bool reached = is_reached(waiter->app, waiter, &value);

    waiter_answer(waiter, reached, value);
}

static void wait_for(struct app *app, struct conn *conn, struct span query)
{
    struct waiter *waiter = memory_new_zero(1, sizeof(*waiter));
    int64_t timeout_ms = query_number(query, "timeout_ms", WAIT_DEFAULT_MS);
    int64_t value;

    span_copy(http_query_value(query, "counter"), waiter->counter, sizeof(waiter->counter));
    if (!stats_read(app->stats, span_of(waiter->counter), &value)) {
        free(waiter);
        server_play(conn, reply_bad("no such counter"));
        return;
    }
    waiter->app = app;
    waiter->conn = conn;
    waiter->at_least = query_number(query, "at_least", INT64_MIN);
    waiter->at_most = query_number(query, "at_most", INT64_MAX);
    waiter->timer.on_fire = waiter_on_timeout;
    DL_APPEND(app->waiters, waiter);
    server_conn_exchange(conn)->parked = waiter;
    server_park(conn); /* also when it is reached already: the end of this turn will see */
    server_timer_start(app->server, &waiter->timer, timeout_ms < WAIT_MAX_MS ? timeout_ms : WAIT_MAX_MS);
}

void control_check_waiters(struct app *app)
{
    struct waiter *waiter, *next;

    DL_FOREACH_SAFE (app->waiters, waiter, next) {
        int64_t value;

        if (is_reached(app, waiter, &value))
            waiter_answer(waiter, true, value);
    }
}

void control_forget_waiter(struct app *app, struct waiter *waiter)
{
    waiter_free(app, waiter);
}

void control_forget_waiters(struct app *app)
{
    struct waiter *waiter, *next;

    DL_FOREACH_SAFE (app->waiters, waiter, next) {
        DL_DELETE(app->waiters, waiter);
        free(waiter);
    }
}

/* ---- dispatch ---- */

/* Returns NULL if there is no such call. */
static struct script *post(struct app *app, struct span name, const struct server_request *request)
{
    json_t *body = json_loadb(request->body.data ? request->body.data : "", request->body.size, 0, NULL);
    struct script *script = NULL;

    if (span_equal(name, "reset"))
        script = reset(app, request->http->query);
    else if (!json_is_object(body))
        script = reply_bad("the body is not a JSON object");
    else if (span_equal(name, "default"))
        script = set_default(app, body);
    else if (span_equal(name, "rule"))
        script = set_rule(app, body);
    else if (span_equal(name, "site"))
        script = set_site(app, body);
    else if (span_equal(name, "account"))
        script = set_account(app, body);
    else if (span_equal(name, "answer"))
        script = set_answer(app, body);
    json_decref(body);
    return script;
}

static struct script *get(struct app *app, struct span name, struct span query)
{
    if (span_equal(name, "stats"))
        return show_stats(app);
    if (span_equal(name, "requests"))
        return show_requests(app, query);
    if (span_equal(name, "state"))
        return show_state(app);
    if (span_equal(name, "scenarios"))
        return show_scenarios();
    return NULL;
}

void control_handle(struct app *app, struct conn *conn, const struct server_request *request)
{
    const struct http_request *http = request->http;
    size_t prefix = strlen("/_control/");
    struct span name = {http->path.data + prefix, http->path.size - prefix};
    bool is_get = span_equal(http->method, "GET");
    struct script *script = NULL;

    if (is_get && span_equal(name, "wait")) {
        wait_for(app, conn, http->query);
        return;
    }
    if (is_get)
        script = get(app, name, http->query);
    else if (span_equal(http->method, "POST"))
        script = post(app, name, request);
    server_play(conn, script ? script : app_reply_json(404, json_pack("{s:s}", "error", "no such call")));
}
