/* SPDX-License-Identifier: MIT */
#include "upstream-worker/chunk.h"

#include "proto/error.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 8 };

void chunk_init(struct chunk *chunk)
{
    *chunk = (struct chunk){0};
}

void chunk_fini(struct chunk *chunk)
{
    free(chunk->choices);
    free(chunk->calls);
    free(chunk->all_fields);
    chunk_init(chunk);
}

void chunk_clear(struct chunk *chunk)
{
    chunk->choice_count = chunk->call_count = chunk->field_count = 0;
    chunk->fields = (struct chunk_run){0};
}

/* Makes room for one more entry of `size` bytes. Returns the array, NULL when out of memory (the old one
 * stays). */
static void *array_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    uint32_t wanted = *capacity ? *capacity * 2 : FIRST_CAPACITY;
    void *grown = reallocarray(array, wanted, size);
    if (grown)
        *capacity = wanted;
    return grown;
}

struct chunk_choice *chunk_add_choice(struct chunk *chunk)
{
    struct chunk_choice *choices =
        array_grow(chunk->choices, chunk->choice_count, &chunk->choice_capacity, sizeof *choices);
    if (!choices)
        return NULL;
    chunk->choices = choices;
    choices += chunk->choice_count++;
    *choices = (struct chunk_choice){0};
    return choices;
}

struct chunk_call *chunk_add_call(struct chunk *chunk)
{
    struct chunk_call *calls =
        array_grow(chunk->calls, chunk->call_count, &chunk->call_capacity, sizeof *calls);
    if (!calls)
        return NULL;
    chunk->calls = calls;
    calls += chunk->call_count++;
    *calls = (struct chunk_call){0};
    return calls;
}

int chunk_add_field(struct chunk *chunk, struct span raw_key, struct span raw_value)
{
    struct chunk_field *fields =
        array_grow(chunk->all_fields, chunk->field_count, &chunk->field_capacity, sizeof *fields);
    if (!fields)
        return ERR_NOMEM;
    chunk->all_fields = fields;
    fields[chunk->field_count++] = (struct chunk_field){raw_key, raw_value};
    return 0;
}

/* A JSON text being written; an error sticks, so that it is looked at once, at the end. */
struct writer {
    struct buffer *out;
    int error;
    bool needs_comma;
};

static void put(struct writer *writer, struct span text)
{
    if (writer->error == 0)
        writer->error = buffer_append_span(writer->out, text);
}

/* Begins a member: `name` with quotes and colon. */
static void put_name(struct writer *writer, struct span name)
{
    if (writer->needs_comma)
        put(writer, SPAN(","));
    writer->needs_comma = true;
    put(writer, name);
}

/* A string member, unless it is absent. */
static void put_string(struct writer *writer, struct span name, struct span raw)
{
    if (raw.length == 0)
        return;
    put_name(writer, name);
    put(writer, SPAN("\""));
    put(writer, raw);
    put(writer, SPAN("\""));
}

static void put_value(struct writer *writer, struct span name, struct span value)
{
    if (value.length == 0)
        return;
    put_name(writer, name);
    put(writer, value);
}

static void put_number(struct writer *writer, uint32_t number)
{
    char digits[10];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(writer, span_of(digits + at, sizeof digits - at));
}

static void put_fields(struct writer *writer, const struct chunk *chunk, struct chunk_run run)
{
    for (uint32_t i = run.first; i < run.first + run.count; i++) {
        put_name(writer, SPAN("\""));
        put(writer, chunk->all_fields[i].raw_key);
        put(writer, SPAN("\":"));
        put(writer, chunk->all_fields[i].raw_value);
    }
}

int chunk_append_fields(const struct chunk *chunk, struct chunk_run run, struct buffer *out)
{
    struct writer writer = {.out = out, .needs_comma = true};
    put_fields(&writer, chunk, run);
    return writer.error;
}

static void put_call(struct writer *writer, const struct chunk *chunk, const struct chunk_call *call)
{
    put_name(writer, SPAN("{\"index\":"));
    put_number(writer, call->index);
    put_string(writer, SPAN("\"id\":"), call->raw_id);
    put_string(writer, SPAN("\"type\":"), call->raw_type);
    put_fields(writer, chunk, call->fields);
    put_name(writer, SPAN("\"function\":{"));
    writer->needs_comma = false;
    if (call->is_first) {
        put_name(writer, SPAN("\"name\":\""));
        put(writer, call->raw_name);
        put(writer, SPAN("\""));
    }
    put_name(writer, SPAN("\"arguments\":\""));
    put(writer, call->raw_arguments);
    put(writer, SPAN("\""));
    put_fields(writer, chunk, call->function_fields);
    put(writer, SPAN("}}"));
}

static void put_delta(struct writer *writer, const struct chunk *chunk, const struct chunk_choice *choice)
{
    if (choice->has_role)
        put_name(writer, SPAN("\"role\":\"assistant\""));
    put_string(writer, SPAN("\"content\":"), choice->raw_content);
    put_string(writer, SPAN("\"reasoning_content\":"), choice->raw_reasoning);
    put_string(writer, SPAN("\"refusal\":"), choice->raw_refusal);
    put_value(writer, SPAN("\"function_call\":"), choice->function_call);
    if (choice->calls.count > 0) {
        put_name(writer, SPAN("\"tool_calls\":["));
        writer->needs_comma = false;
        for (uint32_t i = 0; i < choice->calls.count; i++) {
            put_call(writer, chunk, &chunk->calls[choice->calls.first + i]);
            writer->needs_comma = true;
        }
        put(writer, SPAN("]"));
    }
    put_fields(writer, chunk, choice->delta_fields);
}

static void put_choice(struct writer *writer, const struct chunk *chunk, const struct chunk_choice *choice)
{
    put_name(writer, SPAN("{\"index\":"));
    put_number(writer, choice->index);
    put(writer, SPAN(",\"delta\":{"));
    writer->needs_comma = false;
    put_delta(writer, chunk, choice);
    put(writer, SPAN("}"));
    writer->needs_comma = true;
    put_value(writer, SPAN("\"logprobs\":"), choice->logprobs);
    put_fields(writer, chunk, choice->fields);
    if (choice->raw_finish_reason.length > 0)
        put_string(writer, SPAN("\"finish_reason\":"), choice->raw_finish_reason);
    else
        put_name(writer, SPAN("\"finish_reason\":null"));
    put(writer, SPAN("}"));
}

int chunk_append_event(const struct chunk *chunk, struct span head, struct buffer *out)
{
    struct writer writer = {.out = out};
    size_t start_length = out->length;
    put(&writer, SPAN("data: "));
    put(&writer, head);
    writer.needs_comma = true;
    put_fields(&writer, chunk, chunk->fields);
    put_name(&writer, SPAN("\"choices\":["));
    writer.needs_comma = false;
    for (uint32_t i = 0; i < chunk->choice_count; i++) {
        put_choice(&writer, chunk, &chunk->choices[i]);
        writer.needs_comma = true;
    }
    put(&writer, SPAN("]}\n\n"));
    if (writer.error < 0)
        out->length = start_length;
    return writer.error;
}

int chunk_append_head(struct buffer *out, struct span id, const char *object, int64_t created_s,
                      struct span model)
{
    int error = buffer_append_span(out, SPAN("{\"id\":"));
    if (error == 0)
        error = buffer_append_json_string(out, id);
    if (error == 0)
        error = buffer_printf(out, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
                              (long long)created_s);
    return error < 0 ? error : buffer_append_json_string(out, model);
}
