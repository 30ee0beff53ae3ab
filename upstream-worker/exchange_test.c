/* SPDX-License-Identifier: MIT */
/* One request's life against a gateway, a credd and an upstream that are functions of this file: they stand
 * in at link time for link.c, lease.c, transfer.c and reporter.c. Time is a variable. */
#include "upstream-worker/exchange.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FIRST_BYTE_S = 300, IDLE_S = 120, KEEPALIVE_S = 15, TOTAL_S = 3600 };

/* What the worker said to the gateway. */
struct said {
    int head_count, end_count, fail_count;
    struct msg_head head;
    struct buffer data;
    struct msg_end end;
    struct msg_fail fail;
    char message[256], code[64], param[64];
};

/* The one transfer of an exchange. */
struct transfer {
    bool is_over, is_paused, is_multiplexed;
    enum transfer_result result;
};

static struct world {
    int64_t now_ms;
    struct said said;
    struct settings settings;
    struct exchange_home home;
    struct rulebook rulebook;
    int over_count;

    int ask_count;
    char exclude[256];
    struct lease *lease;
    int release_count;
    struct msg_release release;

    int start_count, cancel_count, finish_count, resume_count;
    bool is_fresh; /* the latest start */
    bool start_fails, can_drop;
    struct transfer transfer;
    const struct transfer_handlers *handlers;
    void *owner;

    int event_count;
    struct msg_event event;
    char event_code[64];
} world;

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

static long allocations_left = -1; /* then the next one fails; negative: none does */

static bool may_allocate(void)
{
    return allocations_left < 0 || allocations_left-- > 0;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return may_allocate() ? __real_realloc(pointer, size) : NULL;
}

/* ---- the gateway ---- */

static struct peer *const gateway = (struct peer *)&world.said;

static void copy_span(char *out, size_t size, struct span text)
{
    assert_true(text.length < size);
    memcpy(out, text.data ? text.data : "", text.length);
    out[text.length] = '\0';
}

int peer_send(struct peer *peer, enum message_type type, uint64_t request, const void *message)
{
    struct said *said = &world.said;
    if (type == MESSAGE_DATA && !may_allocate())
        return ERR_NOMEM;
    long left = allocations_left;
    allocations_left = -1; /* what this file allocates does not count */
    assert_ptr_equal(peer, gateway);
    assert_int_equal(request, 7);
    assert_int_equal(said->end_count + said->fail_count, 0); /* nothing after the end */
    if (type == MESSAGE_HEAD) {
        said->head = *(const struct msg_head *)message;
        said->head_count++;
    } else if (type == MESSAGE_DATA) {
        struct span data = ((const struct msg_data *)message)->data;
        assert_int_equal(said->head_count, 1);
        assert_in_range(data.length, 1, DATA_MAX_BYTES);
        assert_int_equal(buffer_append_span(&said->data, data), 0);
    } else if (type == MESSAGE_END) {
        said->end = *(const struct msg_end *)message;
        said->end_count++;
    } else {
        assert_int_equal(type, MESSAGE_FAIL);
        said->fail = *(const struct msg_fail *)message;
        copy_span(said->message, sizeof said->message, said->fail.message);
        copy_span(said->code, sizeof said->code, said->fail.code);
        copy_span(said->param, sizeof said->param, said->fail.param);
        said->fail_count++;
    }
    allocations_left = left;
    return 0;
}

/* ---- credd ---- */

void lease_ask(struct leases *leases, struct lease *lease, const struct msg_lease *ask,
               const struct lease_handlers *handlers, void *owner, int64_t now_ms)
{
    (void)leases;
    assert_int_equal(lease->state, LEASE_NONE);
    assert_int_equal(now_ms, world.now_ms);
    *lease = (struct lease){.state = LEASE_ASKING, .handlers = handlers, .owner = owner};
    copy_span(world.exclude, sizeof world.exclude, ask->exclude);
    world.lease = lease;
    world.ask_count++;
}

void lease_give_back(struct leases *leases, struct lease *lease, struct msg_release release)
{
    (void)leases;
    if (lease->state == LEASE_HELD) {
        world.release = release;
        world.release_count++;
    }
    lease->state = LEASE_NONE;
}

static void grant(const char *credential_id)
{
    const struct msg_grant message = {
        .lease = 1,
        .ttl_ms = 10000,
        .credential_id = span_str(credential_id),
        .base_url = SPAN("http://127.0.0.1:1"),
        .headers = SPAN("X-Product: SaaS\nX-User-Id: u"),
        .token = SPAN("secret"),
    };
    assert_int_equal(world.lease->state, LEASE_ASKING);
    world.lease->state = LEASE_HELD;
    world.lease->handlers->granted(world.lease->owner, world.lease, &message);
}

static void refuse_saying(enum failure failure, uint32_t retry_after_s, struct span words)
{
    const struct msg_refuse message = {
        .failure = (uint16_t)failure, .retry_after_s = retry_after_s, .message = words};
    assert_int_equal(world.lease->state, LEASE_ASKING);
    world.lease->state = LEASE_NONE;
    world.lease->handlers->refused(world.lease->owner, world.lease, &message);
}

static void refuse(enum failure failure, uint32_t retry_after_s)
{
    refuse_saying(failure, retry_after_s, (struct span){NULL, 0});
}

/* ---- the upstream ---- */

struct transfer *transfer_start(struct transfers *transfers, const struct transfer_call *call,
                                const struct transfer_handlers *handlers, void *owner)
{
    (void)transfers;
    assert_string_equal(call->url, "http://127.0.0.1:1/v2/chat/completions");
    assert_string_equal(call->headers->list->data, "Authorization: Bearer secret");
    assert_true(call->payload->length > 0);
    world.start_count++;
    world.is_fresh = call->is_fresh;
    world.handlers = handlers;
    world.owner = owner;
    world.transfer = (struct transfer){.is_multiplexed = world.transfer.is_multiplexed};
    return world.start_fails ? NULL : &world.transfer;
}

bool transfer_is_over(const struct transfer *transfer)
{
    return transfer->is_over;
}

enum transfer_result transfer_result(const struct transfer *transfer)
{
    return transfer->result;
}

const char *transfer_problem(const struct transfer *transfer)
{
    (void)transfer;
    return "made up";
}

bool transfer_is_multiplexed(const struct transfer *transfer)
{
    return transfer->is_multiplexed;
}

bool transfer_is_paused(const struct transfer *transfer)
{
    return transfer->is_paused;
}

bool transfer_drop_call(struct transfer *transfer)
{
    (void)transfer;
    return world.can_drop;
}

void transfer_resume(struct transfer *transfer)
{
    transfer->is_paused = false;
    world.resume_count++;
}

void transfer_cancel(struct transfer **transfer)
{
    if (*transfer)
        world.cancel_count++;
    *transfer = NULL;
}

void transfer_let_finish(struct transfer **transfer)
{
    if (*transfer)
        world.finish_count++;
    *transfer = NULL;
}

static void respond(uint16_t status, enum response_content content)
{
    struct response_head head = {.status = status, .content = content, .is_whole = true};
    world.handlers->responded(world.owner, &head);
}

static void respond_later(uint16_t status, const char *retry_after)
{
    struct response_head head = {.status = status, .content = CONTENT_JSON, .is_whole = true};
    copy_span(head.retry_after, sizeof head.retry_after, span_str(retry_after));
    world.handlers->responded(world.owner, &head);
}

/* One batch. False if the bytes were not taken. */
static bool send_bytes(struct span bytes)
{
    if (world.handlers->data(world.owner, bytes) == TRANSFER_PAUSE) {
        world.transfer.is_paused = true;
        return false;
    }
    world.handlers->settle(world.owner);
    return true;
}

static bool send_text(const char *text)
{
    return send_bytes(span_str(text));
}

static void finish(enum transfer_result result)
{
    world.transfer.is_over = true;
    world.transfer.result = result;
    world.handlers->settle(world.owner);
}

/* A refusal, whole. */
static void refuse_call(uint16_t status, const char *body)
{
    respond_later(status, "");
    send_text(body);
    finish(TRANSFER_COMPLETE);
}

#define CHUNK(text)                                                                                          \
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","                \
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define LAST                                                                                                 \
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","                \
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"                                   \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n"
#define DONE "data: [DONE]\n\n"

/* ---- the rest of the process ---- */

void reporter_event(struct reporter *reporter, const struct msg_event *event)
{
    (void)reporter;
    world.event = *event;
    copy_span(world.event_code, sizeof world.event_code, event->code);
    world.event_count++;
}

static int64_t read_now(const void *context)
{
    (void)context;
    return world.now_ms;
}

static void on_over(void *owner, struct exchange *exchange)
{
    (void)owner;
    assert_int_equal(exchange_state(exchange), EXCHANGE_OVER);
    world.over_count++;
}

static int set_up(void **state)
{
    (void)state;
    world = (struct world){.now_ms = 1000000, .can_drop = true};
    world.settings.max_body_bytes = 1 << 20;
    world.settings.first_byte_timeout_s = FIRST_BYTE_S;
    world.settings.idle_timeout_s = IDLE_S;
    world.settings.keepalive_s = KEEPALIVE_S;
    world.settings.total_timeout_s = TOTAL_S;
    world.settings.connect_timeout_s = 10;
    world.home.settings = &world.settings;
    world.home.now_ms = read_now;
    world.home.over = on_over;
    world.rulebook = (struct rulebook){.holders = 1,
                                       .options = {.default_model = SPAN("default"),
                                                   .model_prefix = SPAN("cb/"),
                                                   .system_text = SPAN("Be kind.")}};
    world.home.rulebook = &world.rulebook;
    scratch_init(&world.home.scratch);
    request_ids_init(&world.home.ids, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(world.rulebook.holders, 1); /* requests that are over hold it no more */
    scratch_fini(&world.home.scratch);
    buffer_fini(&world.home.spare);
    buffer_fini(&world.said.data);
    return 0;
}

static const char stream_body[] =
    "{\"model\":\"cb/m1\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char plain_body[] =
    "{\"model\":\"cb/m1\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

static struct exchange *ask_with(struct msg_request request, const char *body)
{
    request.request_id = SPAN("req-1");
    request.key_id = SPAN("key-1");
    request.body = span_str(body);
    if (request.body_bytes == 0)
        request.body_bytes = (uint32_t)strlen(body);
    if (request.deadline_ms == 0)
        request.deadline_ms = TOTAL_S * 1000;
    struct exchange *exchange = exchange_new(&world.home, gateway, 7, &request);
    assert_non_null(exchange);
    return exchange;
}

static struct exchange *ask(const char *body)
{
    return ask_with((struct msg_request){0}, body);
}

static struct exchange *ask_and_grant(const char *body)
{
    struct exchange *exchange = ask(body);
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    grant("c1");
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    return exchange;
}

/* What holds at every end. */
static void check_over(struct exchange *exchange)
{
    assert_int_equal(exchange_state(exchange), EXCHANGE_OVER);
    assert_int_equal(world.over_count, 1);
    assert_int_equal(world.event_count, 1);
    assert_true(span_equals(world.event.request_id, SPAN("req-1")));
    assert_true(span_equals(world.event.key_id, SPAN("key-1")));
    if (world.lease)
        assert_int_equal(world.lease->state, LEASE_NONE);
    exchange_free(&exchange);
}

static void check_failed(struct exchange *exchange, enum failure failure, enum outcome outcome)
{
    assert_int_equal(world.said.fail_count, 1);
    assert_int_equal(world.said.end_count, 0);
    assert_string_equal(failure_code((enum failure)world.said.fail.failure), failure_code(failure));
    assert_int_equal(world.said.fail.movable, 0);
    assert_string_equal(outcome_word(world.event.outcome), outcome_word(outcome));
    check_over(exchange);
}

static void check_ended(struct exchange *exchange, enum outcome outcome)
{
    assert_int_equal(world.said.end_count, 1);
    assert_int_equal(world.said.fail_count, 0);
    assert_int_equal(world.said.end.outcome, outcome);
    assert_string_equal(outcome_word(world.event.outcome), outcome_word(outcome));
    check_over(exchange);
}

static const char *data_text(void)
{
    assert_int_equal(buffer_append_char(&world.said.data, '\0'), 0);
    return world.said.data.data;
}

/* ---- answers ---- */

static void test_a_stream_is_relayed_as_it_comes(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    assert_int_equal(world.said.head_count, 0);
    world.now_ms += 40;
    send_text(CHUNK("one"));
    assert_int_equal(world.said.head_count, 1);
    assert_int_equal(world.said.head.status, 200);
    assert_int_equal(world.said.head.stream, 1);
    assert_int_equal(exchange_state(exchange), EXCHANGE_ANSWERING);
    size_t first_length = world.said.data.length;
    assert_true(first_length > 0);
    world.now_ms += 10;
    send_text(CHUNK("two") LAST DONE);
    assert_true(world.said.data.length > first_length);
    assert_int_equal(world.finish_count, 1); /* the connection is kept */
    assert_int_equal(world.cancel_count, 0);
    assert_int_equal(world.release.outcome, OUTCOME_OK);
    assert_int_equal(world.event.first_event_ms, 40);
    assert_int_equal(world.event.duration_ms, 50);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.stream, 1);
    assert_int_equal(world.event.attempts, 1);
    assert_int_equal(world.event.prompt_tokens, 3);
    assert_int_equal(world.event.completion_tokens, 2);
    assert_true(span_equals(world.event.model, SPAN("cb/m1")));
    assert_true(span_equals(world.event.credential_id, SPAN("c1")));
    assert_string_equal(world.event_code, "");
    const char *text = data_text();
    assert_non_null(strstr(text, "\"one\""));
    assert_non_null(strstr(text, "\"two\""));
    assert_non_null(strstr(text, "data: [DONE]\n\n"));
    check_ended(exchange, OUTCOME_OK);
}

static void test_a_plain_answer_comes_whole(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    send_text(CHUNK("two"));
    assert_int_equal(world.said.head_count, 0);
    send_text(LAST);
    assert_int_equal(world.said.head_count, 0);
    finish(TRANSFER_COMPLETE); /* no [DONE]: the finish_reason is enough */
    assert_int_equal(world.said.head.stream, 0);
    assert_int_equal(world.said.head.content_bytes, world.said.data.length);
    const char *text = data_text();
    assert_non_null(strstr(text, "\"onetwo\""));
    assert_non_null(strstr(text, "chat.completion"));
    check_ended(exchange, OUTCOME_OK);
}

static void test_the_body_may_come_in_pieces(void **state)
{
    (void)state;
    size_t half = sizeof stream_body / 2, rest = sizeof stream_body - 1 - half;
    char first[sizeof stream_body];
    copy_span(first, sizeof first, span_of(stream_body, half));
    struct exchange *exchange =
        ask_with((struct msg_request){.body_bytes = (uint32_t)sizeof stream_body - 1}, first);
    assert_int_equal(exchange_state(exchange), EXCHANGE_READING);
    exchange_take_body(exchange, span_of(stream_body + half, rest));
    while (exchange_scan(exchange))
        ;
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
}

/* ---- refused bodies ---- */

static void test_a_bad_body_is_refused_with_its_field(void **state)
{
    (void)state;
    struct exchange *exchange = ask("{\"messages\":[]}");
    assert_int_equal(world.ask_count, 0);
    assert_string_equal(world.said.param, "messages");
    assert_int_equal(world.event.status, 400);
    check_failed(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS);
}

static void test_a_body_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange = ask_with((struct msg_request){.body_bytes = (1 << 20) + 1}, "{");
    check_failed(exchange, FAILURE_TOO_LARGE, OUTCOME_BLAMELESS);
}

static void test_more_body_than_announced_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange = ask_with((struct msg_request){.body_bytes = 5}, "{");
    exchange_take_body(exchange, SPAN("12345"));
    check_failed(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
}

static void test_a_header_with_control_characters_is_refused(void **state)
{
    (void)state;
    struct exchange *exchange =
        ask_with((struct msg_request){.conversation_id = SPAN("a\r\nX-Evil: 1")}, stream_body);
    assert_string_equal(world.said.param, "X-Conversation-ID");
    assert_int_equal(world.ask_count, 0);
    check_failed(exchange, FAILURE_INVALID_REQUEST, OUTCOME_BLAMELESS);
}

/* ---- trouble before the first byte ---- */

static void test_500_is_tried_again_once_with_the_same_lease(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(500, "{\"code\":1,\"msg\":\"oops\"}");
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    assert_int_equal(world.start_count, 2);
    assert_int_equal(world.ask_count, 1);
    assert_int_equal(world.release_count, 0);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one") LAST DONE);
    assert_int_equal(world.event.attempts, 2);
    check_ended(exchange, OUTCOME_OK);
}

static void test_500_twice_is_502(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    refuse_call(503, "<html>");
    refuse_call(500, "{\"error\":{\"message\":\"oops\",\"code\":\"boom\"}}");
    assert_string_equal(world.said.message, "oops");
    assert_string_equal(world.said.code, "boom");
    assert_int_equal(world.release.outcome, OUTCOME_TRANSIENT);
    assert_int_equal(world.event.status, 502);
    assert_string_equal(world.event_code, "boom");
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_a_failed_connection_is_tried_again_once(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    finish(TRANSFER_NOT_CONNECTED);
    assert_int_equal(world.start_count, 2);
    finish(TRANSFER_BROKEN);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_without_descriptors_another_worker_may_do_it(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    finish(TRANSFER_NO_DESCRIPTOR);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.said.fail_count, 1);
    assert_int_equal(world.said.fail.movable, 1);
    assert_int_equal(world.event_count, 0); /* the one that ends it tells statsd */
    assert_int_equal(world.release.outcome, OUTCOME_BLAMELESS);
    exchange_free(&exchange);
}

static void test_a_connection_that_takes_too_long_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    finish(TRANSFER_CONNECT_TIMEOUT);
    assert_int_equal(world.start_count, 2);
    finish(TRANSFER_CONNECT_TIMEOUT);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_429_goes_to_another_credential(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond_later(429, "30");
    send_text("{\"error\":{\"message\":\"slow down\"}}");
    finish(TRANSFER_COMPLETE);
    assert_int_equal(world.release.outcome, OUTCOME_RATE_LIMITED);
    assert_int_equal(world.release.retry_after_s, 30);
    assert_string_equal(world.exclude, "c1");
    grant("c2");
    refuse_call(429, "");
    assert_string_equal(world.exclude, "c1,c2");
    refuse(FAILURE_RATE_LIMITED, 12);
    assert_int_equal(world.said.fail.retry_after_s, 12);
    assert_int_equal(world.event.status, 429);
    assert_int_equal(world.event.attempts, 2);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_429_of_the_only_credential_stays_429(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond_later(429, "30");
    finish(TRANSFER_COMPLETE);
    refuse(FAILURE_NO_CREDENTIAL, 0); /* the others need a login */
    assert_int_equal(world.said.fail.retry_after_s, 30);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_401_goes_to_another_credential(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(401, "<html><body>401</body></html>");
    assert_int_equal(world.release.outcome, OUTCOME_UNAUTHORIZED);
    assert_string_equal(world.exclude, "c1");
    grant("c2");
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one") LAST DONE);
    assert_true(span_equals(world.event.credential_id, SPAN("c2")));
    check_ended(exchange, OUTCOME_OK);
}

static void test_an_upstream_401_is_never_the_clients(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(401, "{\"error\":{\"message\":\"bad token\"}}");
    refuse_saying(FAILURE_NO_CREDENTIAL, 0, SPAN("Each needs a new login."));
    assert_int_equal(world.event.status, 503);
    assert_string_equal(world.said.message, "Each needs a new login."); /* credd knows why no other can */
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_UNAUTHORIZED);
}

static void test_14018_exhausts_the_credential(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(429, "{\"code\":14018,\"msg\":\"credits used up\"}");
    assert_int_equal(world.release.outcome, OUTCOME_EXHAUSTED);
    assert_true(world.release.reason.length > 0);
    refuse(FAILURE_RATE_LIMITED, 3600);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_RATE_LIMITED);
}

static void test_11140_is_never_tried_elsewhere(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(403, "{\"code\":11140,\"msg\":\"risk\"}");
    assert_int_equal(world.ask_count, 1);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.release.outcome, OUTCOME_RISK_CONTROL);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_RISK_CONTROL);
}

static void test_11101_blames_nobody(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(400, "{\"code\":11101,\"msg\":\"stream must be true\"}");
    assert_int_equal(world.release.outcome, OUTCOME_BLAMELESS);
    assert_int_equal(world.event.status, 502);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_BLAMELESS);
}

static void test_11102_is_404_when_no_site_serves_the_model(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    refuse_call(400, "{\"code\":11102,\"msg\":\"no such model\"}");
    assert_int_equal(world.release.outcome, OUTCOME_MODEL_NOT_SERVED);
    refuse(FAILURE_RATE_LIMITED, 5);
    check_failed(exchange, FAILURE_MODEL_NOT_FOUND, OUTCOME_MODEL_NOT_SERVED);
}

static void test_an_error_in_a_200_is_a_refusal(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_JSON);
    send_text("{\"code\":14018,\"msg\":\"used up\"}");
    finish(TRANSFER_COMPLETE);
    assert_int_equal(world.release.outcome, OUTCOME_EXHAUSTED);
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    refuse(FAILURE_NO_CREDENTIAL, 0);
    check_failed(exchange, FAILURE_RATE_LIMITED, OUTCOME_EXHAUSTED);
}

static void test_html_in_a_200_is_a_protocol_error(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_OTHER);
    send_text("<html>");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_a_redirect_is_a_protocol_error(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(302, CONTENT_OTHER);
    send_text("");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_endless_refusal_is_cut(void **state)
{
    (void)state;
    char piece[8192];
    memset(piece, 'x', sizeof piece);
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(404, CONTENT_OTHER);
    for (int i = 0; i < 9 && exchange_state(exchange) == EXCHANGE_CALLING; i++)
        send_bytes(span_of(piece, sizeof piece));
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_BLAMELESS);
}

static void test_no_credential_is_told_as_credd_says(void **state)
{
    (void)state;
    struct exchange *exchange = ask(plain_body);
    refuse(FAILURE_NO_CREDENTIAL, 0);
    assert_int_equal(world.event.status, 503);
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_BLAMELESS);
}

static void test_a_lease_that_does_not_come_is_503(void **state)
{
    (void)state;
    struct exchange *exchange = ask(plain_body);
    refuse(FAILURE_UNAVAILABLE, 1);
    assert_int_equal(world.said.fail.retry_after_s, 1);
    check_failed(exchange, FAILURE_UNAVAILABLE, OUTCOME_BLAMELESS);
}

/* ---- trouble after it ---- */

static void test_a_truncated_stream_is_an_error_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    finish(TRANSFER_COMPLETE);
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.event.status, 200);
    assert_string_equal(world.event_code, "upstream_incomplete");
    assert_null(strstr(data_text(), "[DONE]"));
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_a_reset_stream_is_an_error_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    finish(TRANSFER_BROKEN);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

/* "data: xxxx…" of more than an event may have. */
static void send_a_line_without_end(void)
{
    struct buffer line = {0};
    send_text("data: \"");
    for (int i = 0; i < 1 << 20; i++)
        assert_int_equal(buffer_append(&line, "xxxxxxxxx", 9), 0);
    send_bytes(buffer_span(&line));
    buffer_fini(&line);
}

static void test_an_answer_that_is_too_long_says_so(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_a_line_without_end();
    assert_non_null(strstr(world.said.message, "ask for a stream"));
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_event_that_is_too_long_says_so(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_a_line_without_end();
    assert_string_equal(world.said.message, "The upstream sent an event of more than 8 MiB.");
    check_failed(exchange, FAILURE_UPSTREAM_PROTOCOL, OUTCOME_TRANSIENT);
}

static void test_an_empty_answer_is_tried_again_once(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    assert_false(world.is_fresh);
    respond(200, CONTENT_EVENT_STREAM);
    finish(TRANSFER_COMPLETE);
    assert_int_equal(world.start_count, 2);
    assert_true(world.is_fresh); /* not on another connection that is dead already */
    respond(200, CONTENT_EVENT_STREAM);
    finish(TRANSFER_COMPLETE);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_a_plain_answer_that_breaks_off_is_not_asked_for_again(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    finish(TRANSFER_BROKEN);
    assert_int_equal(world.start_count, 1); /* what came was paid for */
    assert_int_equal(world.said.head_count, 0);
    assert_int_equal(world.event.status, 502);
    check_failed(exchange, FAILURE_UPSTREAM_INCOMPLETE, OUTCOME_TRANSIENT);
}

static void test_an_error_event_in_a_stream_comes_after_what_came(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one") "data: {\"error\":{\"message\":\"gone\"}}\n\n");
    assert_string_equal(world.said.message, "gone");
    assert_int_equal(world.start_count, 1);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

/* ---- time ---- */

static void pass(struct exchange *exchange, int64_t seconds)
{
    world.now_ms += seconds * 1000;
    exchange_tick(exchange);
}

static void test_silence_before_the_first_event_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_EVENT_STREAM);
    pass(exchange, FIRST_BYTE_S - 1);
    send_text(": keepalive\n\n"); /* a comment is no event */
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    pass(exchange, 1);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.event.status, 504);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_silence_between_events_is_a_timeout(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    pass(exchange, IDLE_S - 1);
    send_text(CHUNK("two"));
    pass(exchange, IDLE_S - 1);
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    pass(exchange, 1);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

static void test_a_silent_stream_is_kept_alive(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    pass(exchange, KEEPALIVE_S - 1);
    assert_int_equal(world.said.head_count, 0);
    pass(exchange, 1);
    assert_int_equal(world.said.head_count, 1);
    pass(exchange, KEEPALIVE_S - 1);
    assert_int_equal(world.said.data.length, strlen(": keepalive\n\n"));
    pass(exchange, 1);
    assert_int_equal(world.said.data.length, 2 * strlen(": keepalive\n\n"));
    assert_int_equal(world.event_count, 0);
    refuse_call(500, ""); /* nothing is tried again after the status line */
    assert_int_equal(world.start_count, 1);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.first_event_ms, 0);
    check_failed(exchange, FAILURE_UPSTREAM, OUTCOME_TRANSIENT);
}

static void test_a_plain_answer_is_waited_for_in_silence(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(plain_body);
    pass(exchange, 2 * KEEPALIVE_S);
    assert_int_equal(world.said.head_count, 0);
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_the_deadline_ends_any_state(void **state)
{
    (void)state;
    struct exchange *exchange = ask_with((struct msg_request){.deadline_ms = 5000, .body_bytes = 100}, "{");
    pass(exchange, 4);
    assert_int_equal(exchange_state(exchange), EXCHANGE_READING);
    pass(exchange, 1);
    check_failed(exchange, FAILURE_REQUEST_TIMEOUT, OUTCOME_BLAMELESS);
    tear_down(state);
    set_up(state);
    exchange = ask_with((struct msg_request){.deadline_ms = 5000}, stream_body);
    pass(exchange, 5);
    check_failed(exchange, FAILURE_UNAVAILABLE, OUTCOME_TRANSIENT);
    tear_down(state);
    set_up(state);
    exchange = ask_with((struct msg_request){.deadline_ms = 5000}, stream_body);
    grant("c1");
    pass(exchange, 5);
    check_failed(exchange, FAILURE_UPSTREAM_TIMEOUT, OUTCOME_TRANSIENT);
}

/* ---- the client leaves ---- */

static void test_cancel_stops_the_transfer(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    exchange_cancel(exchange);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.release.outcome, OUTCOME_CANCELLED);
    assert_int_equal(world.event.status, 499);
    assert_string_equal(world.event_code, "client_closed_request");
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_cancel_of_a_begun_stream_counts_what_was_used(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],"
              "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n");
    exchange_cancel(exchange);
    assert_int_equal(world.event.status, 200);
    assert_int_equal(world.event.prompt_tokens, 9);
    check_ended(exchange, OUTCOME_CANCELLED);
}

static void test_a_lost_gateway_is_a_cancel_without_words(void **state)
{
    (void)state;
    struct exchange *exchange = ask_and_grant(stream_body);
    respond(200, CONTENT_EVENT_STREAM);
    send_text(CHUNK("one"));
    exchange_lose_gateway(exchange);
    assert_int_equal(world.cancel_count, 1);
    assert_int_equal(world.said.end_count + world.said.fail_count, 0);
    assert_int_equal(world.event.outcome, OUTCOME_CANCELLED);
    check_over(exchange);
}

/* ---- flow ---- */

/* One event with `length` bytes of text. */
static void big_event(struct buffer *event, size_t length)
{
    assert_int_equal(
        buffer_append_span(event, SPAN("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")), 0);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(buffer_append_char(event, 'x'), 0);
    assert_int_equal(buffer_append_span(event, SPAN("\"}}]}\n\n")), 0);
}

static void test_a_full_window_pauses_the_transfer(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = ask_and_grant(stream_body);
    big_event(&event, 100 << 10);
    respond(200, CONTENT_EVENT_STREAM);
    for (int i = 0; i < 3; i++)
        assert_true(send_bytes(buffer_span(&event)));
    assert_int_equal(world.said.data.length, WINDOW_BYTES); /* the rest of the third is held */
    assert_false(send_bytes(buffer_span(&event)));
    pass(exchange, 2 * IDLE_S); /* the silence is not the upstream's */
    assert_int_equal(exchange_state(exchange), EXCHANGE_ANSWERING);
    exchange_credit(exchange, 1000);
    assert_int_equal(world.said.data.length, WINDOW_BYTES + 1000);
    assert_int_equal(world.resume_count, 0);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.resume_count, 1);
    assert_true(send_bytes(buffer_span(&event)));
    send_text(LAST DONE);
    check_ended(exchange, OUTCOME_OK);
    buffer_fini(&event);
}

static void test_the_end_waits_for_what_is_held(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = ask_and_grant(plain_body);
    big_event(&event, 600 << 10);
    respond(200, CONTENT_EVENT_STREAM);
    assert_true(send_bytes(buffer_span(&event)));
    send_text(LAST DONE);
    assert_int_equal(exchange_state(exchange), EXCHANGE_FLUSHING);
    assert_int_equal(world.release_count, 1); /* the credential is free already */
    assert_int_equal(world.said.data.length, WINDOW_BYTES);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.said.end_count, 0);
    exchange_credit(exchange, WINDOW_BYTES);
    assert_int_equal(world.said.data.length, world.said.head.content_bytes);
    check_ended(exchange, OUTCOME_OK);
    buffer_fini(&event);
}

static void test_http2_takes_in_more_before_it_pauses(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = ask_and_grant(stream_body);
    big_event(&event, 100 << 10);
    world.transfer.is_multiplexed = true;
    respond(200, CONTENT_EVENT_STREAM);
    int taken_count = 0;
    while (taken_count < 100 && send_bytes(buffer_span(&event)))
        taken_count++;
    assert_in_range(taken_count, 12, 14); /* 256 KiB + 1 MiB */
    exchange_cancel(exchange);
    check_ended(exchange, OUTCOME_CANCELLED);
    buffer_fini(&event);
}

static void test_a_client_that_never_reads_is_cut_at_the_deadline(void **state)
{
    (void)state;
    struct buffer event = {0};
    struct exchange *exchange = ask_and_grant(plain_body);
    big_event(&event, 600 << 10);
    respond(200, CONTENT_EVENT_STREAM);
    assert_true(send_bytes(buffer_span(&event)));
    send_text(LAST DONE);
    pass(exchange, TOTAL_S);
    assert_int_equal(world.said.fail_count, 1);
    check_over(exchange);
    buffer_fini(&event);
}

/* ---- our own trouble ---- */

static void test_a_transfer_that_cannot_start_is_500(void **state)
{
    (void)state;
    world.start_fails = true;
    struct exchange *exchange = ask(stream_body);
    grant("c1");
    check_failed(exchange, FAILURE_INTERNAL, OUTCOME_BLAMELESS);
}

static void test_an_unusable_credential_is_passed_over(void **state)
{
    (void)state;
    struct exchange *exchange = ask(stream_body);
    const struct msg_grant bad = {.lease = 1,
                                  .credential_id = SPAN("c1"),
                                  .base_url = SPAN("http://127.0.0.1:1"),
                                  .headers = SPAN("X-User-Id: a\rb"),
                                  .token = SPAN("secret")};
    world.lease->state = LEASE_HELD;
    world.lease->handlers->granted(world.lease->owner, world.lease, &bad);
    assert_int_equal(world.start_count, 0);
    assert_int_equal(world.release.outcome, OUTCOME_UNAUTHORIZED);
    assert_string_equal(world.exclude, "c1");
    refuse(FAILURE_NO_CREDENTIAL, 0);
    check_failed(exchange, FAILURE_NO_CREDENTIAL, OUTCOME_BLAMELESS);
}

/* Goes as far as it gets. */
static void run_short_of_memory(const char *body, long allocations)
{
    const struct msg_request request = {.request_id = SPAN("req-1"),
                                        .key_id = SPAN("key-1"),
                                        .deadline_ms = 1000,
                                        .body_bytes = (uint32_t)strlen(body),
                                        .body = span_str(body)};
    allocations_left = allocations;
    struct exchange *exchange = exchange_new(&world.home, gateway, 7, &request);
    if (!exchange)
        return; /* the worker says FAIL, movable */
    if (exchange_state(exchange) == EXCHANGE_LEASING)
        grant("c1");
    if (exchange_state(exchange) == EXCHANGE_CALLING) {
        respond(200, CONTENT_EVENT_STREAM);
        send_text(CHUNK("one"));
    }
    if (exchange_state(exchange) != EXCHANGE_OVER)
        send_text(LAST DONE);
    allocations_left = -1;
    assert_int_equal(world.said.end_count + world.said.fail_count, 1);
    if (world.said.end_count == 1)
        assert_non_null(strstr(data_text(), "one"));
    check_over(exchange);
}

static void test_memory_may_run_out_anywhere(void **state)
{
    static const char *const bodies[] = {stream_body, plain_body};
    for (size_t i = 0; i < 2; i++) {
        long count = 0;
        bool has_ended;
        do {
            tear_down(state);
            set_up(state);
            run_short_of_memory(bodies[i], count);
            has_ended = world.said.end_count == 1;
            count++;
        } while (!has_ended || count < 5);
        assert_in_range(count, 10, 200); /* every allocation of a whole request has failed once */
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_stream_is_relayed_as_it_comes),
        TEST(test_a_plain_answer_comes_whole),
        TEST(test_the_body_may_come_in_pieces),
        TEST(test_a_bad_body_is_refused_with_its_field),
        TEST(test_a_body_over_the_limit_is_refused),
        TEST(test_more_body_than_announced_is_refused),
        TEST(test_a_header_with_control_characters_is_refused),
        TEST(test_500_is_tried_again_once_with_the_same_lease),
        TEST(test_500_twice_is_502),
        TEST(test_a_failed_connection_is_tried_again_once),
        TEST(test_without_descriptors_another_worker_may_do_it),
        TEST(test_a_connection_that_takes_too_long_is_a_timeout),
        TEST(test_429_goes_to_another_credential),
        TEST(test_429_of_the_only_credential_stays_429),
        TEST(test_401_goes_to_another_credential),
        TEST(test_an_upstream_401_is_never_the_clients),
        TEST(test_14018_exhausts_the_credential),
        TEST(test_11140_is_never_tried_elsewhere),
        TEST(test_11101_blames_nobody),
        TEST(test_11102_is_404_when_no_site_serves_the_model),
        TEST(test_an_error_in_a_200_is_a_refusal),
        TEST(test_html_in_a_200_is_a_protocol_error),
        TEST(test_a_redirect_is_a_protocol_error),
        TEST(test_an_endless_refusal_is_cut),
        TEST(test_no_credential_is_told_as_credd_says),
        TEST(test_a_lease_that_does_not_come_is_503),
        TEST(test_a_truncated_stream_is_an_error_after_what_came),
        TEST(test_a_reset_stream_is_an_error_after_what_came),
        TEST(test_an_answer_that_is_too_long_says_so),
        TEST(test_an_event_that_is_too_long_says_so),
        TEST(test_an_empty_answer_is_tried_again_once),
        TEST(test_a_plain_answer_that_breaks_off_is_not_asked_for_again),
        TEST(test_an_error_event_in_a_stream_comes_after_what_came),
        TEST(test_silence_before_the_first_event_is_a_timeout),
        TEST(test_silence_between_events_is_a_timeout),
        TEST(test_a_silent_stream_is_kept_alive),
        TEST(test_a_plain_answer_is_waited_for_in_silence),
        TEST(test_the_deadline_ends_any_state),
        TEST(test_cancel_stops_the_transfer),
        TEST(test_cancel_of_a_begun_stream_counts_what_was_used),
        TEST(test_a_lost_gateway_is_a_cancel_without_words),
        TEST(test_a_full_window_pauses_the_transfer),
        TEST(test_the_end_waits_for_what_is_held),
        TEST(test_http2_takes_in_more_before_it_pauses),
        TEST(test_a_client_that_never_reads_is_cut_at_the_deadline),
        TEST(test_a_transfer_that_cannot_start_is_500),
        TEST(test_an_unusable_credential_is_passed_over),
        TEST(test_memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
