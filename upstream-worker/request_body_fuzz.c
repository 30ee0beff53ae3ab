/* SPDX-License-Identifier: MIT */
/* A body scanned in random slices gives the same as at once; what is accepted becomes a payload that is JSON,
 * has stream true, include_usage true, and a system message first, and whose other content is the client's.
 * The first byte seeds the slices. */
#include "upstream-worker/request_body.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct keyword_rule rules[] = {{{"aa", 2}, {"\"", 1}}};
static const struct request_options options = {{"model", 5}, {"m", 1}, {"text", 4}, rules, 1};

/* What became of it: status, message, payload. */
static int run(struct span body, uint32_t seed, struct buffer *said)
{
    struct request_body *request = request_body_new(&options);
    char *memory = NULL;
    size_t arrived = 0;
    int status = REQUEST_MORE;
    assert(request);
    while (status == REQUEST_MORE) {
        seed = seed * 1664525 + 1013904223;
        size_t more = seed % 5 == 0 ? 0 : 1 + (seed >> 16) % 40;
        arrived = more < body.length - arrived ? arrived + more : body.length;
        char *moved = malloc(arrived + 1); /* so that a read past what arrived is seen, and a stale pointer */
        assert(moved);
        memcpy(moved, body.data, arrived);
        free(memory);
        memory = moved;
        status = request_body_scan(request, span_of(memory, arrived), arrived == body.length,
                                   1 + (seed >> 8) % 30);
    }
    if (status == REQUEST_READY)
        assert(payload_flatten(request_body_payload(request), said) == 0);
    else
        assert(buffer_append_span(said, request_body_message(request)) == 0);
    request_body_free(&request);
    free(memory);
    return status;
}

static const json_t *first_message(const json_t *body)
{
    return json_array_get(json_object_get(body, "messages"), 0);
}

/* jansson refuses some JSON that we accept (json_tree_fuzz); then there is nothing to hold the payload
 * against. */
static void check_payload(struct span body, struct span payload)
{
    json_t *before = json_loadb(body.data, body.length, 0, NULL),
           *after = json_loadb(payload.data, payload.length, 0, NULL);
    assert(!before || after);
    if (before) {
        assert(json_is_true(json_object_get(after, "stream")));
        assert(json_is_true(json_object_get(json_object_get(after, "stream_options"), "include_usage")));
        assert(json_is_string(json_object_get(after, "model")));
        const char *role = json_string_value(json_object_get(first_message(after), "role"));
        assert(role && strcmp(role, "system") == 0);
        size_t count = json_array_size(json_object_get(before, "messages"));
        size_t count_after = json_array_size(json_object_get(after, "messages"));
        assert(count_after == count || count_after == count + 1);
        const char *key;
        json_t *value;
        json_object_foreach (before, key, value) {
            if (strcmp(key, "stream") != 0 && strcmp(key, "stream_options") != 0 &&
                strcmp(key, "model") != 0 && strcmp(key, "messages") != 0)
                assert(json_equal(value, json_object_get(after, key)));
        }
    }
    json_decref(before);
    json_decref(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer one = {0}, other = {0};
    if (size == 0)
        return 0;
    struct span body = span_of((const char *)data + 1, size - 1);
    int status = run(body, 5, &one);
    assert(run(body, data[0] * 2654435761u + 7, &other) == status);
    assert(span_equals(buffer_span(&one), buffer_span(&other)));
    if (status == REQUEST_READY)
        check_payload(body, buffer_span(&one));
    buffer_fini(&one);
    buffer_fini(&other);
    return 0;
}
