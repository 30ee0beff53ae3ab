/* SPDX-License-Identifier: MIT */
/* json_lexer - a strict RFC 8259 tokeniser over one contiguous text that may still be arriving. Nothing
 * blocks, nothing is allocated: a lexer is a plain value, and its work per call is bounded by the bytes it
 * has not seen yet.
 *
 *     json_lexer_init(&lexer, JSON_DEPTH_MAX);
 *     json_lexer_extend(&lexer, data, available, is_whole);    (again with more whenever it says NEED_MORE)
 *     while (json_lexer_next(&lexer, &token) == JSON_LEXER_TOKEN) ...
 *
 * Offsets count from the start of the text, so the text may move in memory between two json_lexer_extend
 * calls. A token that is cut by the end of what is available is resumed where it was cut, never scanned
 * twice.
 *
 * Grammar: exactly RFC 8259. Lone surrogate escapes and \u0000 are grammatical and pass. Bytes that are not
 * UTF-8 inside a string are no error here but a flag of the token; outside a string they are an error like
 * any stray byte. */
#ifndef UPSTREAM_WORKER_JSON_LEXER_H
#define UPSTREAM_WORKER_JSON_LEXER_H

#include "proto/bytes.h"

enum { JSON_DEPTH_MAX = 512 };

enum json_kind {
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_TRUE,
    JSON_KIND_FALSE,
    JSON_KIND_NULL
};

struct json_token {
    size_t start, end; /* [start, end) of the token; a string's include its quotes */
    unsigned depth; /* containers around it: the root value has 0; a container's two brackets have the same */
    enum json_kind kind; /* of a bracket: JSON_KIND_OBJECT or JSON_KIND_ARRAY */
    bool is_end;         /* a closing bracket */
    bool is_key;         /* a string that names a member */
    bool has_escapes;    /* a string with a backslash */
    bool is_utf8;        /* true for anything but a string with invalid UTF-8 */
};

enum json_lexer_status {
    JSON_LEXER_TOKEN,     /* *token is filled */
    JSON_LEXER_NEED_MORE, /* what is available ends inside the text: extend and call again */
    JSON_LEXER_END,       /* the text is whole and ended after its one value (and white space) */
    JSON_LEXER_ERROR      /* not JSON: see json_lexer_reason; final */
};

/* A plain value so that it can be embedded; its members are the lexer's own. */
struct json_lexer {
    const char *data;
    size_t available, at, token_start;
    const char *reason;
    unsigned depth, depth_limit;
    uint8_t expect, resume, number_state;
    bool is_whole, is_key, has_escapes, is_bad_utf8, is_too_deep;
    uint64_t is_object[JSON_DEPTH_MAX / 64]; /* bit per open container: object or array */
};

/* `depth_limit`: how many containers may be open at once, 1 to JSON_DEPTH_MAX. */
void json_lexer_init(struct json_lexer *lexer, unsigned depth_limit);
/* Borrows `data` until the next extend: the first `available` bytes of the text, which never shrinks and
 * whose known bytes never change. `is_whole`: nothing will follow. */
void json_lexer_extend(struct json_lexer *lexer, const char *data, size_t available, bool is_whole);
enum json_lexer_status json_lexer_next(struct json_lexer *lexer, struct json_token *token);

/* True once the root value is complete (white space and rubbish after it aside). */
bool json_lexer_is_complete(const struct json_lexer *lexer);
/* How far the text was scanned; after JSON_LEXER_ERROR, where the error is. */
static inline size_t json_lexer_offset(const struct json_lexer *lexer)
{
    return lexer->at;
}
/* After JSON_LEXER_ERROR: why, in a few words; static. NULL otherwise. */
static inline const char *json_lexer_reason(const struct json_lexer *lexer)
{
    return lexer->reason;
}

#endif
