/* SPDX-License-Identifier: MIT */
#include "upstream-worker/normaliser.h"

#include "proto/error.h"
#include "upstream-worker/json_string.h"

#include <assert.h>
#include <stdlib.h>

enum { NODE_LIMIT_COUNT = 1 << 20, KEEP_BYTES = 64 << 10 };

/* One choice of the answer, over all events. */
struct choice_state {
    uint32_t index;
    bool role_is_sent;
    struct tool_calls calls;
    struct buffer finish_reason; /* raw; the last sent */
    struct buffer id_stem;
};

struct normaliser {
    struct scratch *scratch;
    struct choice_state *choices;
    uint32_t choice_count;
    bool is_done; /* [DONE] came */
    struct buffer id_stem;
    struct buffer usage_json, usage_fields;
    const char *reason;
};

void scratch_init(struct scratch *scratch)
{
    json_tree_init(&scratch->tree, NODE_LIMIT_COUNT);
    chunk_init(&scratch->chunk);
    buffer_init(&scratch->repaired);
    memset(&scratch->error, 0, sizeof scratch->error);
}

void scratch_fini(struct scratch *scratch)
{
    json_tree_fini(&scratch->tree);
    chunk_fini(&scratch->chunk);
    buffer_fini(&scratch->repaired);
}

struct normaliser *normaliser_new(struct scratch *scratch, struct span id_stem)
{
    struct normaliser *normaliser = calloc(1, sizeof *normaliser);
    if (!normaliser)
        return NULL;
    normaliser->scratch = scratch;
    if (buffer_append_span(&normaliser->id_stem, id_stem) < 0)
        normaliser_free(&normaliser);
    return normaliser;
}

void normaliser_free(struct normaliser **normaliser)
{
    struct normaliser *dying = *normaliser;
    if (!dying)
        return;
    for (uint32_t i = 0; i < dying->choice_count; i++) {
        tool_calls_fini(&dying->choices[i].calls);
        buffer_fini(&dying->choices[i].finish_reason);
        buffer_fini(&dying->choices[i].id_stem);
    }
    free(dying->choices);
    buffer_fini(&dying->id_stem);
    buffer_fini(&dying->usage_json);
    buffer_fini(&dying->usage_fields);
    free(dying);
    *normaliser = NULL;
}

static int refuse(struct normaliser *normaliser, const char *reason)
{
    normaliser->reason = reason;
    return ERR_INVALID;
}

/* The state of a choice, made on first sight. Choices are few: a linear search finds the usual one at once.
 */
static int find_choice(struct normaliser *normaliser, uint32_t index, struct choice_state **found)
{
    for (uint32_t i = 0; i < normaliser->choice_count; i++)
        if (normaliser->choices[i].index == index) {
            *found = &normaliser->choices[i];
            return 0;
        }
    struct choice_state *grown =
        reallocarray(normaliser->choices, normaliser->choice_count + 1, sizeof *normaliser->choices);
    if (!grown)
        return ERR_NOMEM;
    normaliser->choices = grown;
    *found = &grown[normaliser->choice_count];
    **found = (struct choice_state){.index = index};
    int error = buffer_append_span(&(*found)->id_stem, buffer_span(&normaliser->id_stem));
    if (error == 0 && index > 0)
        error = buffer_printf(&(*found)->id_stem, "_%u", index);
    if (error < 0)
        buffer_fini(&(*found)->id_stem);
    else
        normaliser->choice_count++;
    return error;
}

/* Which of `names` the member is called; `count` if none. */
static size_t member_of(const struct json_tree *tree, uint32_t node, const struct span *names, size_t count)
{
    size_t i = 0;
    while (i < count && !json_node_key_equals(tree, node, names[i]))
        i++;
    return i;
}

/* Sorts an object's members: nodes[i] becomes the last one called names[i]; all others become fields of the
 * chunk. */
static int sort_members(const struct json_tree *tree, uint32_t object, const struct span *names,
                        uint32_t *nodes, size_t count, struct chunk *chunk, struct chunk_run *others)
{
    int error = 0;
    others->first = chunk->field_count;
    for (uint32_t node = json_node_first(tree, object); node && error == 0;
         node = json_node_next(tree, node)) {
        size_t which = member_of(tree, node, names, count);
        if (which < count)
            nodes[which] = node;
        else
            error = chunk_add_field(chunk, json_node_key(tree, node), json_node_span(tree, node));
    }
    others->count = chunk->field_count - others->first;
    return error;
}

/* Reads a string member that may be null. False if it is something else. */
static bool read_string(const struct json_tree *tree, uint32_t node, struct span *raw)
{
    *raw = json_node_raw(tree, node);
    return json_node_is_null(tree, node) || json_node_kind(tree, node) == JSON_KIND_STRING;
}

/* True if a function_call has neither name nor arguments. */
static bool function_call_is_noise(const struct json_tree *tree, uint32_t node)
{
    return json_node_raw(tree, json_tree_find(tree, node, SPAN("name"))).length == 0 &&
           json_node_raw(tree, json_tree_find(tree, node, SPAN("arguments"))).length == 0;
}

enum {
    DELTA_ROLE,
    DELTA_CONTENT,
    DELTA_REASONING_CONTENT,
    DELTA_REASONING,
    DELTA_REFUSAL,
    DELTA_TOOL_CALLS,
    DELTA_FUNCTION_CALL,
    DELTA_EXTRA_FIELDS,
    DELTA_MEMBER_COUNT
};
static const struct span delta_names[DELTA_MEMBER_COUNT] = {
    {"role", 4},    {"content", 7},     {"reasoning_content", 17}, {"reasoning", 9},
    {"refusal", 7}, {"tool_calls", 10}, {"function_call", 13},     {"extra_fields", 12},
};

enum {
    CHOICE_INDEX,
    CHOICE_DELTA,
    CHOICE_MESSAGE,
    CHOICE_FINISH_REASON,
    CHOICE_LOGPROBS,
    CHOICE_MEMBER_COUNT
};
static const struct span choice_names[CHOICE_MEMBER_COUNT] = {
    {"index", 5}, {"delta", 5}, {"message", 7}, {"finish_reason", 13}, {"logprobs", 8},
};

enum {
    EVENT_ID,
    EVENT_OBJECT,
    EVENT_CREATED,
    EVENT_MODEL,
    EVENT_CHOICES,
    EVENT_USAGE,
    EVENT_ERROR,
    EVENT_CODE,
    EVENT_MEMBER_COUNT
};
static const struct span event_names[EVENT_MEMBER_COUNT] = {
    {"id", 2},      {"object", 6}, {"created", 7}, {"model", 5},
    {"choices", 7}, {"usage", 5},  {"error", 5},   {"code", 4},
};

static int take_tool_calls(struct normaliser *normaliser, struct choice_state *state, uint32_t list,
                           bool is_message)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    uint32_t position = 0;
    int error = 0;
    for (uint32_t element = json_node_first(tree, list); element && error == 0;
         element = json_node_next(tree, element))
        error = tool_calls_take(&state->calls, tree, element, position++, is_message,
                                buffer_span(&state->id_stem), &normaliser->scratch->chunk);
    return error == ERR_INVALID ? refuse(normaliser, "a tool call of an unknown form") : error;
}

/* `reasoning` becomes reasoning_content; what is no string stays what it is. */
static int take_reasoning(struct normaliser *normaliser, const uint32_t *nodes, struct chunk_choice *choice)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    uint32_t plain = nodes[DELTA_REASONING];
    if (!read_string(tree, nodes[DELTA_REASONING_CONTENT], &choice->raw_reasoning))
        return refuse(normaliser, "reasoning_content is no string");
    if (choice->raw_reasoning.length == 0)
        choice->raw_reasoning = json_node_raw(tree, plain);
    if (json_node_is_null(tree, plain) || json_node_kind(tree, plain) == JSON_KIND_STRING)
        return 0;
    choice->delta_fields.count++; /* they are the chunk's last fields so far */
    return chunk_add_field(&normaliser->scratch->chunk, json_node_key(tree, plain),
                           json_node_span(tree, plain));
}

/* Fills *choice from a delta or message, tool calls aside. */
static int take_delta_members(struct normaliser *normaliser, const uint32_t *nodes,
                              struct chunk_choice *choice)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    uint32_t call = nodes[DELTA_FUNCTION_CALL];
    if (!read_string(tree, nodes[DELTA_CONTENT], &choice->raw_content))
        return refuse(normaliser, "content is no string");
    if (!read_string(tree, nodes[DELTA_REFUSAL], &choice->raw_refusal))
        return refuse(normaliser, "refusal is no string");
    if (!json_node_is_null(tree, call) && json_node_kind(tree, call) != JSON_KIND_OBJECT)
        return refuse(normaliser, "function_call is no object");
    if (!json_node_is_null(tree, nodes[DELTA_TOOL_CALLS]) &&
        json_node_kind(tree, nodes[DELTA_TOOL_CALLS]) != JSON_KIND_ARRAY)
        return refuse(normaliser, "tool_calls is no array");
    if (!function_call_is_noise(tree, call))
        choice->function_call = json_node_span(tree, call);
    return take_reasoning(normaliser, nodes, choice);
}

static int take_delta(struct normaliser *normaliser, struct choice_state *state, uint32_t delta,
                      bool is_message, struct chunk_choice *choice)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    struct chunk *chunk = &normaliser->scratch->chunk;
    uint32_t nodes[DELTA_MEMBER_COUNT] = {0};
    if (!json_node_is_null(tree, delta) && json_node_kind(tree, delta) != JSON_KIND_OBJECT)
        return refuse(normaliser, "a delta is no object");
    int error =
        sort_members(tree, delta, delta_names, nodes, DELTA_MEMBER_COUNT, chunk, &choice->delta_fields);
    if (error == 0)
        error = take_delta_members(normaliser, nodes, choice);
    if (error < 0)
        return error;
    choice->has_role = !state->role_is_sent && json_node_raw(tree, nodes[DELTA_ROLE]).length > 0;
    choice->calls.first = chunk->call_count;
    error = take_tool_calls(normaliser, state, nodes[DELTA_TOOL_CALLS], is_message);
    choice->calls.count = chunk->call_count - choice->calls.first;
    return error;
}

/* A finish_reason says that the choice ends: calls that wait go first, in the same chunk. */
static int take_finish(struct normaliser *normaliser, struct choice_state *state, struct span raw,
                       struct chunk_choice *choice)
{
    struct chunk *chunk = &normaliser->scratch->chunk;
    if (raw.length == 0)
        return 0;
    int error = tool_calls_flush(&state->calls, buffer_span(&state->id_stem), chunk);
    choice->calls.count = chunk->call_count - choice->calls.first;
    if (error < 0 || span_equals(buffer_span(&state->finish_reason), raw))
        return error;
    choice->raw_finish_reason = raw;
    buffer_clear(&state->finish_reason);
    return buffer_append_span(&state->finish_reason, raw);
}

static bool fields_say_something(const struct chunk *chunk, struct chunk_run run)
{
    for (uint32_t i = run.first; i < run.first + run.count; i++)
        if (!span_equals(chunk->all_fields[i].raw_value, SPAN("null")))
            return true;
    return false;
}

static bool choice_says_something(const struct chunk *chunk, const struct chunk_choice *choice)
{
    return choice->has_role || choice->raw_content.length > 0 || choice->raw_reasoning.length > 0 ||
           choice->raw_refusal.length > 0 || choice->function_call.length > 0 || choice->calls.count > 0 ||
           choice->raw_finish_reason.length > 0 || choice->logprobs.length > 0 ||
           fields_say_something(chunk, choice->delta_fields);
}

/* Puts a filled choice into the chunk if it is worth a client's while; what it added to the chunk goes if
 * not. */
static int add_choice(struct normaliser *normaliser, struct choice_state *state, struct chunk_choice *choice,
                      uint32_t field_count)
{
    struct chunk *chunk = &normaliser->scratch->chunk;
    if (!choice_says_something(chunk, choice)) {
        chunk->field_count = field_count;
        return 0;
    }
    struct chunk_choice *added = chunk_add_choice(chunk);
    if (!added)
        return ERR_NOMEM;
    choice->index = state->index;
    choice->has_role = !state->role_is_sent;
    state->role_is_sent = true;
    *added = *choice;
    return 0;
}

/* The choice's index; its position if it gives none. */
static int read_index(struct normaliser *normaliser, uint32_t node, uint32_t position, uint32_t *index)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    int64_t value = position;
    if (!json_node_is_null(tree, node) && !json_node_to_int64(tree, node, &value))
        return refuse(normaliser, "a choice's index is no number");
    if (value < 0 || value >= CHOICES_MAX)
        return refuse(normaliser, "a choice's index is out of range");
    *index = (uint32_t)value;
    return 0;
}

static int take_choice(struct normaliser *normaliser, uint32_t node, uint32_t position)
{
    const struct json_tree *tree = &normaliser->scratch->tree;
    struct chunk *chunk = &normaliser->scratch->chunk;
    struct chunk_choice choice = {0};
    struct choice_state *state;
    uint32_t nodes[CHOICE_MEMBER_COUNT] = {0}, field_count = chunk->field_count, index;
    struct span finish_reason;
    if (json_node_kind(tree, node) != JSON_KIND_OBJECT)
        return refuse(normaliser, "a choice is no object");
    int error = sort_members(tree, node, choice_names, nodes, CHOICE_MEMBER_COUNT, chunk, &choice.fields);
    if (error == 0)
        error = read_index(normaliser, nodes[CHOICE_INDEX], position, &index);
    if (error == 0)
        error = find_choice(normaliser, index, &state);
    if (error != 0)
        return error;
    if (!read_string(tree, nodes[CHOICE_FINISH_REASON], &finish_reason))
        return refuse(normaliser, "finish_reason is no string");
    if (json_node_kind(tree, nodes[CHOICE_LOGPROBS]) == JSON_KIND_OBJECT)
        choice.logprobs = json_node_span(tree, nodes[CHOICE_LOGPROBS]);
    else if (!json_node_is_null(tree, nodes[CHOICE_LOGPROBS]))
        return refuse(normaliser, "logprobs is no object");
    bool is_message = json_node_is_null(tree, nodes[CHOICE_DELTA]) && nodes[CHOICE_MESSAGE];
    error =
        take_delta(normaliser, state, nodes[is_message ? CHOICE_MESSAGE : CHOICE_DELTA], is_message, &choice);
    if (error == 0)
        error = take_finish(normaliser, state, finish_reason, &choice);
    return error < 0 ? error : add_choice(normaliser, state, &choice, field_count);
}

/* Keeps the usage of an event, and of an event that is about nothing else also its other members. */
static int take_usage(struct normaliser *normaliser, uint32_t usage, bool has_choices)
{
    struct scratch *scratch = normaliser->scratch;
    if (json_node_kind(&scratch->tree, usage) != JSON_KIND_OBJECT || !json_node_first(&scratch->tree, usage))
        return 0;
    buffer_clear(&normaliser->usage_json);
    int error = buffer_append_span(&normaliser->usage_json, json_node_span(&scratch->tree, usage));
    if (error < 0 || has_choices)
        return error;
    buffer_clear(&normaliser->usage_fields);
    if (scratch->chunk.fields.count == 0)
        return 0;
    error = chunk_append_fields(&scratch->chunk, scratch->chunk.fields, &normaliser->usage_fields);
    if (error == 0)
        error = buffer_append_char(&normaliser->usage_fields, '}');
    if (error == 0)
        normaliser->usage_fields.data[0] = '{'; /* was the first member's comma */
    return error;
}

static int take_object(struct normaliser *normaliser)
{
    struct scratch *scratch = normaliser->scratch;
    const struct json_tree *tree = &scratch->tree;
    uint32_t nodes[EVENT_MEMBER_COUNT] = {0}, position = 0;
    int error = sort_members(tree, JSON_ROOT, event_names, nodes, EVENT_MEMBER_COUNT, &scratch->chunk,
                             &scratch->chunk.fields);
    if (error < 0)
        return error;
    if ((nodes[EVENT_ERROR] || nodes[EVENT_CODE]) &&
        upstream_error_read(tree, JSON_ROOT, 200, &scratch->error))
        return NORMALISER_REFUSED;
    if (nodes[EVENT_CODE]) { /* a 0: passes like any other member */
        scratch->chunk.fields.count++;
        error = chunk_add_field(&scratch->chunk, SPAN("code"), json_node_span(tree, nodes[EVENT_CODE]));
        if (error < 0)
            return error;
    }
    uint32_t choices = nodes[EVENT_CHOICES], first = json_node_first(tree, choices);
    if (!json_node_is_null(tree, choices) && json_node_kind(tree, choices) != JSON_KIND_ARRAY)
        return refuse(normaliser, "choices is no array");
    error = take_usage(normaliser, nodes[EVENT_USAGE], first != JSON_NONE);
    for (uint32_t choice = first; choice && error == 0; choice = json_node_next(tree, choice))
        error = take_choice(normaliser, choice, position++);
    if (error < 0)
        return error;
    return scratch->chunk.choice_count > 0 ? NORMALISER_CHUNK : NORMALISER_NOTHING;
}

/* Line ends in an event stand between JSON tokens; in a client's event they would end its line. */
static void blank_line_ends(struct buffer *text)
{
    for (size_t i = 0; i < text->length; i++)
        if (text->data[i] == '\n' || text->data[i] == '\r')
            text->data[i] = ' ';
}

/* Parses the event, repaired if it must be. */
static int parse_event(struct normaliser *normaliser, struct span event)
{
    struct scratch *scratch = normaliser->scratch;
    int error = json_tree_parse(&scratch->tree, event);
    if (error < 0)
        return error == ERR_INVALID ? refuse(normaliser, scratch->tree.reason) : error;
    if (json_node_kind(&scratch->tree, JSON_ROOT) != JSON_KIND_OBJECT)
        return refuse(normaliser, "an event is no object");
    bool has_line_ends = memchr(event.data, '\n', event.length) || memchr(event.data, '\r', event.length);
    if (!scratch->tree.has_bad_utf8 && !has_line_ends)
        return 0;
    buffer_clear(&scratch->repaired);
    error = json_string_repair_utf8(event, &scratch->repaired);
    if (error < 0)
        return error;
    blank_line_ends(&scratch->repaired);
    return json_tree_parse(&scratch->tree, buffer_span(&scratch->repaired));
}

static struct span trim(struct span text)
{
    static const char spaces[] = " \t\r\n";
    while (text.length > 0 && memchr(spaces, text.data[0], sizeof spaces - 1))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && memchr(spaces, text.data[text.length - 1], sizeof spaces - 1))
        text.length--;
    return text;
}

/* An unusual event must not cost its memory for ever. */
static void scratch_shrink(struct scratch *scratch)
{
    json_tree_shrink(&scratch->tree);
    if (scratch->repaired.capacity > KEEP_BYTES)
        buffer_fini(&scratch->repaired);
}

int normaliser_take(struct normaliser *normaliser, struct span event)
{
    struct scratch *scratch = normaliser->scratch;
    event = trim(event);
    chunk_clear(&scratch->chunk);
    scratch_shrink(scratch); /* of the event before: the caller is done with it */
    if (span_equals(event, SPAN("[DONE]"))) {
        normaliser->is_done = true;
        return NORMALISER_DONE;
    }
    int error = parse_event(normaliser, event);
    return error < 0 ? error : take_object(normaliser);
}

/* Ends one choice: sends what waits, and a finish_reason if none was. */
static int end_choice(struct normaliser *normaliser, struct choice_state *state)
{
    struct chunk *chunk = &normaliser->scratch->chunk;
    struct chunk_choice choice = {.calls = {chunk->call_count, 0}};
    struct span made_up = state->calls.count > 0 ? SPAN("tool_calls") : SPAN("stop");
    int error = 0;
    if (state->finish_reason.length == 0)
        error = take_finish(normaliser, state, made_up, &choice);
    else
        error = tool_calls_flush(&state->calls, buffer_span(&state->id_stem), chunk);
    choice.calls.count = chunk->call_count - choice.calls.first;
    return error < 0 ? error : add_choice(normaliser, state, &choice, chunk->field_count);
}

static bool choices_are_finished(const struct normaliser *normaliser)
{
    for (uint32_t i = 0; i < normaliser->choice_count; i++)
        if (normaliser->choices[i].finish_reason.length == 0)
            return false;
    return normaliser->choice_count > 0;
}

int normaliser_end(struct normaliser *normaliser)
{
    struct chunk *chunk = &normaliser->scratch->chunk;
    struct choice_state *first;
    int error = 0;
    chunk_clear(chunk);
    if (!normaliser->is_done && !choices_are_finished(normaliser))
        return ERR_TRUNCATED;
    if (normaliser->choice_count == 0)
        error = find_choice(normaliser, 0, &first);
    for (uint32_t i = 0; i < normaliser->choice_count && error == 0; i++)
        error = end_choice(normaliser, &normaliser->choices[i]);
    if (error < 0)
        return error;
    return chunk->choice_count > 0 ? NORMALISER_CHUNK : NORMALISER_NOTHING;
}

bool normaliser_has_choices(const struct normaliser *normaliser)
{
    return normaliser->choice_count > 0;
}

struct span normaliser_usage_json(const struct normaliser *normaliser)
{
    return buffer_span(&normaliser->usage_json);
}

struct span normaliser_usage_fields(const struct normaliser *normaliser)
{
    return buffer_span(&normaliser->usage_fields);
}

const char *normaliser_reason(const struct normaliser *normaliser)
{
    return normaliser->reason ? normaliser->reason : "";
}
