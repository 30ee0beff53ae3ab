/* SPDX-License-Identifier: MIT */
#include "upstream-worker/upstream_error.h"

#include "upstream-worker/json_string.h"
#include "upstream-worker/retry_after.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    HTTP_OK = 200,
    HTTP_UNAUTHORIZED = 401,
    HTTP_FORBIDDEN = 403,
    HTTP_TOO_MANY = 429,
    HTTP_SERVER_ERROR = 500
};

/* CodeBuddy's codes (upstream.md 6). */
enum {
    CODE_NOT_STREAMING = 11101,
    CODE_MODEL_NOT_SERVED = 11102,
    CODE_FIRST_NOT_SYSTEM = 11128,
    CODE_RISK_CONTROL = 11140,
    CODE_EXHAUSTED = 14018
};

/* HTML has no place in an API's answer: it is a proxy's page, not the upstream's word. */
static bool is_html(const char *text)
{
    while (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')
        text++;
    return *text == '<' || strcasestr(text, "<html") || strcasestr(text, "<!doctype") ||
           strcasestr(text, "<body");
}

static void copy_text(const struct json_tree *tree, uint32_t node, char *out)
{
    if (!json_string_copy(json_node_raw(tree, node), out, UPSTREAM_TEXT_MAX_BYTES + 1) || is_html(out))
        out[0] = '\0';
}

/* null, false, "", {}: what services put where there is no error. */
static bool says_nothing(const struct json_tree *tree, uint32_t node)
{
    const struct json_node *at = json_node_at(tree, node);
    switch ((enum json_kind)at->kind) {
    case JSON_KIND_NULL:
    case JSON_KIND_FALSE:
        return true;
    case JSON_KIND_STRING:
        return at->length == 2;
    case JSON_KIND_OBJECT:
        return at->first_child == JSON_NONE;
    case JSON_KIND_ARRAY:
    case JSON_KIND_NUMBER:
    case JSON_KIND_TRUE:
        break;
    }
    return false;
}

/* A code as a number, also if it is one in a string; 0 if it is neither. */
static int64_t read_code(const struct json_tree *tree, uint32_t node)
{
    int64_t millionths;
    return json_node_to_millionths(tree, node, &millionths) ? millionths / 1000000 : 0;
}

/* Fills what is still missing from an object with `message` or `msg`, `type` and `code`. */
static void read_object(const struct json_tree *tree, uint32_t object, struct upstream_error *error)
{
    uint32_t code = json_tree_find(tree, object, SPAN("code"));
    if (error->message[0] == '\0')
        copy_text(tree, json_tree_find(tree, object, SPAN("message")), error->message);
    if (error->message[0] == '\0')
        copy_text(tree, json_tree_find(tree, object, SPAN("msg")), error->message);
    if (error->type[0] == '\0')
        copy_text(tree, json_tree_find(tree, object, SPAN("type")), error->type);
    if (error->code_text[0] == '\0')
        copy_text(tree, code, error->code_text);
    if (error->code == 0)
        error->code = read_code(tree, code);
}

bool upstream_error_read(const struct json_tree *tree, uint32_t node, uint16_t status,
                         struct upstream_error *error)
{
    uint32_t inner = json_tree_find(tree, node, SPAN("error"));
    uint32_t choices = json_tree_find(tree, node, SPAN("choices"));
    bool is_error = !says_nothing(tree, inner);
    if (!is_error && !(json_node_kind(tree, choices) == JSON_KIND_ARRAY && json_node_first(tree, choices)))
        is_error = read_code(tree, json_tree_find(tree, node, SPAN("code"))) != 0;
    memset(error, 0, sizeof *error);
    if (!is_error)
        return false;
    error->status = status;
    copy_text(tree, inner, error->message); /* {"error":"text"} */
    read_object(tree, inner, error);
    read_object(tree, node, error);
    return true;
}

void upstream_error_read_body(uint16_t status, struct span body, struct json_tree *tree,
                              struct upstream_error *error)
{
    memset(error, 0, sizeof *error);
    if (json_tree_parse(tree, body) == 0 && !tree->has_bad_utf8)
        upstream_error_read(tree, JSON_ROOT, status, error);
    if (error->status == 0 && json_node_kind(tree, JSON_ROOT) == JSON_KIND_OBJECT)
        read_object(tree, JSON_ROOT, error); /* {"message":...}, code 0 */
    error->status = status;
}

static bool is_rate_limit(const struct upstream_error *error, uint16_t status)
{
    return status == HTTP_TOO_MANY || strcmp(error->type, "rate_limit_error") == 0 ||
           strcmp(error->code_text, "rate_limit_exceeded") == 0;
}

/* The HTTP status; of a refusal inside a 200 the one that its code stands for, if it looks like one. */
static uint16_t effective_status(const struct upstream_error *error)
{
    if (error->status != HTTP_OK)
        return error->status;
    return error->code >= 400 && error->code <= 599 ? (uint16_t)error->code : HTTP_OK;
}

static void judge_rate_limit(const struct upstream_error *error, struct span retry_after, int64_t now_wall_s,
                             struct upstream_verdict *verdict)
{
    int64_t wait_s = retry_after_parse_header(retry_after, now_wall_s);
    if (wait_s <= 0)
        wait_s = retry_after_parse_text(span_str(error->message), now_wall_s);
    if (wait_s <= 0)
        wait_s = UPSTREAM_COOLDOWN_DEFAULT_S;
    *verdict =
        (struct upstream_verdict){FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER, OUTCOME_RATE_LIMITED,
                                  wait_s < UPSTREAM_COOLDOWN_MAX_S ? wait_s : UPSTREAM_COOLDOWN_MAX_S, true};
}

/* The codes that mean something whatever the status. */
static bool judge_code(int64_t code, struct upstream_verdict *verdict)
{
    switch (code) {
    case CODE_EXHAUSTED:
        *verdict =
            (struct upstream_verdict){FAILURE_RATE_LIMITED, UPSTREAM_TRY_OTHER, OUTCOME_EXHAUSTED, 0, true};
        return true;
    case CODE_RISK_CONTROL:
        *verdict = (struct upstream_verdict){FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_RISK_CONTROL, 0, true};
        return true;
    case CODE_MODEL_NOT_SERVED:
        *verdict = (struct upstream_verdict){FAILURE_MODEL_NOT_FOUND, UPSTREAM_TRY_OTHER_SITE,
                                             OUTCOME_MODEL_NOT_SERVED, 0, true};
        return true;
    case CODE_NOT_STREAMING:
    case CODE_FIRST_NOT_SYSTEM:
        *verdict = (struct upstream_verdict){FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_BLAMELESS, 0, true};
        return true;
    default:
        return false;
    }
}

void upstream_error_judge(const struct upstream_error *error, struct span retry_after, int64_t now_wall_s,
                          struct upstream_verdict *verdict)
{
    uint16_t status = effective_status(error);
    if (judge_code(error->code, verdict))
        return;
    if (is_rate_limit(error, status)) {
        judge_rate_limit(error, retry_after, now_wall_s, verdict);
        return;
    }
    if (status == HTTP_UNAUTHORIZED || status == HTTP_FORBIDDEN)
        *verdict = (struct upstream_verdict){FAILURE_NO_CREDENTIAL, UPSTREAM_REFRESH_OR_OTHER,
                                             OUTCOME_UNAUTHORIZED, 0, false};
    else if (status >= HTTP_SERVER_ERROR)
        *verdict =
            (struct upstream_verdict){FAILURE_UPSTREAM, UPSTREAM_RETRY_ONCE, OUTCOME_TRANSIENT, 0, true};
    else if (status >= 400)
        *verdict = (struct upstream_verdict){FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_BLAMELESS, 0, true};
    else if (status == HTTP_OK)
        *verdict = (struct upstream_verdict){FAILURE_UPSTREAM, UPSTREAM_FAIL, OUTCOME_TRANSIENT, 0, true};
    else /* a redirect, a 204: not what a chat endpoint answers */
        *verdict =
            (struct upstream_verdict){FAILURE_UPSTREAM_PROTOCOL, UPSTREAM_FAIL, OUTCOME_TRANSIENT, 0, false};
}

void upstream_error_judge_connection(bool is_timeout, struct upstream_verdict *verdict)
{
    *verdict = (struct upstream_verdict){is_timeout ? FAILURE_UPSTREAM_TIMEOUT : FAILURE_UPSTREAM,
                                         is_timeout ? UPSTREAM_FAIL : UPSTREAM_RETRY_ONCE, OUTCOME_TRANSIENT,
                                         0, false};
}

int upstream_error_append_json(const struct upstream_error *error, const struct upstream_verdict *verdict,
                               struct buffer *out)
{
    struct span message = {0}, type = {0}, code = {0};
    if (error && verdict->shows_upstream_text) {
        message = span_str(error->message);
        if (verdict->failure == FAILURE_UPSTREAM) {
            type = span_str(error->type);
            code = span_str(error->code_text);
        }
    }
    return failure_append_json(out, verdict->failure, message, type, code, (struct span){0});
}
