/* SPDX-License-Identifier: MIT */
#include "statsd/questions.h"
#include "proto/clock.h"
#include "proto/failure.h"
#include "proto/log.h"
#include "statsd/arguments.h"
#include "statsd/decimal.h"
#include "statsd/processes.h"
#include "statsd/rates.h"
#include "statsd/reader.h"
#include "statsd/stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

enum { MICRO = 1000000, MICRO_OF_MILLI = 1000, PIECE_BYTES = 1 << 19 };

struct question {
    struct questions *owner;
    struct peer *peer; /* NULL: it is gone */
    uint64_t request;
    bool is_live;
    struct question *prev, *next;
};

struct questions {
    struct reader *reader;
    const struct registry *registry;
    const struct writer *writer;
    struct question *open; /* those that the reader has */
    struct rate requests, events;
};

/* ---- answers ---- */

static void reply(struct peer *peer, uint64_t request, uint16_t status, struct span body)
{
    struct msg_reply reply = {.status = REPLY_MORE, .body = body};
    int error = 0;
    while (body.length > PIECE_BYTES && error == 0) {
        reply.body = span_of(body.data, PIECE_BYTES);
        error = peer_send(peer, MESSAGE_REPLY, request, &reply);
        body = span_of(body.data + PIECE_BYTES, body.length - PIECE_BYTES);
    }
    reply = (struct msg_reply){.status = status, .body = body};
    if (error == 0)
        error = peer_send(peer, MESSAGE_REPLY, request, &reply);
    if (error < 0)
        log_warning(NULL, "reply_not_sent", LOG_STR("peer", peer_name(peer)));
}

/* Of what was built: `error` tells whether it could be. */
static void reply_built(struct peer *peer, uint64_t request, int error, uint16_t status, struct buffer *body)
{
    if (error < 0) {
        buffer_clear(body);
        status = failure_status(FAILURE_INTERNAL);
        (void)failure_append_json(body, FAILURE_INTERNAL, SPAN(""), SPAN(""), SPAN(""), SPAN(""));
    }
    reply(peer, request, status, buffer_span(body));
    buffer_fini(body);
}

static void fail(struct peer *peer, uint64_t request, enum failure failure)
{
    struct buffer body = {0};
    int error = failure_append_json(&body, failure, SPAN(""), SPAN(""), SPAN(""), SPAN(""));
    reply_built(peer, request, error, failure_status(failure), &body);
}

static void refuse(struct peer *peer, uint64_t request, const struct problem *problem)
{
    struct buffer body = {0};
    int error = problem_append_json(&body, problem);
    reply_built(peer, request, error, failure_status(FAILURE_BAD_FIELD), &body);
}

/* ---- live ---- */

static int append_live_stats(struct buffer *out, const struct questions *questions)
{
    int64_t streams_micro;
    registry_read_gauge(questions->registry, "gateway", "codebuddy2api_streams", &streams_micro);
    int error = buffer_append_span(out, SPAN("{\"stats\":{\"totals\":"));
    if (error == 0)
        error = stats_append_live(out, writer_totals(questions->writer));
    if (error == 0)
        error = buffer_printf(
            out, ",\"streams_in_flight\":%" PRId64 ",\"requests_per_s\":", streams_micro / MICRO);
    if (error == 0)
        error = decimal_append_micro(out, rate_per_s_milli(&questions->requests) * MICRO_OF_MILLI);
    if (error == 0)
        error = buffer_append_span(out, SPAN(",\"events_per_s\":"));
    if (error == 0)
        error = decimal_append_micro(out, rate_per_s_milli(&questions->events) * MICRO_OF_MILLI);
    return error < 0 ? error : buffer_append_char(out, '}');
}

/* `ledger`: the reader's part; empty if the ledger cannot be read, which the rest is told without. */
static int append_live(struct buffer *out, const struct questions *questions, struct span ledger)
{
    int error = append_live_stats(out, questions);
    if (error == 0)
        error = buffer_append_span(out, SPAN(",\"processes\":"));
    if (error == 0)
        error = processes_append(out, questions->registry);
    if (error == 0)
        error = buffer_append_span(out, SPAN(",\"ledger\":"));
    if (error == 0)
        error = buffer_append_span(out, ledger.length > 0 ? ledger : SPAN("null"));
    bool is_failing = writer_is_failing(questions->writer);
    return error < 0 ? error : buffer_printf(out, ",\"ledger_failing\":%s}", is_failing ? "true" : "false");
}

/* ---- by the reader ---- */

static void on_answered(void *context, uint16_t status, struct span body)
{
    struct question *question = context;
    struct questions *questions = question->owner;
    bool is_refusal = status == failure_status(FAILURE_BAD_FIELD);
    DL_DELETE(questions->open, question);
    if (question->peer && question->is_live && !is_refusal) {
        struct buffer live = {0};
        int error = append_live(&live, questions, status == 200 ? body : SPAN(""));
        reply_built(question->peer, question->request, error, 200, &live);
    } else if (question->peer) {
        reply(question->peer, question->request, status, body);
    }
    free(question);
}

static void ask_reader(struct questions *questions, struct peer *peer, uint64_t request,
                       enum reader_method method, json_t *arguments)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        json_decref(arguments);
        fail(peer, request, FAILURE_INTERNAL);
        return;
    }
    *question = (struct question){
        .owner = questions, .peer = peer, .request = request, .is_live = method == READER_LIVE};
    DL_APPEND(questions->open, question);
    if (reader_ask(questions->reader, method, arguments, writer_set_aside_count(questions->writer),
                   on_answered, question))
        return;
    DL_DELETE(questions->open, question);
    free(question);
    fail(peer, request, FAILURE_OVERLOADED);
}

/* ---- questions ---- */

static int append_processes(struct buffer *out, const struct registry *registry)
{
    int error = buffer_append_span(out, SPAN("{\"processes\":"));
    if (error == 0)
        error = processes_append(out, registry);
    return error < 0 ? error : buffer_append_char(out, '}');
}

/* Those that take no arguments and are answered from memory. */
static void answer_at_once(const struct questions *questions, struct peer *peer, uint64_t request,
                           bool is_stats, const json_t *arguments)
{
    static const char *const no_names[] = {NULL};
    struct problem problem;
    struct buffer body = {0};
    if (!arguments_are_known(arguments, no_names, &problem)) {
        refuse(peer, request, &problem);
        return;
    }
    int error = is_stats ? stats_append(&body, writer_totals(questions->writer))
                         : append_processes(&body, questions->registry);
    reply_built(peer, request, error, 200, &body);
}

void questions_take(struct questions *questions, struct peer *peer, uint64_t request,
                    const struct msg_call *call)
{
    static const struct {
        struct span method;
        enum reader_method reader;
    } slow[] = {
        {SPAN("usage"), READER_USAGE}, {SPAN("requests"), READER_REQUESTS}, {SPAN("live"), READER_LIVE}};
    json_t *arguments = arguments_read(call->body);
    if (!arguments) {
        fail(peer, request, FAILURE_INVALID_REQUEST);
        return;
    }
    for (size_t i = 0; i < sizeof slow / sizeof slow[0]; i++)
        if (span_equals(call->method, slow[i].method)) {
            ask_reader(questions, peer, request, slow[i].reader, arguments);
            return;
        }
    bool is_stats = span_equals(call->method, SPAN("stats"));
    if (is_stats || span_equals(call->method, SPAN("processes")))
        answer_at_once(questions, peer, request, is_stats, arguments);
    else
        fail(peer, request, FAILURE_NOT_FOUND);
    json_decref(arguments);
}

void questions_forget(struct questions *questions, const struct peer *peer)
{
    struct question *question;
    DL_FOREACH (questions->open, question)
        if (question->peer == peer)
            question->peer = NULL;
}

void questions_tick(struct questions *questions)
{
    int64_t now_ms = clock_now_ms(), events_micro;
    registry_read_counter(questions->registry, "upstream-worker",
                          "codebuddy2api_worker_upstream_events_total", &events_micro);
    rate_add(&questions->requests, totals_sum(writer_totals(questions->writer), TOTAL_REQUESTS), now_ms);
    rate_add(&questions->events, events_micro / MICRO, now_ms);
}

/* ---- life ---- */

struct questions *questions_new(uv_loop_t *loop, const char *directory, const struct registry *registry,
                                const struct writer *writer)
{
    struct questions *questions = calloc(1, sizeof *questions);
    if (!questions)
        return NULL;
    questions->registry = registry;
    questions->writer = writer;
    questions->reader = reader_new(loop, directory);
    if (!questions->reader)
        questions_free(&questions);
    return questions;
}

void questions_free(struct questions **questions_pointer)
{
    struct questions *questions = *questions_pointer;
    struct question *question, *next;
    *questions_pointer = NULL;
    if (!questions)
        return;
    reader_free(&questions->reader);
    DL_FOREACH_SAFE (questions->open, question, next)
        free(question);
    free(questions);
}
