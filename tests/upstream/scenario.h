/* SPDX-License-Identifier: MIT */
/* A scenario: everything that decides what one chat answer looks like on the wire, as a plain value.
 *
 * Its text is `s:NAME` or `s:NAME?key=value&key=value`. NAME is a preset (a row of a table, itself only
 * keys and values), the keys are one table of key, type, bounds and meaning; both print themselves
 * (scenario_print_table) and README.md holds that print. Values are percent-decoded. Pure. */
#ifndef UPSTREAM_SCENARIO_H
#define UPSTREAM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/upstream/buffer.h"

#define SCENARIO_TEXT_MAX_BYTES 1024 /* of a whole scenario text, NUL included */
#define SCENARIO_WORD_MAX_BYTES 200  /* of one text value, NUL included */

enum scenario_reasoning_key { REASONING_CONTENT, REASONING_PLAIN, REASONING_BOTH };
enum scenario_reasoning_at { REASONING_BEFORE, REASONING_AFTER, REASONING_WITH, REASONING_MIXED };
enum scenario_tool_index { TOOL_INDEX_DISTINCT, TOOL_INDEX_ZERO, TOOL_INDEX_NONE };
enum scenario_tool_id { TOOL_ID_FIRST, TOOL_ID_EVERY, TOOL_ID_NONE, TOOL_ID_EMPTY };
enum scenario_tool_name { TOOL_NAME_FIRST, TOOL_NAME_EVERY, TOOL_NAME_SPLIT };
enum scenario_tool_order { TOOL_SERIAL, TOOL_INTERLEAVED, TOOL_BATCH };
enum scenario_usage { USAGE_CHUNK, USAGE_FINISH, USAGE_EVERY, USAGE_NONE };
enum scenario_role { ROLE_FIRST, ROLE_OWN, ROLE_NONE, ROLE_EVERY };
enum scenario_finish {
    FINISH_AUTO,
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_TOOL_CALLS,
    FINISH_FILTER,
    FINISH_NONE
};
enum scenario_sep { SEP_LF2, SEP_LF, SEP_CRLF2, SEP_CRLF };
enum scenario_transfer { TRANSFER_CHUNKED, TRANSFER_LENGTH, TRANSFER_CLOSE };
enum scenario_end { END_DONE, END_EOF, END_ABORT, END_RESET, END_HANG, END_ENDLESS, END_LINE };
enum scenario_bad { BAD_NONE, BAD_JSON, BAD_UTF8, BAD_NUL, BAD_SHAPE };
enum scenario_stream_error { STREAM_ERROR_NONE, STREAM_ERROR_OBJECT, STREAM_ERROR_TEXT, STREAM_ERROR_CODE };
enum scenario_body {
    BODY_STREAM,
    BODY_ENVELOPE,
    BODY_ERROR,
    BODY_ERROR_TEXT,
    BODY_HTML,
    BODY_PLAIN,
    BODY_EMPTY,
    BODY_COMPLETION
};
enum scenario_reset_form { RESET_TEXT, RESET_ISO, RESET_EPOCH, RESET_IN };
enum scenario_retry_after { RETRY_NONE = -1, RETRY_DATE = -2 };

/* cut: a positive number is a size in bytes */
#define CUT_NONE   0
#define CUT_RANDOM (-1)
#define CUT_UTF8   (-2)
/* at: a number of events, or one of these */
#define AT_END    (-1)
#define AT_HEADER (-2)

struct scenario {
    int64_t header_ms, first_ms, gap_ms, end_ms;
    int64_t n, size, total, pad_event;
    bool utf8, escape, echo, mark;
    char text[SCENARIO_WORD_MAX_BYTES]; /* content chunk k says its k-th word instead of tk */
    int64_t reasoning;
    enum scenario_reasoning_key reasoning_key;
    enum scenario_reasoning_at reasoning_at;
    int64_t tools, tool_fragments, tool_args_bytes;
    enum scenario_tool_index tool_index;
    enum scenario_tool_id tool_id;
    enum scenario_tool_name tool_name;
    enum scenario_tool_order tool_order;
    char tool_prefix[SCENARIO_WORD_MAX_BYTES];
    bool tool_args_bad;
    enum scenario_usage usage;
    int64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
    char credit[SCENARIO_WORD_MAX_BYTES]; /* a JSON number, or "" */
    bool noise, extra;
    enum scenario_role role;
    enum scenario_finish finish;
    bool finish_on_last, done;
    enum scenario_sep sep;
    bool space, fields, bom;
    int64_t comments;
    int64_t cut, cut_ms, seed;
    enum scenario_transfer transfer;
    enum scenario_end end;
    int64_t at;
    enum scenario_bad bad;
    enum scenario_stream_error stream_error;
    int64_t status;
    enum scenario_body body;
    int64_t code;
    char msg[SCENARIO_WORD_MAX_BYTES];
    int64_t retry_after_s, reset_s;
    enum scenario_reset_form reset_form;
    int64_t fail_times;
    bool close;
    char key[SCENARIO_WORD_MAX_BYTES]; /* only makes the text, and so its failure count, its own */
};

/* True if a model name is meant to be a scenario text. */
bool scenario_is_text(struct span text);
/* Parses text. On failure returns false and *why (returns owned, a sentence) says what is wrong. */
bool scenario_parse(struct span text, struct scenario *scenario, char **why);
/* Turns what fails in scenario off: what a request gets after fail_times failures. */
void scenario_recover(struct scenario *scenario);
/* The answer changes with the clock or the request, so it cannot be kept for the next request. */
bool scenario_is_fresh(const struct scenario *scenario);
/* Presets and keys as two markdown tables. */
void scenario_print_table(struct buffer *out);
/* The name of preset number index, NULL past the last. */
const char *scenario_preset_name(unsigned index);

#endif
