/* SPDX-License-Identifier: MIT */
/* attempt - the half of an exchange that faces credd and the upstream: lease, call, answer or refusal, and
 * what to try next (upstream.md, 6). */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "upstream-worker/exchange_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    EXCLUDE_MAX_BYTES = 2048,     /* LEASE's bound */
    REFUSAL_MAX_BYTES = 64 << 10, /* of a refusal's body; real ones have hundreds of bytes */
    REASON_MAX_BYTES = 256,       /* RELEASE's bound */
    HTTP2_HOLD_BYTES = 1 << 20,   /* see attempt_choose_hold */
    ATTEMPTS_MAX = 32             /* whatever credd grants: as many credentials as `exclude` can name */
};

static const char chat_path[] = "/v2/chat/completions";

static const struct transfer_handlers transfer_handlers;
static const struct lease_handlers lease_handlers;

/* ---- trouble ---- */

static const struct span no_text = {NULL, 0};

/* The words that credd keeps with the credential's state. */
static struct span reason_of(const struct upstream_error *error)
{
    if (!error)
        return no_text;
    struct span reason = span_str(*error->message ? error->message : error->code_text);
    if (reason.length <= REASON_MAX_BYTES)
        return reason;
    reason.length = REASON_MAX_BYTES;
    while (reason.length > 0 && !span_is_utf8(reason)) /* not inside a character */
        reason.length--;
    return reason;
}

/* Without the operator's prefix. */
static struct span upstream_model(const struct exchange *exchange)
{
    return span_str(exchange->model + exchange->upstream_model_offset);
}

static void attempt_note(struct exchange *exchange, const struct upstream_verdict *verdict,
                         const struct upstream_error *error)
{
    bool shows = error && verdict->shows_upstream_text;
    bool shows_kind = shows && verdict->failure == FAILURE_UPSTREAM; /* else ours says more */
    exchange_note_failure(exchange, verdict->failure, verdict->outcome, (uint32_t)verdict->retry_after_s,
                          shows ? span_str(error->message) : no_text,
                          shows_kind ? span_str(error->type) : no_text,
                          shows_kind ? span_str(error->code_text) : no_text, no_text);
}

static void attempt_log(const struct exchange *exchange, const struct upstream_verdict *verdict,
                        const struct upstream_error *error, const char *what)
{
    log_warning(exchange->request_id.data, "upstream_failed", LOG_STR("credential", exchange->credential_id),
                LOG_INT("status", exchange->head.status), LOG_INT("code", error ? error->code : 0),
                LOG_STR("outcome", outcome_word(verdict->outcome)),
                LOG_STR("failure", failure_code(verdict->failure)), LOG_STR("what", what),
                LOG_OPT("trace", exchange_trace_id(exchange)));
}

/* Adds the credential to those not to be lent again. False if there is no room. */
static bool attempt_exclude(struct exchange *exchange)
{
    size_t length = strlen(exchange->credential_id);
    if (exchange->exclude.length + 1 + length > EXCLUDE_MAX_BYTES || exchange->attempts >= ATTEMPTS_MAX)
        return false;
    if (exchange->exclude.length > 0 && buffer_append_char(&exchange->exclude, ',') < 0)
        return false;
    return buffer_append(&exchange->exclude, exchange->credential_id, length) == 0;
}

static void attempt_call(struct exchange *exchange);

/* Decides, with the failure noted already. */
static void attempt_act(struct exchange *exchange, const struct upstream_verdict *verdict,
                        const struct upstream_error *error, const char *what)
{
    const struct msg_release release = {
        .outcome = (uint8_t)verdict->outcome,
        .retry_after_s = (uint32_t)verdict->retry_after_s,
        .model = upstream_model(exchange),
        .reason = reason_of(error),
    };
    enum upstream_action action = exchange->relay.is_head_sent ? UPSTREAM_FAIL : verdict->action;
    attempt_log(exchange, verdict, error, what);
    attempt_note(exchange, verdict, error);
    switch (action) {
    case UPSTREAM_RETRY_ONCE:
        if (exchange->has_retried)
            break;
        exchange->has_retried = true;
        exchange->home->counters.retries_same++;
        attempt_call(exchange);
        return;
    case UPSTREAM_REFRESH_OR_OTHER: /* credd refreshes it on this RELEASE; meanwhile another serves */
    case UPSTREAM_TRY_OTHER:
    case UPSTREAM_TRY_OTHER_SITE:
        if (!attempt_exclude(exchange))
            break;
        exchange->home->counters.retries_other++;
        attempt_end(exchange, &release);
        attempt_lease(exchange);
        return;
    case UPSTREAM_FAIL:
        break;
    }
    attempt_end(exchange, &release);
    exchange_finish_failed(exchange);
}

static void attempt_fail(struct exchange *exchange, enum failure failure, enum upstream_action action,
                         const char *what)
{
    const struct upstream_verdict verdict = {
        .failure = failure, .action = action, .outcome = OUTCOME_TRANSIENT};
    attempt_act(exchange, &verdict, NULL, what);
}

/* ---- the lease ---- */

void attempt_lease(struct exchange *exchange)
{
    const struct msg_lease ask = {
        .request_id = exchange->request_id,
        .key_id = exchange->key_id,
        .model = upstream_model(exchange),
        .conversation_id = exchange->conversation_id,
        .exclude = buffer_span(&exchange->exclude),
        .credential_id = exchange->only_credential_id,
    };
    exchange->state = EXCHANGE_LEASING;
    lease_ask(exchange->home->leases, &exchange->lease, &ask, &lease_handlers, exchange,
              exchange_now_ms(exchange));
}

static int attempt_build_headers(struct exchange *exchange, const struct msg_grant *grant)
{
    char uuid[ID_UUID_BYTES + 1], request_hex[ID_HEX_BYTES + 1], message_hex[ID_HEX_BYTES + 1];
    char span_id[ID_SPAN_BYTES + 1], parent[TRACE_PARENT_BYTES + 1];
    struct call_header_values values = {
        .lines = grant->headers,
        .token = grant->token,
        .conversation_id = exchange->conversation_id,
        .conversation_request_id = exchange->conversation_request_id,
        .conversation_message_id = exchange->conversation_message_id,
        .request_id = exchange->client_request_id.length ? exchange->client_request_id : exchange->request_id,
    };
    struct request_ids *ids = &exchange->home->ids;
    if (values.conversation_id.length == 0) {
        request_ids_make_uuid(ids, uuid);
        values.conversation_id = span_str(uuid);
    }
    if (values.conversation_request_id.length == 0) {
        request_ids_make_hex(ids, request_hex);
        values.conversation_request_id = span_str(request_hex);
    }
    if (values.conversation_message_id.length == 0) {
        request_ids_make_hex(ids, message_hex);
        values.conversation_message_id = span_str(message_hex);
    }
    if (exchange->traceparent.length == TRACE_PARENT_BYTES) {
        request_ids_make_span(ids, span_id);
        trace_parent_continue(parent, exchange->traceparent, span_id);
        values.traceparent = span_str(parent);
        values.tracestate = exchange->tracestate;
    }
    return call_headers_build(&exchange->headers, &values);
}

static int attempt_build_url(struct exchange *exchange, struct span base_url)
{
    struct buffer url = {0};
    if (base_url.length == 0 || !span_is_header_safe(base_url))
        return ERR_INVALID;
    int error = buffer_append_span(&url, base_url);
    if (error == 0)
        error = buffer_append(&url, chat_path, sizeof chat_path); /* with its NUL */
    if (error < 0)
        buffer_fini(&url);
    exchange->url = url.data;
    return error;
}

static void attempt_drop_target(struct exchange *exchange)
{
    call_headers_fini(&exchange->headers);
    free(exchange->url);
    exchange->url = NULL;
}

static void on_granted(void *owner, struct lease *lease, const struct msg_grant *grant)
{
    struct exchange *exchange = owner;
    (void)lease;
    assert(exchange->state == EXCHANGE_LEASING && grant->credential_id.length <= CREDENTIAL_ID_BYTES);
    memcpy(exchange->credential_id, grant->credential_id.data, grant->credential_id.length);
    exchange->credential_id[grant->credential_id.length] = '\0';
    exchange->head = (struct response_head){0};
    int error = attempt_build_headers(exchange, grant);
    if (error == 0)
        error = attempt_build_url(exchange, grant->base_url);
    if (error == 0) {
        attempt_call(exchange);
    } else if (error == ERR_INVALID) { /* a token or account that cannot be a header: nobody can use it */
        const struct upstream_verdict verdict = {
            .failure = FAILURE_NO_CREDENTIAL, .action = UPSTREAM_TRY_OTHER, .outcome = OUTCOME_UNAUTHORIZED};
        attempt_act(exchange, &verdict, NULL, "unusable credential");
    } else {
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    }
}

/* After attempts that failed, which tells the client more: why they failed, or why there is no other? */
static bool refusal_is_better_known(const struct exchange *exchange, enum failure refused)
{
    if (exchange->attempts == 0)
        return false;
    return exchange->ending.outcome == OUTCOME_MODEL_NOT_SERVED ||
           (refused == FAILURE_NO_CREDENTIAL && exchange->ending.failure != FAILURE_NO_CREDENTIAL);
}

static enum outcome outcome_of_refusal(const struct exchange *exchange, enum failure failure)
{
    bool is_the_same = exchange->attempts > 0 && exchange->ending.failure == FAILURE_NO_CREDENTIAL;
    if (failure == FAILURE_NO_CREDENTIAL && is_the_same)
        return exchange->ending.outcome; /* credd has the better words, the upstream was the reason */
    return failure == FAILURE_RATE_LIMITED ? OUTCOME_RATE_LIMITED : OUTCOME_BLAMELESS;
}

static void on_refused(void *owner, struct lease *lease, const struct msg_refuse *refuse)
{
    struct exchange *exchange = owner;
    enum failure failure = (enum failure)refuse->failure;
    (void)lease;
    assert(exchange->state == EXCHANGE_LEASING);
    if (failure == FAILURE_NONE || failure >= FAILURE_COUNT)
        failure = FAILURE_NO_CREDENTIAL;
    if (!refusal_is_better_known(exchange, failure))
        exchange_note_failure(exchange, failure, outcome_of_refusal(exchange, failure), refuse->retry_after_s,
                              refuse->message, no_text, no_text, no_text);
    exchange_finish_failed(exchange);
}

static const struct lease_handlers lease_handlers = {on_granted, on_refused};

/* ---- the call ---- */

static void attempt_drop_answer(struct exchange *exchange)
{
    if (exchange->answer)
        answer_read_usage(exchange->answer, &exchange->usage);
    answer_free(&exchange->answer);
    transfer_cancel(&exchange->transfer);
    buffer_clear(&exchange->out);
}

/* Begins the call, with the lease that is held. */
static void attempt_call(struct exchange *exchange)
{
    const struct transfer_call call = {
        .url = exchange->url,
        .headers = &exchange->headers,
        .payload = exchange->request ? request_body_payload(exchange->request) : &exchange->flat_payload,
        .connect_timeout_ms = exchange->home->settings->connect_timeout_s * 1000,
        .is_fresh = exchange->has_retried,
    };
    attempt_drop_answer(exchange);
    if (log_is_on(LOG_LEVEL_DEBUG))
        log_debug(exchange->request_id.data, "upstream_call", LOG_INT("attempt", exchange->attempts + 1),
                  LOG_STR("credential", exchange->credential_id), LOG_STR("url", exchange->url),
                  LOG_OPT("trace", exchange_trace_id(exchange)));
    exchange->state = EXCHANGE_CALLING;
    exchange->head = (struct response_head){0};
    exchange->usage = (struct usage){0};
    exchange->answer_status = ANSWER_MORE;
    exchange->event_count = 0;
    exchange->hold_bytes = 0;
    exchange->heard_ms = exchange_now_ms(exchange);
    exchange->attempts++;
    exchange->home->counters.attempts++;
    exchange->transfer = transfer_start(exchange->home->transfers, &call, &transfer_handlers, exchange);
    if (!exchange->transfer)
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
}

static void attempt_make_answer(struct exchange *exchange)
{
    char id[ID_HEX_BYTES + 1];
    request_ids_make_hex(&exchange->home->ids, id);
    const struct answer_options options = {
        .id = span_str(id),
        .model = span_str(exchange->model),
        .created_s = clock_wall_ms() / 1000,
        .wants_stream = exchange->wants_stream,
        .wants_usage = exchange->wants_usage,
    };
    /* Whether it is events or one JSON text the answer sees for itself. */
    exchange->answer = answer_new(&options, &exchange->home->scratch);
}

static void on_responded(void *owner, const struct response_head *head)
{
    struct exchange *exchange = owner;
    exchange->head = *head;
    if (head->status == 200 && !head->is_encoded && head->content != CONTENT_OTHER)
        attempt_make_answer(exchange); /* out of memory: seen by settle */
    else
        exchange->heard_ms = exchange_now_ms(exchange);
}

static void answer_take(struct exchange *exchange, struct span bytes)
{
    struct exchange_home *home = exchange->home;
    if (exchange->answer_status != ANSWER_MORE)
        return; /* over already: what still comes does not matter */
    if (exchange->out.capacity == 0) {
        exchange->out = home->spare;
        home->spare = (struct buffer){0};
    }
    exchange->answer_status = answer_feed(exchange->answer, bytes, &exchange->out);
    uint64_t event_count = answer_event_count(exchange->answer);
    if (event_count != exchange->event_count) {
        int64_t now_ms = exchange_now_ms(exchange);
        uint64_t new_count = event_count - exchange->event_count;
        home->counters.upstream_events += new_count;
        if (exchange->event_count > 0) /* the first has no gap before it */
            gaps_note(&home->counters.gaps, now_ms - exchange->heard_ms, new_count);
        else if (new_count > 1)
            gaps_note(&home->counters.gaps, 0, new_count - 1);
        exchange->event_count = event_count;
        exchange->heard_ms = now_ms;
    }
}

static void refusal_take(struct exchange *exchange, struct span bytes)
{
    size_t room = REFUSAL_MAX_BYTES - exchange->out.length;
    /* Out of memory: the status alone is judged. */
    buffer_append(&exchange->out, bytes.data, bytes.length < room ? bytes.length : room);
}

static enum transfer_flow on_data(void *owner, struct span bytes)
{
    struct exchange *exchange = owner;
    if (!exchange->answer) {
        refusal_take(exchange, bytes);
        return TRANSFER_TAKEN;
    }
    size_t pending = relay_held_bytes(&exchange->relay) + exchange->out.length;
    bool is_full = relay_held_bytes(&exchange->relay) > exchange->hold_bytes ||
                   pending > exchange->relay.window_bytes + exchange->hold_bytes;
    if (exchange->wants_stream && is_full)
        return TRANSFER_PAUSE;
    answer_take(exchange, bytes);
    return TRANSFER_TAKEN;
}

/* HTTP/1.1: a paused transfer leaves its bytes in its own socket. HTTP/2: libcurl 7.88 stops reading the
 * whole connection while bytes for a paused stream are in its hands, so one reader who stops would stop all
 * that share the connection. There, up to 1 MiB is taken in before that. */
static void attempt_choose_hold(struct exchange *exchange)
{
    exchange->hold_bytes = transfer_is_multiplexed(exchange->transfer) ? HTTP2_HOLD_BYTES : 0;
}

void attempt_commit(struct exchange *exchange)
{
    attempt_choose_hold(exchange);
    if (transfer_drop_call(exchange->transfer))
        attempt_free_call(exchange);
}

void attempt_free_call(struct exchange *exchange)
{
    attempt_drop_target(exchange);
    request_body_free(&exchange->request);
    buffer_fini(&exchange->flat);
    free(exchange->body);
    exchange->body = NULL;
}

/* ---- what came of it ---- */

static void attempt_refused(struct exchange *exchange, const struct upstream_error *error)
{
    struct upstream_verdict verdict;
    upstream_error_judge(error, span_str(exchange->head.retry_after), clock_wall_ms() / 1000, &verdict);
    attempt_act(exchange, &verdict, error, "refused");
}

/* Words for the client that say what to do about it. */
static void attempt_outgrew(struct exchange *exchange)
{
    const struct upstream_verdict verdict = {.failure = answer_failure(ERR_TOO_LARGE),
                                             .action = UPSTREAM_FAIL,
                                             .outcome = OUTCOME_TRANSIENT,
                                             .shows_upstream_text = true};
    struct upstream_error *error = &exchange->home->scratch.error;
    *error = (struct upstream_error){.status = 200};
    snprintf(error->message, sizeof error->message, "%s",
             exchange->wants_stream
                 ? "The upstream sent an event of more than 8 MiB."
                 : "The upstream's answer is too long to be gathered (one event of 8 MiB, 64 MiB of text, or "
                   "128 MiB of events): ask for a stream, or for less.");
    attempt_act(exchange, &verdict, error, error_text(ERR_TOO_LARGE));
}

/* The answer's bytes cannot be read on, or there are too few of them. */
static void attempt_broke(struct exchange *exchange, int status)
{
    bool may_retry = status == ERR_TRUNCATED && exchange->event_count == 0;
    const char *what = status == ERR_INVALID ? answer_reason(exchange->answer) : error_text(status);
    if (status == ERR_NOMEM)
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
    else if (status == ERR_TOO_LARGE)
        attempt_outgrew(exchange);
    else
        attempt_fail(exchange, answer_failure(status), may_retry ? UPSTREAM_RETRY_ONCE : UPSTREAM_FAIL, what);
}

static void attempt_settle_answer(struct exchange *exchange)
{
    int status = exchange->answer_status;
    if (status == ANSWER_MORE && transfer_is_over(exchange->transfer))
        status = transfer_result(exchange->transfer) == TRANSFER_GARBLED
                     ? ERR_INVALID
                     : answer_finish(exchange->answer, &exchange->out);
    if (status == ANSWER_COMPLETE) {
        exchange_complete(exchange);
        return;
    }
    if (exchange->wants_stream && exchange->out.length > 0) {
        bool is_first = exchange->state == EXCHANGE_CALLING;
        if (!exchange_send_stream(exchange))
            return;
        if (is_first)
            attempt_commit(exchange);
    }
    if (status == ANSWER_REFUSED)
        attempt_refused(exchange, answer_refusal(exchange->answer));
    else if (status < 0)
        attempt_broke(exchange, status);
}

static void attempt_settle_unanswered(struct exchange *exchange)
{
    struct upstream_verdict verdict;
    switch (transfer_result(exchange->transfer)) {
    case TRANSFER_NOT_CONNECTED:
    case TRANSFER_BROKEN:
        upstream_error_judge_connection(false, &verdict);
        break;
    case TRANSFER_CONNECT_TIMEOUT:
        upstream_error_judge_connection(true, &verdict);
        verdict.action = UPSTREAM_RETRY_ONCE; /* nothing was sent yet */
        break;
    case TRANSFER_COMPLETE:
    case TRANSFER_GARBLED:
        verdict = (struct upstream_verdict){
            .failure = FAILURE_UPSTREAM_PROTOCOL, .action = UPSTREAM_FAIL, .outcome = OUTCOME_TRANSIENT};
        break;
    case TRANSFER_NO_DESCRIPTOR:
        exchange_send_back(exchange);
        return;
    case TRANSFER_NOMEM:
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
        return;
    }
    attempt_act(exchange, &verdict, NULL, transfer_problem(exchange->transfer));
}

/* No answer: a refusal's body is gathered until it ends, or there is enough of it. */
static void attempt_settle_refusal(struct exchange *exchange)
{
    bool is_over = transfer_is_over(exchange->transfer);
    uint16_t status = exchange->head.status;
    if (!exchange->head.is_whole) {
        if (is_over)
            attempt_settle_unanswered(exchange);
        return;
    }
    if (status == 200 && !exchange->head.is_encoded && exchange->head.content != CONTENT_OTHER) {
        exchange_fail(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS); /* no memory for the answer */
    } else if (status < 400) {
        attempt_fail(exchange, FAILURE_UPSTREAM_PROTOCOL, UPSTREAM_FAIL,
                     exchange->head.is_encoded ? "encoded answer" : "unexpected status or content type");
    } else if (is_over || exchange->out.length >= REFUSAL_MAX_BYTES) {
        struct upstream_error *error = &exchange->home->scratch.error;
        upstream_error_read_body(status, buffer_span(&exchange->out), &exchange->home->scratch.tree, error);
        attempt_refused(exchange, error);
    }
}

static void on_settle(void *owner)
{
    struct exchange *exchange = owner;
    if (exchange->answer)
        attempt_settle_answer(exchange);
    else
        attempt_settle_refusal(exchange);
}

static const struct transfer_handlers transfer_handlers = {on_responded, on_data, on_settle};

void attempt_end(struct exchange *exchange, const struct msg_release *release)
{
    if (exchange->answer)
        answer_read_usage(exchange->answer, &exchange->usage);
    if (release->outcome == OUTCOME_OK)
        transfer_let_finish(&exchange->transfer);
    else
        transfer_cancel(&exchange->transfer);
    lease_give_back(exchange->home->leases, &exchange->lease, *release);
    answer_free(&exchange->answer);
    attempt_drop_target(exchange);
    buffer_clear(&exchange->out);
}

void attempt_tick(struct exchange *exchange)
{
    const struct settings *settings = exchange->home->settings;
    int64_t now_ms = exchange_now_ms(exchange);
    if (transfer_is_paused(exchange->transfer)) { /* it is the client who is silent */
        exchange->heard_ms = now_ms;
        return;
    }
    bool is_begun = exchange->event_count > 0 || (exchange->head.is_whole && !exchange->answer);
    int64_t limit_ms = (is_begun ? settings->idle_timeout_s : settings->first_byte_timeout_s) * 1000;
    if (now_ms - exchange->heard_ms >= limit_ms)
        attempt_fail(exchange, FAILURE_UPSTREAM_TIMEOUT, UPSTREAM_FAIL,
                     is_begun ? "silent between events" : "no event in time");
}
