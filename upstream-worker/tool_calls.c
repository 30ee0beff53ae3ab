/* SPDX-License-Identifier: MIT */
#include "upstream-worker/tool_calls.h"

#include "proto/error.h"

#include <stdlib.h>

struct tool_call {
    bool has_index;
    int64_t upstream_index;
    struct buffer upstream_id, name, type; /* raw */
    struct buffer id;                      /* what the client sees, once the call is sent */
    struct buffer
        held_fields; /* members that came before the call was sent: struct held_field, key, value, ... */
};

/* Head of a member in held_fields. */
struct held_field {
    uint32_t key_length, value_length;
    bool is_in_function;
};

/* One element of an upstream's `tool_calls`. */
struct fragment {
    const struct json_tree *tree;
    uint32_t element, function;
    bool has_index, has_fields; /* has_fields: further members, of which one is not null */
    int64_t index;
    struct span raw_id, raw_type, raw_name, raw_arguments;
};

static void tool_call_fini(struct tool_call *call)
{
    buffer_fini(&call->upstream_id);
    buffer_fini(&call->name);
    buffer_fini(&call->type);
    buffer_fini(&call->id);
    buffer_fini(&call->held_fields);
}

void tool_calls_fini(struct tool_calls *calls)
{
    for (uint32_t i = 0; i < calls->count; i++)
        tool_call_fini(&calls->calls[i]);
    free(calls->calls);
    *calls = (struct tool_calls){0};
}

static bool is_call_member(const struct json_tree *tree, uint32_t node)
{
    return json_node_key_equals(tree, node, SPAN("index")) || json_node_key_equals(tree, node, SPAN("id")) ||
           json_node_key_equals(tree, node, SPAN("type")) ||
           json_node_key_equals(tree, node, SPAN("function"));
}

static bool is_function_member(const struct json_tree *tree, uint32_t node)
{
    return json_node_key_equals(tree, node, SPAN("name")) ||
           json_node_key_equals(tree, node, SPAN("arguments"));
}

static bool is_further_member(const struct json_tree *tree, uint32_t node, bool is_in_function)
{
    return is_in_function ? !is_function_member(tree, node) : !is_call_member(tree, node);
}

static bool has_further_members(const struct json_tree *tree, uint32_t object, bool is_in_function)
{
    for (uint32_t node = json_node_first(tree, object); node; node = json_node_next(tree, node))
        if (!json_node_is_null(tree, node) && is_further_member(tree, node, is_in_function))
            return true;
    return false;
}

static int fragment_read(struct fragment *fragment, const struct json_tree *tree, uint32_t element)
{
    uint32_t function = json_tree_find(tree, element, SPAN("function"));
    uint32_t arguments = json_tree_find(tree, function, SPAN("arguments"));
    if (json_node_kind(tree, element) != JSON_KIND_OBJECT ||
        (!json_node_is_null(tree, function) && json_node_kind(tree, function) != JSON_KIND_OBJECT) ||
        (!json_node_is_null(tree, arguments) && json_node_kind(tree, arguments) != JSON_KIND_STRING))
        return ERR_INVALID;
    *fragment = (struct fragment){
        .tree = tree,
        .element = element,
        .function = function,
        .raw_id = json_node_raw(tree, json_tree_find(tree, element, SPAN("id"))),
        .raw_type = json_node_raw(tree, json_tree_find(tree, element, SPAN("type"))),
        .raw_name = json_node_raw(tree, json_tree_find(tree, function, SPAN("name"))),
        .raw_arguments = json_node_raw(tree, arguments),
        .has_fields = has_further_members(tree, element, false) || has_further_members(tree, function, true),
    };
    fragment->has_index =
        json_node_to_int64(tree, json_tree_find(tree, element, SPAN("index")), &fragment->index);
    return 0;
}

static bool fragment_is_empty(const struct fragment *fragment)
{
    return fragment->raw_id.length == 0 && fragment->raw_name.length == 0 &&
           fragment->raw_arguments.length == 0 && !fragment->has_fields;
}

static bool fragment_names_another(const struct fragment *fragment, const struct tool_call *call)
{
    return fragment->raw_name.length > 0 && call->name.length > 0 &&
           !span_equals(fragment->raw_name, buffer_span(&call->name));
}

/* The last call opened at the fragment's index; calls->count if there is none. */
static uint32_t find_by_index(const struct tool_calls *calls, const struct fragment *fragment)
{
    for (uint32_t i = calls->count; fragment->has_index && i-- > 0;)
        if (calls->calls[i].has_index && calls->calls[i].upstream_index == fragment->index)
            return i;
    return calls->count;
}

/* The call that the fragment belongs to; calls->count if it opens one. The rules are in the header. */
static uint32_t find_call(const struct tool_calls *calls, const struct fragment *fragment)
{
    uint32_t none = calls->count;
    if (fragment->raw_id.length > 0) {
        for (uint32_t i = calls->count; i-- > 0;)
            if (span_equals(buffer_span(&calls->calls[i].upstream_id), fragment->raw_id))
                return i;
        uint32_t at = fragment->has_index || none == 0 ? find_by_index(calls, fragment) : calls->last;
        bool is_late_id = at < none && calls->calls[at].upstream_id.length == 0 &&
                          !fragment_names_another(fragment, &calls->calls[at]);
        return is_late_id ? at : none;
    }
    if (fragment->has_index)
        return find_by_index(calls, fragment);
    if (none == 0)
        return none;
    bool is_sent = calls->last < calls->unsent;
    return is_sent && fragment_names_another(fragment, &calls->calls[calls->last]) ? none : calls->last;
}

static int open_call(struct tool_calls *calls, const struct fragment *fragment)
{
    if (calls->count == TOOL_CALLS_MAX)
        return ERR_TOO_LARGE;
    if (calls->count == calls->capacity) {
        uint32_t capacity = calls->capacity ? calls->capacity * 2 : 4;
        struct tool_call *grown = reallocarray(calls->calls, capacity, sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        calls->calls = grown;
        calls->capacity = capacity;
    }
    calls->calls[calls->count++] =
        (struct tool_call){.has_index = fragment->has_index, .upstream_index = fragment->index};
    return 0;
}

static int hold_fields(struct tool_call *call, const struct fragment *fragment, bool is_in_function)
{
    const struct json_tree *tree = fragment->tree;
    uint32_t object = is_in_function ? fragment->function : fragment->element;
    int error = 0;
    for (uint32_t node = json_node_first(tree, object); node && error == 0;
         node = json_node_next(tree, node)) {
        if (!is_further_member(tree, node, is_in_function))
            continue;
        struct span key = json_node_key(tree, node), value = json_node_span(tree, node);
        struct held_field head = {(uint32_t)key.length, (uint32_t)value.length, is_in_function};
        error = buffer_append(&call->held_fields, &head, sizeof head);
        if (error == 0)
            error = buffer_append_span(&call->held_fields, key);
        if (error == 0)
            error = buffer_append_span(&call->held_fields, value);
    }
    return error;
}

/* Notes what the fragment says about a call that is not sent yet. */
static int note_unsent(struct tool_call *call, const struct fragment *fragment)
{
    int error = 0;
    if (call->type.length == 0)
        error = buffer_append_span(&call->type, fragment->raw_type);
    if (error == 0 && !span_equals(buffer_span(&call->name), fragment->raw_name))
        error = buffer_append_span(&call->name, fragment->raw_name);
    return error;
}

static int add_held_fields(const struct tool_call *call, bool is_in_function, struct chunk *chunk)
{
    int error = 0;
    const char *at = call->held_fields.data, *end = at ? at + call->held_fields.length : at;
    while (at < end && error == 0) {
        struct held_field head;
        memcpy(&head, at, sizeof head);
        at += sizeof head;
        if (head.is_in_function == is_in_function)
            error = chunk_add_field(chunk, span_of(at, head.key_length),
                                    span_of(at + head.key_length, head.value_length));
        at += head.key_length + head.value_length;
    }
    return error;
}

static int add_fields(const struct fragment *fragment, bool is_in_function, struct chunk *chunk)
{
    const struct json_tree *tree = fragment->tree;
    uint32_t object = is_in_function ? fragment->function : fragment->element;
    int error = 0;
    for (uint32_t node = json_node_first(tree, object); node && error == 0; node = json_node_next(tree, node))
        if (is_further_member(tree, node, is_in_function))
            error = chunk_add_field(chunk, json_node_key(tree, node), json_node_span(tree, node));
    return error;
}

/* Appends a fragment for the client: with what was held, and with the upstream's `fragment` if there is one.
 */
static int emit(const struct tool_calls *calls, uint32_t index, const struct fragment *fragment,
                struct chunk *chunk)
{
    const struct tool_call *call = &calls->calls[index];
    struct chunk_call *out = chunk_add_call(chunk);
    int error = 0;
    if (!out)
        return ERR_NOMEM;
    out->index = index;
    if (fragment)
        out->raw_arguments = fragment->raw_arguments;
    if (index >= calls->unsent) {
        out->is_first = true;
        out->raw_id = buffer_span(&call->id);
        out->raw_name = buffer_span(&call->name);
        out->raw_type = call->type.length ? buffer_span(&call->type) : SPAN("function");
    }
    out->fields.first = chunk->field_count;
    if (out->is_first)
        error = add_held_fields(call, false, chunk);
    if (error == 0 && fragment)
        error = add_fields(fragment, false, chunk);
    out->fields.count = chunk->field_count - out->fields.first;
    out->function_fields.first = chunk->field_count;
    if (error == 0 && out->is_first)
        error = add_held_fields(call, true, chunk);
    if (error == 0 && fragment)
        error = add_fields(fragment, true, chunk);
    out->function_fields.count = chunk->field_count - out->function_fields.first;
    return error;
}

/* Decides the id that the client sees. */
static int settle_id(struct tool_call *call, uint32_t index, struct span id_stem)
{
    struct span id = buffer_span(&call->upstream_id);
    int error = 0;
    if (!span_starts_with(id, SPAN("call_")))
        error = buffer_append_span(&call->id, SPAN("call_"));
    if (error < 0)
        return error;
    if (id.length > 0)
        return buffer_append_span(&call->id, id);
    error = buffer_append_span(&call->id, id_stem);
    return error < 0 ? error : buffer_printf(&call->id, "_%u", index);
}

/* Sends the waiting calls before `end`, in order; the last of them with `fragment`, if `end` is just behind
 * it. */
static int send_until(struct tool_calls *calls, uint32_t end, const struct fragment *fragment,
                      struct span id_stem, struct chunk *chunk)
{
    int error = 0;
    while (calls->unsent < end && error == 0) {
        uint32_t index = calls->unsent;
        error = settle_id(&calls->calls[index], index, id_stem);
        if (error == 0)
            error = emit(calls, index, index + 1 == end ? fragment : NULL, chunk);
        calls->unsent++;
    }
    return error;
}

static int take_fragment(struct tool_calls *calls, const struct fragment *fragment, struct span id_stem,
                         struct chunk *chunk)
{
    uint32_t index = find_call(calls, fragment);
    int error = 0;
    if (index == calls->count) {
        if (fragment_is_empty(fragment))
            return 0; /* noise */
        error = open_call(calls, fragment);
        if (error < 0)
            return error;
    }
    calls->last = index;
    struct tool_call *call = &calls->calls[index];
    if (call->upstream_id.length == 0)
        error = buffer_append_span(&call->upstream_id, fragment->raw_id);
    bool says_something = fragment->raw_arguments.length > 0 || fragment->has_fields;
    if (index < calls->unsent)
        return error == 0 && says_something ? emit(calls, index, fragment, chunk) : error;
    if (error == 0)
        error = note_unsent(call, fragment);
    if (error == 0 && fragment->raw_arguments.length > 0)
        return send_until(calls, index + 1, fragment, id_stem, chunk);
    if (error == 0)
        error = hold_fields(call, fragment, false);
    return error < 0 ? error : hold_fields(call, fragment, true);
}

int tool_calls_take(struct tool_calls *calls, const struct json_tree *tree, uint32_t element,
                    uint32_t position, bool is_message, struct span id_stem, struct chunk *chunk)
{
    struct fragment fragment;
    int error = fragment_read(&fragment, tree, element);
    if (error < 0)
        return error;
    if (!fragment.has_index && is_message) {
        fragment.has_index = true;
        fragment.index = position;
    }
    return take_fragment(calls, &fragment, id_stem, chunk);
}

int tool_calls_flush(struct tool_calls *calls, struct span id_stem, struct chunk *chunk)
{
    return send_until(calls, calls->count, NULL, id_stem, chunk);
}
