/* SPDX-License-Identifier: MIT */
#include "credd/upstream_answer.h"

#include <stdio.h>

enum { CODE_PENDING = 11217, CODE_NOT_READY = 12151, CODE_REFRESH_OVER = 12153 };

/* Cut between characters: the words become JSON. */
static void put_words(struct upstream_answer *answer, json_int_t code, const char *message)
{
    size_t length = (size_t)snprintf(answer->words, sizeof answer->words, "code %lld", (long long)code);
    if (!message || !span_is_header_safe(span_str(message)))
        return;
    length += (size_t)snprintf(answer->words + length, sizeof answer->words - length, ": ");
    for (const char *at = message; *at;) {
        size_t step = utf8_sequence_length((const unsigned char *)at, strlen(at));
        if (step == 0 || length + step >= sizeof answer->words)
            break;
        memcpy(answer->words + length, at, step);
        length += step;
        at += step;
    }
    answer->words[length] = '\0';
}

static enum upstream_meaning meaning_of(json_int_t code, const json_t *data)
{
    if (code == 0)
        return json_is_object(data) ? UPSTREAM_OK : UPSTREAM_TROUBLE;
    if (code == CODE_PENDING || code == CODE_NOT_READY)
        return UPSTREAM_PENDING;
    return code == CODE_REFRESH_OVER ? UPSTREAM_NEEDS_LOGIN : UPSTREAM_REFUSED;
}

/* A login ends with these whatever the status: upstream.md, 6. */
static bool is_login_final(json_int_t code)
{
    static const int final[] = {12005, 11212, 11216, 10081}; /* no seat, licence or trial over, IP address */
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++)
        if (code == final[i])
            return true;
    return false;
}

static void read_envelope(json_t *root, int status, struct upstream_answer *answer)
{
    const json_t *code = json_object_get(root, "code");
    json_t *data = json_object_get(root, "data");
    bool is_temporary = status >= 500 || status == 429;
    if (!json_is_integer(code)) {
        snprintf(answer->words, sizeof answer->words, "an answer without a code, status %d", status);
        return;
    }
    put_words(answer, json_integer_value(code), json_string_value(json_object_get(root, "msg")));
    answer->meaning = is_temporary ? UPSTREAM_TROUBLE : meaning_of(json_integer_value(code), data);
    if (answer->meaning == UPSTREAM_OK && status != 200)
        answer->meaning = UPSTREAM_TROUBLE;
    if (answer->meaning == UPSTREAM_OK)
        answer->data = json_incref(data);
}

void upstream_answer_read(const struct http_answer *http, struct upstream_answer *answer)
{
    *answer = (struct upstream_answer){.meaning = UPSTREAM_TROUBLE};
    if (http->error < 0) {
        snprintf(answer->words, sizeof answer->words, "%s", http->problem);
        return;
    }
    json_t *root = json_loadb(http->body.data, http->body.length, 0, NULL);
    if (json_is_object(root))
        read_envelope(root, http->status, answer);
    else
        snprintf(answer->words, sizeof answer->words, "status %d without JSON", http->status);
    bool is_final = is_login_final(json_integer_value(json_object_get(root, "code")));
    bool is_known = answer->meaning == UPSTREAM_NEEDS_LOGIN || answer->meaning == UPSTREAM_PENDING ||
                    (answer->meaning == UPSTREAM_REFUSED && is_final);
    if ((http->status == 401 || http->status == 403) && !is_known)
        answer->meaning = UPSTREAM_UNAUTHORIZED;
    json_decref(root);
}

void upstream_answer_fini(struct upstream_answer *answer)
{
    json_decref(answer->data);
    answer->data = NULL;
}
