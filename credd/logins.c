/* SPDX-License-Identifier: MIT */
#include "credd/logins.h"
#include "credd/credential_new.h"
#include "credd/upstream_answer.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define START_PATH "/v2/plugin/auth/state?platform=CLI"
#define POLL_PATH  "/v2/plugin/auth/token?state="
/* upstream.md, 3: what login calls say beside a profile's headers. */
#define LOGIN_LINES                                                                                          \
    "X-No-Authorization: true\nX-No-User-Id: true\nX-No-Enterprise-Id: true\nX-No-Department-Info: true\n"   \
    "Cache-Control: no-cache\nPragma: no-cache"

enum { STATE_BYTES = 512, ID_BYTES = 16, LOGIN_URL_MAX_BYTES = 4096 };

enum login_state { LOGIN_STARTING, LOGIN_OPEN, LOGIN_ASKING, LOGIN_SAVING, LOGIN_HOLDING };

struct login {
    struct logins *home;
    enum login_state state;
    char id[2 * ID_BYTES + 1];
    char upstream_state[STATE_BYTES];
    int64_t ends_ms;
    struct call *call;                    /* the question under way; NULL: none */
    char actor[CALL_ACTOR_MAX_BYTES + 1]; /* who polled last, for the audit line */
    struct http_call *http_call;          /* STARTING, ASKING */
    json_t *file;                         /* SAVING, HOLDING: with the tokens */
    bool is_cancelled;                    /* SAVING cannot be interrupted: nobody is told */
    struct login *prev, *next;
};

struct logins {
    struct logins_parts parts;
    struct buffer lines; /* the default site's headers, for one that has no account yet */
    struct login *list;
    size_t count;
};

bool login_url_is_fit(const char *url)
{
    char *scheme = NULL, *host = NULL, *user = NULL, *password = NULL;
    bool is_fit = false;
    if (strncasecmp(url, "https://", strlen("https://")) != 0 || url[strlen("https://")] == '/')
        return false; /* libcurl repairs what browsers read otherwise */
    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '\\' || *at == '"' || *at == '<' || *at == '>')
            return false;
    CURLU *parts = strlen(url) <= LOGIN_URL_MAX_BYTES ? curl_url() : NULL;
    if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK) {
        bool has_user = curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK ||
                        curl_url_get(parts, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK;
        is_fit = !has_user && curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 strcmp(scheme, "https") == 0 && curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                 *host;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(parts);
    return is_fit;
}

/* ---- records ---- */

static void login_free(struct login *login)
{
    DL_DELETE(login->home->list, login);
    login->home->count--;
    http_call_cancel(&login->http_call);
    json_decref(login->file); /* wiped: json_wipe.h */
    free(login);
}

/* Ends those whose time is over, but for one that is being saved. */
static void end_old(struct logins *logins)
{
    int64_t now_ms = clock_now_ms();
    struct login *login, *next;
    DL_FOREACH_SAFE (logins->list, login, next) {
        bool is_idle = login->state == LOGIN_OPEN || login->state == LOGIN_HOLDING;
        if (is_idle && login->ends_ms <= now_ms)
            login_free(login);
    }
}

/* Until the oldest is over; at least 1. */
static uint32_t seconds_to_room(const struct logins *logins)
{
    int64_t left_ms = logins->list ? logins->list->ends_ms - clock_now_ms() : 0;
    return left_ms > 1000 ? (uint32_t)((left_ms + 999) / 1000) : 1;
}

static struct login *login_find(struct logins *logins, const char *id)
{
    struct login *login;
    end_old(logins);
    DL_FOREACH (logins->list, login) {
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        if (login->state != LOGIN_STARTING && !login->is_cancelled && strcmp(login->id, id) == 0)
            return login;
    }
    return NULL;
}

static struct login *login_new(struct logins *logins)
{
    unsigned char random[ID_BYTES];
    struct login *login = calloc(1, sizeof *login);
    if (!login)
        return NULL;
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(login->id, sizeof login->id, random, sizeof random);
    login->home = logins;
    login->ends_ms = clock_now_ms() + LOGIN_LIFE_MS;
    DL_APPEND(logins->list, login);
    logins->count++;
    return login;
}

/* The question under way, which the caller answers. */
static struct call *take_call(struct login *login)
{
    struct call *call = login->call;
    login->call = NULL;
    return call;
}

static struct http_call *ask(struct login *login, const char *path, const char *body,
                             void (*done)(void *context, const struct http_answer *answer))
{
    const struct http_question question = {
        .base_url = span_str(site_base_url(sites_default(login->home->parts.sites))),
        .path = path,
        .body = body,
        .lines = buffer_span(&login->home->lines),
        .more_lines = LOGIN_LINES};
    return http_call_start(login->home->parts.http, &question, done, login);
}

/* ---- start ---- */

/* Notes what the upstream gave; NULL if it is no good. */
static const char *take_start(struct login *login, const json_t *data)
{
    const char *state = json_string_value(json_object_get(data, "state"));
    const char *url = json_string_value(json_object_get(data, "authUrl"));
    if (!state || !*state || strlen(state) >= STATE_BYTES || !url || !login_url_is_fit(url))
        return NULL;
    snprintf(login->upstream_state, sizeof login->upstream_state, "%s", state);
    return url;
}

static void on_started(void *context, const struct http_answer *http)
{
    struct login *login = context;
    struct upstream_answer answer;
    struct call *call = take_call(login);
    login->http_call = NULL;
    upstream_answer_read(http, &answer);
    const char *url = answer.meaning == UPSTREAM_OK ? take_start(login, answer.data) : NULL;
    if (url) {
        login->state = LOGIN_OPEN;
        call_audit(call, "login_start", "", "");
        call_reply(call, 200,
                   json_pack("{s:b,s:s,s:s,s:s,s:i,s:i,s:s}", "success", 1, "auth_state", login->id,
                             "verification_uri", url, "verification_uri_complete", url, "expires_in",
                             LOGIN_LIFE_MS / 1000, "interval", LOGIN_INTERVAL_S, "status", "pending"));
    } else {
        bool is_odd = answer.meaning == UPSTREAM_OK;
        call_fail(call, is_odd ? FAILURE_UPSTREAM_PROTOCOL : FAILURE_UPSTREAM, NULL,
                  is_odd ? "The upstream gave no address that a person may be sent to." : answer.words);
        login_free(login);
    }
    upstream_answer_fini(&answer);
}

static void answer_start(void *owner, struct call *call, const json_t *arguments)
{
    struct logins *logins = owner;
    (void)arguments;
    end_old(logins);
    if (logins->count >= LOGINS_MAX) {
        call_fail_until(call, FAILURE_TOO_MANY_ATTEMPTS, "too_many_logins",
                        "Three logins are open already: finish or cancel one, or wait until one is over.",
                        seconds_to_room(logins));
        return;
    }
    struct login *login = login_new(logins);
    if (login)
        login->http_call = ask(login, START_PATH, "{}", on_started);
    if (login && login->http_call) {
        login->call = call;
        return;
    }
    if (login)
        login_free(login);
    call_fail_error(call, ERR_NOMEM);
}

/* ---- finish ---- */

/* As in RFC 8628. */
static void fail_poll(struct call *call, const char *error, const char *description)
{
    if (call)
        call_reply(call, 400, json_pack("{s:s,s:s}", "error", error, "error_description", description));
}

static void reply_saved(struct login *login, struct call *call, const char *filename)
{
    char id[CREDENTIAL_ID_BYTES];
    uint32_t number;
    const json_t *info = json_object_get(login->file, "user_info");
    const char *user = json_string_value(json_object_get(info, "sub"));
    credential_id_of(filename, id, &number);
    calls_audit(login->actor, "login_done", id, filename); /* also when nobody waits any more */
    if (call)
        call_reply(call, 200, json_pack("{s:b,s:s,s:s?}", "saved", 1, "id", id, "user_id", user));
}

static void on_saved(void *context, int error, const char *filename)
{
    struct login *login = context;
    struct call *call = take_call(login);
    if (error < 0) {
        log_error(NULL, "login_not_saved", LOG_STR("error", error_text(error)));
        login->state = LOGIN_HOLDING;
        if (call)
            call_fail(call, FAILURE_UNAVAILABLE, NULL, "The credential could not be written; poll again.");
        if (login->is_cancelled)
            login_free(login);
        return;
    }
    login->home->parts.rescan(login->home->parts.owner);
    reply_saved(login, call, filename);
    login_free(login);
}

/* 0; ERR_INVALID if these tokens make no credential, with the problem; ERR_NOMEM. */
static int save(struct login *login, char problem[CREDENTIAL_PROBLEM_BYTES])
{
    struct buffer wanted = {0}, text = {0};
    char name[CREDENTIAL_NAME_BYTES];
    int error = credential_object_describe(login->file, &wanted);
    error = error ? error : credential_text_append(login->file, &text);
    error = error ? error : credential_text_check(buffer_span(&text), login->home->parts.sites, problem);
    if (error == 0) {
        credential_name_reduce(buffer_span(&wanted), name);
        error = file_maker_create(login->home->parts.maker, buffer_span(&text), name, true, on_saved, login);
    }
    buffer_fini_secret(&text);
    buffer_fini(&wanted);
    return error;
}

static void login_save(struct login *login)
{
    char problem[CREDENTIAL_PROBLEM_BYTES] = "";
    int error = save(login, problem);
    if (error == 0) {
        login->state = LOGIN_SAVING;
        return;
    }
    struct call *call = take_call(login);
    if (error == ERR_INVALID) {
        log_error(NULL, "login_unusable", LOG_STR("problem", problem));
        call_fail(call, FAILURE_UPSTREAM_PROTOCOL, NULL, "The upstream gave tokens that cannot be used.");
        login_free(login);
    } else {
        login->state = LOGIN_HOLDING;
        call_fail_error(call, error);
    }
}

/* ---- poll ---- */

/* Makes the file's object of what the upstream gave. 0, ERR_INVALID, ERR_NOMEM. */
static int take_tokens(struct login *login, const json_t *data)
{
    char problem[CREDENTIAL_PROBLEM_BYTES];
    login->file = json_object();
    int error =
        login->file ? credential_object_tie(login->file, login->home->parts.sites, problem) : ERR_NOMEM;
    return error ? error : credential_object_take(login->file, data, clock_wall_ms());
}

static void on_done(struct login *login, const json_t *data)
{
    int error = take_tokens(login, data);
    if (error == 0) {
        login_save(login);
        return;
    }
    json_decref(login->file);
    login->file = NULL;
    struct call *call = take_call(login);
    login->state = LOGIN_OPEN;
    if (error == ERR_INVALID)
        call_fail(call, FAILURE_UPSTREAM_PROTOCOL, NULL, "The upstream gave no token.");
    else
        call_fail_error(call, error);
}

static void on_polled(void *context, const struct http_answer *http)
{
    struct login *login = context;
    struct upstream_answer answer;
    login->http_call = NULL;
    login->state = LOGIN_OPEN;
    upstream_answer_read(http, &answer);
    if (answer.meaning == UPSTREAM_OK) {
        on_done(login, answer.data);
    } else if (answer.meaning == UPSTREAM_PENDING) {
        fail_poll(take_call(login), "authorization_pending", "The login is not finished yet: poll on.");
    } else if (answer.meaning == UPSTREAM_TROUBLE || answer.meaning == UPSTREAM_UNAUTHORIZED) {
        call_fail(take_call(login), FAILURE_UPSTREAM, NULL, answer.words);
    } else {
        log_warning(NULL, "login_refused", LOG_STR("why", answer.words));
        fail_poll(take_call(login), "access_denied", answer.words);
        login_free(login);
    }
    upstream_answer_fini(&answer);
}

/* 0 or ERR_NOMEM. */
static int login_poll(struct login *login)
{
    char *escaped = curl_easy_escape(NULL, login->upstream_state, 0);
    struct buffer path = {0};
    int error = escaped ? buffer_printf(&path, POLL_PATH "%s", escaped) : ERR_NOMEM;
    error = error ? error : buffer_append_char(&path, '\0');
    if (error == 0) {
        login->http_call = ask(login, path.data, NULL, on_polled);
        error = login->http_call ? 0 : ERR_NOMEM;
    }
    curl_free(escaped);
    buffer_fini(&path);
    if (error == 0)
        login->state = LOGIN_ASKING;
    return error;
}

/* The login that `auth_state` names; `is_named` tells whether it names any. */
static struct login *find_named(struct logins *logins, const json_t *arguments, bool *is_named)
{
    const char *id = json_string_value(json_object_get(arguments, "auth_state"));
    *is_named = id != NULL;
    return id ? login_find(logins, id) : NULL;
}

static void take_question(struct login *login, struct call *call)
{
    login->call = call;
    snprintf(login->actor, sizeof login->actor, "%s", call_actor(call));
}

static void answer_poll(void *owner, struct call *call, const json_t *arguments)
{
    bool is_named;
    struct login *login = find_named(owner, arguments, &is_named);
    if (!is_named) {
        call_fail(call, FAILURE_BAD_FIELD, "auth_state", "auth_state must be a string.");
    } else if (!login) {
        fail_poll(call, "invalid_grant", "There is no such login: it is unknown, used or over.");
    } else if (login->state == LOGIN_ASKING || login->state == LOGIN_SAVING) {
        fail_poll(call, "slow_down", "The last poll is not answered yet.");
    } else if (login->state == LOGIN_HOLDING) {
        take_question(login, call);
        login_save(login);
    } else if (login_poll(login) == 0) {
        take_question(login, call);
    } else {
        call_fail_error(call, ERR_NOMEM);
    }
}

/* ---- cancel ---- */

static void answer_cancel(void *owner, struct call *call, const json_t *arguments)
{
    bool is_named;
    struct login *login = find_named(owner, arguments, &is_named);
    if (!is_named) {
        call_fail(call, FAILURE_BAD_FIELD, "auth_state", "auth_state must be a string.");
        return;
    }
    if (!login) {
        call_fail(call, FAILURE_NOT_FOUND, "auth_state", "There is no such login.");
        return;
    }
    call_audit(call, "login_cancel", "", "");
    fail_poll(take_call(login), "access_denied", "The login was cancelled.");
    if (login->state == LOGIN_SAVING)
        login->is_cancelled = true; /* the person had finished: the credential stays */
    else
        login_free(login);
    call_reply(call, 200, json_pack("{s:s}", "message", "The login is cancelled."));
}

/* ---- life ---- */

static const struct call_method methods[] = {
    {"auth.start", answer_start, ""},
    {"auth.poll", answer_poll, "auth_state"},
    {"auth.cancel", answer_cancel, "auth_state"},
    {NULL, NULL, NULL},
};

struct logins *logins_new(struct calls *calls, const struct logins_parts *parts)
{
    const struct credential_file nobody = {0};
    struct logins *logins = calloc(1, sizeof *logins);
    if (!logins)
        return NULL;
    logins->parts = *parts;
    if (site_append_headers(sites_default(parts->sites), &nobody, &logins->lines) < 0 ||
        calls_add(calls, methods, logins) < 0)
        logins_free(&logins);
    return logins;
}

void logins_free(struct logins **logins)
{
    if (!*logins)
        return;
    while ((*logins)->list) {
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        struct call *call = take_call((*logins)->list);
        if (call)
            call_fail(call, FAILURE_UNAVAILABLE, NULL, NULL);
        login_free((*logins)->list);
    }
    buffer_fini(&(*logins)->lines);
    free(*logins);
    *logins = NULL;
}
