/* SPDX-License-Identifier: MIT */
/* core_bench - what the pure core costs: nanoseconds per chunk, streamed and plain, and MB/s of a body's
 * scan. Not a test: ninja core_bench && bin/core_bench */
#include "proto/clock.h"
#include "upstream-worker/answer.h"
#include "upstream-worker/request_body.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_HEAD                                                                                           \
    "data: "                                                                                                 \
    "{\"id\":\"c3f1b2a4d5e6478899aabbccddeeff00\",\"object\":\"chat.completion.chunk\",\"created\":"         \
    "1735689600,"                                                                                            \
    "\"model\":\"deepseek-v3-0324\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","            \
    "\"content\":\""
#define CHUNK_TAIL                                                                                           \
    "\",\"function_call\":null,\"refusal\":\"\",\"tool_calls\":[]},\"logprobs\":null,\"finish_reason\":"     \
    "\"\"}],\"usage\":null}\n\n"
static const char chunk_text[] = CHUNK_HEAD " tokens of text" CHUNK_TAIL;
static const char end_text[] =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

enum { CHUNKS = 20, ROUNDS = 20000 };

static struct buffer make_stream(void)
{
    struct buffer stream = {0};
    for (int i = 0; i < CHUNKS; i++)
        assert(buffer_append(&stream, chunk_text, sizeof chunk_text - 1) == 0);
    assert(buffer_append(&stream, end_text, sizeof end_text - 1) == 0);
    return stream;
}

static void bench_answer(bool wants_stream)
{
    struct scratch scratch;
    struct buffer stream = make_stream(), out = {0};
    struct answer_options options = {.id = SPAN("0123456789abcdef"),
                                     .model = SPAN("deepseek-v3"),
                                     .created_s = 1735689600,
                                     .wants_stream = wants_stream};
    scratch_init(&scratch);
    int64_t start_us = clock_now_us();
    for (int round = 0; round < ROUNDS; round++) {
        struct answer *answer = answer_new(&options, &scratch);
        buffer_clear(&out);
        assert(answer && answer_feed(answer, buffer_span(&stream), &out) == ANSWER_COMPLETE);
        answer_free(&answer);
    }
    double ns = (double)(clock_now_us() - start_us) * 1000 / ROUNDS;
    printf("%s: %zu-byte chunks: %.0f ns a chunk (all of an answer of %d, its start and end included: %.1f "
           "us)\n",
           wants_stream ? "streamed" : "plain", sizeof chunk_text - 1, ns / CHUNKS, CHUNKS, ns / 1000);
    scratch_fini(&scratch);
    buffer_fini(&stream);
    buffer_fini(&out);
}

/* A conversation of 2,000 messages and `bytes` of `text` over and over. */
static struct buffer make_body(struct span text, size_t bytes)
{
    struct buffer body = {0};
    assert(
        buffer_append_span(
            &body,
            SPAN("{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":\"s\"}")) ==
        0);
    for (int i = 0; i < 2000; i++) {
        assert(buffer_append_span(&body, SPAN(",{\"role\":\"user\",\"content\":\"")) == 0);
        for (size_t length = 0; length < bytes / 2000; length += text.length)
            assert(buffer_append_span(&body, text) == 0);
        assert(buffer_append_span(&body, SPAN("\"}")) == 0);
    }
    assert(buffer_append_span(&body, SPAN("]}")) == 0);
    return body;
}

/* The most tokens that bytes can hold. */
static struct buffer make_dense_body(struct span element)
{
    struct buffer body = {0};
    assert(buffer_append_span(&body, SPAN("{\"messages\":[{\"role\":\"user\",\"content\":[")) == 0);
    while (body.length < 24 << 20)
        assert(buffer_append_span(&body, element) == 0);
    assert(buffer_append_span(&body, SPAN("0]}]}")) == 0);
    return body;
}

static void bench_body(const char *what, struct buffer body)
{
    struct request_options options = {.default_model = SPAN("m"), .system_text = SPAN("s")};
    struct request_body *request = request_body_new(&options);
    int64_t total_us = 0, worst_us = 0;
    int status = REQUEST_MORE;
    while (request && status == REQUEST_MORE) {
        int64_t start_us = clock_now_us();
        status = request_body_scan(request, buffer_span(&body), true, REQUEST_SLICE_BYTES);
        int64_t took_us = clock_now_us() - start_us;
        total_us += took_us;
        worst_us = took_us > worst_us ? took_us : worst_us;
    }
    assert(status == REQUEST_READY);
    printf("body of %s: %.0f MB/s, the longest slice %.2f ms\n", what, (double)body.length / (double)total_us,
           (double)worst_us / 1000);
    request_body_free(&request);
    buffer_fini(&body);
}

int main(void)
{
    bench_answer(true);
    bench_answer(false);
    bench_body(
        "English",
        make_body(
            SPAN("The quick brown fox jumps over the lazy dog, again and again, \\n and \\\"again\\\". "),
            24 << 20));
    bench_body("Chinese",
               make_body(SPAN("\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82"),
                         24 << 20));
    bench_body("base64",
               make_body(SPAN("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"), 24 << 20));
    bench_body("code",
               make_body(SPAN("    if (x == \\\"y\\\") {\\n        return f(\\\"\\\\t\\\", 1);\\n    }\\n"),
                         24 << 20));
    bench_body("numbers", make_dense_body(SPAN("0,")));
    bench_body("brackets", make_dense_body(SPAN("[],")));
    return 0;
}
