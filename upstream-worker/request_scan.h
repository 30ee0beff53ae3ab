/* SPDX-License-Identifier: MIT */
/* request_scan - what there is to know about a client's body, token by token: checks it and notes where
 * everything is that must change. Part of request_body, which says what is checked; nothing else includes
 * this. Nothing blocks. */
#ifndef UPSTREAM_WORKER_REQUEST_SCAN_H
#define UPSTREAM_WORKER_REQUEST_SCAN_H

#include "proto/bytes.h"
#include "upstream-worker/json_lexer.h"

/* [start, end) of the body; end 0: absent. */
struct byte_range {
    size_t start, end;
};

enum request_key {
    KEY_OTHER,
    KEY_MODEL,
    KEY_MESSAGES,
    KEY_STREAM,
    KEY_STREAM_OPTIONS,
    KEY_ROLE,
    KEY_CONTENT,
    KEY_TOOL_CALLS
};
enum request_role { ROLE_NONE, ROLE_OTHER, ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_DEVELOPER };

/* A growing list of ranges. */
struct range_list {
    struct byte_range *ranges;
    size_t count, capacity;
};

/* The message being scanned. */
struct message_scan {
    enum request_key key;
    enum request_role role;
    struct byte_range role_range;
    size_t start, first_text;
    bool has_content, content_is_null, content_is_array, has_tool_calls, has_too_many_texts;
    bool is_in_text; /* the next value is a block's text */
};

/* Embedded, all zero but for has_rules. */
struct request_scan {
    bool has_rules; /* texts of system messages are wanted */
    enum request_key key;
    unsigned seen; /* bit per request_key of the root */
    bool wants_stream, first_is_system;
    struct buffer model; /* unescaped */
    size_t root_start;
    struct byte_range model_range, stream_range, stream_options_range;
    size_t messages_start; /* of the array */
    struct byte_range first_message;
    struct byte_range later_system; /* the first system message, if it is not the first message */
    size_t later_system_previous_end;
    size_t message_count, system_count, last_message_end;
    struct message_scan message;
    struct range_list developer_roles; /* the strings, with quotes */
    struct range_list system_texts;    /* strings, with quotes, of the system messages; if has_rules */
    struct buffer problem, param;      /* after ERR_INVALID */
};

void request_scan_fini(struct request_scan *scan);
/* Takes the next token of `body`. 0; ERR_INVALID: problem and param say why; ERR_NOMEM. */
int request_scan_take(struct request_scan *scan, const char *body, const struct json_token *token);
/* Notes why the body is refused. ERR_INVALID, or ERR_NOMEM. */
int request_scan_refuse(struct request_scan *scan, const char *param, const char *problem);

#endif
