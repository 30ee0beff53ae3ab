/* SPDX-License-Identifier: MIT */
#include "tests/upstream/answer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/upstream/json_text.h"

#define BEYOND_ASCII "\xc3\xa9\xe4\xb8\x96\xf0\x9f\x99\x82" /* é世🙂: 2, 3 and 4 bytes */
#define CREATED_S    1750000000

/* ---- the list of deltas ---- */

static struct answer_event *add_event(struct answer *answer)
{
    struct answer_event *event;

    if (answer->event_count == answer->event_capacity) {
        answer->event_capacity = answer->event_capacity ? answer->event_capacity * 2 : 32;
        answer->events = memory_resize(answer->events, answer->event_capacity, sizeof(*answer->events));
    }
    event = &answer->events[answer->event_count++];
    *event = (struct answer_event){.content = -1, .reasoning = -1, .tool = -1};
    return event;
}

static void add_reasoning(struct answer *answer, int32_t from)
{
    for (int32_t i = from; i < answer->scenario->reasoning; i++)
        add_event(answer)->reasoning = i;
}

static void add_content(struct answer *answer)
{
    const struct scenario *scenario = answer->scenario;
    int32_t joined = 0;

    for (int32_t i = 0; i < scenario->n; i++) {
        bool pair = i < scenario->reasoning;

        if (pair && scenario->reasoning_at == REASONING_MIXED)
            add_event(answer)->reasoning = joined++;
        add_event(answer)->content = i;
        if (pair && scenario->reasoning_at == REASONING_WITH)
            answer->events[answer->event_count - 1].reasoning = joined++;
    }
    if (scenario->reasoning_at == REASONING_WITH || scenario->reasoning_at == REASONING_MIXED)
        add_reasoning(answer, joined);
    if (scenario->echo)
        add_event(answer)->echo = true;
}

/* First fragment, perhaps one for the rest of the name, then those of the arguments. */
static int32_t tool_fragment_count(const struct scenario *scenario)
{
    return (int32_t)(1 + (scenario->tool_name == TOOL_NAME_SPLIT) + scenario->tool_fragments);
}

static void add_tool(struct answer *answer, int32_t tool, int32_t tool_count, int32_t fragment)
{
    struct answer_event *event = add_event(answer);

    event->tool = tool;
    event->tool_count = tool_count;
    event->fragment = fragment;
}

static void add_tools(struct answer *answer)
{
    const struct scenario *scenario = answer->scenario;
    int32_t fragments = tool_fragment_count(scenario);
    int32_t tools = (int32_t)scenario->tools;

    if (scenario->tool_order == TOOL_SERIAL) {
        for (int32_t tool = 0; tool < tools; tool++)
            for (int32_t fragment = 0; fragment < fragments; fragment++)
                add_tool(answer, tool, 1, fragment);
        return;
    }
    for (int32_t fragment = 0; tools && fragment < fragments; fragment++) {
        if (scenario->tool_order == TOOL_BATCH)
            add_tool(answer, 0, tools, fragment);
        for (int32_t tool = 0; scenario->tool_order == TOOL_INTERLEAVED && tool < tools; tool++)
            add_tool(answer, tool, 1, fragment);
    }
}

void answer_init(struct answer *answer)
{
    const struct scenario *scenario = answer->scenario;

    answer->events = NULL;
    answer->event_count = answer->event_capacity = 0;
    if (scenario->role == ROLE_OWN)
        add_event(answer)->role_only = true;
    if (scenario->noise)
        add_event(answer)->noise_only = true;
    if (scenario->reasoning_at == REASONING_BEFORE)
        add_reasoning(answer, 0);
    add_content(answer);
    add_tools(answer);
    if (scenario->reasoning_at == REASONING_AFTER)
        add_reasoning(answer, 0);
    if (scenario->noise)
        add_event(answer)->noise_only = true;
    if (answer->event_count == 0)
        return;
    answer->events[0].first = true;
    answer->events[answer->event_count - 1].last = true;
}

void answer_fini(struct answer *answer)
{
    free(answer->events);
    answer->events = NULL;
}

/* ---- texts ---- */

/* The index-th word with the space that follows it. */
static void append_word(const char *text, int32_t index, struct buffer *out)
{
    while (index-- > 0)
        text += strcspn(text, " ") + 1;
    buffer_append(out, text, strcspn(text, " ") + (strchr(text, ' ') != NULL));
}

static void append_content_text(const struct scenario *scenario, int32_t index, struct buffer *out)
{
    size_t start = out->size;

    if (scenario->text[0])
        append_word(scenario->text, index, out);
    else
        buffer_printf(out, "t%d ", index);
    if (scenario->utf8 || scenario->escape)
        buffer_append_text(out, BEYOND_ASCII);
    if (scenario->escape)
        buffer_append_text(out, "\"\\\t\n");
    if (out->size - start < (size_t)scenario->size)
        buffer_append_fill(out, 'x', (size_t)scenario->size - (out->size - start));
}

static void append_reasoning_text(const struct scenario *scenario, int32_t index, struct buffer *out)
{
    buffer_printf(out, "r%d ", index);
    if (scenario->utf8 || scenario->escape)
        buffer_append_text(out, BEYOND_ASCII);
}

static void append_tool_name(int32_t tool, struct buffer *out)
{
    static const char *const names[] = {"get_weather", "get_time", "search_web", "read_file"};

    if (tool < 4)
        buffer_append_text(out, names[tool]);
    else
        buffer_printf(out, "tool_%d", tool);
}

static void append_tool_args(const struct scenario *scenario, int32_t tool, struct buffer *out)
{
    size_t start = out->size;

    buffer_printf(out, "{\"city\":\"City %d\",\"n\":%d,\"note\":\"" BEYOND_ASCII " \\\"q\\\"", tool, tool);
    if (out->size - start + 2 < (size_t)scenario->tool_args_bytes)
        buffer_append_fill(out, 'x', (size_t)scenario->tool_args_bytes - (out->size - start + 2));
    if (!scenario->tool_args_bad)
        buffer_append_text(out, "\"}");
}

/* ---- members ---- */

static void start_member(struct buffer *out, const char *name)
{
    if (out->size && out->data[out->size - 1] != '{' && out->data[out->size - 1] != '[')
        buffer_append(out, ",", 1);
    buffer_printf(out, "\"%s\":", name);
}

static void add_member(struct buffer *out, const char *name, const char *json)
{
    start_member(out, name);
    buffer_append_text(out, json);
}

static void add_text_member(const struct answer *answer, struct buffer *out, const char *name,
                            const struct buffer *text)
{
    start_member(out, name);
    json_text_append(out, (struct span){text->data, text->size}, answer->scenario->escape);
}

static int64_t completion_tokens(const struct answer *answer, size_t events)
{
    return answer->scenario->completion_tokens ? answer->scenario->completion_tokens : (int64_t)events;
}

static int64_t reasoning_tokens(const struct scenario *scenario)
{
    return scenario->reasoning_tokens ? scenario->reasoning_tokens : scenario->reasoning;
}

static void add_usage(const struct answer *answer, size_t events, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    long long prompt = scenario->prompt_tokens, completion = completion_tokens(answer, events);
    long long cached = scenario->cached_tokens, reasoning = reasoning_tokens(scenario);

    start_member(out, "usage");
    buffer_printf(out,
                  "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":%lld},"
                  "\"completion_tokens_details\":{\"reasoning_tokens\":%lld},"
                  "\"completion_thinking_tokens\":%lld,\"prompt_cache_hit_tokens\":%lld,"
                  "\"prompt_cache_miss_tokens\":%lld,\"cache_read_input_tokens\":%lld,"
                  "\"cache_creation_input_tokens\":0",
                  prompt, completion, prompt + completion, cached, reasoning, reasoning, cached,
                  prompt > cached ? prompt - cached : 0, cached);
    if (scenario->credit[0])
        add_member(out, "credit", scenario->credit);
    buffer_append(out, "}", 1);
}

static int64_t credit_nano(const char *credit)
{
    int64_t value = 0, scale = 1000000000;
    bool part = false;

    for (; *credit && scale > 0; credit++) {
        if (*credit == '.') {
            part = true;
            continue;
        }
        value = value * 10 + (*credit - '0');
        scale /= part ? 10 : 1;
        if (part && scale == 1)
            break;
    }
    return value * scale;
}

struct answer_usage answer_total_usage(const struct answer *answer)
{
    const struct scenario *scenario = answer->scenario;

    if (scenario->usage == USAGE_NONE)
        return (struct answer_usage){0};
    return (struct answer_usage){
        .prompt = scenario->prompt_tokens,
        .completion = completion_tokens(answer, answer->event_count),
        .cached = scenario->cached_tokens,
        .reasoning = reasoning_tokens(scenario),
        .credit_nano = credit_nano(scenario->credit),
    };
}

/* ---- chunks ---- */

static void add_common(const struct answer *answer, const char *object, struct buffer *out)
{
    buffer_append_text(out, "{\"id\":\"chatcmpl-standin\",");
    buffer_printf(out, "\"object\":\"%s\",\"created\":%d,\"model\":", object, CREATED_S);
    json_text_append(out, answer->model, false);
}

static void close_chunk(const struct answer *answer, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;

    if (scenario->extra)
        add_member(out, "x_unknown", "{\"list\":[1,2.50,null],\"text\":\"kept\"}");
    if (scenario->pad_event > 0) {
        start_member(out, "x_pad");
        buffer_append(out, "\"", 1);
        buffer_append_fill(out, 'p', (size_t)scenario->pad_event);
        buffer_append(out, "\"", 1);
    }
    buffer_append(out, "}", 1);
}

static const char *finish_word(const struct scenario *scenario)
{
    switch (scenario->finish) {
    case FINISH_AUTO:
        return scenario->tools ? "tool_calls" : "stop";
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    case FINISH_TOOL_CALLS:
        return "tool_calls";
    case FINISH_FILTER:
        return "content_filter";
    case FINISH_NONE:
        break;
    }
    return NULL;
}

static bool name_is_shown(const struct scenario *scenario, int32_t fragment)
{
    return fragment == 0 || scenario->tool_name == TOOL_NAME_EVERY ||
           (scenario->tool_name == TOOL_NAME_SPLIT && fragment == 1);
}

static void add_fragment_name(const struct answer *answer, int32_t tool, int32_t fragment, struct buffer *out)
{
    struct buffer name = {0};

    append_tool_name(tool, &name);
    if (answer->scenario->tool_name == TOOL_NAME_SPLIT) {
        if (fragment == 0)
            name.size /= 2;
        else
            buffer_drop_front(&name, name.size / 2);
    }
    add_text_member(answer, out, "name", &name);
    buffer_fini(&name);
}

/* The arguments' part that belongs to a fragment: the first ones have none unless there is no other. */
static void add_fragment_args(const struct answer *answer, int32_t tool, int32_t fragment, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    int32_t parts = (int32_t)scenario->tool_fragments;
    int32_t part = fragment - (tool_fragment_count(scenario) - parts);
    struct buffer args = {0};
    struct span all;
    size_t from = 0, to = 0;

    append_tool_args(scenario, tool, &args);
    all = (struct span){args.data, args.size};
    if (parts == 0 && fragment == tool_fragment_count(scenario) - 1) {
        to = all.size;
    } else if (parts > 0 && part >= 0) {
        from = json_text_cut(all, all.size * (size_t)part / (size_t)parts);
        to = json_text_cut(all, all.size * (size_t)(part + 1) / (size_t)parts);
    }
    start_member(out, "arguments");
    json_text_append(out, (struct span){all.data + from, to - from}, scenario->escape);
    buffer_fini(&args);
}

static void add_tool_id(const struct scenario *scenario, int32_t tool, bool whole, struct buffer *out)
{
    struct buffer id = {0};

    buffer_append_text(&id, scenario->tool_prefix);
    if (whole)
        buffer_printf(&id, "_s0%d", tool);
    start_member(out, "id");
    json_text_append(out, (struct span){id.data, whole ? id.size : 0}, false);
    buffer_fini(&id);
}

static void add_tool_fragment(const struct answer *answer, int32_t tool, int32_t fragment, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    bool first = fragment == 0;
    bool whole_id = scenario->tool_id == TOOL_ID_EVERY || (first && scenario->tool_id != TOOL_ID_NONE);

    if (out->data[out->size - 1] == '}')
        buffer_append(out, ",", 1);
    buffer_append(out, "{", 1);
    if (scenario->tool_index != TOOL_INDEX_NONE)
        add_member(out, "index", "");
    if (scenario->tool_index != TOOL_INDEX_NONE)
        buffer_printf(out, "%d", scenario->tool_index == TOOL_INDEX_ZERO ? 0 : tool);
    if (whole_id || scenario->tool_id == TOOL_ID_EMPTY)
        add_tool_id(scenario, tool, whole_id, out);
    if (first || whole_id)
        add_member(out, "type", "\"function\"");
    add_member(out, "function", "{");
    if (name_is_shown(scenario, fragment))
        add_fragment_name(answer, tool, fragment, out);
    add_fragment_args(answer, tool, fragment, out);
    buffer_append_text(out, "}}");
}

/* Noise never overwrites what the delta really says; its shape changes from delta to delta. */
static void add_noise(const struct answer_event *event, size_t index, bool has_role, struct buffer *out)
{
    bool odd = index % 2;

    if (!has_role)
        add_member(out, "role", "\"\"");
    if (event->content < 0 && !event->echo && !event->role_only)
        add_member(out, "content", odd ? "null" : "\"\"");
    if (event->tool < 0)
        add_member(out, "tool_calls", "[]");
    add_member(out, "function_call", odd ? "{\"name\":\"\",\"arguments\":\"\"}" : "null");
    add_member(out, "refusal", odd ? "\"\"" : "null");
    add_member(out, "extra_fields", odd ? "{}" : "null");
}

static void append_marked_text(const struct answer *answer, int32_t chunk, struct buffer *text)
{
    append_content_text(answer->scenario, chunk, text);
    if (!answer->scenario->mark)
        return;
    buffer_append(text, answer->request_id.data, answer->request_id.size);
    buffer_append_text(text, " ");
}

static void add_delta_text(const struct answer *answer, const struct answer_event *event, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    struct buffer text = {0};

    if (event->reasoning >= 0) {
        append_reasoning_text(scenario, event->reasoning, &text);
        if (scenario->reasoning_key != REASONING_PLAIN)
            add_text_member(answer, out, "reasoning_content", &text);
        if (scenario->reasoning_key != REASONING_CONTENT)
            add_text_member(answer, out, "reasoning", &text);
    }
    buffer_clear(&text);
    if (event->content >= 0)
        append_marked_text(answer, event->content, &text);
    if (event->echo)
        buffer_append(&text, answer->echo.data, answer->echo.size);
    if (event->content >= 0 || event->echo)
        add_text_member(answer, out, "content", &text);
    else if (event->role_only)
        add_member(out, "content", "\"\"");
    buffer_fini(&text);
}

static void add_delta(const struct answer *answer, size_t index, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    const struct answer_event *event = &answer->events[index];
    bool has_role =
        event->role_only || (event->first && scenario->role == ROLE_FIRST) || scenario->role == ROLE_EVERY;

    if (has_role)
        add_member(out, "role", "\"assistant\"");
    add_delta_text(answer, event, out);
    if (event->tool >= 0) {
        add_member(out, "tool_calls", "[");
        for (int32_t i = 0; i < event->tool_count; i++)
            add_tool_fragment(answer, event->tool + i, event->fragment, out);
        buffer_append(out, "]", 1);
    }
    if (scenario->noise)
        add_noise(event, index, has_role, out);
    if (scenario->extra)
        add_member(out, "x_delta", "{\"deep\":{\"er\":true}}");
}

static void append_chunk(const struct answer *answer, const char *finish, struct span delta,
                         struct buffer *out)
{
    add_common(answer, "chat.completion.chunk", out);
    buffer_append_text(out, ",\"choices\":[{\"index\":0,\"delta\":{");
    buffer_append(out, delta.data, delta.size);
    if (finish)
        buffer_printf(out, "},\"finish_reason\":\"%s\"}]", finish);
    else
        buffer_append_text(out, "},\"finish_reason\":null}]");
}

void answer_append_delta(const struct answer *answer, size_t index, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    bool finishes = scenario->finish_on_last && answer->events[index].last;
    struct buffer delta = {0};

    buffer_append(&delta, "{", 1); /* so that the first member knows it is first */
    add_delta(answer, index, &delta);
    append_chunk(answer, finishes ? finish_word(scenario) : NULL,
                 (struct span){delta.data + 1, delta.size - 1}, out);
    buffer_fini(&delta);
    if (scenario->usage == USAGE_EVERY || (finishes && scenario->usage == USAGE_FINISH))
        add_usage(answer, index + 1, out);
    close_chunk(answer, out);
}

void answer_append_filler(const struct answer *answer, struct buffer *out)
{
    append_chunk(answer, NULL, span_of("\"content\":\"and on \""), out);
    close_chunk(answer, out);
}

bool answer_has_finish(const struct answer *answer)
{
    return finish_word(answer->scenario) && !(answer->scenario->finish_on_last && answer->event_count);
}

bool answer_has_usage_chunk(const struct answer *answer)
{
    return answer->scenario->usage == USAGE_CHUNK;
}

void answer_append_finish(const struct answer *answer, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    const char *delta = scenario->noise ? "\"role\":\"\",\"content\":null,\"tool_calls\":[]" : "";

    append_chunk(answer, finish_word(scenario), span_of(delta), out);
    if (scenario->usage == USAGE_EVERY || scenario->usage == USAGE_FINISH)
        add_usage(answer, answer->event_count, out);
    close_chunk(answer, out);
}

void answer_append_usage_chunk(const struct answer *answer, struct buffer *out)
{
    add_common(answer, "chat.completion.chunk", out);
    add_member(out, "choices", "[]");
    add_usage(answer, answer->event_count, out);
    close_chunk(answer, out);
}

void answer_append_bad(const struct answer *answer, struct buffer *out)
{
    switch (answer->scenario->bad) {
    case BAD_NONE:
        return;
    case BAD_JSON:
        append_chunk(answer, NULL, span_of("\"content\":\"never clo"), out);
        return;
    case BAD_UTF8: /* a lone continuation byte, an overlong slash, a surrogate, half a character */
        append_chunk(answer, NULL, span_of("\"content\":\"\x80 \xc0\xaf \xed\xa0\x80 \xe4\xb8\""), out);
        break;
    case BAD_NUL:
        append_chunk(answer, NULL, (struct span){"\"content\":\"a\0b\"", 15}, out);
        break;
    case BAD_SHAPE:
        buffer_append_text(out, "{\"choices\":{\"0\":\"text\"},\"usage\":[]");
        break;
    }
    buffer_append(out, "}", 1);
}

/* ---- errors and whole answers ---- */

static void append_reset(const struct scenario *scenario, int64_t wall_s, struct buffer *out)
{
    time_t at = (time_t)(wall_s + scenario->reset_s);
    bool local = scenario->reset_form == RESET_TEXT;
    char date[64];
    struct tm tm;

    if (scenario->reset_form == RESET_IN) {
        buffer_printf(out, " try again in %lld seconds", (long long)scenario->reset_s);
        return;
    }
    if (scenario->reset_form == RESET_EPOCH) {
        buffer_printf(out, " resets at %lld", (long long)at);
        return;
    }
    at += local ? 8 * 3600 : 0;
    gmtime_r(&at, &tm);
    if (local)
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC+8", &tm);
    else
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
    buffer_printf(out, " resets at %s", date);
}

static void add_message(const struct answer *answer, const char *name, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    struct buffer text = {0};

    buffer_append_text(&text, scenario->msg);
    if (scenario->reset_s > 0)
        append_reset(scenario, answer->wall_s, &text);
    add_text_member(answer, out, name, &text);
    buffer_fini(&text);
}

static void append_error_object(const struct answer *answer, struct buffer *out)
{
    buffer_append_text(out, "{\"error\":{");
    add_message(answer, "message", out);
    buffer_printf(out, ",\"type\":\"upstream_says_no\",\"code\":\"%lld\"}}",
                  (long long)answer->scenario->code);
}

static void append_error_text(const struct answer *answer, struct buffer *out)
{
    buffer_append_text(out, "{");
    add_message(answer, "error", out);
    buffer_append_text(out, "}");
}

static void append_envelope(const struct answer *answer, bool request_id, struct buffer *out)
{
    buffer_printf(out, "{\"code\":%lld", (long long)answer->scenario->code);
    add_message(answer, "msg", out);
    if (request_id)
        add_member(out, "requestId", "\"standin-request\"");
    buffer_append_text(out, "}");
}

void answer_append_stream_error(const struct answer *answer, struct buffer *out)
{
    switch (answer->scenario->stream_error) {
    case STREAM_ERROR_NONE:
        break;
    case STREAM_ERROR_OBJECT:
        append_error_object(answer, out);
        break;
    case STREAM_ERROR_TEXT:
        append_error_text(answer, out);
        break;
    case STREAM_ERROR_CODE:
        append_envelope(answer, false, out);
        break;
    }
}

static void append_html(const struct answer *answer, struct buffer *out)
{
    long long status = answer->scenario->status;

    buffer_printf(out,
                  "<html>\r\n<head><title>%lld</title></head>\r\n<body>\r\n<center><h1>%lld</h1></center>\r\n"
                  "<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n",
                  status, status);
}

static void add_whole_tools(const struct answer *answer, struct buffer *out)
{
    struct buffer text = {0};

    add_member(out, "tool_calls", "[");
    for (int32_t tool = 0; tool < answer->scenario->tools; tool++) {
        if (tool)
            buffer_append(out, ",", 1);
        buffer_append(out, "{", 1);
        add_tool_id(answer->scenario, tool, true, out);
        add_member(out, "type", "\"function\"");
        add_member(out, "function", "{");
        buffer_clear(&text);
        append_tool_name(tool, &text);
        add_text_member(answer, out, "name", &text);
        buffer_clear(&text);
        append_tool_args(answer->scenario, tool, &text);
        add_text_member(answer, out, "arguments", &text);
        buffer_append_text(out, "}}");
    }
    buffer_append(out, "]", 1);
    buffer_fini(&text);
}

static void add_whole_texts(const struct answer *answer, struct buffer *out)
{
    const struct scenario *scenario = answer->scenario;
    struct buffer text = {0};

    for (int32_t i = 0; i < scenario->n; i++)
        append_marked_text(answer, i, &text);
    if (scenario->echo)
        buffer_append(&text, answer->echo.data, answer->echo.size);
    if (text.size)
        add_text_member(answer, out, "content", &text);
    else
        add_member(out, "content", "null");
    buffer_clear(&text);
    for (int32_t i = 0; i < scenario->reasoning; i++)
        append_reasoning_text(scenario, i, &text);
    if (text.size)
        add_text_member(answer, out, "reasoning_content", &text);
    buffer_fini(&text);
}

static void append_completion(const struct answer *answer, struct buffer *out)
{
    const char *finish = finish_word(answer->scenario);

    add_common(answer, "chat.completion", out);
    buffer_append_text(out, ",\"choices\":[{\"index\":0,\"message\":{");
    add_member(out, "role", "\"assistant\"");
    add_whole_texts(answer, out);
    if (answer->scenario->tools)
        add_whole_tools(answer, out);
    buffer_printf(out, "},\"finish_reason\":\"%s\"}]", finish ? finish : "stop");
    if (answer->scenario->usage != USAGE_NONE)
        add_usage(answer, answer->event_count, out);
    close_chunk(answer, out);
}

void answer_append_body(const struct answer *answer, struct buffer *out)
{
    switch (answer->scenario->body) {
    case BODY_STREAM:
    case BODY_EMPTY:
        break;
    case BODY_ENVELOPE:
        append_envelope(answer, true, out);
        break;
    case BODY_ERROR:
        append_error_object(answer, out);
        break;
    case BODY_ERROR_TEXT:
        append_error_text(answer, out);
        break;
    case BODY_HTML:
        append_html(answer, out);
        break;
    case BODY_PLAIN:
        buffer_append_text(out, answer->scenario->msg);
        break;
    case BODY_COMPLETION:
        append_completion(answer, out);
        break;
    }
}

const char *answer_body_type(const struct answer *answer)
{
    switch (answer->scenario->body) {
    case BODY_STREAM:
        return "text/event-stream; charset=utf-8";
    case BODY_HTML:
        return "text/html";
    case BODY_PLAIN:
    case BODY_EMPTY:
        return "text/plain";
    case BODY_ENVELOPE:
    case BODY_ERROR:
    case BODY_ERROR_TEXT:
    case BODY_COMPLETION:
        break;
    }
    return "application/json";
}
