/* SPDX-License-Identifier: MIT */
/* json_tree - where everything is in one JSON text: nodes of spans, no copies. Nothing blocks.
 *
 * A tree is embedded (json_tree_init, json_tree_fini) and meant to be used again for text after text: its
 * array of nodes only grows, so that parsing allocates nothing in the steady state. Nodes are named by their
 * index; they and the spans from them are valid until the next parse, and as long as the text, which the tree
 * borrows. */
#ifndef UPSTREAM_WORKER_JSON_TREE_H
#define UPSTREAM_WORKER_JSON_TREE_H

#include "proto/bytes.h"
#include "upstream-worker/json_lexer.h"

enum { JSON_NONE = 0 }; /* no such node; the root is JSON_ROOT */
enum { JSON_ROOT = 1 };

struct json_node {
    uint32_t start, length;         /* of the value, with quotes or brackets */
    uint32_t key_start, key_length; /* of the member's name without quotes, raw; an element's are 0 */
    uint32_t first_child, next;     /* JSON_NONE: no children, no next sibling */
    uint8_t kind;                   /* enum json_kind */
    bool has_escapes;               /* a string with a backslash */
    bool key_has_escapes;
};

struct json_tree {
    struct span text;
    struct json_node *nodes; /* [0] is a null, so that a lookup in JSON_NONE finds JSON_NONE */
    uint32_t count, capacity, limit;
    bool has_bad_utf8;         /* some string of the text is not UTF-8 */
    const char *reason;        /* after ERR_INVALID: why; static */
    struct json_node empty[2]; /* what nodes points to before there are any; so a tree must not be copied */
};

/* At most `node_limit_count` nodes (28 bytes each, at least 2) are ever held. */
void json_tree_init(struct json_tree *tree, uint32_t node_limit_count);
void json_tree_fini(struct json_tree *tree);
/* Parses `text` (borrowed). 0; ERR_INVALID: not exactly one JSON value; ERR_TOO_LARGE: too many nodes or over
 * 4 GiB; ERR_NOMEM. After a failure the tree is empty: every lookup finds JSON_NONE. */
int json_tree_parse(struct json_tree *tree, struct span text);
/* Gives memory back if an unusual text made the tree big; the tree is empty afterwards. */
void json_tree_shrink(struct json_tree *tree);

static inline const struct json_node *json_node_at(const struct json_tree *tree, uint32_t node)
{
    return &tree->nodes[node];
}
static inline enum json_kind json_node_kind(const struct json_tree *tree, uint32_t node)
{
    return (enum json_kind)tree->nodes[node].kind;
}
/* True if the node is missing or null: JSON's two ways to say nothing. */
static inline bool json_node_is_null(const struct json_tree *tree, uint32_t node)
{
    return tree->nodes[node].kind == JSON_KIND_NULL;
}
/* First member or element; JSON_NONE for an empty container or no container. Go on with json_node_next. */
static inline uint32_t json_node_first(const struct json_tree *tree, uint32_t node)
{
    return tree->nodes[node].first_child;
}
static inline uint32_t json_node_next(const struct json_tree *tree, uint32_t node)
{
    return tree->nodes[node].next;
}
/* The whole value as it stands in the text. */
static inline struct span json_node_span(const struct json_tree *tree, uint32_t node)
{
    return span_of(tree->text.data + tree->nodes[node].start, tree->nodes[node].length);
}
/* The member's name as it stands in the text, without quotes. */
static inline struct span json_node_key(const struct json_tree *tree, uint32_t node)
{
    return span_of(tree->text.data + tree->nodes[node].key_start, tree->nodes[node].key_length);
}
/* A string's raw inside; empty for anything else. */
static inline struct span json_node_raw(const struct json_tree *tree, uint32_t node)
{
    const struct json_node *at = &tree->nodes[node];
    if (at->kind != JSON_KIND_STRING)
        return (struct span){0};
    return span_of(tree->text.data + at->start + 1, at->length - 2);
}
/* Whether a name that has escapes stands for `name`; json_node_key_equals is for all. */
bool json_node_escaped_key_equals(const struct json_tree *tree, uint32_t node, struct span name);
static inline bool json_node_key_equals(const struct json_tree *tree, uint32_t node, struct span name)
{
    const struct json_node *at = &tree->nodes[node];
    if (at->key_has_escapes)
        return json_node_escaped_key_equals(tree, node, name);
    return at->key_length == name.length &&
           memcmp(tree->text.data + at->key_start, name.data, name.length) == 0;
}
/* The member called `name` of an object; of several the last, as clients' parsers do. JSON_NONE if there is
 * none or `object` is no object. */
uint32_t json_tree_find(const struct json_tree *tree, uint32_t object, struct span name);
/* An integer (3, -3, 3.0, 3e2; fractions are cut off). False if it is no number or does not fit. */
bool json_node_to_int64(const struct json_tree *tree, uint32_t node, int64_t *value);
/* A number, or a string that holds one, in millionths, exactly; further digits are cut off. False if it is
 * none or does not fit. */
bool json_node_to_millionths(const struct json_tree *tree, uint32_t node, int64_t *value);

#endif
