/* SPDX-License-Identifier: MIT */
/* Any bytes of an upstream: the client's stream is framed events of JSON with one head, one role per choice,
 * known call indexes and one end; it does not depend on the cuts; and the plain answer to the same bytes has
 * the same fate and the same text. The first byte seeds the cuts. */
#include "upstream-worker/answer.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(struct span bytes, bool wants_stream, uint32_t seed, struct buffer *out)
{
    struct scratch scratch;
    struct answer_options options = {.id = SPAN("r"),
                                     .model = SPAN("m"),
                                     .wants_stream = wants_stream,
                                     .wants_usage = true,
                                     .event_limit_bytes = 4096};
    scratch_init(&scratch);
    struct answer *answer = answer_new(&options, &scratch);
    int status = ANSWER_MORE;
    assert(answer);
    while (status == ANSWER_MORE && bytes.length > 0) {
        seed = seed * 1664525 + 1013904223;
        size_t length = 1 + (seed >> 16) % 100;
        length = length < bytes.length ? length : bytes.length;
        char *piece = malloc(length);
        assert(piece);
        memcpy(piece, bytes.data, length);
        status = answer_feed(answer, span_of(piece, length), out);
        free(piece);
        bytes = span_of(bytes.data + length, bytes.length - length);
    }
    if (status == ANSWER_MORE)
        status = answer_finish(answer, out);
    struct usage usage;
    answer_read_usage(answer, &usage);
    answer_free(&answer);
    scratch_fini(&scratch);
    return status;
}

/* What the stream says of choice 0. */
struct seen {
    struct buffer content;
    size_t call_count;
    bool has_role, is_done;
};

static void see_choice(struct seen *seen, const json_t *choice)
{
    const json_t *delta = json_object_get(choice, "delta"), *content = json_object_get(delta, "content"),
                 *call;
    size_t i;
    assert(json_is_object(delta));
    if (json_integer_value(json_object_get(choice, "index")) != 0)
        return;
    assert((json_object_get(delta, "role") != NULL) == !seen->has_role);
    seen->has_role = true;
    if (content) {
        assert(json_string_length(content) > 0);
        assert(buffer_append(&seen->content, json_string_value(content), json_string_length(content)) == 0);
    }
    json_array_foreach (json_object_get(delta, "tool_calls"), i, call) {
        size_t index = (size_t)json_integer_value(json_object_get(call, "index"));
        bool is_first = json_object_get(call, "id") != NULL;
        assert(is_first ? index == seen->call_count : index < seen->call_count);
        assert(is_first == (json_object_get(json_object_get(call, "function"), "name") != NULL));
        seen->call_count += is_first;
    }
}

/* False if jansson refuses what we pass (json_tree_fuzz): then there is nothing to compare. */
static bool see_event(struct seen *seen, struct span event)
{
    assert(!seen->is_done);
    assert(span_starts_with(event, SPAN("data: ")));
    assert(!memchr(event.data, '\n', event.length) && !memchr(event.data, '\r', event.length));
    event = span_of(event.data + 6, event.length - 6);
    if (span_equals(event, SPAN("[DONE]"))) {
        seen->is_done = true;
        return true;
    }
    assert(span_is_utf8(event));
    json_t *chunk = json_loadb(event.data, event.length, JSON_ALLOW_NUL, NULL), *choice;
    size_t i;
    if (!chunk)
        return false;
    assert(strcmp(json_string_value(json_object_get(chunk, "id")), "chatcmpl-r") == 0);
    json_array_foreach (json_object_get(chunk, "choices"), i, choice)
        see_choice(seen, choice);
    json_decref(chunk);
    return true;
}

static bool see_stream(struct seen *seen, struct span stream)
{
    bool is_readable = true;
    while (stream.length > 0 && is_readable) {
        const char *end = memmem(stream.data, stream.length, "\n\n", 2);
        assert(end);
        is_readable = see_event(seen, span_of(stream.data, (size_t)(end - stream.data)));
        stream = span_of(end + 2, stream.length - (size_t)(end + 2 - stream.data));
    }
    return is_readable;
}

static void compare(const struct seen *seen, struct span completion)
{
    json_t *json = json_loadb(completion.data, completion.length, JSON_ALLOW_NUL, NULL);
    if (!json) {
        assert(span_is_utf8(completion));
        return; /* an unknown member that jansson does not read, and a stream chunk that lost it to a later
                   one */
    }
    const json_t *message = json_object_get(json_array_get(json_object_get(json, "choices"), 0), "message");
    const json_t *content = json_object_get(message, "content");
    assert(span_equals(buffer_span(&seen->content),
                       span_of(json_string_value(content), json_string_length(content))));
    assert(json_array_size(json_object_get(message, "tool_calls")) == seen->call_count);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer stream = {0}, again = {0}, plain = {0};
    struct seen seen = {0};
    if (size == 0)
        return 0;
    struct span bytes = span_of((const char *)data + 1, size - 1);
    int status = run(bytes, true, 5, &stream);
    assert(run(bytes, true, data[0] * 2654435761u + 7, &again) == status);
    assert(span_equals(buffer_span(&stream), buffer_span(&again)));
    assert(run(bytes, false, data[0], &plain) == status);
    assert((plain.length > 0) == (status == ANSWER_COMPLETE));
    if (see_stream(&seen, buffer_span(&stream))) {
        assert(seen.is_done == (status == ANSWER_COMPLETE));
        if (status == ANSWER_COMPLETE)
            compare(&seen, buffer_span(&plain));
    }
    buffer_fini(&seen.content);
    buffer_fini(&stream);
    buffer_fini(&again);
    buffer_fini(&plain);
    return 0;
}
