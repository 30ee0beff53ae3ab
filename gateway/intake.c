/* SPDX-License-Identifier: MIT */
#include "gateway/intake.h"
#include "proto/error.h"

static enum intake_step refuse(struct intake *intake, enum failure failure, const char *reason)
{
    intake->failure = failure;
    intake->reason = reason;
    intake->phase = INTAKE_DONE;
    return INTAKE_REFUSED;
}

static enum intake_step complete(struct intake *intake, size_t surplus_bytes)
{
    intake->surplus_bytes = surplus_bytes;
    intake->phase = INTAKE_DONE;
    return INTAKE_COMPLETE;
}

static enum intake_step feed_length(struct intake *intake, size_t fresh)
{
    uint64_t wanted = intake->content_length - intake->body_bytes;
    if (fresh < wanted) {
        intake->body_bytes += fresh;
        return INTAKE_MORE;
    }
    intake->body_bytes = intake->content_length;
    return complete(intake, (size_t)(fresh - wanted));
}

static enum intake_step feed_chunked(struct intake *intake, const struct intake_limits *limits,
                                     struct span bytes)
{
    size_t used = 0;
    int found = chunks_follow(&intake->chunks, bytes, &used);
    intake->body_bytes = intake->chunks.data_bytes;
    if (found < 0)
        return refuse(intake, FAILURE_INVALID_REQUEST, "the chunked body is malformed");
    if (intake->body_bytes > limits->max_body_bytes)
        return refuse(intake, FAILURE_TOO_LARGE, "");
    return found ? complete(intake, bytes.length - used) : INTAKE_MORE;
}

static enum intake_step feed_body(struct intake *intake, const struct intake_limits *limits,
                                  struct span bytes)
{
    if (intake->body == HEAD_BODY_CHUNKED)
        return feed_chunked(intake, limits, bytes);
    return feed_length(intake, bytes.length); /* without a body, the content length is 0 */
}

static enum intake_step take_head(struct intake *intake, const struct intake_limits *limits, struct span text,
                                  struct head *head)
{
    const char *reason = "";
    int error = head_parse(text, head, &reason);
    if (error == ERR_TOO_LARGE)
        return refuse(intake, FAILURE_HEADERS_TOO_LARGE, reason);
    if (error < 0)
        return refuse(intake, FAILURE_INVALID_REQUEST, reason);
    intake->head_bytes = text.length;
    intake->phase = INTAKE_IN_BODY;
    intake->body = head->body;
    intake->content_length = head->content_length;
    intake->expects_continue = head->expects_continue;
    if (head->content_length > limits->max_body_bytes)
        return refuse(intake, FAILURE_TOO_LARGE, "");
    return INTAKE_HEAD_DONE;
}

static enum intake_step feed_head(struct intake *intake, const struct intake_limits *limits,
                                  struct span input, struct head *head)
{
    int found = head_scan(input, &intake->scanned);
    if (found < 0)
        return refuse(intake, FAILURE_INVALID_REQUEST, "a line of the head does not end in CRLF");
    if (intake->scanned > limits->max_header_bytes)
        return refuse(intake, FAILURE_HEADERS_TOO_LARGE, "");
    if (!found)
        return INTAKE_MORE;
    enum intake_step step = take_head(intake, limits, span_of(input.data, intake->scanned), head);
    if (step != INTAKE_HEAD_DONE)
        return step;
    struct span rest = {input.data + intake->head_bytes, input.length - intake->head_bytes};
    step = feed_body(intake, limits, rest);
    return step == INTAKE_MORE ? INTAKE_HEAD_DONE : step;
}

enum intake_step intake_feed(struct intake *intake, const struct intake_limits *limits, struct span input,
                             size_t fresh, struct head *head)
{
    if (intake->phase == INTAKE_IN_HEAD)
        return feed_head(intake, limits, input, head);
    struct span bytes = {input.data + (input.length - fresh), fresh};
    return feed_body(intake, limits, bytes);
}
