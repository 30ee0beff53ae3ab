/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_scan.h"

#include "proto/error.h"
#include "upstream-worker/json_string.h"
#include "upstream-worker/request_body.h"

#include <stdlib.h>

/* Depths of the tokens that matter: {"messages":[{"content":[{"text":"..."}]}]} */
enum { DEPTH_ROOT, DEPTH_ROOT_MEMBER, DEPTH_MESSAGE, DEPTH_MESSAGE_MEMBER, DEPTH_BLOCK, DEPTH_BLOCK_MEMBER };

void request_scan_fini(struct request_scan *scan)
{
    buffer_fini(&scan->model);
    free(scan->developer_roles.ranges);
    free(scan->system_texts.ranges);
    buffer_fini(&scan->problem);
    buffer_fini(&scan->param);
    *scan = (struct request_scan){.has_rules = scan->has_rules};
}

int request_scan_refuse(struct request_scan *scan, const char *param, const char *problem)
{
    buffer_clear(&scan->problem);
    buffer_clear(&scan->param);
    int error = buffer_append_span(&scan->problem, span_str(problem));
    if (error == 0)
        error = buffer_append_span(&scan->param, span_str(param));
    return error < 0 ? error : ERR_INVALID;
}

/* Refuses for the sake of the message being scanned; `member` begins with a dot or is empty. */
static int refuse_message(struct request_scan *scan, const char *member, const char *problem)
{
    buffer_clear(&scan->problem);
    buffer_clear(&scan->param);
    int error = buffer_printf(&scan->param, "messages[%zu]%s", scan->message_count, member);
    if (error == 0)
        error = buffer_append_span(&scan->problem, buffer_span(&scan->param));
    if (error == 0)
        error = buffer_append_span(&scan->problem, span_str(problem));
    return error < 0 ? error : ERR_INVALID;
}

static int range_list_add(struct range_list *list, struct byte_range range)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        struct byte_range *grown = reallocarray(list->ranges, capacity, sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        list->ranges = grown;
        list->capacity = capacity;
    }
    list->ranges[list->count++] = range;
    return 0;
}

/* A string token's inside. */
static struct span token_raw(const char *body, const struct json_token *token)
{
    return span_of(body + token->start + 1, token->end - token->start - 2);
}

static bool token_equals(const char *body, const struct json_token *token, struct span text)
{
    struct span raw = token_raw(body, token);
    return token->has_escapes ? json_string_equals(raw, text) : span_equals(raw, text);
}

static struct byte_range token_range(const struct json_token *token)
{
    return (struct byte_range){token->start, token->end};
}

static int take_root_key(struct request_scan *scan, const char *body, const struct json_token *token)
{
    static const struct {
        enum request_key key;
        const char *name, *twice;
    } keys[] = {
        {KEY_MODEL, "model", "model is given twice."},
        {KEY_MESSAGES, "messages", "messages is given twice."},
        {KEY_STREAM, "stream", "stream is given twice."},
        {KEY_STREAM_OPTIONS, "stream_options", "stream_options is given twice."},
    };
    scan->key = KEY_OTHER;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!token_equals(body, token, span_str(keys[i].name)))
            continue;
        if (scan->seen & 1u << keys[i].key)
            return request_scan_refuse(scan, keys[i].name, keys[i].twice);
        scan->seen |= 1u << keys[i].key;
        scan->key = keys[i].key;
    }
    return 0;
}

static int take_model(struct request_scan *scan, const char *body, const struct json_token *token)
{
    enum { RAW_MAX_BYTES = 6 * REQUEST_MODEL_MAX_BYTES }; /* all escapes */
    if (token->kind != JSON_KIND_STRING)
        return request_scan_refuse(scan, "model", "model must be a string.");
    struct span raw = token_raw(body, token);
    int error = raw.length > RAW_MAX_BYTES ? 0 : json_string_unescape(raw, &scan->model);
    if (error < 0)
        return error;
    if (raw.length > RAW_MAX_BYTES || scan->model.length > REQUEST_MODEL_MAX_BYTES)
        return request_scan_refuse(scan, "model", "model is too long.");
    if (scan->model.length == 0)
        return request_scan_refuse(scan, "model", "model must not be empty.");
    scan->model_range = token_range(token);
    return 0;
}

static int take_root_value(struct request_scan *scan, const char *body, const struct json_token *token)
{
    switch (scan->key) {
    case KEY_MODEL:
        return take_model(scan, body, token);
    case KEY_STREAM:
        if (token->kind != JSON_KIND_TRUE && token->kind != JSON_KIND_FALSE)
            return request_scan_refuse(scan, "stream", "stream must be a boolean.");
        scan->wants_stream = token->kind == JSON_KIND_TRUE;
        scan->stream_range = token_range(token);
        return 0;
    case KEY_STREAM_OPTIONS:
        if (token->kind != JSON_KIND_OBJECT && token->kind != JSON_KIND_NULL)
            return request_scan_refuse(scan, "stream_options", "stream_options must be an object.");
        if (!token->is_end)
            scan->stream_options_range.start = token->start;
        scan->stream_options_range.end = token->end;
        return 0;
    case KEY_MESSAGES:
        if (token->kind != JSON_KIND_ARRAY)
            return request_scan_refuse(scan, "messages", "messages must be an array.");
        if (token->is_end && scan->message_count == 0)
            return request_scan_refuse(scan, "messages", "messages must not be empty.");
        if (!token->is_end)
            scan->messages_start = token->start;
        return 0;
    case KEY_OTHER:
    case KEY_ROLE:
    case KEY_CONTENT:
    case KEY_TOOL_CALLS:
        break;
    }
    return 0;
}

static int note_system_message(struct request_scan *scan, struct byte_range range)
{
    const struct message_scan *message = &scan->message;
    if (++scan->system_count > REQUEST_SYSTEM_MESSAGES_MAX)
        return request_scan_refuse(scan, "messages", "messages has too many system messages.");
    if (message->has_too_many_texts)
        return refuse_message(scan, ".content", " has too many texts for this service's keyword rules.");
    if (scan->message_count == 0) {
        scan->first_is_system = true;
    } else if (!scan->first_is_system && scan->later_system.end == 0) {
        scan->later_system = range;
        scan->later_system_previous_end = scan->last_message_end;
    }
    return message->role == ROLE_DEVELOPER ? range_list_add(&scan->developer_roles, message->role_range) : 0;
}

static int end_message(struct request_scan *scan, const struct json_token *token)
{
    struct message_scan *message = &scan->message;
    struct byte_range range = {message->start, token->end};
    bool is_assistant = message->role == ROLE_ASSISTANT;
    int error = 0;
    if (message->role == ROLE_NONE)
        return refuse_message(scan, ".role", " is missing.");
    if (!message->has_content && !(is_assistant && (message->content_is_null || message->has_tool_calls)))
        return refuse_message(scan, ".content",
                              message->content_is_null ? " must not be null." : " is missing.");
    if (message->role == ROLE_SYSTEM || message->role == ROLE_DEVELOPER)
        error = note_system_message(scan, range);
    else
        scan->system_texts.count = message->first_text;
    if (scan->message_count == 0)
        scan->first_message = range;
    scan->message_count++;
    scan->last_message_end = token->end;
    return error;
}

static int take_message(struct request_scan *scan, const struct json_token *token)
{
    if (token->kind != JSON_KIND_OBJECT)
        return refuse_message(scan, "", " must be an object.");
    if (token->is_end)
        return end_message(scan, token);
    scan->message = (struct message_scan){.start = token->start, .first_text = scan->system_texts.count};
    return 0;
}

static int take_message_key(struct request_scan *scan, const char *body, const struct json_token *token)
{
    struct message_scan *message = &scan->message;
    message->key = KEY_OTHER;
    message->content_is_array = false;
    if (token_equals(body, token, SPAN("role"))) {
        message->key = KEY_ROLE;
        if (message->role != ROLE_NONE)
            return refuse_message(scan, ".role", " is given twice.");
    } else if (token_equals(body, token, SPAN("content"))) {
        message->key = KEY_CONTENT;
        if (message->has_content || message->content_is_null)
            return refuse_message(scan, ".content", " is given twice.");
    } else if (token_equals(body, token, SPAN("tool_calls"))) {
        message->key = KEY_TOOL_CALLS;
    }
    return 0;
}

static int take_role(struct request_scan *scan, const char *body, const struct json_token *token)
{
    struct message_scan *message = &scan->message;
    if (token->kind != JSON_KIND_STRING)
        return refuse_message(scan, ".role", " must be a string.");
    message->role_range = token_range(token);
    message->role = token_equals(body, token, SPAN("system"))      ? ROLE_SYSTEM
                    : token_equals(body, token, SPAN("developer")) ? ROLE_DEVELOPER
                    : token_equals(body, token, SPAN("assistant")) ? ROLE_ASSISTANT
                                                                   : ROLE_OTHER;
    return 0;
}

/* Notes a text in case the message turns out to be a system message. */
static int note_text(struct request_scan *scan, const struct json_token *token)
{
    if (!scan->has_rules)
        return 0;
    if (scan->system_texts.count == REQUEST_SYSTEM_TEXTS_MAX) {
        scan->message.has_too_many_texts = true;
        return 0;
    }
    return range_list_add(&scan->system_texts, token_range(token));
}

static int take_message_value(struct request_scan *scan, const char *body, const struct json_token *token)
{
    struct message_scan *message = &scan->message;
    if (message->key == KEY_ROLE)
        return take_role(scan, body, token);
    if (message->key != KEY_CONTENT)
        return 0;
    message->content_is_null = token->kind == JSON_KIND_NULL;
    message->has_content = !message->content_is_null;
    message->content_is_array = token->kind == JSON_KIND_ARRAY && !token->is_end;
    return token->kind == JSON_KIND_STRING ? note_text(scan, token) : 0;
}

/* What is inside of a message's members. */
static int take_message_inside(struct request_scan *scan, const char *body, const struct json_token *token)
{
    struct message_scan *message = &scan->message;
    if (message->key == KEY_TOOL_CALLS)
        message->has_tool_calls = true; /* not empty */
    if (!message->content_is_array || token->depth != DEPTH_BLOCK_MEMBER)
        return 0;
    if (token->is_key) {
        message->is_in_text = token_equals(body, token, SPAN("text"));
        return 0;
    }
    bool is_text = message->is_in_text && token->kind == JSON_KIND_STRING;
    message->is_in_text = false;
    return is_text ? note_text(scan, token) : 0;
}

static int take_root(struct request_scan *scan, const struct json_token *token)
{
    if (token->kind != JSON_KIND_OBJECT)
        return request_scan_refuse(scan, "", "The request body must be a JSON object.");
    if (!token->is_end) {
        scan->root_start = token->start;
        return 0;
    }
    if (!(scan->seen & 1u << KEY_MESSAGES))
        return request_scan_refuse(scan, "messages", "messages is missing.");
    return 0;
}

int request_scan_take(struct request_scan *scan, const char *body, const struct json_token *token)
{
    if (!token->is_utf8)
        return request_scan_refuse(scan, "", "The request body is not valid UTF-8.");
    if (token->depth == DEPTH_ROOT)
        return take_root(scan, token);
    if (token->depth == DEPTH_ROOT_MEMBER)
        return token->is_key ? take_root_key(scan, body, token) : take_root_value(scan, body, token);
    if (scan->key != KEY_MESSAGES)
        return 0;
    if (token->depth == DEPTH_MESSAGE)
        return take_message(scan, token);
    if (token->depth == DEPTH_MESSAGE_MEMBER)
        return token->is_key ? take_message_key(scan, body, token) : take_message_value(scan, body, token);
    return take_message_inside(scan, body, token);
}
