/* SPDX-License-Identifier: MIT */
#include "gateway/auth.h"
#include "gateway/attempts.h"

#include <stdlib.h>

struct auth {
    const struct secret *password;
    struct attempts *attempts;
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
    if (*auth)
        attempts_free(&(*auth)->attempts);
    free(*auth);
    *auth = NULL;
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

enum failure auth_check(struct auth *auth, enum audience audience, const struct head *head,
                        const struct sockaddr *address, int64_t now_ms, struct caller *caller,
                        uint32_t *retry_after_s)
{
    *caller = (struct caller){NULL, false};
    *retry_after_s = 0;
    if (audience == AUDIENCE_ANYONE)
        return FAILURE_NONE;
    struct span proof = find_proof(head);
    if (proof.length == 0)
        return FAILURE_UNAUTHENTICATED;
    int64_t blocked_ms = attempts_blocked_ms(auth->attempts, address, now_ms);
    if (blocked_ms > 0) {
        *retry_after_s = (uint32_t)((blocked_ms + 999) / 1000);
        return FAILURE_TOO_MANY_ATTEMPTS;
    }
    if (!secret_equals(auth->password, proof)) {
        attempts_add_wrong(auth->attempts, address, now_ms);
        return FAILURE_INVALID_API_KEY;
    }
    *caller = (struct caller){"password", true};
    return audience == AUDIENCE_ADMIN && !caller->is_admin ? FAILURE_FORBIDDEN : FAILURE_NONE;
}
