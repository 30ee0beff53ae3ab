/* SPDX-License-Identifier: MIT */
#include "upstream-worker/exchange_testbed.h"
#include "proto/error.h"

struct world world;

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

static long allocations_left = -1;

void world_allow_allocations(long count)
{
    allocations_left = count;
}

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

struct peer *const gateway = (struct peer *)&world.said;

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

void credd_grant(const char *credential_id)
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

void credd_refuse_saying(enum failure failure, uint32_t retry_after_s, struct span words)
{
    const struct msg_refuse message = {
        .failure = (uint16_t)failure, .retry_after_s = retry_after_s, .message = words};
    assert_int_equal(world.lease->state, LEASE_ASKING);
    world.lease->state = LEASE_NONE;
    world.lease->handlers->refused(world.lease->owner, world.lease, &message);
}

void credd_refuse(enum failure failure, uint32_t retry_after_s)
{
    credd_refuse_saying(failure, retry_after_s, (struct span){NULL, 0});
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

void upstream_respond(uint16_t status, enum response_content content)
{
    struct response_head head = {.status = status, .content = content, .is_whole = true};
    world.handlers->responded(world.owner, &head);
}

void upstream_respond_later(uint16_t status, const char *retry_after)
{
    struct response_head head = {.status = status, .content = CONTENT_JSON, .is_whole = true};
    copy_span(head.retry_after, sizeof head.retry_after, span_str(retry_after));
    world.handlers->responded(world.owner, &head);
}

bool upstream_send_bytes(struct span bytes)
{
    if (world.handlers->data(world.owner, bytes) == TRANSFER_PAUSE) {
        world.transfer.is_paused = true;
        return false;
    }
    world.handlers->settle(world.owner);
    return true;
}

bool upstream_send(const char *text)
{
    return upstream_send_bytes(span_str(text));
}

void upstream_finish(enum transfer_result result)
{
    world.transfer.is_over = true;
    world.transfer.result = result;
    world.handlers->settle(world.owner);
}

void upstream_refuse(uint16_t status, const char *body)
{
    upstream_respond_later(status, "");
    upstream_send(body);
    upstream_finish(TRANSFER_COMPLETE);
}

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

int world_set_up(void **state)
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

int world_tear_down(void **state)
{
    (void)state;
    assert_int_equal(world.rulebook.holders, 1); /* requests that are over hold it no more */
    scratch_fini(&world.home.scratch);
    buffer_fini(&world.home.spare);
    buffer_fini(&world.said.data);
    return 0;
}

const char stream_body[] =
    "{\"model\":\"cb/m1\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
const char plain_body[] = "{\"model\":\"cb/m1\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

struct exchange *gateway_ask_with(struct msg_request request, const char *body)
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

struct exchange *gateway_ask(const char *body)
{
    return gateway_ask_with((struct msg_request){0}, body);
}

struct exchange *gateway_ask_and_grant(const char *body)
{
    struct exchange *exchange = gateway_ask(body);
    assert_int_equal(exchange_state(exchange), EXCHANGE_LEASING);
    credd_grant("c1");
    assert_int_equal(exchange_state(exchange), EXCHANGE_CALLING);
    return exchange;
}

void check_over(struct exchange *exchange)
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

void check_failed(struct exchange *exchange, enum failure failure, enum outcome outcome)
{
    assert_int_equal(world.said.fail_count, 1);
    assert_int_equal(world.said.end_count, 0);
    assert_string_equal(failure_code((enum failure)world.said.fail.failure), failure_code(failure));
    assert_int_equal(world.said.fail.movable, 0);
    assert_string_equal(outcome_word(world.event.outcome), outcome_word(outcome));
    check_over(exchange);
}

void check_ended(struct exchange *exchange, enum outcome outcome)
{
    assert_int_equal(world.said.end_count, 1);
    assert_int_equal(world.said.fail_count, 0);
    assert_int_equal(world.said.end.outcome, outcome);
    assert_string_equal(outcome_word(world.event.outcome), outcome_word(outcome));
    check_over(exchange);
}

const char *gateway_heard(void)
{
    assert_int_equal(buffer_append_char(&world.said.data, '\0'), 0);
    return world.said.data.data;
}

void world_pass(struct exchange *exchange, int64_t seconds)
{
    world.now_ms += seconds * 1000;
    exchange_tick(exchange);
}
