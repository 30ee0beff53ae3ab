/* SPDX-License-Identifier: MIT */
#include "upstream-worker/json_tree.h"

#include "proto/error.h"
#include "upstream-worker/json_string.h"

#include <stdlib.h>

enum {
    FIRST_CAPACITY = 64,       /* nodes of a usual chunk, with room */
    SHRINK_OVER_COUNT = 16384, /* 450 KiB of nodes: kept; more is given back */
    MILLIONTH_DIGITS = 6
};

static void tree_reset(struct json_tree *tree)
{
    tree->count = 2;
    tree->nodes[JSON_NONE] = tree->nodes[JSON_ROOT] = (struct json_node){.kind = JSON_KIND_NULL};
    tree->text = (struct span){"", 0};
}

void json_tree_init(struct json_tree *tree, uint32_t node_limit_count)
{
    *tree = (struct json_tree){.limit = node_limit_count};
    tree->nodes = tree->empty;
    tree->capacity = 2;
    tree_reset(tree);
}

void json_tree_fini(struct json_tree *tree)
{
    if (tree->nodes != tree->empty)
        free(tree->nodes);
    json_tree_init(tree, tree->limit);
}

void json_tree_shrink(struct json_tree *tree)
{
    if (tree->capacity > SHRINK_OVER_COUNT)
        json_tree_fini(tree);
}

static int tree_grow(struct json_tree *tree)
{
    uint32_t capacity = tree->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : tree->capacity * 2;
    if (tree->count >= tree->limit)
        return ERR_TOO_LARGE;
    if (capacity > tree->limit)
        capacity = tree->limit;
    struct json_node *nodes =
        realloc(tree->nodes == tree->empty ? NULL : tree->nodes, capacity * sizeof *nodes);
    if (!nodes)
        return ERR_NOMEM;
    if (tree->nodes == tree->empty)
        memcpy(nodes, tree->empty, sizeof tree->empty);
    tree->nodes = nodes;
    tree->capacity = capacity;
    return 0;
}

/* Where a parse stands: the open containers, and the last child of each. */
struct builder {
    uint32_t open[JSON_DEPTH_MAX + 1], last[JSON_DEPTH_MAX + 1];
    struct json_token key;
};

static int tree_add(struct json_tree *tree, struct builder *builder, const struct json_token *token)
{
    unsigned depth = token->depth;
    uint32_t node = depth == 0 ? JSON_ROOT : tree->count;
    if (depth > 0) {
        if (tree->count == tree->capacity) {
            int error = tree_grow(tree);
            if (error < 0)
                return error;
        }
        tree->count++;
        if (builder->last[depth])
            tree->nodes[builder->last[depth]].next = node;
        else
            tree->nodes[builder->open[depth]].first_child = node;
        builder->last[depth] = node;
    }
    tree->nodes[node] = (struct json_node){.start = (uint32_t)token->start,
                                           .length = (uint32_t)(token->end - token->start),
                                           .kind = (uint8_t)token->kind,
                                           .has_escapes = token->has_escapes};
    if (builder->key.is_key) {
        tree->nodes[node].key_start = (uint32_t)builder->key.start + 1;
        tree->nodes[node].key_length = (uint32_t)(builder->key.end - builder->key.start) - 2;
        tree->nodes[node].key_has_escapes = builder->key.has_escapes;
        builder->key.is_key = false;
    }
    if (token->kind == JSON_KIND_OBJECT || token->kind == JSON_KIND_ARRAY) {
        builder->open[depth + 1] = node;
        builder->last[depth + 1] = 0;
    }
    return 0;
}

static int tree_take(struct json_tree *tree, struct builder *builder, const struct json_token *token)
{
    if (!token->is_utf8)
        tree->has_bad_utf8 = true;
    if (token->is_key) {
        builder->key = *token;
        return 0;
    }
    if (token->is_end) {
        struct json_node *node = &tree->nodes[builder->open[token->depth + 1]];
        node->length = (uint32_t)token->end - node->start;
        return 0;
    }
    return tree_add(tree, builder, token);
}

int json_tree_parse(struct json_tree *tree, struct span text)
{
    struct json_lexer lexer;
    struct json_token token;
    struct builder builder;
    enum json_lexer_status status;
    int error = 0;
    tree_reset(tree);
    tree->has_bad_utf8 = false;
    tree->reason = NULL;
    if (text.length > UINT32_MAX)
        return ERR_TOO_LARGE;
    builder.key = (struct json_token){0};
    json_lexer_init(&lexer, JSON_DEPTH_MAX);
    json_lexer_extend(&lexer, text.data, text.length, true);
    while (error == 0 && (status = json_lexer_next(&lexer, &token)) == JSON_LEXER_TOKEN)
        error = tree_take(tree, &builder, &token);
    if (error == 0 && status != JSON_LEXER_END) {
        tree->reason = json_lexer_reason(&lexer);
        error = ERR_INVALID;
    }
    if (error < 0)
        tree_reset(tree);
    else
        tree->text = text;
    return error;
}

bool json_node_escaped_key_equals(const struct json_tree *tree, uint32_t node, struct span name)
{
    return json_string_equals(json_node_key(tree, node), name);
}

uint32_t json_tree_find(const struct json_tree *tree, uint32_t object, struct span name)
{
    uint32_t found = JSON_NONE;
    if (json_node_kind(tree, object) != JSON_KIND_OBJECT)
        return JSON_NONE;
    for (uint32_t node = json_node_first(tree, object); node; node = json_node_next(tree, node))
        if (json_node_key_equals(tree, node, name))
            found = node;
    return found;
}

/* A number taken apart: digits d1 d2 ... dn of value 0.d1d2...dn * 10^point. */
struct decimal {
    struct span digits; /* with the dot among them */
    int64_t point;
    bool is_negative;
};

/* False if `raw` is not a JSON number. */
static bool decimal_read(struct span raw, struct decimal *decimal)
{
    enum { EXPONENT_MAX = 100000 }; /* far out of any range that fits an int64 */
    struct json_lexer lexer;
    struct json_token token;
    json_lexer_init(&lexer, 1);
    json_lexer_extend(&lexer, raw.data, raw.length, true);
    if (json_lexer_next(&lexer, &token) != JSON_LEXER_TOKEN || token.kind != JSON_KIND_NUMBER ||
        token.end != raw.length)
        return false;
    size_t at = token.start;
    *decimal = (struct decimal){.is_negative = raw.data[at] == '-'};
    at += decimal->is_negative;
    size_t first = at;
    while (at < raw.length && raw.data[at] >= '0' && raw.data[at] <= '9')
        at++;
    decimal->point = (int64_t)(at - first);
    while (at < raw.length && (raw.data[at] | 0x20) != 'e')
        at++;
    decimal->digits = span_of(raw.data + first, at - first);
    if (at == raw.length)
        return true;
    at++;
    bool is_small = raw.data[at] == '-';
    int64_t exponent = 0;
    for (at += is_small || raw.data[at] == '+'; at < raw.length; at++)
        if (exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (raw.data[at] - '0');
    decimal->point += is_small ? -exponent : exponent;
    return true;
}

static bool append_digit(int64_t *value, int digit)
{
    return !__builtin_mul_overflow(*value, (int64_t)10, value) &&
           !__builtin_add_overflow(*value, (int64_t)digit, value);
}

/* The number times 10^scale, cut off. */
static bool decimal_to_scaled(struct span raw, int scale, int64_t *value)
{
    struct decimal decimal;
    int64_t result = 0;
    if (!decimal_read(raw, &decimal))
        return false;
    int64_t wanted = decimal.point + scale; /* how many of the digits are left of the new point */
    bool fits = true, is_zero = true;
    for (size_t i = 0; i < decimal.digits.length && wanted > 0 && fits; i++) {
        char c = decimal.digits.data[i];
        if (c == '.')
            continue;
        is_zero = is_zero && c == '0';
        fits = append_digit(&result, c - '0');
        wanted--;
    }
    for (; wanted > 0 && fits && !is_zero; wanted--)
        fits = append_digit(&result, 0);
    if (fits)
        *value = decimal.is_negative ? -result : result;
    return fits;
}

bool json_node_to_int64(const struct json_tree *tree, uint32_t node, int64_t *value)
{
    return json_node_kind(tree, node) == JSON_KIND_NUMBER &&
           decimal_to_scaled(json_node_span(tree, node), 0, value);
}

bool json_node_to_millionths(const struct json_tree *tree, uint32_t node, int64_t *value)
{
    enum json_kind kind = json_node_kind(tree, node);
    if (kind != JSON_KIND_NUMBER && kind != JSON_KIND_STRING)
        return false;
    return decimal_to_scaled(kind == JSON_KIND_STRING ? json_node_raw(tree, node)
                                                      : json_node_span(tree, node),
                             MILLIONTH_DIGITS, value);
}
