/* SPDX-License-Identifier: MIT */
#include "upstream-worker/answer.h"

#include "proto/error.h"
#include "upstream-worker/aggregator.h"
#include "upstream-worker/sse_parser.h"

#include <stdlib.h>

enum body_form { BODY_UNKNOWN, BODY_SSE, BODY_JSON, BODY_HTML };

struct answer {
    struct scratch *scratch;
    struct normaliser *normaliser;
    struct aggregator *aggregator; /* NULL: the client streams */
    struct sse_parser parser;
    struct buffer head, body; /* body: of a JSON one, gathered */
    struct upstream_error *refusal;
    const char *reason;
    uint64_t event_count;
    size_t total_limit_bytes, read_limit_bytes, read_bytes;
    enum body_form form;
    int status; /* ANSWER_MORE until it is over */
    bool wants_usage;
};

static int answer_init(struct answer *answer, const struct answer_options *options)
{
    struct buffer id = {0};
    size_t event_limit_bytes =
        options->event_limit_bytes ? options->event_limit_bytes : ANSWER_EVENT_LIMIT_BYTES;
    int error = buffer_append_span(&id, SPAN("chatcmpl-"));
    if (error == 0)
        error = buffer_append_span(&id, options->id);
    if (error == 0)
        error = chunk_append_head(&answer->head, buffer_span(&id),
                                  options->wants_stream ? "chat.completion.chunk" : "chat.completion",
                                  options->created_s, options->model);
    buffer_fini(&id);
    answer->total_limit_bytes =
        options->total_limit_bytes ? options->total_limit_bytes : ANSWER_TOTAL_LIMIT_BYTES;
    answer->read_limit_bytes =
        options->read_limit_bytes ? options->read_limit_bytes : ANSWER_READ_LIMIT_BYTES;
    answer->wants_usage = options->wants_usage;
    sse_parser_init(&answer->parser, event_limit_bytes);
    answer->normaliser = normaliser_new(answer->scratch, options->id);
    if (!options->wants_stream)
        answer->aggregator = aggregator_new(answer->total_limit_bytes);
    if (!answer->normaliser || (!options->wants_stream && !answer->aggregator))
        return ERR_NOMEM;
    return error;
}

struct answer *answer_new(const struct answer_options *options, struct scratch *scratch)
{
    struct answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        return NULL;
    answer->scratch = scratch;
    if (answer_init(answer, options) < 0)
        answer_free(&answer);
    return answer;
}

void answer_free(struct answer **answer)
{
    struct answer *dying = *answer;
    if (!dying)
        return;
    normaliser_free(&dying->normaliser);
    aggregator_free(&dying->aggregator);
    sse_parser_fini(&dying->parser);
    buffer_fini(&dying->head);
    buffer_fini(&dying->body);
    free(dying->refusal);
    free(dying);
    *answer = NULL;
}

static int refuse(struct answer *answer, const char *reason)
{
    answer->reason = reason;
    return ERR_INVALID;
}

/* Hands on what the normaliser left in scratch.chunk. */
static int pass_chunk(struct answer *answer, struct buffer *out)
{
    struct scratch *scratch = answer->scratch;
    if (answer->aggregator)
        return aggregator_add(answer->aggregator, &scratch->chunk, &scratch->tree);
    return chunk_append_event(&scratch->chunk, buffer_span(&answer->head), out);
}

static int append_usage_event(struct answer *answer, struct buffer *out)
{
    struct span usage = normaliser_usage_json(answer->normaliser),
                fields = normaliser_usage_fields(answer->normaliser);
    if (!answer->wants_usage || usage.length == 0)
        return 0;
    int error = buffer_append_span(out, SPAN("data: "));
    if (error == 0)
        error = buffer_append_span(out, buffer_span(&answer->head));
    if (error == 0 && fields.length > 0)
        error = buffer_append_char(out, ',');
    if (error == 0 && fields.length > 0)
        error = buffer_append(out, fields.data + 1, fields.length - 2); /* without its braces */
    if (error == 0)
        error = buffer_append_span(out, SPAN(",\"choices\":[],\"usage\":"));
    if (error == 0)
        error = buffer_append_span(out, usage);
    return error < 0 ? error : buffer_append_span(out, SPAN("}\n\n"));
}

static int append_end(struct answer *answer, struct buffer *out)
{
    struct span fields = normaliser_usage_fields(answer->normaliser);
    int error = 0;
    if (!answer->aggregator) {
        error = append_usage_event(answer, out);
        return error < 0 ? error : buffer_append_span(out, SPAN("data: [DONE]\n\n"));
    }
    if (fields.length > 0)
        error = aggregator_add_members(answer->aggregator, fields, &answer->scratch->tree);
    if (error < 0)
        return error;
    return aggregator_append_json(answer->aggregator, buffer_span(&answer->head),
                                  normaliser_usage_json(answer->normaliser), out);
}

/* The last words; all or nothing, so that a stream never has half of them. */
static int complete(struct answer *answer, struct buffer *out)
{
    int result = normaliser_end(answer->normaliser);
    if (result == NORMALISER_CHUNK)
        result = pass_chunk(answer, out);
    if (result < 0)
        return result;
    size_t start_length = out->length;
    int error = append_end(answer, out);
    if (error < 0)
        out->length = start_length;
    return error < 0 ? error : ANSWER_COMPLETE;
}

static int keep_refusal(struct answer *answer)
{
    answer->refusal = malloc(sizeof *answer->refusal);
    if (!answer->refusal)
        return ERR_NOMEM;
    *answer->refusal = answer->scratch->error;
    return ANSWER_REFUSED;
}

/* An enum answer_status or a negative error. */
static int take_event(struct answer *answer, struct span event, struct buffer *out)
{
    int result = normaliser_take(answer->normaliser, event);
    answer->event_count++;
    if (result == ERR_INVALID)
        return refuse(answer, normaliser_reason(answer->normaliser));
    switch (result) {
    case NORMALISER_NOTHING:
        return ANSWER_MORE;
    case NORMALISER_CHUNK:
        result = pass_chunk(answer, out);
        return result < 0 ? result : ANSWER_MORE;
    case NORMALISER_DONE:
        return complete(answer, out);
    case NORMALISER_REFUSED:
        return keep_refusal(answer);
    default:
        return result;
    }
}

static int feed_sse(struct answer *answer, struct span bytes, struct buffer *out)
{
    struct span event;
    int got, status = ANSWER_MORE;
    sse_parser_feed(&answer->parser, bytes);
    while (status == ANSWER_MORE && (got = sse_parser_next(&answer->parser, &event)) != 0)
        status = got < 0 ? got : take_event(answer, event, out);
    return status;
}

static int feed_json(struct answer *answer, struct span bytes)
{
    if (bytes.length > answer->total_limit_bytes - answer->body.length)
        return ERR_TOO_LARGE;
    return buffer_append_span(&answer->body, bytes);
}

/* Finds out what the body is; white space in front of it says nothing and is dropped. */
static struct span sniff(struct answer *answer, struct span bytes)
{
    while (answer->form == BODY_UNKNOWN && bytes.length > 0) {
        char c = bytes.data[0];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            answer->form = c == '{' ? BODY_JSON : c == '<' ? BODY_HTML : BODY_SSE;
            break;
        }
        bytes = span_of(bytes.data + 1, bytes.length - 1);
    }
    return bytes;
}

/* A stream without end is the client's to leave; of a plain answer nobody sees that it has none. */
static bool may_read(struct answer *answer, size_t bytes)
{
    if (bytes > answer->read_limit_bytes - answer->read_bytes)
        return false;
    answer->read_bytes += bytes;
    return true;
}

int answer_feed(struct answer *answer, struct span bytes, struct buffer *out)
{
    if (answer->status != ANSWER_MORE)
        return answer->status;
    if (answer->aggregator && !may_read(answer, bytes.length))
        return answer->status = ERR_TOO_LARGE;
    bytes = sniff(answer, bytes);
    if (answer->form == BODY_HTML)
        answer->status = refuse(answer, "the body is HTML");
    else if (bytes.length > 0)
        answer->status = answer->form == BODY_JSON ? feed_json(answer, bytes) : feed_sse(answer, bytes, out);
    return answer->status;
}

/* A whole JSON text: an error, or a completion, which is complete by being whole. */
static int finish_json(struct answer *answer, struct buffer *out)
{
    int status = take_event(answer, buffer_span(&answer->body), out);
    if (status != ANSWER_MORE)
        return status;
    if (!normaliser_has_choices(answer->normaliser))
        return refuse(answer, "a JSON body that is neither a completion nor an error");
    return take_event(answer, SPAN("[DONE]"), out);
}

static int finish_sse(struct answer *answer, struct buffer *out)
{
    struct span event;
    int status = sse_parser_finish(&answer->parser, &event);
    if (status == 1)
        status = take_event(answer, event, out);
    return status == ANSWER_MORE ? complete(answer, out) : status;
}

int answer_finish(struct answer *answer, struct buffer *out)
{
    if (answer->status == ANSWER_MORE)
        answer->status = answer->form == BODY_JSON ? finish_json(answer, out) : finish_sse(answer, out);
    return answer->status;
}

const struct upstream_error *answer_refusal(const struct answer *answer)
{
    return answer->refusal;
}

enum failure answer_failure(int error)
{
    if (error == ERR_NOMEM)
        return FAILURE_INTERNAL;
    return error == ERR_TRUNCATED ? FAILURE_UPSTREAM_INCOMPLETE : FAILURE_UPSTREAM_PROTOCOL;
}

const char *answer_reason(const struct answer *answer)
{
    return answer->reason ? answer->reason : "";
}

void answer_read_usage(struct answer *answer, struct usage *usage)
{
    struct json_tree *tree = &answer->scratch->tree;
    struct span text = normaliser_usage_json(answer->normaliser);
    *usage = (struct usage){0};
    if (text.length > 0 && json_tree_parse(tree, text) == 0)
        usage_read(tree, JSON_ROOT, usage);
}

uint64_t answer_event_count(const struct answer *answer)
{
    return answer->event_count;
}

int answer_append_error_event(struct buffer *out, enum failure failure, const struct upstream_error *error,
                              const struct upstream_verdict *verdict)
{
    size_t start_length = out->length;
    int result = buffer_append_span(out, SPAN("data: "));
    if (result == 0 && verdict)
        result = upstream_error_append_json(error, verdict, out);
    else if (result == 0)
        result = failure_append_json(out, failure, (struct span){0}, (struct span){0}, (struct span){0},
                                     (struct span){0});
    if (result == 0)
        result = buffer_append_span(out, SPAN("\n\n"));
    if (result < 0)
        out->length = start_length;
    return result;
}
