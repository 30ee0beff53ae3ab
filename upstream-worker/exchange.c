/* SPDX-License-Identifier: MIT */
#include "upstream-worker/exchange.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "upstream-worker/exchange_private.h"

#include <assert.h>
#include <stdlib.h>

enum {
    REQUEST_TEXTS = 9, /* strings of a REQUEST that are kept, each with a NUL */
    SEND_BACK_RETRY_S = 1
};

static const char keepalive_comment[] = ": keepalive\n\n";

/* ---- the end ---- */

static struct span clip(struct span text, size_t bound)
{
    return text.length <= bound && span_is_utf8(text) && !memchr(text.data ? text.data : "", 0, text.length)
               ? text
               : span_of(NULL, 0);
}

static size_t ending_add(struct ending *ending, struct span text, size_t bound)
{
    struct span clipped = clip(text, bound);
    return buffer_append_span(&ending->texts, clipped) == 0 ? clipped.length : 0;
}

void exchange_note_failure(struct exchange *exchange, enum failure failure, enum outcome outcome,
                           uint32_t retry_after_s, struct span message, struct span type, struct span code,
                           struct span param)
{
    struct ending *ending = &exchange->ending;
    buffer_clear(&ending->texts);
    ending->failure = failure;
    ending->outcome = outcome;
    ending->retry_after_s = retry_after_s;
    ending->message_length = ending_add(ending, message, FAIL_TEXT_BYTES);
    ending->type_length = ending_add(ending, type, FAIL_TEXT_BYTES);
    ending->code_length = ending_add(ending, code, FAIL_TEXT_BYTES);
    ending->param_length = ending_add(ending, param, FAIL_PARAM_BYTES);
}

static struct span ending_code(const struct ending *ending)
{
    return span_of(ending->texts.data + ending->message_length + ending->type_length, ending->code_length);
}

static void exchange_say_fail(struct exchange *exchange)
{
    const struct ending *ending = &exchange->ending;
    const char *text = ending->texts.data;
    size_t type_offset = ending->message_length, code_offset = type_offset + ending->type_length;
    const struct msg_fail fail = {
        .failure = (uint16_t)ending->failure,
        .movable = ending->is_movable,
        .retry_after_s = ending->retry_after_s,
        .message = span_of(text, ending->message_length),
        .type = span_of(text + type_offset, ending->type_length),
        .code = span_of(text + code_offset, ending->code_length),
        .param = span_of(text + code_offset + ending->code_length, ending->param_length),
        .model = span_str(exchange->model),
        .credential_id = span_str(exchange->credential_id),
        .outcome = (uint8_t)ending->outcome,
        .prompt_tokens = (uint64_t)exchange->usage.prompt_tokens,
        .completion_tokens = (uint64_t)exchange->usage.completion_tokens,
        .attempts = exchange->attempts,
    };
    relay_finish(&exchange->relay, MESSAGE_FAIL, &fail);
}

static void exchange_say_end(struct exchange *exchange)
{
    const struct msg_end end = {
        .outcome = (uint8_t)exchange->ending.outcome,
        .credential_id = span_str(exchange->credential_id),
        .prompt_tokens = (uint64_t)exchange->usage.prompt_tokens,
        .completion_tokens = (uint64_t)exchange->usage.completion_tokens,
        .attempts = exchange->attempts,
    };
    relay_finish(&exchange->relay, MESSAGE_END, &end);
}

/* What the client saw; a cancelled one saw nothing but what was sent. */
static enum failure exchange_failure_seen(const struct exchange *exchange)
{
    if (exchange->ending.is_failure)
        return exchange->ending.failure;
    return exchange->ending.outcome == OUTCOME_CANCELLED ? FAILURE_CANCELLED : FAILURE_NONE;
}

static void exchange_record(struct exchange *exchange)
{
    const struct usage *usage = &exchange->usage;
    const struct ending *ending = &exchange->ending;
    enum failure failure = exchange_failure_seen(exchange);
    struct span code = span_of(NULL, 0);
    if (failure != FAILURE_NONE)
        code = ending->is_failure && ending->code_length > 0 ? clip(ending_code(ending), 64)
                                                             : span_str(failure_code(failure));
    const struct msg_event event = {
        .request_id = exchange->request_id,
        .started_wall_ms = exchange->started_wall_ms,
        .duration_ms = (uint32_t)(exchange_now_ms(exchange) - exchange->started_ms),
        .first_event_ms = exchange->first_event_ms,
        .key_id = exchange->key_id,
        .credential_id = span_str(exchange->credential_id),
        .model = span_str(exchange->model),
        .status = exchange->relay.is_head_sent || failure == FAILURE_NONE ? 200 : failure_status(failure),
        .outcome = (uint8_t)ending->outcome,
        .code = code,
        .stream = exchange->wants_stream,
        .attempts = exchange->attempts,
        .moves = exchange->moves,
        .prompt_tokens = (uint64_t)usage->prompt_tokens,
        .completion_tokens = (uint64_t)usage->completion_tokens,
        .cached_tokens = (uint64_t)usage->cached_tokens,
        .reasoning_tokens = (uint64_t)usage->reasoning_tokens,
        .credit_micro = usage->credit_millionths,
    };
    reporter_event(exchange->home->reporter, &event);
}

static void exchange_end(struct exchange *exchange)
{
    assert(exchange->state != EXCHANGE_OVER);
    exchange->state = EXCHANGE_OVER;
    if (exchange->ending.is_failure)
        exchange_say_fail(exchange);
    else
        exchange_say_end(exchange);
    if (!exchange->ending.is_movable) /* whoever ends it records it */
        exchange_record(exchange);
    exchange->home->over(exchange->home->owner, exchange);
}

static void exchange_flush(struct exchange *exchange)
{
    exchange->state = EXCHANGE_FLUSHING;
    if (relay_held_bytes(&exchange->relay) == 0)
        exchange_end(exchange);
}

void exchange_finish_failed(struct exchange *exchange)
{
    exchange->ending.is_failure = true;
    exchange_flush(exchange);
}

void exchange_fail(struct exchange *exchange, enum failure failure, enum outcome outcome)
{
    const struct span none = span_of(NULL, 0);
    const struct msg_release release = {.outcome = (uint8_t)outcome};
    exchange_note_failure(exchange, failure, outcome, 0, none, none, none, none);
    attempt_end(exchange, &release);
    exchange_finish_failed(exchange);
}

void exchange_send_back(struct exchange *exchange)
{
    const struct span none = span_of(NULL, 0);
    const struct msg_release release = {.outcome = OUTCOME_BLAMELESS};
    exchange_note_failure(exchange, FAILURE_UNAVAILABLE, OUTCOME_BLAMELESS, SEND_BACK_RETRY_S, none, none,
                          none, none);
    exchange->ending.is_movable = !exchange->relay.is_head_sent;
    attempt_end(exchange, &release);
    exchange_finish_failed(exchange);
}

/* The client or its gateway is gone: nothing that is held matters. */
static void exchange_abandon(struct exchange *exchange)
{
    const struct msg_release release = {.outcome = OUTCOME_CANCELLED};
    if (exchange->state == EXCHANGE_OVER)
        return;
    exchange->home->counters.cancelled++;
    if (exchange->state != EXCHANGE_FLUSHING) { /* else the upstream's part ended as it is noted */
        attempt_end(exchange, &release);
        exchange->ending.is_failure = false;
        exchange->ending.outcome = OUTCOME_CANCELLED;
    }
    relay_fini(&exchange->relay);
    exchange_end(exchange);
}

void exchange_cancel(struct exchange *exchange)
{
    exchange_abandon(exchange);
}

void exchange_lose_gateway(struct exchange *exchange)
{
    exchange->relay.peer = NULL;
    exchange_abandon(exchange);
}

/* ---- the answer on its way to the client ---- */

static void exchange_note_first_event(struct exchange *exchange)
{
    int64_t taken_ms = exchange_now_ms(exchange) - exchange->started_ms;
    if (exchange->first_event_ms == 0)
        exchange->first_event_ms = taken_ms > 0 ? (uint32_t)taken_ms : 1; /* 0 means none */
}

/* A message that could not be queued leaves a hole: nothing more can be said but that it failed. */
static bool exchange_check_relay(struct exchange *exchange, int error)
{
    if (error == 0)
        return true;
    log_warning(exchange->request_id.data, "relay_failed", LOG_STR("problem", error_text(error)),
                LOG_OPT("trace", exchange_trace_id(exchange)));
    relay_fini(&exchange->relay);
    exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_CANCELLED);
    return false;
}

/* Output memory is shared: most of the time a stream has nothing to say. */
static void exchange_return_out(struct exchange *exchange)
{
    struct exchange_home *home = exchange->home;
    if (home->spare.capacity == 0 && exchange->out.length == 0) {
        home->spare = exchange->out;
        exchange->out = (struct buffer){0};
    } else {
        buffer_fini(&exchange->out);
    }
}

static int exchange_send_head(struct exchange *exchange, uint8_t stream, int64_t content_bytes)
{
    const struct msg_head head = {
        .status = 200,
        .stream = stream,
        .content_bytes = content_bytes,
        .model = span_str(exchange->model),
        .credential_id = span_str(exchange->credential_id),
    };
    return relay_send_head(&exchange->relay, &head, exchange_now_ms(exchange));
}

bool exchange_send_stream(struct exchange *exchange)
{
    int64_t now_ms = exchange_now_ms(exchange);
    int error = 0;
    if (!exchange->relay.is_head_sent)
        error = exchange_send_head(exchange, 1, -1);
    exchange_note_first_event(exchange);
    if (error == 0)
        error = relay_send(&exchange->relay, &exchange->out, now_ms);
    if (!exchange_check_relay(exchange, error))
        return false;
    exchange_return_out(exchange);
    exchange->state = EXCHANGE_ANSWERING;
    return true;
}

static bool exchange_send_plain(struct exchange *exchange)
{
    int64_t now_ms = exchange_now_ms(exchange);
    int error = exchange_send_head(exchange, 0, (int64_t)exchange->out.length);
    exchange_note_first_event(exchange);
    if (error == 0)
        error = relay_send(&exchange->relay, &exchange->out, now_ms);
    return exchange_check_relay(exchange, error);
}

void exchange_complete(struct exchange *exchange)
{
    const struct msg_release release = {.outcome = OUTCOME_OK};
    if (exchange->wants_stream ? !exchange_send_stream(exchange) : !exchange_send_plain(exchange))
        return;
    attempt_end(exchange, &release);
    exchange->ending.outcome = OUTCOME_OK;
    exchange_flush(exchange);
}

void exchange_credit(struct exchange *exchange, size_t bytes)
{
    if (exchange->state == EXCHANGE_OVER ||
        !exchange_check_relay(exchange, relay_credit(&exchange->relay, bytes, exchange_now_ms(exchange))))
        return;
    if (exchange->state == EXCHANGE_FLUSHING)
        exchange_flush(exchange);
    else if (exchange->transfer && transfer_is_paused(exchange->transfer) &&
             relay_held_bytes(&exchange->relay) <= exchange->hold_bytes / 2)
        transfer_resume(exchange->transfer); /* may end the exchange */
}

static void exchange_send_keepalive(struct exchange *exchange)
{
    struct buffer comment = {0};
    int64_t now_ms = exchange_now_ms(exchange);
    int error = buffer_append(&comment, keepalive_comment, sizeof keepalive_comment - 1);
    if (error == 0 && !exchange->relay.is_head_sent)
        error = exchange_send_head(exchange, 1, -1);
    if (error == 0)
        error = relay_send(&exchange->relay, &comment, now_ms);
    buffer_fini(&comment);
    exchange_check_relay(exchange, error);
}

/* ---- the request ---- */

static int exchange_flatten(struct exchange *exchange)
{
    const struct payload *payload = request_body_payload(exchange->request);
    if (payload->length > TRANSFER_SMALL_BYTES)
        return 0;
    int error = payload_flatten(payload, &exchange->flat);
    if (error < 0)
        return error;
    exchange->flat_piece = buffer_span(&exchange->flat);
    exchange->flat_payload =
        (struct payload){.pieces = &exchange->flat_piece, .count = 1, .length = exchange->flat.length};
    request_body_free(&exchange->request);
    free(exchange->body);
    exchange->body = NULL;
    return 0;
}

static void exchange_start(struct exchange *exchange)
{
    const struct request_body *request = exchange->request;
    struct span model = request_body_model(request);
    struct span prefix = exchange->rulebook->options.model_prefix;
    if (prefix.length < model.length && span_starts_with(model, prefix))
        exchange->upstream_model_offset = prefix.length;
    exchange->model = span_dup(model);
    exchange->wants_stream = request_body_wants_stream(request);
    exchange->wants_usage = request_body_wants_usage(request);
    if (!exchange->model || exchange_flatten(exchange) < 0)
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    else
        attempt_lease(exchange);
}

static void exchange_refuse_body(struct exchange *exchange)
{
    const struct span none = span_of(NULL, 0);
    exchange_note_failure(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS, 0,
                          request_body_message(exchange->request), none, none,
                          request_body_param(exchange->request));
    exchange_finish_failed(exchange);
}

bool exchange_scan(struct exchange *exchange)
{
    if (exchange->state != EXCHANGE_READING)
        return false;
    struct span arrived = span_of(exchange->body, exchange->arrived_bytes);
    bool is_whole = exchange->arrived_bytes == exchange->body_bytes;
    int status = request_body_scan(exchange->request, arrived, is_whole, REQUEST_SLICE_BYTES);
    if (status == REQUEST_MORE)
        return is_whole || request_body_offset(exchange->request) < exchange->arrived_bytes;
    if (status == REQUEST_READY)
        exchange_start(exchange);
    else if (status == ERR_INVALID)
        exchange_refuse_body(exchange);
    else
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    return false;
}

void exchange_take_body(struct exchange *exchange, struct span piece)
{
    if (exchange->state != EXCHANGE_READING)
        return;
    if (piece.length > exchange->body_bytes - exchange->arrived_bytes) {
        log_warning(exchange->request_id.data, "body_overflow",
                    LOG_OPT("trace", exchange_trace_id(exchange)));
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
        return;
    }
    if (piece.length > 0)
        memcpy(exchange->body + exchange->arrived_bytes, piece.data, piece.length);
    exchange->arrived_bytes += piece.length;
}

/* The headers that go upstream with the client's words in them (upstream.md, 3). */
static bool exchange_check_headers(struct exchange *exchange)
{
    const struct {
        struct span value;
        const char *name;
    } headers[] = {
        {exchange->conversation_id, "X-Conversation-ID"},
        {exchange->conversation_request_id, "X-Conversation-Request-ID"},
        {exchange->conversation_message_id, "X-Conversation-Message-ID"},
        {exchange->traceparent, "traceparent"},
        {exchange->tracestate, "tracestate"},
        {exchange->client_request_id, "X-Request-ID"},
    };
    const struct span none = span_of(NULL, 0);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if (span_is_header_safe(headers[i].value))
            continue;
        exchange_note_failure(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS, 0,
                              SPAN("A header holds a control character."), none, none,
                              span_str(headers[i].name));
        exchange_finish_failed(exchange);
        return false;
    }
    return true;
}

static struct span copy_text(char **at, struct span text)
{
    char *copy = *at;
    if (text.length > 0)
        memcpy(copy, text.data, text.length);
    copy[text.length] = '\0'; /* for the log */
    *at += text.length + 1;
    return span_of(copy, text.length);
}

static int exchange_copy_request(struct exchange *exchange, const struct msg_request *request)
{
    size_t length = request->request_id.length + request->key_id.length + request->conversation_id.length +
                    request->conversation_request_id.length + request->conversation_message_id.length +
                    request->traceparent.length + request->tracestate.length + request->credential_id.length +
                    request->client_request_id.length;
    char *at = exchange->texts = malloc(length + REQUEST_TEXTS);
    if (!at)
        return ERR_NOMEM;
    exchange->request_id = copy_text(&at, request->request_id);
    exchange->client_request_id = copy_text(&at, request->client_request_id);
    exchange->key_id = copy_text(&at, request->key_id);
    exchange->conversation_id = copy_text(&at, request->conversation_id);
    exchange->conversation_request_id = copy_text(&at, request->conversation_request_id);
    exchange->conversation_message_id = copy_text(&at, request->conversation_message_id);
    exchange->traceparent = copy_text(&at, request->traceparent);
    exchange->tracestate = copy_text(&at, request->tracestate);
    exchange->only_credential_id = copy_text(&at, request->credential_id);
    exchange->moves = request->moves;
    exchange->body_bytes = request->body_bytes;
    return 0;
}

static void exchange_open(struct exchange *exchange, const struct msg_request *request)
{
    if (!exchange_check_headers(exchange))
        return;
    if (request->body_bytes > exchange->home->settings->max_body_bytes) {
        exchange_fail(exchange, FAILURE_TOO_LARGE, OUTCOME_BLAMELESS);
        return;
    }
    exchange->body = malloc(exchange->body_bytes + 1); /* at once: pages are touched as they fill */
    exchange->request = request_body_new(&exchange->rulebook->options);
    if (!exchange->body || !exchange->request) {
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
        return;
    }
    exchange_take_body(exchange, request->body);
    if (exchange->body_bytes <= FIRST_BODY_BYTES) /* large ones are scanned a slice per turn */
        while (exchange_scan(exchange))
            ;
}

struct exchange *exchange_new(struct exchange_home *home, struct peer *peer, uint64_t number,
                              const struct msg_request *request)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->home = home;
    exchange->started_ms = exchange_now_ms(exchange);
    exchange->started_wall_ms = clock_wall_ms();
    int64_t limit_ms = home->settings->total_timeout_s * 1000;
    exchange->deadline_ms =
        exchange->started_ms + (request->deadline_ms < limit_ms ? request->deadline_ms : limit_ms);
    relay_init(&exchange->relay, peer, number, exchange->started_ms);
    if (exchange_copy_request(exchange, request) < 0) {
        free(exchange);
        return NULL;
    }
    exchange->rulebook = rulebook_hold(home->rulebook);
    exchange_open(exchange, request);
    return exchange;
}

void exchange_free(struct exchange **exchange_at)
{
    struct exchange *exchange = *exchange_at;
    *exchange_at = NULL;
    if (!exchange)
        return;
    assert(exchange->state == EXCHANGE_OVER && !exchange->transfer && exchange->lease.state == LEASE_NONE);
    attempt_free_call(exchange);
    buffer_fini(&exchange->exclude);
    buffer_fini(&exchange->out);
    buffer_fini(&exchange->ending.texts);
    relay_fini(&exchange->relay);
    rulebook_drop(&exchange->rulebook);
    free(exchange->texts);
    free(exchange->model);
    free(exchange);
}

/* ---- time ---- */

static void exchange_time_out(struct exchange *exchange)
{
    switch (exchange->state) {
    case EXCHANGE_READING:
        exchange_fail(exchange, FAILURE_REQUEST_TIMEOUT, OUTCOME_BLAMELESS);
        break;
    case EXCHANGE_LEASING:
        exchange_fail(exchange, FAILURE_UNAVAILABLE, OUTCOME_TRANSIENT);
        break;
    case EXCHANGE_CALLING:
    case EXCHANGE_ANSWERING:
        exchange_fail(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
        break;
    case EXCHANGE_FLUSHING: /* the client does not read: what it did not take by now, it will not get */
        relay_fini(&exchange->relay);
        exchange->ending.is_failure = true;
        exchange->ending.failure = FAILURE_REQUEST_TIMEOUT;
        exchange_end(exchange);
        break;
    case EXCHANGE_OVER:
        break;
    }
}

void exchange_tick(struct exchange *exchange)
{
    int64_t now_ms = exchange_now_ms(exchange);
    if (exchange->state != EXCHANGE_OVER && now_ms >= exchange->deadline_ms) {
        exchange_time_out(exchange);
        return;
    }
    if (exchange->state == EXCHANGE_CALLING || exchange->state == EXCHANGE_ANSWERING)
        attempt_tick(exchange);
    bool is_waiting = exchange->state == EXCHANGE_LEASING || exchange->state == EXCHANGE_CALLING ||
                      exchange->state == EXCHANGE_ANSWERING;
    if (is_waiting && exchange->wants_stream && relay_held_bytes(&exchange->relay) == 0 &&
        exchange->relay.window_bytes > 0 &&
        now_ms - exchange->relay.last_sent_ms >= exchange->home->settings->keepalive_s * 1000)
        exchange_send_keepalive(exchange);
}

/* ---- what the owner asks ---- */

enum exchange_state exchange_state(const struct exchange *exchange)
{
    return exchange->state;
}

const struct peer *exchange_peer(const struct exchange *exchange)
{
    return exchange->relay.peer;
}

uint64_t exchange_number(const struct exchange *exchange)
{
    return exchange->relay.request;
}

void **exchange_place(struct exchange *exchange)
{
    return &exchange->place;
}
