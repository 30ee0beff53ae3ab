/* SPDX-License-Identifier: MIT */
/* Any bytes as the upstream's answer to a refresh, login, models or quota call, and as a sealed file: no
 * crash, words that are UTF-8 without control characters, and a file made of it that is JSON. */
#include "credd/credential_new.h"
#include "credd/json_wipe.h"
#include "credd/logins.h"
#include "credd/model_lists.h"
#include "credd/quota.h"
#include "credd/seal.h"
#include "credd/upstream_answer.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as_tokens(const json_t *data)
{
    struct buffer name = {0}, text = {0};
    json_t *file = json_object();
    if (credential_object_take(file, data, 1700000000000) == 0 &&
        credential_object_describe(file, &name) == 0) {
        char reduced[CREDENTIAL_NAME_BYTES];
        credential_name_reduce(buffer_span(&name), reduced);
        assert(reduced[0] != '.' && !strchr(reduced, '/'));
        assert(credential_text_append(file, &text) == 0);
        json_t *again = json_loadb(text.data, text.length, 0, NULL);
        assert(again);
        json_decref(again);
    }
    json_decref(file);
    buffer_fini(&name);
    buffer_fini_secret(&text);
}

static void read_as_quota(const json_t *data)
{
    enum { WALL_MS = 1700000000 };
    static const struct quota_clock clock = {WALL_MS, 28800};
    int (*const readers[])(const json_t *, const struct quota_clock *,
                           struct quota *) = {quota_read_personal, quota_read_enterprise};
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        struct quota quota;
        if (readers[i](data, &clock, &quota) < 0)
            continue;
        assert(quota.remaining_micro >= 0 && quota.total_micro >= 0);
        assert(quota.resets_wall_ms == 0 || quota.resets_wall_ms > WALL_MS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 401, 429, 500};
    struct span text = span_of((const char *)data, size);
    struct upstream_answer answer;
    struct buffer plain = {0};
    const char *problem;
    json_wipe_install();
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        const struct http_answer http = {.status = statuses[i], .body = text};
        upstream_answer_read(&http, &answer);
        assert(span_is_utf8(span_str(answer.words)) && span_is_header_safe(span_str(answer.words)));
        assert((answer.meaning == UPSTREAM_OK) == (answer.data != NULL));
        if (answer.data) {
            read_as_tokens(answer.data);
            read_as_quota(answer.data);
            json_decref(model_lists_read(answer.data));
            const char *url = json_string_value(json_object_get(answer.data, "authUrl"));
            assert(!url || !login_url_is_fit(url) || strncasecmp(url, "https://", 8) == 0);
        }
        upstream_answer_fini(&answer);
    }
    assert(seal_unwrap(NULL, text, &plain, &problem) == (seal_is_sealed(text) ? ERR_DENIED : 0));
    buffer_fini(&plain);
    return 0;
}
