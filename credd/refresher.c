/* SPDX-License-Identifier: MIT */
#include "credd/refresher.h"
#include "credd/credential_calls.h"
#include "credd/credential_new.h"
#include "credd/upstream_answer.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdlib.h>
#include <utlist.h>

#define REFRESH_PATH "/v2/plugin/auth/token/refresh"

enum {
    WRITE_TRIES = 3,
    REST_MS = 60 * 1000 /* after a refresh: a token with a shorter life is not chased */
};

enum refresh_state { REFRESH_IDLE, REFRESH_ASKING, REFRESH_WRITING };

struct asker {
    struct call *call;
    struct asker *prev, *next;
};

/* What is kept of a credential while there is something to keep: an attempt, a back-off, a token not yet
 * written. */
struct refresh {
    struct refresher *home;
    uint32_t number;
    enum refresh_state state;
    struct http_call *call; /* ASKING */
    struct secret used;     /* the refresh token that was sent */
    json_t *data;           /* WRITING: what the upstream gave */
    unsigned write_tries;   /* since somebody else wrote the file */
    bool is_write_under_way;
    unsigned failures;
    int64_t not_before_ms; /* the back-off */
    struct asker *askers;
    struct refresh *prev, *next;
};

struct refresher {
    struct refresher_parts parts;
    struct refresh *list;
    struct refresher_counters counters;
};

int64_t refresh_due_wall_ms(const struct credential_file *file)
{
    int64_t expires_ms = file->expires_wall_ms, ahead_ms = REFRESH_AHEAD_MS;
    if (expires_ms == 0)
        return INT64_MAX;
    int64_t life_ms = expires_ms - file->created_wall_ms;
    if (file->created_wall_ms != 0 && life_ms > 0 && life_ms / 2 < ahead_ms)
        ahead_ms = life_ms / 2;
    return expires_ms - ahead_ms;
}

const struct refresher_counters *refresher_counters(const struct refresher *refresher)
{
    return &refresher->counters;
}

bool refresher_is_busy(const struct refresher *refresher)
{
    const struct refresh *refresh;
    DL_FOREACH (refresher->list, refresh) {
        if (refresh->state != REFRESH_IDLE)
            return true;
    }
    return false;
}

/* ---- records ---- */

static struct refresh *refresh_find(const struct refresher *refresher, uint32_t number)
{
    struct refresh *refresh;
    DL_FOREACH (refresher->list, refresh) {
        if (refresh->number == number)
            return refresh;
    }
    return NULL;
}

static struct refresh *refresh_find_or_add(struct refresher *refresher, uint32_t number)
{
    struct refresh *refresh = refresh_find(refresher, number);
    if (refresh)
        return refresh;
    refresh = calloc(1, sizeof *refresh);
    if (!refresh)
        return NULL;
    refresh->home = refresher;
    refresh->number = number;
    DL_APPEND(refresher->list, refresh);
    return refresh;
}

/* The one function that changes the state. */
static void refresh_enter(struct refresh *refresh, enum refresh_state state)
{
    refresh->state = state;
    rotation_set_refreshing(broker_rotation(refresh->home->parts.broker), refresh->number,
                            state != REFRESH_IDLE);
    if (state == REFRESH_WRITING)
        return;
    json_decref(refresh->data);
    refresh->data = NULL;
    refresh->is_write_under_way = false;
}

static void refresh_free(struct refresh *refresh)
{
    DL_DELETE(refresh->home->list, refresh);
    http_call_cancel(&refresh->call);
    secret_fini(&refresh->used);
    json_decref(refresh->data);
    free(refresh);
}

/* Answers all who wait: with a failure if there is a code, else with the credential. */
static void answer_askers(struct refresh *refresh, enum failure failure, const char *code,
                          const char *message)
{
    const struct credential *credential = vault_find(refresh->home->parts.vault, refresh->number);
    struct asker *asker;
    while ((asker = refresh->askers)) {
        DL_DELETE(refresh->askers, asker);
        if (failure != FAILURE_NONE)
            call_fail_as(asker->call, failure, code, message);
        else if (!credential)
            call_fail(asker->call, FAILURE_NOT_FOUND, "id", "There is no such credential.");
        else
            call_reply(asker->call, 200,
                       json_pack("{s:s,s:s,s:o}", "message", "The credential is refreshed.", "id",
                                 credential->id, "expires_at",
                                 credential->file.expires_wall_ms
                                     ? json_integer(credential->file.expires_wall_ms / 1000)
                                     : json_null()));
        free(asker);
    }
}

static void log_result(const struct refresh *refresh, enum log_level level, const char *event,
                       const char *words)
{
    const struct credential *credential = vault_find(refresh->home->parts.vault, refresh->number);
    log_emit(level, NULL, event,
             LOG_FIELDS(LOG_STR("credential", credential ? credential->id : "?"),
                        LOG_STR("file", credential ? credential->filename : "?"), LOG_STR("why", words)));
}

static int64_t backoff_ms(unsigned failures)
{
    int64_t wait_ms = REFRESH_BACKOFF_MS;
    for (unsigned i = 1; i < failures && wait_ms < REFRESH_BACKOFF_MAX_MS; i++)
        wait_ms *= 2;
    return wait_ms < REFRESH_BACKOFF_MAX_MS ? wait_ms : REFRESH_BACKOFF_MAX_MS;
}

static void back_off(struct refresh *refresh, const char *words)
{
    refresh->failures++;
    refresh->home->counters.failed++;
    refresh->not_before_ms = clock_now_ms() + backoff_ms(refresh->failures);
    log_result(refresh, LOG_LEVEL_WARNING, "refresh_failed", words);
}

/* ---- WRITING ---- */

static void refresh_write(struct refresh *refresh);

/* Nothing is left to do for it. */
static void refresh_give_up(struct refresh *refresh, const char *why)
{
    log_result(refresh, LOG_LEVEL_INFO, "refresh_dropped", why);
    refresh_enter(refresh, REFRESH_IDLE);
    answer_askers(refresh, FAILURE_NOT_FOUND, "not_found", why);
    refresh_free(refresh);
}

static void refresh_succeed(struct refresh *refresh)
{
    struct refresher *home = refresh->home;
    rotation_expect_refreshed(broker_rotation(home->parts.broker), refresh->number, clock_now_ms());
    home->counters.refreshed++;
    home->parts.rescan(home->parts.owner); /* from here on it is used */
    log_result(refresh, LOG_LEVEL_INFO, "refreshed", "");
    refresh_enter(refresh, REFRESH_IDLE);
    if (refresh->askers) /* a person looks at it */
        quotas_want(home->parts.quotas, refresh->number);
    answer_askers(refresh, FAILURE_NONE, NULL, NULL);
    refresh->failures = 0;
    refresh->not_before_ms = clock_now_ms() + REST_MS;
}

static void on_written(void *context, int error, const char *name)
{
    struct refresh *refresh = context;
    (void)name;
    refresh->is_write_under_way = false;
    if (error == 0) {
        refresh_succeed(refresh);
    } else if (error == ERR_NOT_FOUND) {
        refresh_give_up(refresh, "The credential was deleted.");
    } else if (error == ERR_BUSY && ++refresh->write_tries < WRITE_TRIES) {
        refresh_write(refresh); /* somebody wrote the file: look what is in it now */
    } else {
        back_off(refresh, error_text(error));
        answer_askers(refresh, FAILURE_UNAVAILABLE, "unavailable", "The new token could not be written.");
    }
}

/* Whether the file still has the refresh token that was used; what else a person changed in it stays. */
static int check_still_ours(const struct refresh *refresh, struct span text)
{
    struct credential_file file = {0};
    char problem[CREDENTIAL_PROBLEM_BYTES];
    int error = credential_file_parse(&file, text, problem);
    if (error == 0 && !secret_equals(&refresh->used, secret_span(&file.refresh_token)))
        error = ERR_EXISTS;
    credential_file_fini(&file);
    return error == ERR_NOMEM ? error : error < 0 ? ERR_EXISTS : 0;
}

/* The new token is `site`'s: the file says so from now on. */
static int make_text(const struct refresh *refresh, const struct site *site, struct span old,
                     struct buffer *text)
{
    char problem[CREDENTIAL_PROBLEM_BYTES];
    json_t *file = json_loadb(old.data, old.length, 0, NULL);
    int error = file ? credential_object_take(file, refresh->data, clock_wall_ms()) : ERR_NOMEM;
    error = error ? error : credential_object_name_site(file, site);
    error = error ? error : credential_text_append(file, text);
    error = error ? error : credential_text_check(buffer_span(text), refresh->home->parts.sites, problem);
    json_decref(file);
    return error;
}

static int start_writing(struct refresh *refresh, const struct credential *credential)
{
    struct buffer raw = {0}, old = {0}, text = {0};
    const struct seal *seal = vault_seal(refresh->home->parts.vault);
    const char *problem;
    unsigned char digest[DURABLE_DIGEST_BYTES];
    int error = durable_file_read(vault_directory(refresh->home->parts.vault), credential->filename,
                                  CREDENTIAL_FILE_MAX_BYTES, &raw);
    error = error ? error : seal_unwrap(seal, buffer_span(&raw), &old, &problem);
    error = error ? error : check_still_ours(refresh, buffer_span(&old));
    error = error ? error : make_text(refresh, credential->site, buffer_span(&old), &text);
    if (error == 0) {
        durable_digest(buffer_span(&raw), digest);
        error = file_maker_update(refresh->home->parts.maker, buffer_span(&text), credential->filename,
                                  digest, on_written, refresh);
    }
    buffer_fini_secret(&raw);
    buffer_fini_secret(&old);
    buffer_fini_secret(&text);
    return error == ERR_DENIED ? ERR_EXISTS : error; /* somebody sealed it with another key */
}

static void refresh_write(struct refresh *refresh)
{
    const struct credential *credential = vault_find(refresh->home->parts.vault, refresh->number);
    int error = credential ? start_writing(refresh, credential) : ERR_NOT_FOUND;
    if (error == 0) {
        refresh->is_write_under_way = true;
    } else if (error == ERR_NOT_FOUND || error == ERR_EXISTS) {
        refresh_give_up(refresh, "The credential's file was deleted, or has another token.");
    } else if (error == ERR_INVALID) { /* a token that no file may hold */
        refresh_enter(refresh, REFRESH_IDLE);
        back_off(refresh, "the upstream gave what is no token");
        answer_askers(refresh, FAILURE_UPSTREAM_PROTOCOL, "upstream_protocol_error",
                      "The upstream gave what is no token.");
    } else {
        back_off(refresh, error_text(error));
        answer_askers(refresh, FAILURE_UNAVAILABLE, "unavailable", "The new token could not be written.");
    }
}

/* ---- ASKING ---- */

static void refresh_condemn(struct refresh *refresh, const char *words)
{
    struct refresher *home = refresh->home;
    home->counters.needs_login++;
    rotation_condemn(broker_rotation(home->parts.broker), refresh->number, span_str(words));
    log_result(refresh, LOG_LEVEL_ERROR, "needs_login", words);
    refresh_enter(refresh, REFRESH_IDLE);
    answer_askers(refresh, FAILURE_INVALID_REQUEST, "refresh_token_invalid",
                  "The refresh token is not valid any more: the credential needs a new login.");
    refresh_free(refresh);
}

static void on_answer(void *context, const struct http_answer *http)
{
    struct refresh *refresh = context;
    struct upstream_answer answer;
    refresh->call = NULL;
    upstream_answer_read(http, &answer);
    if (!vault_find(refresh->home->parts.vault, refresh->number)) {
        refresh_give_up(refresh, "The credential was deleted.");
    } else if (answer.meaning == UPSTREAM_OK) {
        refresh_enter(refresh, REFRESH_WRITING);
        refresh->data = json_incref(answer.data);
        refresh->write_tries = 0;
        refresh_write(refresh);
    } else if (answer.meaning == UPSTREAM_NEEDS_LOGIN) {
        refresh_condemn(refresh, answer.words);
    } else {
        refresh_enter(refresh, REFRESH_IDLE);
        back_off(refresh, answer.words);
        answer_askers(refresh, FAILURE_UPSTREAM, "upstream_error", answer.words);
    }
    upstream_answer_fini(&answer);
}

/* 0 or ERR_NOMEM. */
static int refresh_ask(struct refresh *refresh, const struct credential *credential)
{
    const struct http_question question = {.base_url = span_str(site_base_url(credential->site)),
                                           .path = REFRESH_PATH,
                                           .body = "{}",
                                           .lines = buffer_span(&credential->headers),
                                           .more_lines = "X-Auth-Refresh-Source: plugin",
                                           .token = secret_span(&credential->file.token),
                                           .refresh_token = secret_span(&credential->file.refresh_token)};
    if (secret_set(&refresh->used, question.refresh_token) < 0)
        return ERR_NOMEM;
    refresh->call = http_call_start(refresh->home->parts.http, &question, on_answer, refresh);
    if (!refresh->call)
        return ERR_NOMEM;
    refresh_enter(refresh, REFRESH_ASKING);
    return 0;
}

/* ---- what is due ---- */

static bool is_due(const struct credential *credential, enum credential_state state, int64_t wall_ms)
{
    if (credential->problem[0] || secret_is_empty(&credential->file.refresh_token) ||
        state >= CREDENTIAL_NEEDS_LOGIN)
        return false;
    return state == CREDENTIAL_EXPIRED || wall_ms >= refresh_due_wall_ms(&credential->file);
}

static size_t count_running(const struct refresher *refresher)
{
    const struct refresh *refresh;
    size_t count = 0;
    DL_FOREACH (refresher->list, refresh) {
        count += refresh->state == REFRESH_ASKING;
    }
    return count;
}

/* Tries again what could not be written, and forgets what is of no more use. */
static void look_after(struct refresher *refresher, int64_t now_ms)
{
    struct refresh *refresh, *next;
    DL_FOREACH_SAFE (refresher->list, refresh, next) {
        bool is_over = refresh->failures == 0 && refresh->not_before_ms <= now_ms;
        if (refresh->state == REFRESH_IDLE &&
            (is_over || !vault_find(refresher->parts.vault, refresh->number))) {
            refresh_free(refresh);
            continue;
        }
        bool waits = refresh->state == REFRESH_WRITING && !refresh->is_write_under_way;
        if (waits && refresh->not_before_ms <= now_ms)
            refresh_write(refresh);
    }
}

static void start_if_idle(struct refresher *refresher, const struct credential *credential, int64_t now_ms)
{
    struct refresh *refresh = refresh_find(refresher, credential->number);
    if (refresh && (refresh->state != REFRESH_IDLE || refresh->not_before_ms > now_ms))
        return;
    refresh = refresh_find_or_add(refresher, credential->number);
    if (refresh)
        refresh_ask(refresh, credential); /* out of memory: the next tick tries again */
}

void refresher_tick(struct refresher *refresher)
{
    const struct rotation *rotation = broker_rotation(refresher->parts.broker);
    const struct moment moment = {.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
    look_after(refresher, moment.now_ms);
    for (size_t i = 0; i < rotation_size(rotation); i++) {
        struct rotation_view view;
        rotation_look(rotation, i, &moment, &view);
        const struct credential *credential = view.subject;
        if (!is_due(credential, view.state, moment.wall_ms))
            continue;
        if (count_running(refresher) >= REFRESH_AT_ONCE)
            return;
        start_if_idle(refresher, credential, moment.now_ms);
    }
}

/* ---- on demand ---- */

static void answer_refresh(void *owner, struct call *call, const json_t *arguments)
{
    struct refresher *refresher = owner;
    const struct credential *credential = credential_calls_find(call, arguments, refresher->parts.vault);
    if (!credential)
        return;
    if (credential->problem[0] || secret_is_empty(&credential->file.refresh_token)) {
        call_fail_as(call, FAILURE_INVALID_REQUEST, "no_refresh_token",
                     "The credential has no refresh token.");
        return;
    }
    call_audit(call, "credential_refresh", credential->id, credential->filename);
    struct refresh *refresh = refresh_find_or_add(refresher, credential->number);
    struct asker *asker = refresh ? calloc(1, sizeof *asker) : NULL;
    if (!asker) {
        call_fail_error(call, ERR_NOMEM);
        return;
    }
    asker->call = call;
    DL_APPEND(refresh->askers, asker); /* joins the one under way, if there is one */
    if (refresh->state == REFRESH_IDLE && refresh_ask(refresh, credential) < 0)
        answer_askers(refresh, FAILURE_UNAVAILABLE, "unavailable", error_text(ERR_NOMEM));
    else if (refresh->state == REFRESH_WRITING && !refresh->is_write_under_way)
        refresh_write(refresh);
}

static const struct call_method methods[] = {
    {"credentials.refresh", answer_refresh, "id index"},
    {NULL, NULL, NULL},
};

/* ---- life ---- */

struct refresher *refresher_new(struct calls *calls, const struct refresher_parts *parts)
{
    struct refresher *refresher = calloc(1, sizeof *refresher);
    if (!refresher)
        return NULL;
    refresher->parts = *parts;
    if (calls_add(calls, methods, refresher) < 0)
        refresher_free(&refresher);
    return refresher;
}

void refresher_free(struct refresher **refresher)
{
    if (!*refresher)
        return;
    while ((*refresher)->list) {
        /* The analyzer does not see that freeing the head moves it. NOLINTNEXTLINE(clang-analyzer-*) */
        answer_askers((*refresher)->list, FAILURE_UNAVAILABLE, "unavailable", "The service is stopping.");
        refresh_free((*refresher)->list);
    }
    free(*refresher);
    *refresher = NULL;
}
