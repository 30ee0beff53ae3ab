/* SPDX-License-Identifier: MIT */
#include "upstream-worker/request_body.h"

#include "proto/error.h"
#include "upstream-worker/json_string.h"
#include "upstream-worker/json_tree.h"
#include "upstream-worker/request_edits.h"
#include "upstream-worker/request_scan.h"

#include <stdlib.h>

enum { TOKENS_PER_CALL_MAX = 50000 }; /* about 1 ms: a body may be nothing but brackets */

enum phase { PHASE_SCAN, PHASE_RULES, PHASE_READY, PHASE_FAILED };

struct request_body {
    const struct request_options *options;
    enum phase phase;
    int error;
    struct json_lexer lexer;
    size_t scanned_bytes;
    bool is_amid_slice; /* the last call ran out of tokens, not of bytes */
    struct request_scan scan;
    struct request_edits edits;
    size_t next_text;          /* of the system texts, for the rules */
    struct buffer text, spare; /* at work */
    bool wants_usage;
    struct payload payload;
};

struct request_body *request_body_new(const struct request_options *options)
{
    struct request_body *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->options = options;
    request->scan.has_rules = options->rule_count > 0;
    json_lexer_init(&request->lexer, JSON_DEPTH_MAX);
    return request;
}

void request_body_free(struct request_body **request)
{
    struct request_body *dying = *request;
    if (!dying)
        return;
    request_scan_fini(&dying->scan);
    request_edits_fini(&dying->edits);
    buffer_fini(&dying->text);
    buffer_fini(&dying->spare);
    payload_fini(&dying->payload);
    free(dying);
    *request = NULL;
}

/* The model as the upstream knows it: without the operator's prefix, if anything is left then. */
static struct span upstream_model(const struct request_body *request)
{
    struct span model = request_body_model(request), prefix = request->options->model_prefix;
    if (prefix.length == 0 || model.length <= prefix.length || !span_starts_with(model, prefix))
        return model;
    return span_of(model.data + prefix.length, model.length - prefix.length);
}

static int append_model(struct request_body *request)
{
    return buffer_append_json_string(&request->edits.text, upstream_model(request));
}

static int edit_model(struct request_body *request)
{
    size_t text_start = request->edits.text.length;
    if (request->scan.model_range.end == 0 || upstream_model(request).length == request->scan.model.length)
        return 0;
    int error = append_model(request);
    return error < 0 ? error : request_edits_add(&request->edits, request->scan.model_range, text_start);
}

/* Appends the members of the client's stream_options that are not ours to set. */
static int append_stream_options(struct request_body *request, const struct json_tree *tree)
{
    struct buffer *text = &request->edits.text;
    int error = buffer_append_span(text, SPAN("{\"include_usage\":true"));
    for (uint32_t node = json_node_first(tree, JSON_ROOT); node && error == 0;
         node = json_node_next(tree, node)) {
        if (json_node_key_equals(tree, node, SPAN("include_usage")))
            continue;
        error = buffer_append_span(text, SPAN(",\""));
        if (error == 0)
            error = buffer_append_span(text, json_node_key(tree, node));
        if (error == 0)
            error = buffer_append_span(text, SPAN("\":"));
        if (error == 0)
            error = buffer_append_span(text, json_node_span(tree, node));
    }
    return error < 0 ? error : buffer_append_char(text, '}');
}

static int edit_stream_options(struct request_body *request, struct span body)
{
    struct byte_range range = request->scan.stream_options_range;
    struct json_tree tree;
    size_t text_start = request->edits.text.length;
    if (range.end == 0)
        return 0;
    if (range.end - range.start > REQUEST_STREAM_OPTIONS_MAX_BYTES)
        return request_scan_refuse(&request->scan, "stream_options", "stream_options is too large.");
    json_tree_init(&tree, REQUEST_STREAM_OPTIONS_MAX_BYTES);
    int error = json_tree_parse(&tree, span_of(body.data + range.start, range.end - range.start));
    uint32_t usage = json_tree_find(&tree, JSON_ROOT, SPAN("include_usage"));
    enum json_kind kind = json_node_kind(&tree, usage);
    request->wants_usage = kind == JSON_KIND_TRUE;
    if (error == 0 && kind != JSON_KIND_TRUE && kind != JSON_KIND_FALSE && kind != JSON_KIND_NULL)
        error = request_scan_refuse(&request->scan, "stream_options.include_usage",
                                    "stream_options.include_usage must be a boolean.");
    if (error == 0)
        error = append_stream_options(request, &tree);
    if (error == 0)
        error = request_edits_add(&request->edits, range, text_start);
    json_tree_fini(&tree);
    return error;
}

/* What the root lacks, right behind its brace: `messages` is there, so a comma always follows. */
static int insert_missing_members(struct request_body *request)
{
    const struct request_scan *scan = &request->scan;
    struct buffer *text = &request->edits.text;
    size_t text_start = text->length, at = scan->root_start + 1;
    int error = 0;
    if (scan->model_range.end == 0 && request->options->default_model.length > 0) {
        error = buffer_append_span(text, SPAN("\"model\":"));
        if (error == 0)
            error = append_model(request);
        if (error == 0)
            error = buffer_append_char(text, ',');
    }
    if (error == 0 && scan->stream_range.end == 0)
        error = buffer_append_span(text, SPAN("\"stream\":true,"));
    if (error == 0 && scan->stream_options_range.end == 0)
        error = buffer_append_span(text, SPAN("\"stream_options\":{\"include_usage\":true},"));
    return error < 0 ? error : request_edits_add(&request->edits, (struct byte_range){at, at}, text_start);
}

/* The default system message, if the client sent none anywhere. */
static int insert_system_message(struct request_body *request)
{
    struct buffer *text = &request->edits.text;
    size_t text_start = text->length, at = request->scan.messages_start + 1;
    if (request->scan.system_count > 0)
        return 0;
    int error = buffer_append_span(text, SPAN("{\"role\":\"system\",\"content\":"));
    if (error == 0)
        error = buffer_append_json_string(text, request->options->system_text);
    if (error == 0)
        error = buffer_append_span(text, SPAN("},"));
    return error < 0 ? error : request_edits_add(&request->edits, (struct byte_range){at, at}, text_start);
}

static int edit_developer_roles(struct request_body *request)
{
    const struct range_list *roles = &request->scan.developer_roles;
    int error = 0;
    for (size_t i = 0; i < roles->count && error == 0; i++)
        error = request_edits_replace(&request->edits, roles->ranges[i], SPAN("\"system\""));
    return error;
}

/* All edits but those of the keyword rules. */
static int make_edits(struct request_body *request, struct span body)
{
    int error = edit_model(request);
    if (error == 0 && request->scan.stream_range.end > 0 && !request->scan.wants_stream)
        error = request_edits_replace(&request->edits, request->scan.stream_range, SPAN("true"));
    if (error == 0)
        error = edit_stream_options(request, body);
    if (error == 0)
        error = insert_missing_members(request);
    if (error == 0)
        error = insert_system_message(request);
    return error < 0 ? error : edit_developer_roles(request);
}

static int refuse_text(struct request_body *request)
{
    return request_scan_refuse(&request->scan, "messages",
                               "A system message is too long for this service's keyword rules.");
}

/* Applies the rules to one text of a system message. */
static int apply_rules(struct request_body *request, struct span body, struct byte_range range)
{
    struct keyword_rules rules = {request->options->rules, request->options->rule_count,
                                  REQUEST_RULED_TEXT_MAX_BYTES};
    size_t text_start = request->edits.text.length;
    if (range.end - range.start > REQUEST_RULED_TEXT_MAX_BYTES)
        return refuse_text(request);
    buffer_clear(&request->text);
    int error = json_string_unescape(span_of(body.data + range.start + 1, range.end - range.start - 2),
                                     &request->text);
    if (error < 0)
        return error;
    int result = keyword_rules_apply(&rules, &request->text, &request->spare);
    if (result <= 0)
        return result == ERR_TOO_LARGE ? refuse_text(request) : result;
    error = buffer_append_json_string(&request->edits.text, buffer_span(&request->text));
    return error < 0 ? error : request_edits_add(&request->edits, range, text_start);
}

/* Applies the rules to as many texts as the budget allows, at least one. 0: to all. */
static int run_rules(struct request_body *request, struct span body, size_t budget_bytes)
{
    const struct range_list *texts = &request->scan.system_texts;
    size_t done_bytes = 0;
    while (request->next_text < texts->count) {
        struct byte_range range = texts->ranges[request->next_text];
        if (done_bytes > 0 && done_bytes + (range.end - range.start) > budget_bytes)
            return REQUEST_MORE;
        done_bytes += range.end - range.start;
        int error = apply_rules(request, body, range);
        if (error < 0)
            return error;
        request->next_text++;
    }
    return 0;
}

static int refuse_syntax(struct request_body *request)
{
    struct request_scan *scan = &request->scan;
    if (request->lexer.is_too_deep)
        return request_scan_refuse(scan, "", "The request body is nested more than 512 levels deep.");
    buffer_clear(&scan->problem);
    int error = buffer_printf(&scan->problem, "The request body is not valid JSON: %s, at byte %zu.",
                              json_lexer_reason(&request->lexer), json_lexer_offset(&request->lexer));
    return error < 0 ? error : ERR_INVALID;
}

/* Scans on to the end of what the budget allows. 0: to the end of the body. */
static int run_scan(struct request_body *request, struct span arrived, bool is_whole, size_t budget_bytes)
{
    size_t left = request->is_amid_slice ? 0 : arrived.length - request->scanned_bytes;
    struct json_token token;
    enum json_lexer_status status;
    if (left > budget_bytes)
        left = budget_bytes;
    request->scanned_bytes += left;
    is_whole = is_whole && request->scanned_bytes == arrived.length;
    json_lexer_extend(&request->lexer, arrived.data, request->scanned_bytes, is_whole);
    for (int tokens = 0; (status = json_lexer_next(&request->lexer, &token)) == JSON_LEXER_TOKEN;) {
        int error = request_scan_take(&request->scan, arrived.data, &token);
        if (error < 0)
            return error;
        request->is_amid_slice = ++tokens == TOKENS_PER_CALL_MAX;
        if (request->is_amid_slice)
            return REQUEST_MORE;
    }
    request->is_amid_slice = false;
    if (status == JSON_LEXER_ERROR)
        return refuse_syntax(request);
    return status == JSON_LEXER_END ? 0 : REQUEST_MORE;
}

static int advance(struct request_body *request, struct span arrived, bool is_whole, size_t budget_bytes)
{
    if (request->phase == PHASE_SCAN) {
        int result = run_scan(request, arrived, is_whole, budget_bytes);
        if (result == 0)
            result = make_edits(request, arrived);
        if (result != 0)
            return result;
        request->phase = PHASE_RULES;
    }
    if (request->phase == PHASE_RULES) {
        const struct request_scan *scan = &request->scan;
        int result = run_rules(request, arrived, budget_bytes);
        if (result == 0)
            result = request_edits_build(&request->edits, arrived, scan->first_message, scan->later_system,
                                         scan->later_system_previous_end, &request->payload);
        if (result != 0)
            return result;
        request->phase = PHASE_READY;
    }
    return REQUEST_READY;
}

int request_body_scan(struct request_body *request, struct span arrived, bool is_whole, size_t budget_bytes)
{
    if (request->phase == PHASE_FAILED)
        return request->error;
    int result = advance(request, arrived, is_whole, budget_bytes);
    if (result < 0) {
        request->phase = PHASE_FAILED;
        request->error = result;
    }
    return result;
}

size_t request_body_offset(const struct request_body *request)
{
    return request->is_amid_slice ? json_lexer_offset(&request->lexer) : request->scanned_bytes;
}

struct span request_body_message(const struct request_body *request)
{
    return buffer_span(&request->scan.problem);
}

struct span request_body_param(const struct request_body *request)
{
    return buffer_span(&request->scan.param);
}

struct span request_body_model(const struct request_body *request)
{
    return request->scan.model.length > 0 ? buffer_span(&request->scan.model)
                                          : request->options->default_model;
}

bool request_body_wants_stream(const struct request_body *request)
{
    return request->scan.wants_stream;
}

bool request_body_wants_usage(const struct request_body *request)
{
    return request->scan.wants_stream && request->wants_usage;
}

const struct payload *request_body_payload(const struct request_body *request)
{
    return &request->payload;
}
