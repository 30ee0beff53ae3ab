/* SPDX-License-Identifier: MIT */
/* Memory that runs out anywhere in the core is an error that is told, never a crash, a leak (ASan watches) or
 * half an event: for each n the n-th allocation fails. Linked with --wrap for the allocators. */
#include "proto/error.h"
#include "upstream-worker/answer.h"
#include "upstream-worker/request_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_reallocarray(void *pointer, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_reallocarray(void *pointer, size_t count, size_t size);

static long allocations_left = -1; /* negative: no end */
static bool has_failed;

static bool may_allocate(void)
{
    if (allocations_left < 0)
        return true;
    if (allocations_left == 0) {
        has_failed = true;
        return false;
    }
    allocations_left--;
    return true;
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

void *__wrap_reallocarray(void *pointer, size_t count, size_t size)
{
    return may_allocate() ? __real_reallocarray(pointer, count, size) : NULL;
}

static const char upstream[] =
    "data: "
    "{\"system_fingerprint\":\"f\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\xFF\",\"z\":1},"
    "\"logprobs\":{\"content\":[1]}},"
    "{\"index\":1,\"delta\":{\"reasoning\":\"b\"}}]}\n\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"sig\":1,\"function\":{"
    "\"name\":\"f\",\"q\":2}}]}}]}\r\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"g\","
    "\"arguments\":\"{}\"}}],\n"
    "data: \"function_call\":{\"name\":\"h\",\"arguments\":\"1\"}},\"w\":2}]}\n\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}"
    "\n\n"
    "data: {\"fp\":1,\"choices\":[],\"usage\":{\"prompt_tokens\":2}}\n\ndata: [DONE]\n\n";
static const char refusal[] = "{\"error\":{\"message\":\"m\"}}";

/* Runs the answer to `bytes`. A status as answer_feed's; ERR_NOMEM too if it could not begin. */
static int run_answer(struct span bytes, bool wants_stream, struct buffer *out)
{
    struct scratch scratch;
    struct answer_options options = {
        .id = SPAN("r"), .model = SPAN("m"), .wants_stream = wants_stream, .wants_usage = true};
    int status = ERR_NOMEM;
    scratch_init(&scratch);
    struct answer *answer = answer_new(&options, &scratch);
    if (answer) {
        status = ANSWER_MORE;
        for (size_t at = 0; at < bytes.length && status == ANSWER_MORE; at += 50)
            status = answer_feed(
                answer, span_of(bytes.data + at, bytes.length - at < 50 ? bytes.length - at : 50), out);
        if (status == ANSWER_MORE)
            status = answer_finish(answer, out);
    }
    answer_free(&answer);
    scratch_fini(&scratch);
    return status;
}

/* For each n: all is well, or ERR_NOMEM and nothing but whole events of the true answer. */
static void starve_answer(struct span bytes, bool wants_stream, int expected)
{
    struct buffer truth = {0}, out = {0};
    allocations_left = -1;
    assert_int_equal(run_answer(bytes, wants_stream, &truth), expected);
    assert_int_equal(buffer_reserve(&out, truth.length + 100), 0); /* the caller's buffer has room */
    for (long n = 0;; n++) {
        buffer_clear(&out);
        allocations_left = n;
        has_failed = false;
        int status = run_answer(bytes, wants_stream, &out);
        allocations_left = -1;
        assert_int_equal(status, has_failed ? ERR_NOMEM : expected);
        if (!has_failed) {
            assert_true(n > 5);
            assert_true(span_equals(buffer_span(&out), buffer_span(&truth)));
            break;
        }
        assert_true(out.length < truth.length || truth.length == 0);
        if (out.length > 0) {
            assert_true(wants_stream);
            assert_memory_equal(out.data, truth.data, out.length);
            assert_memory_equal(out.data + out.length - 2, "\n\n", 2);
        }
    }
    buffer_fini(&truth);
    buffer_fini(&out);
}

static void answers_survive(void **state)
{
    (void)state;
    starve_answer(span_str(upstream), true, ANSWER_COMPLETE);
    starve_answer(span_str(upstream), false, ANSWER_COMPLETE);
    starve_answer(span_str(refusal), true, ANSWER_REFUSED);
}

/* As above, but it is the caller's buffer that cannot grow. */
static void a_full_buffer_takes_whole_events_only(void **state)
{
    struct buffer out = {0};
    (void)state;
    for (long n = 0; n < 200; n++) {
        buffer_fini(&out);
        allocations_left = n;
        has_failed = false;
        int status = run_answer(span_str(upstream), true, &out);
        allocations_left = -1;
        assert_int_equal(status, has_failed ? ERR_NOMEM : ANSWER_COMPLETE);
        if (out.length > 0)
            assert_memory_equal(out.data + out.length - 2, "\n\n", 2);
        if (!has_failed)
            break;
    }
    assert_false(has_failed);
    buffer_fini(&out);
}

static int run_request(const char *body)
{
    static const struct keyword_rule rules[] = {{{"cat", 3}, {"dog", 3}}};
    struct request_options options = {SPAN("d"), SPAN("p/"), SPAN("s"), rules, 1};
    struct request_body *request = request_body_new(&options);
    int status = request ? REQUEST_MORE : ERR_NOMEM;
    while (status == REQUEST_MORE)
        status = request_body_scan(request, span_str(body), true, 20);
    request_body_free(&request);
    return status;
}

static void starve_request(const char *body, int expected)
{
    long n = 0;
    do {
        allocations_left = n++;
        has_failed = false;
        int status = run_request(body);
        allocations_left = -1;
        assert_int_equal(status, has_failed ? ERR_NOMEM : expected);
    } while (has_failed);
    assert_true(n > 2);
}

static void requests_survive(void **state)
{
    (void)state;
    starve_request("{\"model\":\"p/"
                   "x\",\"stream_options\":{\"a\":1},\"messages\":[{\"role\":\"user\",\"content\":\"cat\"},"
                   "{\"role\":\"developer\",\"content\":\"cat\"},{\"role\":\"system\",\"content\":[{\"text\":"
                   "\"a cat\"}]}]}",
                   REQUEST_READY);
    starve_request("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", REQUEST_READY);
    starve_request("{\"messages\":[{\"role\":\"user\"}]}", ERR_INVALID);
    starve_request("{\"messages\":[", ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_survive),
        cmocka_unit_test(a_full_buffer_takes_whole_events_only),
        cmocka_unit_test(requests_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
