/* SPDX-License-Identifier: MIT */
#include "tests/upstream/sse_script.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/upstream/http.h"

#define LOOP_LINE_BYTES 4096
#define CUT_RANDOM_MAX  64

/* Bytes of the body before transfer coding: one event, or whatever else goes out at one time. */
struct segment {
    size_t offset;
    int64_t delay_ms;
    uint32_t events;
    bool loop; /* played for ever */
};

struct maker {
    const struct scenario *scenario;
    struct answer answer;
    struct buffer body; /* all segments, one after the other */
    struct segment *segments;
    size_t segment_count, segment_capacity;
    struct buffer json; /* scratch */
    unsigned event_number;
    bool cut_short; /* the body must not look complete to HTTP */

    struct buffer out; /* the script's bytes */
    struct script *script;
    size_t run_capacity;
    uint32_t random;
};

/* ---- the body: segments of SSE ---- */

static void add_segment(struct maker *maker, int64_t delay_ms)
{
    if (maker->segment_count == maker->segment_capacity) {
        maker->segment_capacity = maker->segment_capacity ? maker->segment_capacity * 2 : 32;
        maker->segments = memory_resize(maker->segments, maker->segment_capacity, sizeof(*maker->segments));
    }
    maker->segments[maker->segment_count++] =
        (struct segment){.offset = maker->body.size, .delay_ms = delay_ms};
}

static void add_line_end(struct maker *maker)
{
    bool cr = maker->scenario->sep == SEP_CRLF2 || maker->scenario->sep == SEP_CRLF;

    buffer_append_text(&maker->body, cr ? "\r\n" : "\n");
}

static void add_event_end(struct maker *maker)
{
    add_line_end(maker);
    if (maker->scenario->sep == SEP_LF2 || maker->scenario->sep == SEP_CRLF2)
        add_line_end(maker);
}

static void add_decoration(struct maker *maker)
{
    for (int64_t i = 0; i < maker->scenario->comments; i++) {
        buffer_append_text(&maker->body, i % 2 ? ":" : ": keepalive");
        add_event_end(maker);
    }
    if (!maker->scenario->fields)
        return;
    buffer_append_text(&maker->body, "event: message");
    add_line_end(maker);
    buffer_printf(&maker->body, "id: %u", maker->event_number);
    add_line_end(maker);
    buffer_append_text(&maker->body, "retry: 3000");
    add_line_end(maker);
}

/* Sends maker->json as an event of its own and empties it. */
static void add_event(struct maker *maker, int64_t delay_ms)
{
    add_segment(maker, delay_ms);
    if (maker->event_number == 0 && maker->scenario->bom)
        buffer_append_text(&maker->body, "\xef\xbb\xbf");
    add_decoration(maker);
    buffer_append_text(&maker->body, maker->scenario->space ? "data: " : "data:");
    buffer_append(&maker->body, maker->json.data, maker->json.size);
    add_event_end(maker);
    maker->segments[maker->segment_count - 1].events = 1;
    maker->event_number++;
    buffer_clear(&maker->json);
}

static int64_t event_delay(const struct maker *maker)
{
    return maker->event_number == 0 ? maker->scenario->first_ms : maker->scenario->gap_ms;
}

/* What strikes after `at` events. Returns true if the body is over. */
static bool add_strike(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;

    if (scenario->bad) {
        answer_append_bad(&maker->answer, &maker->json);
        add_event(maker, event_delay(maker));
    }
    if (scenario->stream_error) {
        answer_append_stream_error(&maker->answer, &maker->json);
        add_event(maker, event_delay(maker));
        return true;
    }
    if (scenario->end == END_ENDLESS) {
        answer_append_filler(&maker->answer, &maker->json);
        add_event(maker, event_delay(maker));
        maker->segments[maker->segment_count - 1].loop = true;
    }
    if (scenario->end == END_LINE) {
        add_segment(maker, event_delay(maker));
        buffer_append_text(&maker->body, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
        add_segment(maker, scenario->gap_ms);
        buffer_append_fill(&maker->body, 'x', LOOP_LINE_BYTES);
        maker->segments[maker->segment_count - 1].loop = true;
    }
    return scenario->end != END_DONE;
}

static void add_finish(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;
    int64_t delay_ms = maker->event_number == 0 ? scenario->first_ms + scenario->end_ms : scenario->end_ms;

    if (answer_has_finish(&maker->answer)) {
        answer_append_finish(&maker->answer, &maker->json);
        add_event(maker, delay_ms);
        delay_ms = 0;
    }
    if (answer_has_usage_chunk(&maker->answer)) {
        answer_append_usage_chunk(&maker->answer, &maker->json);
        add_event(maker, delay_ms);
        delay_ms = 0;
    }
    if (scenario->done) {
        buffer_append_text(&maker->json, "[DONE]");
        add_event(maker, delay_ms);
        maker->segments[maker->segment_count - 1].events = 0;
    }
}

/* Fills maker->segments. Returns true if the stream came to its natural end. */
static bool make_stream(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;
    bool strikes = scenario->end != END_DONE || scenario->bad || scenario->stream_error;
    size_t count = maker->answer.event_count;
    size_t at = scenario->at < 0 || (size_t)scenario->at > count ? count : (size_t)scenario->at;

    for (size_t i = 0; i <= count; i++) {
        if (strikes && i == at && add_strike(maker))
            return scenario->stream_error != STREAM_ERROR_NONE;
        if (i == count)
            break;
        answer_append_delta(&maker->answer, i, &maker->json);
        add_event(maker, event_delay(maker));
    }
    add_finish(maker);
    return true;
}

/* ---- transfer: runs of bytes ---- */

static void add_run(struct maker *maker, int64_t delay_ms)
{
    struct script *script = maker->script;

    if (script->run_count == maker->run_capacity) {
        maker->run_capacity = maker->run_capacity ? maker->run_capacity * 2 : 8;
        script->runs = memory_resize(script->runs, maker->run_capacity, sizeof(*script->runs));
    }
    script->runs[script->run_count++] = (struct script_run){.offset = maker->out.size, .delay_ms = delay_ms};
}

/* Adds bytes to the run that is open. */
static void add_bytes(struct maker *maker, const char *data, size_t size_bytes)
{
    buffer_append(&maker->out, data, size_bytes);
    maker->script->runs[maker->script->run_count - 1].size += size_bytes;
}

static void add_piece(struct maker *maker, const char *data, size_t size_bytes)
{
    bool chunked = maker->scenario->transfer == TRANSFER_CHUNKED;
    size_t start = maker->out.size;

    if (size_bytes == 0)
        return;
    if (chunked)
        buffer_printf(&maker->out, "%zx\r\n", size_bytes);
    buffer_append(&maker->out, data, size_bytes);
    if (chunked)
        buffer_append(&maker->out, "\r\n", 2);
    maker->script->runs[maker->script->run_count - 1].size += maker->out.size - start;
}

static uint32_t next_random(struct maker *maker)
{
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 17;
    maker->random ^= maker->random << 5;
    return maker->random;
}

static size_t next_cut(struct maker *maker, struct span rest)
{
    size_t size = rest.size;

    if (maker->scenario->cut == CUT_RANDOM)
        size = next_random(maker) % CUT_RANDOM_MAX + 1;
    else if (maker->scenario->cut > 0)
        size = (size_t)maker->scenario->cut;
    else if (maker->scenario->cut == CUT_UTF8)
        for (size = 1; size < rest.size; size++) /* after each first byte of several */
            if ((unsigned char)rest.data[size - 1] >= 0xc0)
                break;
    return size < rest.size ? size : rest.size;
}

/* A stretch of the body that is due at one time, cut as the scenario says. */
static void add_stretch(struct maker *maker, size_t from, size_t to)
{
    bool first = true;

    while (from < to) {
        size_t size = next_cut(maker, (struct span){maker->body.data + from, to - from});

        if (!first && maker->scenario->cut_ms > 0)
            add_run(maker, maker->scenario->cut_ms);
        add_piece(maker, maker->body.data + from, size);
        from += size;
        first = false;
    }
}

static size_t segment_end(const struct maker *maker, size_t index)
{
    return index + 1 < maker->segment_count ? maker->segments[index + 1].offset : maker->body.size;
}

/* Uncut, each event is a piece of its own; cut, events that are due together are one stretch, so that a
 * piece can hold the end of one event and the start of the next. */
static void add_body(struct maker *maker)
{
    bool cut = maker->scenario->cut != CUT_NONE;
    size_t index = 0;

    while (index < maker->segment_count) {
        const struct segment *segment = &maker->segments[index];
        uint32_t events = segment->events;
        size_t last = index;

        while (cut && last + 1 < maker->segment_count && maker->segments[last + 1].delay_ms == 0 &&
               !maker->segments[last + 1].loop)
            events += maker->segments[++last].events;
        if (segment->loop)
            maker->script->loop_from = maker->script->run_count;
        if (segment->delay_ms > 0 || segment->loop)
            add_run(maker, segment->delay_ms);
        add_stretch(maker, segment->offset, segment_end(maker, last));
        maker->script->runs[maker->script->run_count - 1].events += events;
        index = last + 1;
    }
}

static void append_http_date(int64_t wall_s, struct buffer *out)
{
    time_t at = (time_t)wall_s;
    char date[64];
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buffer_append_text(out, date);
}

static void append_head_start(int status, const char *type, struct buffer *head)
{
    buffer_printf(head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", status, http_status_text(status), type);
}

static void append_retry_after(const struct maker *maker, struct buffer *head)
{
    const struct scenario *scenario = maker->scenario;

    if (scenario->retry_after_s == RETRY_NONE)
        return;
    buffer_append_text(head, "Retry-After: ");
    if (scenario->retry_after_s == RETRY_DATE)
        append_http_date(maker->answer.wall_s + scenario->reset_s, head);
    else
        buffer_printf(head, "%lld", (long long)scenario->retry_after_s);
    buffer_append_text(head, "\r\n");
}

static void add_head(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;
    bool stream = scenario->body == BODY_STREAM;
    enum scenario_transfer transfer = stream ? scenario->transfer : TRANSFER_LENGTH;
    struct buffer head = {0};

    append_head_start((int)scenario->status, answer_body_type(&maker->answer), &head);
    if (stream)
        buffer_append_text(&head, "Cache-Control: no-cache\r\n");
    append_retry_after(maker, &head);
    if (transfer == TRANSFER_CHUNKED)
        buffer_append_text(&head, "Transfer-Encoding: chunked\r\n");
    if (transfer == TRANSFER_LENGTH) /* one that is cut short promises more than comes */
        buffer_printf(&head, "Content-Length: %zu\r\n", maker->body.size + (maker->cut_short ? 1000 : 0));
    if (transfer == TRANSFER_CLOSE || scenario->close)
        buffer_append_text(&head, "Connection: close\r\n");
    buffer_append_text(&head, "\r\n");
    add_run(maker, scenario->header_ms);
    add_bytes(maker, head.data, head.size);
    buffer_fini(&head);
}

static void set_end(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;
    struct script *script = maker->script;
    bool closes = scenario->close || (scenario->body == BODY_STREAM && scenario->transfer == TRANSFER_CLOSE);

    script->end = closes ? SCRIPT_CLOSE : SCRIPT_KEEP;
    if (scenario->end == END_ABORT)
        script->end = SCRIPT_CLOSE;
    if (scenario->end == END_RESET)
        script->end = SCRIPT_RESET;
    if (scenario->end == END_HANG)
        script->end = SCRIPT_HANG;
    if (maker->cut_short)
        script->end_ms = scenario->end_ms;
}

static void add_transfer_end(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;

    if (maker->cut_short || scenario->transfer != TRANSFER_CHUNKED)
        return;
    if (scenario->end == END_EOF && scenario->end_ms > 0)
        add_run(maker, scenario->end_ms);
    add_bytes(maker, "0\r\n\r\n", 5);
}

static bool ends_before_header(const struct scenario *scenario)
{
    return scenario->at == AT_HEADER && scenario->end != END_DONE;
}

static void make_script(struct maker *maker)
{
    const struct scenario *scenario = maker->scenario;
    struct script *script = maker->script;
    bool natural = true;

    maker->cut_short = scenario->end != END_DONE && scenario->end != END_EOF;
    if (ends_before_header(scenario)) {
        set_end(maker);
        script->end_ms += scenario->header_ms;
        return;
    }
    if (scenario->body == BODY_STREAM)
        natural = make_stream(maker);
    else
        answer_append_body(&maker->answer, &maker->body);
    add_head(maker);
    if (scenario->body == BODY_STREAM) {
        add_body(maker);
        add_transfer_end(maker);
    } else {
        add_bytes(maker, maker->body.data, maker->body.size);
    }
    script->complete = natural || scenario->end == END_EOF;
    if (natural && scenario->status == 200 && !scenario->stream_error &&
        (scenario->body == BODY_STREAM || scenario->body == BODY_COMPLETION))
        script->usage = answer_total_usage(&maker->answer);
    set_end(maker);
}

struct script *script_new(const struct script_input *input)
{
    struct script *script = memory_new_zero(1, sizeof(*script));
    struct maker maker = {
        .scenario = input->scenario,
        .answer = {.scenario = input->scenario,
                   .model = input->model,
                   .echo = input->echo,
                   .request_id = input->request_id,
                   .wall_s = input->wall_s},
        .script = script,
        .random = (uint32_t)input->scenario->seed * 2654435761u + 1,
    };

    script->references = 1;
    script->status = (int)input->scenario->status;
    script->loop_from = SIZE_MAX;
    answer_init(&maker.answer);
    make_script(&maker);
    if (script->loop_from == SIZE_MAX)
        script->loop_from = script->run_count;
    script->bytes = maker.out.data;
    script->bytes_total = maker.out.size;
    answer_fini(&maker.answer);
    free(maker.segments);
    buffer_fini(&maker.body);
    buffer_fini(&maker.json);
    return script;
}

struct script *script_new_reply(int status, const char *type, const char *headers, struct span body)
{
    struct script *script = memory_new_zero(1, sizeof(*script));
    struct buffer out = {0};

    append_head_start(status, type, &out);
    buffer_printf(&out, "%sContent-Length: %zu\r\n\r\n", headers, body.size);
    buffer_append(&out, body.data, body.size);
    script->runs = memory_new_zero(1, sizeof(*script->runs));
    script->runs[0].size = out.size;
    script->run_count = script->loop_from = 1;
    script->bytes = out.data;
    script->bytes_total = out.size;
    script->complete = true;
    script->status = status;
    script->references = 1;
    return script;
}

struct script *script_ref(struct script *script)
{
    script->references++;
    return script;
}

void script_unref(struct script **script)
{
    struct script *old = *script;

    *script = NULL;
    if (!old || --old->references > 0)
        return;
    free(old->runs);
    free(old->bytes);
    free(old);
}
