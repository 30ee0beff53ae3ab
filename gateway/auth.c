/* SPDX-License-Identifier: MIT */
#include "gateway/auth.h"
#include "gateway/attempts.h"
#include "proto/log.h"

#include <sodium.h>
#include <stdlib.h>

enum { RETRY_S = 1 /* credd is back in well under a second */ };

struct auth {
    const struct secret *password;
    struct attempts *attempts;
    struct key_ring *keys; /* NULL before the first STATE */
    bool has_session_key;
    unsigned char session_key[SESSION_KEY_BYTES];
};

struct auth *auth_new(const struct secret *password, const unsigned char random[16])
{
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        return NULL;
    auth->password = password;
    auth->attempts = attempts_new(random);
    if (!auth->attempts)
        auth_free(&auth);
    return auth;
}

void auth_free(struct auth **auth)
{
    if (*auth) {
        attempts_free(&(*auth)->attempts);
        key_ring_free(&(*auth)->keys);
        sodium_memzero((*auth)->session_key, sizeof(*auth)->session_key);
    }
    free(*auth);
    *auth = NULL;
}

void auth_take_state(struct auth *auth, const json_t *state)
{
    const json_t *hex = json_object_get(state, "session_key");
    key_ring_free(&auth->keys); /* first: out of memory must not keep a revoked key alive */
    auth->keys = key_ring_new(json_object_get(state, "keys"));
    if (!auth->keys)
        log_error(NULL, "keys_not_taken", LOG_STR("problem", "out of memory"));
    auth->has_session_key =
        session_derive_key(auth->session_key, span_of(json_string_value(hex), json_string_length(hex)),
                           secret_span(auth->password));
}

/* The key in `Authorization: Bearer KEY`, else in `x-api-key: KEY`; empty when there is neither. */
static struct span find_proof(const struct head *head)
{
    struct span value = head_find(head, SPAN("authorization"));
    struct span scheme = SPAN("bearer ");
    if (value.length > scheme.length &&
        span_equals_ignoring_case(span_of(value.data, scheme.length), scheme)) {
        value.data += scheme.length;
        value.length -= scheme.length;
        while (value.length > 0 && value.data[0] == ' ') {
            value.data++;
            value.length--;
        }
        return value;
    }
    return head_find(head, SPAN("x-api-key"));
}

static bool is_blocked(const struct auth *auth, const struct auth_moment *moment, uint32_t *retry_after_s)
{
    int64_t blocked_ms = attempts_blocked_ms(auth->attempts, moment->address, moment->now_ms);
    *retry_after_s = (uint32_t)((blocked_ms + 999) / 1000);
    return blocked_ms > 0;
}

static void let_in(struct caller *caller, const char *key_id, bool is_admin, bool has_session)
{
    memcpy(caller->key_id, key_id, strlen(key_id) + 1); /* at most KEY_ID_MAX_BYTES, as in the ring */
    caller->is_admin = is_admin;
    caller->has_session = has_session;
}

static enum failure check_proof(struct auth *auth, struct span proof, const struct auth_moment *moment,
                                struct caller *caller, uint32_t *retry_after_s)
{
    if (is_blocked(auth, moment, retry_after_s))
        return FAILURE_TOO_MANY_ATTEMPTS;
    const char *key_id = auth->keys ? key_ring_find(auth->keys, proof, moment->wall_ms) : NULL;
    if (secret_equals(auth->password, proof)) {
        let_in(caller, "password", true, false);
    } else if (key_id) {
        let_in(caller, key_id, false, false);
    } else if (!auth->keys && span_starts_with(proof, SPAN("cb-"))) {
        *retry_after_s = RETRY_S; /* whether it is one is not known yet */
        return FAILURE_UNAVAILABLE;
    } else {
        attempts_add_wrong(auth->attempts, moment->address, moment->now_ms);
        return FAILURE_INVALID_API_KEY;
    }
    return FAILURE_NONE;
}

enum failure auth_find_session(const struct auth *auth, const struct head *head, int64_t wall_ms,
                               int64_t *until_s, uint32_t *retry_after_s)
{
    struct span token = session_find_cookie(head_find(head, SPAN("cookie")));
    *until_s = 0;
    if (token.length == 0)
        return FAILURE_NONE;
    if (!auth->has_session_key) {
        *retry_after_s = RETRY_S; /* whether it is one is not known yet: a restart ends no session */
        return FAILURE_UNAVAILABLE;
    }
    *until_s = session_until_s(token, auth->session_key, wall_ms);
    return FAILURE_NONE;
}

static enum failure check_cookie(const struct auth *auth, const struct head *head,
                                 const struct auth_moment *moment, struct caller *caller,
                                 uint32_t *retry_after_s)
{
    int64_t until_s;
    bool changes = !span_equals(head->method, SPAN("GET")) && !span_equals(head->method, SPAN("HEAD"));
    enum failure failure = auth_find_session(auth, head, moment->wall_ms, &until_s, retry_after_s);
    if (failure != FAILURE_NONE)
        return failure;
    if (until_s == 0)
        return FAILURE_UNAUTHENTICATED;
    if (auth_is_cross_site(head, changes))
        return FAILURE_CROSS_SITE;
    let_in(caller, "password", true, true);
    return FAILURE_NONE;
}

enum failure auth_check(struct auth *auth, enum audience audience, const struct head *head,
                        const struct auth_moment *moment, struct caller *caller, uint32_t *retry_after_s)
{
    *caller = (struct caller){.is_admin = false};
    *retry_after_s = 0;
    if (audience == AUDIENCE_ANYONE)
        return FAILURE_NONE;
    struct span proof = find_proof(head);
    enum failure failure = proof.length > 0 ? check_proof(auth, proof, moment, caller, retry_after_s)
                                            : check_cookie(auth, head, moment, caller, retry_after_s);
    if (failure == FAILURE_NONE && audience == AUDIENCE_ADMIN && !caller->is_admin)
        return FAILURE_FORBIDDEN;
    return failure;
}

bool auth_session_holds(const struct auth *auth, struct span token, int64_t wall_ms)
{
    return auth->has_session_key && session_until_s(token, auth->session_key, wall_ms) > 0;
}

bool auth_is_cross_site(const struct head *head, bool needs_proof)
{
    struct span site = head_find(head, SPAN("sec-fetch-site"));
    struct span origin = head_find(head, SPAN("origin")), host = head_find(head, SPAN("host"));
    if (site.length > 0)
        return !span_equals(site, SPAN("same-origin")) && !span_equals(site, SPAN("none"));
    if (origin.length == 0)
        return needs_proof;
    struct span scheme = span_starts_with(origin, SPAN("https://")) ? SPAN("https://") : SPAN("http://");
    return host.length == 0 || !span_starts_with(origin, scheme) ||
           !span_equals_ignoring_case(span_of(origin.data + scheme.length, origin.length - scheme.length),
                                      host);
}

enum failure auth_log_in(struct auth *auth, struct span password, const struct auth_moment *moment,
                         const unsigned char *random, char token[SESSION_TOKEN_BYTES],
                         uint32_t *retry_after_s)
{
    if (is_blocked(auth, moment, retry_after_s))
        return FAILURE_TOO_MANY_ATTEMPTS;
    if (!secret_equals(auth->password, password)) {
        attempts_add_wrong(auth->attempts, moment->address, moment->now_ms);
        return FAILURE_INVALID_API_KEY;
    }
    if (!auth->has_session_key) {
        *retry_after_s = RETRY_S;
        return FAILURE_UNAVAILABLE;
    }
    session_make(token, auth->session_key, random, moment->wall_ms);
    return FAILURE_NONE;
}
