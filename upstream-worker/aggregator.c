/* SPDX-License-Identifier: MIT */
#include "upstream-worker/aggregator.h"

#include "proto/error.h"

#include <stdlib.h>

enum { KEPT_FIELDS_MAX = 256 }; /* per object; real ones have a few */

/* Members of one object of which the last value wins. */
struct kept_field {
    struct buffer raw_key, raw_value;
};
struct kept_fields {
    struct kept_field *fields;
    uint32_t count;
};

struct kept_call {
    struct buffer id, type, name, arguments; /* raw */
    struct kept_fields fields, function_fields;
};

struct aggregator {
    size_t used_bytes, limit_bytes;
    struct buffer content, reasoning, refusal, finish_reason; /* raw */
    struct buffer function_name, function_arguments;          /* raw; the old function_call */
    struct buffer logprobs_content, logprobs_refusal;         /* elements with commas */
    bool has_function_call, has_logprobs;
    struct kept_call *calls;
    uint32_t call_count;
    struct kept_fields fields, choice_fields, message_fields;
};

struct aggregator *aggregator_new(size_t limit_bytes)
{
    struct aggregator *aggregator = calloc(1, sizeof *aggregator);
    if (aggregator)
        aggregator->limit_bytes = limit_bytes;
    return aggregator;
}

static void kept_fields_fini(struct kept_fields *kept)
{
    for (uint32_t i = 0; i < kept->count; i++) {
        buffer_fini(&kept->fields[i].raw_key);
        buffer_fini(&kept->fields[i].raw_value);
    }
    free(kept->fields);
}

static void kept_call_fini(struct kept_call *call)
{
    buffer_fini(&call->id);
    buffer_fini(&call->type);
    buffer_fini(&call->name);
    buffer_fini(&call->arguments);
    kept_fields_fini(&call->fields);
    kept_fields_fini(&call->function_fields);
}

void aggregator_free(struct aggregator **aggregator)
{
    struct aggregator *dying = *aggregator;
    if (!dying)
        return;
    buffer_fini(&dying->content);
    buffer_fini(&dying->reasoning);
    buffer_fini(&dying->refusal);
    buffer_fini(&dying->finish_reason);
    buffer_fini(&dying->function_name);
    buffer_fini(&dying->function_arguments);
    buffer_fini(&dying->logprobs_content);
    buffer_fini(&dying->logprobs_refusal);
    for (uint32_t i = 0; i < dying->call_count; i++)
        kept_call_fini(&dying->calls[i]);
    free(dying->calls);
    kept_fields_fini(&dying->fields);
    kept_fields_fini(&dying->choice_fields);
    kept_fields_fini(&dying->message_fields);
    free(dying);
    *aggregator = NULL;
}

static int join(struct aggregator *aggregator, struct buffer *buffer, struct span text)
{
    if (text.length > aggregator->limit_bytes - aggregator->used_bytes)
        return ERR_TOO_LARGE;
    aggregator->used_bytes += text.length;
    return buffer_append_span(buffer, text);
}

static int replace(struct aggregator *aggregator, struct buffer *buffer, struct span text)
{
    aggregator->used_bytes -= buffer->length;
    buffer_clear(buffer);
    return join(aggregator, buffer, text);
}

/* The entry of `raw_key`, made if there is none. */
static int kept_fields_find(struct aggregator *aggregator, struct kept_fields *kept, struct span raw_key,
                            struct kept_field **found)
{
    for (uint32_t i = 0; i < kept->count; i++)
        if (span_equals(buffer_span(&kept->fields[i].raw_key), raw_key)) {
            *found = &kept->fields[i];
            return 0;
        }
    if (kept->count == KEPT_FIELDS_MAX)
        return ERR_TOO_LARGE;
    struct kept_field *grown = reallocarray(kept->fields, kept->count + 1, sizeof *grown);
    if (!grown)
        return ERR_NOMEM;
    kept->fields = grown;
    *found = &grown[kept->count++];
    **found = (struct kept_field){0};
    return join(aggregator, &(*found)->raw_key, raw_key);
}

static int keep_fields(struct aggregator *aggregator, struct kept_fields *kept, const struct chunk *chunk,
                       struct chunk_run run)
{
    int error = 0;
    for (uint32_t i = run.first; i < run.first + run.count && error == 0; i++) {
        struct kept_field *field;
        error = kept_fields_find(aggregator, kept, chunk->all_fields[i].raw_key, &field);
        if (error == 0)
            error = replace(aggregator, &field->raw_value, chunk->all_fields[i].raw_value);
    }
    return error;
}

/* Calls come in order: the normaliser sends first fragments by rising index. */
static int find_call(struct aggregator *aggregator, uint32_t index, struct kept_call **call)
{
    if (index > aggregator->call_count)
        return ERR_INVALID;
    if (index == aggregator->call_count) {
        struct kept_call *grown = reallocarray(aggregator->calls, index + 1, sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        aggregator->calls = grown;
        grown[aggregator->call_count++] = (struct kept_call){0};
    }
    *call = &aggregator->calls[index];
    return 0;
}

static int add_call(struct aggregator *aggregator, const struct chunk *chunk,
                    const struct chunk_call *fragment)
{
    struct kept_call *call;
    int error = find_call(aggregator, fragment->index, &call);
    if (error == 0 && fragment->is_first) {
        error = join(aggregator, &call->id, fragment->raw_id);
        if (error == 0)
            error = join(aggregator, &call->type, fragment->raw_type);
        if (error == 0)
            error = join(aggregator, &call->name, fragment->raw_name);
    }
    if (error == 0)
        error = join(aggregator, &call->arguments, fragment->raw_arguments);
    if (error == 0)
        error = keep_fields(aggregator, &call->fields, chunk, fragment->fields);
    if (error == 0)
        error = keep_fields(aggregator, &call->function_fields, chunk, fragment->function_fields);
    return error;
}

static int add_function_call(struct aggregator *aggregator, struct span object, struct json_tree *tree)
{
    if (object.length == 0)
        return 0;
    int error = json_tree_parse(tree, object);
    if (error < 0)
        return error;
    struct span name = json_node_raw(tree, json_tree_find(tree, JSON_ROOT, SPAN("name")));
    struct span arguments = json_node_raw(tree, json_tree_find(tree, JSON_ROOT, SPAN("arguments")));
    aggregator->has_function_call = true;
    if (name.length > 0)
        error = replace(aggregator, &aggregator->function_name, name);
    return error < 0 ? error : join(aggregator, &aggregator->function_arguments, arguments);
}

/* Appends the elements of the array `name` in the parsed logprobs to `list`. */
static int add_elements(struct aggregator *aggregator, const struct json_tree *tree, struct span name,
                        struct buffer *list)
{
    uint32_t array = json_tree_find(tree, JSON_ROOT, name);
    int error = 0;
    if (json_node_kind(tree, array) != JSON_KIND_ARRAY)
        return 0;
    for (uint32_t node = json_node_first(tree, array); node && error == 0;
         node = json_node_next(tree, node)) {
        if (list->length > 0)
            error = join(aggregator, list, SPAN(","));
        if (error == 0)
            error = join(aggregator, list, json_node_span(tree, node));
    }
    return error;
}

static int add_logprobs(struct aggregator *aggregator, struct span object, struct json_tree *tree)
{
    if (object.length == 0)
        return 0;
    int error = json_tree_parse(tree, object);
    if (error == 0)
        error = add_elements(aggregator, tree, SPAN("content"), &aggregator->logprobs_content);
    if (error == 0)
        error = add_elements(aggregator, tree, SPAN("refusal"), &aggregator->logprobs_refusal);
    aggregator->has_logprobs = true;
    return error;
}

static int add_choice(struct aggregator *aggregator, const struct chunk *chunk,
                      const struct chunk_choice *choice, struct json_tree *tree)
{
    int error = join(aggregator, &aggregator->content, choice->raw_content);
    if (error == 0)
        error = join(aggregator, &aggregator->reasoning, choice->raw_reasoning);
    if (error == 0)
        error = join(aggregator, &aggregator->refusal, choice->raw_refusal);
    if (error == 0 && choice->raw_finish_reason.length > 0)
        error = replace(aggregator, &aggregator->finish_reason, choice->raw_finish_reason);
    for (uint32_t i = 0; i < choice->calls.count && error == 0; i++)
        error = add_call(aggregator, chunk, &chunk->calls[choice->calls.first + i]);
    if (error == 0)
        error = add_function_call(aggregator, choice->function_call, tree);
    if (error == 0)
        error = add_logprobs(aggregator, choice->logprobs, tree);
    if (error == 0)
        error = keep_fields(aggregator, &aggregator->message_fields, chunk, choice->delta_fields);
    if (error == 0)
        error = keep_fields(aggregator, &aggregator->choice_fields, chunk, choice->fields);
    return error;
}

int aggregator_add(struct aggregator *aggregator, const struct chunk *chunk, struct json_tree *tree)
{
    int error = keep_fields(aggregator, &aggregator->fields, chunk, chunk->fields);
    for (uint32_t i = 0; i < chunk->choice_count && error == 0; i++)
        if (chunk->choices[i].index == 0)
            error = add_choice(aggregator, chunk, &chunk->choices[i], tree);
    return error;
}

int aggregator_add_members(struct aggregator *aggregator, struct span object, struct json_tree *tree)
{
    int error = json_tree_parse(tree, object);
    for (uint32_t node = json_node_first(tree, JSON_ROOT); node && error == 0;
         node = json_node_next(tree, node)) {
        struct kept_field *field;
        error = kept_fields_find(aggregator, &aggregator->fields, json_node_key(tree, node), &field);
        if (error == 0)
            error = replace(aggregator, &field->raw_value, json_node_span(tree, node));
    }
    return error;
}

/* The completion being written; an error sticks. */
struct writer {
    struct buffer *out;
    int error;
};

static void put(struct writer *writer, struct span text)
{
    if (writer->error == 0)
        writer->error = buffer_append_span(writer->out, text);
}

static void put_string(struct writer *writer, struct span name, const struct buffer *raw)
{
    put(writer, name);
    put(writer, SPAN("\""));
    put(writer, buffer_span(raw));
    put(writer, SPAN("\""));
}

static void put_string_or_null(struct writer *writer, struct span name, const struct buffer *raw)
{
    if (raw->length > 0) {
        put_string(writer, name, raw);
        return;
    }
    put(writer, name);
    put(writer, SPAN("null"));
}

/* Each with a comma in front. */
static void put_fields(struct writer *writer, const struct kept_fields *kept)
{
    for (uint32_t i = 0; i < kept->count; i++) {
        put_string(writer, SPAN(","), &kept->fields[i].raw_key);
        put(writer, SPAN(":"));
        put(writer, buffer_span(&kept->fields[i].raw_value));
    }
}

static void put_calls(struct writer *writer, const struct aggregator *aggregator)
{
    for (uint32_t i = 0; i < aggregator->call_count; i++) {
        const struct kept_call *call = &aggregator->calls[i];
        put(writer, i == 0 ? SPAN(",\"tool_calls\":[") : SPAN(","));
        put_string(writer, SPAN("{\"id\":"), &call->id);
        put_string(writer, SPAN(",\"type\":"), &call->type);
        put_string(writer, SPAN(",\"function\":{\"name\":"), &call->name);
        put_string(writer, SPAN(",\"arguments\":"), &call->arguments);
        put_fields(writer, &call->function_fields);
        put(writer, SPAN("}"));
        put_fields(writer, &call->fields);
        put(writer, SPAN("}"));
    }
    if (aggregator->call_count > 0)
        put(writer, SPAN("]"));
}

static void put_message(struct writer *writer, const struct aggregator *aggregator)
{
    put_string_or_null(writer, SPAN("{\"role\":\"assistant\",\"content\":"), &aggregator->content);
    if (aggregator->reasoning.length > 0)
        put_string(writer, SPAN(",\"reasoning_content\":"), &aggregator->reasoning);
    put_string_or_null(writer, SPAN(",\"refusal\":"), &aggregator->refusal);
    put_calls(writer, aggregator);
    if (aggregator->has_function_call) {
        put_string(writer, SPAN(",\"function_call\":{\"name\":"), &aggregator->function_name);
        put_string(writer, SPAN(",\"arguments\":"), &aggregator->function_arguments);
        put(writer, SPAN("}"));
    }
    put_fields(writer, &aggregator->message_fields);
    put(writer, SPAN("}"));
}

static void put_list_or_null(struct writer *writer, struct span name, const struct buffer *elements)
{
    put(writer, name);
    put(writer, elements->length > 0 ? SPAN("[") : SPAN("null"));
    put(writer, buffer_span(elements));
    if (elements->length > 0)
        put(writer, SPAN("]"));
}

static void put_choice(struct writer *writer, const struct aggregator *aggregator)
{
    put(writer, SPAN("{\"index\":0,\"message\":"));
    put_message(writer, aggregator);
    put(writer, SPAN(",\"logprobs\":"));
    if (aggregator->has_logprobs) {
        put_list_or_null(writer, SPAN("{\"content\":"), &aggregator->logprobs_content);
        put_list_or_null(writer, SPAN(",\"refusal\":"), &aggregator->logprobs_refusal);
        put(writer, SPAN("}"));
    } else {
        put(writer, SPAN("null"));
    }
    put_fields(writer, &aggregator->choice_fields);
    put_string_or_null(writer, SPAN(",\"finish_reason\":"), &aggregator->finish_reason);
    put(writer, SPAN("}"));
}

int aggregator_append_json(const struct aggregator *aggregator, struct span head, struct span usage_json,
                           struct buffer *out)
{
    struct writer writer = {.out = out};
    size_t start_length = out->length;
    put(&writer, head);
    put_fields(&writer, &aggregator->fields);
    put(&writer, SPAN(",\"choices\":["));
    put_choice(&writer, aggregator);
    put(&writer, SPAN("]"));
    if (usage_json.length > 0) {
        put(&writer, SPAN(",\"usage\":"));
        put(&writer, usage_json);
    }
    put(&writer, SPAN("}"));
    if (writer.error < 0)
        out->length = start_length;
    return writer.error;
}
