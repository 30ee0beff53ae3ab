/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_lexer.h"

#include <assert.h>
#include <endian.h>

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COLON,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING,
    EXPECT_FAILED
};
enum resume { RESUME_NONE, RESUME_STRING, RESUME_NUMBER };
enum number_state {
    NUMBER_START,
    NUMBER_MINUS,
    NUMBER_ZERO,
    NUMBER_INT,
    NUMBER_DOT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_E_SIGN,
    NUMBER_EXPONENT
};

static const char ends_too_early[] = "the text ends too early";

void json_lexer_init(struct json_lexer *lexer, unsigned depth_limit)
{
    assert(depth_limit >= 1 && depth_limit <= JSON_DEPTH_MAX);
    *lexer = (struct json_lexer){.data = "", .depth_limit = depth_limit, .expect = EXPECT_VALUE};
}

void json_lexer_extend(struct json_lexer *lexer, const char *data, size_t available, bool is_whole)
{
    assert(available >= lexer->available);
    lexer->data = data;
    lexer->available = available;
    lexer->is_whole = is_whole;
}

bool json_lexer_is_complete(const struct json_lexer *lexer)
{
    return lexer->expect == EXPECT_NOTHING;
}

static enum json_lexer_status lexer_fail(struct json_lexer *lexer, const char *reason)
{
    lexer->expect = EXPECT_FAILED;
    lexer->reason = reason;
    return JSON_LEXER_ERROR;
}

/* The available bytes are used up inside a token. */
static enum json_lexer_status lexer_starve(struct json_lexer *lexer)
{
    return lexer->is_whole ? lexer_fail(lexer, ends_too_early) : JSON_LEXER_NEED_MORE;
}

static bool lexer_in_object(const struct json_lexer *lexer)
{
    unsigned top = lexer->depth - 1;
    return lexer->is_object[top / 64] >> (top % 64) & 1;
}

static inline enum json_lexer_status lexer_emit(struct json_lexer *lexer, struct json_token *token,
                                                size_t start, enum json_kind kind)
{
    *token = (struct json_token){
        .start = start, .end = lexer->at, .depth = lexer->depth, .kind = kind, .is_utf8 = true};
    lexer->expect = lexer->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
    return JSON_LEXER_TOKEN;
}

/* Skips bytes that stand for themselves in a string: ASCII but quote, backslash and control characters. Eight
 * at a time: each subtraction borrows into bit 7 of a byte that is below the limit; a borrow that runs on can
 * only spoil bytes after the first hit, and bytes over 0x7F are hits anyway. */
static size_t skip_plain(const char *data, size_t at, size_t available)
{
    const uint64_t ones = 0x0101010101010101u;
    while (available - at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, data + at, sizeof word);
        word = le64toh(word);
        uint64_t hits =
            ((word - ones * 0x20) | ((word ^ ones * '"') - ones) | ((word ^ ones * '\\') - ones) | word) &
            ones * 0x80;
        if (hits)
            return at + (size_t)__builtin_ctzll(hits) / 8;
        at += sizeof word;
    }
    while (at < available) {
        unsigned char c = (unsigned char)data[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
        at++;
    }
    return at;
}

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* An escape at lexer->at. JSON_LEXER_TOKEN: it was skipped. */
static enum json_lexer_status lexer_skip_escape(struct json_lexer *lexer)
{
    static const char bad_escape[] = "invalid escape in a string";
    const char *at = lexer->data + lexer->at;
    size_t left = lexer->available - lexer->at;
    lexer->has_escapes = true;
    if (left < 2)
        return lexer_starve(lexer);
    if (at[1] != 'u') {
        if (!at[1] || !strchr("\"\\/bfnrt", at[1]))
            return lexer_fail(lexer, bad_escape);
        lexer->at += 2;
        return JSON_LEXER_TOKEN;
    }
    for (size_t i = 2; i < 6; i++) {
        if (i >= left)
            return lexer_starve(lexer);
        if (!is_hex_digit(at[i]))
            return lexer_fail(lexer, bad_escape);
    }
    lexer->at += 6;
    return JSON_LEXER_TOKEN;
}

/* Bytes over 0x7F at lexer->at: what is not UTF-8 is flagged and skipped byte by byte. */
static enum json_lexer_status lexer_skip_multibyte(struct json_lexer *lexer)
{
    const unsigned char *at = (const unsigned char *)lexer->data + lexer->at;
    const unsigned char *end = (const unsigned char *)lexer->data + lexer->available;
    while (at < end && *at >= 0x80) {
        size_t length = utf8_sequence_length(at, (size_t)(end - at));
        if (length == 0) {
            size_t want = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : 2;
            if (*at >= 0xC2 && (size_t)(end - at) < want && !lexer->is_whole)
                break; /* perhaps only cut */
            lexer->is_bad_utf8 = true;
            length = 1;
        }
        at += length;
    }
    bool is_cut = at < end && *at >= 0x80;
    lexer->at = (size_t)(at - (const unsigned char *)lexer->data);
    return is_cut ? JSON_LEXER_NEED_MORE : JSON_LEXER_TOKEN;
}

static enum json_lexer_status lexer_scan_string(struct json_lexer *lexer, struct json_token *token)
{
    for (;;) {
        enum json_lexer_status status = JSON_LEXER_TOKEN;
        lexer->at = skip_plain(lexer->data, lexer->at, lexer->available);
        if (lexer->at == lexer->available)
            return lexer_starve(lexer);
        unsigned char c = (unsigned char)lexer->data[lexer->at];
        if (c == '"')
            break;
        if (c == '\\')
            status = lexer_skip_escape(lexer);
        else if (c >= 0x80)
            status = lexer_skip_multibyte(lexer);
        else
            return lexer_fail(lexer, "control character in a string");
        if (status != JSON_LEXER_TOKEN)
            return status;
    }
    lexer->at++;
    lexer->resume = RESUME_NONE;
    lexer_emit(lexer, token, lexer->token_start, JSON_KIND_STRING);
    token->has_escapes = lexer->has_escapes;
    token->is_utf8 = !lexer->is_bad_utf8;
    token->is_key = lexer->is_key;
    if (lexer->is_key)
        lexer->expect = EXPECT_COLON;
    return JSON_LEXER_TOKEN;
}

static enum json_lexer_status lexer_start_string(struct json_lexer *lexer, struct json_token *token,
                                                 bool is_key)
{
    lexer->token_start = lexer->at++;
    lexer->resume = RESUME_STRING;
    lexer->is_key = is_key;
    lexer->has_escapes = lexer->is_bad_utf8 = false;
    return lexer_scan_string(lexer, token);
}

/* The state after `c`, or -1 if `c` cannot follow. */
static int number_step(enum number_state state, char c)
{
    bool is_digit = c >= '0' && c <= '9';
    switch (state) {
    case NUMBER_START:
        return c == '-' ? NUMBER_MINUS : c == '0' ? NUMBER_ZERO : NUMBER_INT;
    case NUMBER_MINUS:
        return !is_digit ? -1 : c == '0' ? NUMBER_ZERO : NUMBER_INT;
    case NUMBER_INT:
        if (is_digit)
            return NUMBER_INT;
        __attribute__((fallthrough));
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_DOT : c == 'e' || c == 'E' ? NUMBER_E : -1;
    case NUMBER_FRACTION:
        if (c == 'e' || c == 'E')
            return NUMBER_E;
        __attribute__((fallthrough));
    case NUMBER_DOT:
        return is_digit ? NUMBER_FRACTION : -1;
    case NUMBER_E:
        if (c == '+' || c == '-')
            return NUMBER_E_SIGN;
        __attribute__((fallthrough));
    case NUMBER_E_SIGN:
    case NUMBER_EXPONENT:
        return is_digit ? NUMBER_EXPONENT : -1;
    }
    return -1;
}

static enum json_lexer_status lexer_scan_number(struct json_lexer *lexer, struct json_token *token)
{
    int state = lexer->number_state, next;
    while (lexer->at < lexer->available &&
           (next = number_step((enum number_state)state, lexer->data[lexer->at])) >= 0) {
        state = next;
        lexer->at++;
    }
    lexer->number_state = (uint8_t)state;
    if (lexer->at == lexer->available && !lexer->is_whole)
        return JSON_LEXER_NEED_MORE;
    if (state != NUMBER_ZERO && state != NUMBER_INT && state != NUMBER_FRACTION && state != NUMBER_EXPONENT)
        return lexer_fail(lexer, "invalid number");
    lexer->resume = RESUME_NONE;
    return lexer_emit(lexer, token, lexer->token_start, JSON_KIND_NUMBER);
}

static enum json_lexer_status lexer_scan_literal(struct json_lexer *lexer, struct json_token *token,
                                                 const char *word, size_t length, enum json_kind kind)
{
    size_t left = lexer->available - lexer->at, start = lexer->at;
    if (memcmp(lexer->data + start, word, left < length ? left : length) != 0)
        return lexer_fail(lexer, "invalid value");
    if (left < length)
        return lexer_starve(lexer);
    lexer->at += length;
    return lexer_emit(lexer, token, start, kind);
}

static enum json_lexer_status lexer_open(struct json_lexer *lexer, struct json_token *token, bool is_object)
{
    unsigned depth = lexer->depth;
    if (depth == lexer->depth_limit) {
        lexer->is_too_deep = true;
        return lexer_fail(lexer, "nested too deeply");
    }
    lexer->at++;
    lexer_emit(lexer, token, lexer->at - 1, is_object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY);
    uint64_t bit = (uint64_t)1 << (depth % 64);
    if (is_object)
        lexer->is_object[depth / 64] |= bit;
    else
        lexer->is_object[depth / 64] &= ~bit;
    lexer->depth++;
    lexer->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return JSON_LEXER_TOKEN;
}

static enum json_lexer_status lexer_close(struct json_lexer *lexer, struct json_token *token)
{
    bool is_object = lexer_in_object(lexer);
    if ((lexer->data[lexer->at] == '}') != is_object)
        return lexer_fail(lexer, "mismatched bracket");
    lexer->at++;
    lexer->depth--;
    lexer_emit(lexer, token, lexer->at - 1, is_object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY);
    token->is_end = true;
    return JSON_LEXER_TOKEN;
}

static enum json_lexer_status lexer_scan_value(struct json_lexer *lexer, struct json_token *token, char c)
{
    switch (c) {
    case '"':
        return lexer_start_string(lexer, token, false);
    case '{':
        return lexer_open(lexer, token, true);
    case '[':
        return lexer_open(lexer, token, false);
    case 't':
        return lexer_scan_literal(lexer, token, "true", 4, JSON_KIND_TRUE);
    case 'f':
        return lexer_scan_literal(lexer, token, "false", 5, JSON_KIND_FALSE);
    case 'n':
        return lexer_scan_literal(lexer, token, "null", 4, JSON_KIND_NULL);
    default:
        break;
    }
    if (c != '-' && (c < '0' || c > '9'))
        return lexer_fail(lexer, "invalid value");
    lexer->token_start = lexer->at;
    lexer->resume = RESUME_NUMBER;
    lexer->number_state = NUMBER_START;
    return lexer_scan_number(lexer, token);
}

/* Skips white space; false at the end of what is available. */
static bool lexer_skip_space(struct json_lexer *lexer)
{
    while (lexer->at < lexer->available) {
        char c = lexer->data[lexer->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return true;
        lexer->at++;
    }
    return false;
}

/* Takes the colon or comma at lexer->at if one is due. */
static bool lexer_skip_separator(struct json_lexer *lexer, char c)
{
    if (lexer->expect == EXPECT_COLON && c == ':')
        lexer->expect = EXPECT_VALUE;
    else if (lexer->expect == EXPECT_COMMA_OR_END && c == ',')
        lexer->expect = lexer_in_object(lexer) ? EXPECT_KEY : EXPECT_VALUE;
    else
        return false;
    lexer->at++;
    return true;
}

static enum json_lexer_status lexer_scan_expected(struct json_lexer *lexer, struct json_token *token, char c)
{
    bool is_close = c == '}' || c == ']';
    switch ((enum expect)lexer->expect) {
    case EXPECT_VALUE_OR_END:
        if (is_close)
            return lexer_close(lexer, token);
        __attribute__((fallthrough));
    case EXPECT_VALUE:
        return lexer_scan_value(lexer, token, c);
    case EXPECT_KEY_OR_END:
        if (is_close)
            return lexer_close(lexer, token);
        __attribute__((fallthrough));
    case EXPECT_KEY:
        return c == '"' ? lexer_start_string(lexer, token, true)
                        : lexer_fail(lexer, "expected a member's name");
    case EXPECT_COLON:
        return lexer_fail(lexer, "expected a colon");
    case EXPECT_COMMA_OR_END:
        return is_close ? lexer_close(lexer, token) : lexer_fail(lexer, "expected a comma or the end");
    case EXPECT_NOTHING:
        return lexer_fail(lexer, "text after the value");
    case EXPECT_FAILED:
        break;
    }
    return JSON_LEXER_ERROR;
}

enum json_lexer_status json_lexer_next(struct json_lexer *lexer, struct json_token *token)
{
    if (lexer->expect == EXPECT_FAILED)
        return JSON_LEXER_ERROR;
    if (lexer->resume == RESUME_STRING)
        return lexer_scan_string(lexer, token);
    if (lexer->resume == RESUME_NUMBER)
        return lexer_scan_number(lexer, token);
    for (;;) {
        if (!lexer_skip_space(lexer))
            break;
        char c = lexer->data[lexer->at];
        if (!lexer_skip_separator(lexer, c))
            return lexer_scan_expected(lexer, token, c);
    }
    if (lexer->is_whole && lexer->expect == EXPECT_NOTHING)
        return JSON_LEXER_END;
    return lexer_starve(lexer);
}
