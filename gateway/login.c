/* SPDX-License-Identifier: MIT */
/* login - an admin's session: POST /api/login sets the cookie, POST /api/logout takes it away, GET
 * /api/session tells whether there is one (so that the page need not ask for something and be refused). */
#include "gateway/call.h"
#include "gateway/handlers.h"
#include "gateway/metrics.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

enum { COOKIE_MAX_BYTES = 256, BODY_MAX_BYTES = 16 << 10 };

static void set_cookie(struct call *call, const char *token, int life_s)
{
    char cookie[COOKIE_MAX_BYTES];
    bool is_tls = call->gateway->settings->tls_cert_file[0] != '\0';
    snprintf(cookie, sizeof cookie, SESSION_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s",
             token, life_s, is_tls ? "; Secure" : "");
    call_add_header(call, "Set-Cookie", span_str(cookie));
    call_add_header(call, "Cache-Control", SPAN("private, no-store"));
    sodium_memzero(cookie, sizeof cookie);
}

static void fail_field(struct call *call, const char *field, const char *message)
{
    struct call_problem problem = {
        .failure = FAILURE_BAD_FIELD, .param = span_str(field), .message = span_str(message)};
    call_fail_with(call, &problem);
}

/* The password of the body, owned by `body`; data NULL: answered with an error. */
static struct span read_password(struct call *call, json_t *body)
{
    const char *name;
    json_t *value;
    const json_t *password = json_object_get(body, "password");
    struct call_problem problem = {.failure = FAILURE_INVALID_REQUEST,
                                   .message = SPAN("The body is not a JSON object.")};
    if (!json_is_object(body)) {
        call_fail_with(call, &problem);
        return span_of(NULL, 0);
    }
    json_object_foreach (body, name, value) {
        if (value != password) {
            fail_field(call, name, "There is no such field.");
            return span_of(NULL, 0);
        }
    }
    if (!json_is_string(password)) {
        fail_field(call, "password", "It must be a text.");
        return span_of(NULL, 0);
    }
    return span_of(json_string_value(password), json_string_length(password));
}

static void log_in(struct call *call, struct span password)
{
    struct gateway *gateway = call->gateway;
    unsigned char random[SESSION_RANDOM_BYTES];
    char token[SESSION_TOKEN_BYTES];
    uint32_t retry_after_s;
    const struct auth_moment moment = {
        .address = connection_peer(call->connection), .now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    randombytes_buf(random, sizeof random);
    enum failure failure = auth_log_in(gateway->auth, password, &moment, random, token, &retry_after_s);
    if (failure == FAILURE_INVALID_API_KEY)
        metrics_add(gateway->metrics, METRIC_WRONG_PROOFS, 1);
    if (failure != FAILURE_NONE) {
        call_fail(call, failure, retry_after_s);
        return;
    }
    set_cookie(call, token, SESSION_LIFE_S);
    sodium_memzero(token, sizeof token);
    log_info(call->id, "audit", LOG_STR("actor", "password"), LOG_STR("what", "logged_in"));
    call_reply(call, 200, "application/json", SPAN("{\"message\":\"Logged in.\"}"));
}

void answer_login(struct call *call, const struct head *head, struct span rest)
{
    (void)rest;
    if (auth_is_cross_site(head, false)) {
        call_fail(call, FAILURE_CROSS_SITE, 0);
        return;
    }
    if (call->body.length > BODY_MAX_BYTES) {
        call_fail(call, FAILURE_TOO_LARGE, 0);
        return;
    }
    json_t *body =
        json_loadb(call->body.data ? call->body.data : "", call->body.length, JSON_REJECT_DUPLICATES, NULL);
    struct span password = read_password(call, body);
    if (password.data)
        log_in(call, password);
    json_decref(body);
}

/* A session that is over may log out too. */
void answer_logout(struct call *call, const struct head *head, struct span rest)
{
    (void)rest;
    if (auth_is_cross_site(head, false)) {
        call_fail(call, FAILURE_CROSS_SITE, 0);
        return;
    }
    if (!body_has_no_fields(call))
        return;
    set_cookie(call, "", 0);
    call_reply(call, 200, "application/json", SPAN("{\"message\":\"Logged out.\"}"));
}

void answer_session(struct call *call, const struct head *head, struct span rest)
{
    int64_t until_s;
    uint32_t retry_after_s = 0;
    struct buffer body = {0};
    (void)rest;
    enum failure failure =
        auth_find_session(call->gateway->auth, head, clock_wall_ms(), &until_s, &retry_after_s);
    call_add_header(call, "Cache-Control", SPAN("private, no-store"));
    if (failure == FAILURE_NONE && until_s > 0 && auth_is_cross_site(head, false))
        failure = FAILURE_CROSS_SITE;
    int error = until_s > 0 ? buffer_printf(&body, "{\"signed_in\":true,\"expires_at\":%" PRId64 "}", until_s)
                            : buffer_append_span(&body, SPAN("{\"signed_in\":false,\"expires_at\":null}"));
    if (failure == FAILURE_NONE && error < 0)
        failure = FAILURE_INTERNAL;
    if (failure == FAILURE_NONE)
        call_reply(call, 200, "application/json", buffer_span(&body));
    else
        call_fail(call, failure, retry_after_s);
    buffer_fini(&body);
}
