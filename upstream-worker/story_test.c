/* SPDX-License-Identifier: MIT */
/* The same upstream bytes, cut at random places, go through a streaming answer and through a plain one. What
 * a simple client of our own (jansson, no code shared with ours) puts together from the stream, what the
 * plain answer says, and what the upstream meant must be one story. */
#include "upstream-worker/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

enum { CALLS_MAX = 4, SEEDS = 1500 };

/* What an answer says. */
struct story {
    char content[4096], reasoning[4096], refusal[256], finish_reason[64];
    struct {
        char id[128], name[128], arguments[1024];
    } calls[CALLS_MAX];
    size_t call_count;
    char usage[512]; /* dumped with sorted keys; empty: none */
};

static uint64_t random_state;

static unsigned pick(unsigned count)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state * 0x2545F4914F6CDD1Du) >> 40) % count;
}

static bool flip(void)
{
    return pick(2) == 0;
}

static void append(char *text, size_t capacity, const char *more)
{
    size_t length = strlen(text), extra = strlen(more);
    assert_true(length + extra < capacity);
    memcpy(text + length, more, extra + 1);
}

/* The upstream: writes events and remembers what they mean. */
enum shape { PROPER_INDEXES, INDEX_ZERO, NO_IDS, SHAPE_COUNT };
enum naming { NAME_ONCE, NAME_IN_PIECES, NAME_REPEATED, NAMING_COUNT };
struct upstream {
    struct buffer bytes;
    struct story truth;
    enum shape shape;
    enum naming naming;
    const char *line_end;
    bool has_blank_lines, has_space, has_usage_everywhere, has_noise, is_indented, has_sent;
    int completion_tokens;
};

static void put_text(struct upstream *up, const char *text)
{
    assert_int_equal(buffer_append_span(&up->bytes, span_str(text)), 0);
}

/* Writes data as an SSE event, indented JSON as several data lines. */
static void put_event(struct upstream *up, const char *data)
{
    while (pick(8) == 0) {
        put_text(up, flip() ? ": keepalive" : "event: message");
        put_text(up, up->line_end);
    }
    for (const char *line = data; line;) {
        const char *end = strchr(line, '\n');
        put_text(up, up->has_space ? "data: " : "data:");
        assert_int_equal(buffer_append(&up->bytes, line, end ? (size_t)(end - line) : strlen(line)), 0);
        put_text(up, up->line_end);
        line = end ? end + 1 : NULL;
    }
    if (up->has_blank_lines)
        put_text(up, up->line_end);
}

static json_t *make_usage(struct upstream *up, bool is_last)
{
    json_t *usage =
        json_pack("{s:i,s:i,s:{s:i},s:f}", "prompt_tokens", 11, "completion_tokens", ++up->completion_tokens,
                  "prompt_tokens_details", "cached_tokens", 4, "credit", 0.5);
    (void)is_last;
    char *text = json_dumps(usage, JSON_SORT_KEYS | JSON_COMPACT);
    snprintf(up->truth.usage, sizeof up->truth.usage, "%s", text);
    free(text);
    return usage;
}

/* Writes a chunk with this delta (taken). */
static void put_chunk(struct upstream *up, json_t *delta, const char *finish_reason)
{
    if (up->has_noise) {
        static const char *const names[] = {"role",          "content",    "refusal",     "reasoning_content",
                                            "function_call", "tool_calls", "extra_fields"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!json_object_get(delta, names[i]) && flip())
                json_object_set_new(delta, names[i],
                                    i == 5             ? json_array()
                                    : i == 6           ? json_pack("{s:i}", "a", 1)
                                    : i == 4 || flip() ? json_null()
                                                       : json_string(""));
    }
    if (!up->has_sent && flip())
        json_object_set_new(delta, "role", json_string("assistant"));
    up->has_sent = true;
    json_t *chunk = json_pack("{s:s,s:s,s:i,s:s,s:[{s:i,s:o,s:o}]}", "id", "up", "object",
                              "chat.completion.chunk", "created", 1, "model", "upstream-model", "choices",
                              "index", 0, "delta", delta, "finish_reason",
                              finish_reason ? json_string(finish_reason)
                              : flip()      ? json_null()
                                            : json_string(""));
    assert_non_null(chunk);
    if (up->has_usage_everywhere)
        json_object_set_new(chunk, "usage", make_usage(up, false));
    size_t flags = up->is_indented && flip() ? JSON_INDENT(1) : JSON_COMPACT;
    char *text =
        json_dumps(chunk, flags | (flip() ? JSON_ENSURE_ASCII : 0) | (flip() ? JSON_ESCAPE_SLASH : 0));
    put_event(up, text);
    free(text);
    json_decref(chunk);
}

static const char *random_piece(void)
{
    static const char *const pieces[] = {
        "a",        " word",     "\xE4\xBD\xA0\xE5\xA5\xBD", "\"quoted\"", "\\",
        "\n",       "{\"x\":1}", "\xF0\x9F\x98\x80",         "\t/",        "data: [DONE]\n\n",
        "\xC3\xA9", "\x01"};
    return pieces[pick(sizeof pieces / sizeof *pieces)];
}

static void put_text_delta(struct upstream *up)
{
    const char *piece = random_piece();
    unsigned kind = pick(5);
    if (kind <= 2) {
        append(up->truth.content, sizeof up->truth.content, piece);
        put_chunk(up, json_pack("{s:s}", "content", piece), NULL);
    } else if (kind == 3) {
        append(up->truth.reasoning, sizeof up->truth.reasoning, piece);
        put_chunk(up, json_pack("{s:s}", flip() ? "reasoning" : "reasoning_content", piece), NULL);
    } else {
        append(up->truth.reasoning, sizeof up->truth.reasoning, piece);
        append(up->truth.content, sizeof up->truth.content, piece);
        put_chunk(
            up, json_pack("{s:s,s:s,s:s}", "reasoning", piece, "reasoning_content", piece, "content", piece),
            NULL);
    }
}

/* A fragment of call `i`; name or arguments may be NULL. */
static json_t *make_fragment(struct upstream *up, size_t i, bool is_first, const char *name,
                             const char *arguments)
{
    json_t *function = json_object(), *fragment = json_object();
    if (name || flip())
        json_object_set_new(function, "name",
                            name     ? json_string(name)
                            : flip() ? json_null()
                                     : json_string(""));
    if (arguments || flip())
        json_object_set_new(function, "arguments", json_string(arguments ? arguments : ""));
    json_object_set_new(
        fragment, "index",
        json_integer(up->shape == INDEX_ZERO ? 0 : (json_int_t)(up->shape == NO_IDS ? i + 2 : i)));
    if (up->shape != NO_IDS && (is_first || pick(4) == 0))
        json_object_set_new(fragment, "id", json_string(up->truth.calls[i].id));
    else if (flip())
        json_object_set_new(fragment, "id", flip() ? json_null() : json_string(""));
    if (is_first || flip())
        json_object_set_new(fragment, "type", json_string("function"));
    json_object_set_new(fragment, "function", function);
    return fragment;
}

static void put_fragment(struct upstream *up, size_t i, bool is_first, const char *name,
                         const char *arguments)
{
    if (arguments)
        append(up->truth.calls[i].arguments, sizeof up->truth.calls[i].arguments, arguments);
    put_chunk(up, json_pack("{s:[o]}", "tool_calls", make_fragment(up, i, is_first, name, arguments)), NULL);
}

static void put_call_start(struct upstream *up, size_t i)
{
    char *name = up->truth.calls[i].name, head[128];
    snprintf(name, sizeof up->truth.calls[i].name, "get_%u_of_%zu", pick(1000), i);
    snprintf(up->truth.calls[i].id, sizeof up->truth.calls[i].id, "%s%08x%zu", flip() ? "call_" : "tooluse_",
             pick(1 << 20), i);
    if (up->naming == NAME_IN_PIECES) {
        int cut = 1 + (int)pick(3);
        snprintf(head, sizeof head, "%.*s", cut, name);
        put_fragment(up, i, true, head, NULL);
        put_fragment(up, i, false, name + cut, pick(3) == 0 ? "{" : NULL);
    } else {
        put_fragment(up, i, true, name, flip() ? "{\"k\":" : NULL);
    }
}

static void put_call_arguments(struct upstream *up, size_t i)
{
    char arguments[32];
    snprintf(arguments, sizeof arguments, "\"%u\xE4\xBD\xA0\\\"", pick(100000));
    put_fragment(up, i, false, up->naming == NAME_REPEATED ? up->truth.calls[i].name : NULL, arguments);
}

static void put_calls(struct upstream *up)
{
    size_t count = up->truth.call_count = pick(CALLS_MAX + 1);
    bool is_interleaved = up->shape != INDEX_ZERO && flip();
    for (size_t i = 0; i < count; i++) {
        put_call_start(up, i);
        for (unsigned more = is_interleaved ? 0 : pick(4); more > 0; more--)
            put_call_arguments(up, i);
        if (pick(3) == 0)
            put_text_delta(up);
    }
    for (unsigned more = is_interleaved && count > 0 ? pick(10) : 0; more > 0; more--)
        put_call_arguments(up, pick((unsigned)count));
}

static void put_end(struct upstream *up, bool has_usage_at_end)
{
    unsigned ending = pick(4); /* 0: [DONE] alone, 1: finish alone, else both */
    const char *finish = up->truth.call_count > 0 ? "tool_calls" : ending > 0 && flip() ? "length" : "stop";
    snprintf(up->truth.finish_reason, sizeof up->truth.finish_reason, "%s", finish);
    if (ending > 0)
        put_chunk(up, json_object(), finish);
    if (has_usage_at_end) {
        json_t *chunk = json_pack("{s:s,s:[],s:o}", "id", "up", "choices", "usage", make_usage(up, true));
        char *text = json_dumps(chunk, JSON_COMPACT);
        put_event(up, text);
        free(text);
        json_decref(chunk);
    }
    if (ending != 1)
        put_event(up, "[DONE]");
}

static void make_upstream(struct upstream *up, unsigned seed)
{
    static const char *const line_ends[] = {"\n", "\r\n", "\r"};
    *up = (struct upstream){0};
    random_state = 0x9E3779B97F4A7C15u * (seed + 1);
    up->shape = pick(SHAPE_COUNT);
    up->naming = pick(NAMING_COUNT);
    up->line_end = line_ends[pick(3)];
    up->has_blank_lines = pick(3) > 0;
    up->has_space = flip();
    up->has_usage_everywhere = pick(4) == 0;
    up->has_noise = flip();
    up->is_indented = pick(4) == 0;
    for (unsigned i = pick(8); i > 0; i--)
        put_text_delta(up);
    put_calls(up);
    for (unsigned i = pick(3); i > 0; i--)
        put_text_delta(up);
    put_end(up, flip());
}

/* Our side: the bytes that a client gets. */
static struct scratch scratch;

static void run(struct span upstream, bool wants_stream, struct buffer *out)
{
    struct answer_options options = {.id = SPAN("req"),
                                     .model = SPAN("client-model"),
                                     .created_s = 5,
                                     .wants_stream = wants_stream,
                                     .wants_usage = true};
    struct answer *answer = answer_new(&options, &scratch);
    int status = ANSWER_MORE;
    assert_non_null(answer);
    unsigned longest = 1 + pick(flip() ? 8 : 500);
    while (status == ANSWER_MORE && upstream.length > 0) {
        size_t length = 1 + pick(longest);
        length = length < upstream.length ? length : upstream.length;
        status = answer_feed(answer, span_of(upstream.data, length), out);
        upstream = span_of(upstream.data + length, upstream.length - length);
    }
    if (status == ANSWER_MORE)
        status = answer_finish(answer, out);
    assert_int_equal(status, ANSWER_COMPLETE);
    assert_int_equal(buffer_append_char(out, '\0'), 0);
    answer_free(&answer);
}

/* The client: reads what a stream or a completion says, and is strict about the form. */
static void copy_string(char *out, size_t capacity, const json_t *value)
{
    out[0] = '\0';
    if (value && !json_is_null(value)) {
        assert_true(json_is_string(value));
        append(out, capacity, json_string_value(value));
    }
}

static void append_string(char *out, size_t capacity, const json_t *value)
{
    if (!value)
        return;
    assert_true(json_is_string(value) && json_string_length(value) > 0); /* noise must not come */
    append(out, capacity, json_string_value(value));
}

static void read_usage(struct story *story, const json_t *usage)
{
    if (!usage)
        return;
    char *text = json_dumps(usage, JSON_SORT_KEYS | JSON_COMPACT);
    snprintf(story->usage, sizeof story->usage, "%s", text);
    free(text);
}

static void check_head(const json_t *object, const char *kind)
{
    assert_string_equal(json_string_value(json_object_get(object, "id")), "chatcmpl-req");
    assert_string_equal(json_string_value(json_object_get(object, "object")), kind);
    assert_string_equal(json_string_value(json_object_get(object, "model")), "client-model");
    assert_int_equal(json_integer_value(json_object_get(object, "created")), 5);
}

static void read_call_delta(struct story *story, const json_t *fragment)
{
    size_t i = (size_t)json_integer_value(json_object_get(fragment, "index"));
    const json_t *function = json_object_get(fragment, "function"), *id = json_object_get(fragment, "id");
    const json_t *arguments = json_object_get(function, "arguments");
    assert_true(i < CALLS_MAX);
    if (i == story->call_count) { /* the first fragment: id, type and name, once */
        story->call_count++;
        copy_string(story->calls[i].id, sizeof story->calls[i].id, id);
        copy_string(story->calls[i].name, sizeof story->calls[i].name, json_object_get(function, "name"));
        assert_string_equal(json_string_value(json_object_get(fragment, "type")), "function");
    } else {
        assert_true(i < story->call_count);
        assert_null(id);
        assert_null(json_object_get(fragment, "type"));
        assert_null(json_object_get(function, "name"));
        assert_true(json_string_length(arguments) > 0);
    }
    assert_true(json_is_string(arguments));
    append(story->calls[i].arguments, sizeof story->calls[i].arguments, json_string_value(arguments));
}

static void read_chunk(struct story *story, const json_t *chunk, bool is_first)
{
    const json_t *choices = json_object_get(chunk, "choices"), *choice = json_array_get(choices, 0);
    const json_t *delta = json_object_get(choice, "delta"),
                 *finish = json_object_get(choice, "finish_reason"), *call;
    size_t i;
    check_head(chunk, "chat.completion.chunk");
    assert_int_equal(json_array_size(choices), 1);
    assert_null(json_object_get(chunk, "usage"));
    assert_string_equal(story->usage, ""); /* it comes last */
    assert_true(json_is_object(delta));
    assert_true(is_first == (json_object_get(delta, "role") != NULL));
    if (is_first)
        assert_string_equal(json_string_value(json_object_get(delta, "role")), "assistant");
    append_string(story->content, sizeof story->content, json_object_get(delta, "content"));
    append_string(story->reasoning, sizeof story->reasoning, json_object_get(delta, "reasoning_content"));
    append_string(story->refusal, sizeof story->refusal, json_object_get(delta, "refusal"));
    assert_null(json_object_get(delta, "reasoning"));
    assert_null(json_object_get(delta, "extra_fields"));
    json_array_foreach (json_object_get(delta, "tool_calls"), i, call)
        read_call_delta(story, call);
    if (!json_is_null(finish)) {
        assert_string_equal(story->finish_reason, "");
        copy_string(story->finish_reason, sizeof story->finish_reason, finish);
    }
}

static void read_stream(struct story *story, char *text)
{
    bool is_first = true;
    *story = (struct story){0};
    for (;;) {
        char *end = strstr(text, "\n\n");
        assert_non_null(end);
        *end = '\0';
        assert_null(strchr(text, '\n'));
        assert_int_equal(strncmp(text, "data: ", 6), 0);
        if (strcmp(text, "data: [DONE]") == 0) {
            assert_string_equal(end + 2, "");
            return;
        }
        json_t *chunk = json_loads(text + 6, 0, NULL);
        assert_non_null(chunk);
        if (json_array_size(json_object_get(chunk, "choices")) == 0) {
            check_head(chunk, "chat.completion.chunk");
            assert_string_equal(story->usage, "");
            read_usage(story, json_object_get(chunk, "usage"));
        } else {
            read_chunk(story, chunk, is_first);
        }
        is_first = false;
        json_decref(chunk);
        text = end + 2;
    }
}

static void read_completion(struct story *story, const char *text)
{
    json_t *completion = json_loads(text, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(completion, "choices"), 0),
                 *message = json_object_get(choice, "message");
    const json_t *call;
    *story = (struct story){0};
    check_head(completion, "chat.completion");
    assert_int_equal(json_array_size(json_object_get(completion, "choices")), 1);
    assert_string_equal(json_string_value(json_object_get(message, "role")), "assistant");
    copy_string(story->content, sizeof story->content, json_object_get(message, "content"));
    copy_string(story->reasoning, sizeof story->reasoning, json_object_get(message, "reasoning_content"));
    copy_string(story->refusal, sizeof story->refusal, json_object_get(message, "refusal"));
    copy_string(story->finish_reason, sizeof story->finish_reason, json_object_get(choice, "finish_reason"));
    json_array_foreach (json_object_get(message, "tool_calls"), story->call_count, call) {
        size_t i = story->call_count;
        assert_true(i < CALLS_MAX);
        copy_string(story->calls[i].id, sizeof story->calls[i].id, json_object_get(call, "id"));
        copy_string(story->calls[i].name, sizeof story->calls[i].name,
                    json_object_get(json_object_get(call, "function"), "name"));
        copy_string(story->calls[i].arguments, sizeof story->calls[i].arguments,
                    json_object_get(json_object_get(call, "function"), "arguments"));
    }
    read_usage(story, json_object_get(completion, "usage"));
    json_decref(completion);
}

static void compare(unsigned seed, const char *what, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        fail_msg("seed %u: %s: [%s] is not [%s]", seed, what, a, b);
}

static void compare_stories(unsigned seed, const struct story *a, const struct story *b)
{
    compare(seed, "content", a->content, b->content);
    compare(seed, "reasoning", a->reasoning, b->reasoning);
    compare(seed, "refusal", a->refusal, b->refusal);
    compare(seed, "finish_reason", a->finish_reason, b->finish_reason);
    compare(seed, "usage", a->usage, b->usage);
    if (a->call_count != b->call_count)
        fail_msg("seed %u: %zu calls, %zu calls", seed, a->call_count, b->call_count);
    for (size_t i = 0; i < a->call_count; i++) {
        compare(seed, "id", a->calls[i].id, b->calls[i].id);
        compare(seed, "name", a->calls[i].name, b->calls[i].name);
        compare(seed, "arguments", a->calls[i].arguments, b->calls[i].arguments);
    }
}

/* The ids that clients see, from the upstream's. */
static void expect_ids(struct upstream *up)
{
    for (size_t i = 0; i < up->truth.call_count; i++) {
        char id[128];
        if (up->shape == NO_IDS)
            snprintf(id, sizeof id, "call_req_%zu", i);
        else
            snprintf(id, sizeof id, "%s%.100s",
                     strncmp(up->truth.calls[i].id, "call_", 5) == 0 ? "" : "call_", up->truth.calls[i].id);
        snprintf(up->truth.calls[i].id, sizeof up->truth.calls[i].id, "%s", id);
    }
}

static void both_modes_tell_the_upstreams_story(void **state)
{
    static struct upstream up;
    static struct story streamed, plain;
    struct buffer stream = {0}, completion = {0};
    (void)state;
    scratch_init(&scratch);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        make_upstream(&up, seed);
        expect_ids(&up);
        buffer_clear(&stream);
        buffer_clear(&completion);
        run(buffer_span(&up.bytes), true, &stream);
        run(buffer_span(&up.bytes), false, &completion);
        read_stream(&streamed, stream.data);
        read_completion(&plain, completion.data);
        compare_stories(seed, &streamed, &plain);
        compare_stories(seed, &plain, &up.truth);
        buffer_fini(&up.bytes);
    }
    buffer_fini(&stream);
    buffer_fini(&completion);
    scratch_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_modes_tell_the_upstreams_story)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
