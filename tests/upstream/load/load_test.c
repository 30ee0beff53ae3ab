/* SPDX-License-Identifier: MIT */
/* The pure parts of the load generator: what it concludes from bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/load/histogram.h"
#include "tests/upstream/load/response.h"
#include "tests/upstream/load/stream_check.h"

/* ---- responses ---- */

static const char chunked_answer[] =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
static const char length_answer[] =
    "HTTP/1.1 429 Too Many\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde";

static enum response_result read_steps(struct response *response, const char *text, size_t size, size_t step,
                                       struct buffer *out)
{
    enum response_result result = RESPONSE_MORE;
    size_t at = 0;

    response_init(response);
    while (at < size && result != RESPONSE_END && result != RESPONSE_BAD) {
        size_t took;
        struct span piece;

        result = response_read(response, text + at, size - at < step ? size - at : step, &took, &piece);
        at += took;
        if (result == RESPONSE_PIECE) {
            buffer_append(out, piece.data, piece.size);
            result = response_read(response, text + at, 0, &took, &piece);
        }
    }
    return result;
}

static void responses_in_any_steps(void **state)
{
    struct response response = {0};
    struct buffer out = {0};

    (void)state;
    for (size_t step = 1; step < sizeof(chunked_answer); step++) {
        buffer_clear(&out);
        assert_int_equal(read_steps(&response, chunked_answer, sizeof(chunked_answer) - 1, step, &out),
                         RESPONSE_END);
        assert_int_equal(out.size, 5);
        assert_memory_equal(out.data, "abcde", 5);
        assert_int_equal(response.status, 200);
        assert_true(response.keep_alive);
        buffer_clear(&out);
        assert_int_equal(read_steps(&response, length_answer, sizeof(length_answer) - 1, step, &out),
                         RESPONSE_END);
        assert_int_equal(out.size, 5);
        assert_int_equal(response.status, 429);
        assert_false(response.keep_alive);
    }
    response_fini(&response);
    buffer_fini(&out);
}

static void bad_responses(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n........",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct response response = {0};
    struct buffer out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_steps(&response, bad[i], strlen(bad[i]), 99, &out), RESPONSE_BAD);
    response_fini(&response);
    buffer_fini(&out);
}

static void until_close(void **state)
{
    struct response response = {0};
    struct buffer out = {0};

    (void)state;
    assert_int_equal(read_steps(&response, "HTTP/1.1 200 OK\r\n\r\nabc", 22, 4, &out), RESPONSE_MORE);
    assert_true(response_may_close(&response));
    assert_int_equal(out.size, 3);
    response_fini(&response);
    buffer_fini(&out);
}

/* ---- streams ---- */

static struct stream_check check_steps(const char *text, bool plain, size_t step)
{
    struct stream_check check = {0};
    size_t size = strlen(text);

    stream_check_init(&check, plain);
    for (size_t at = 0; at < size; at += step)
        stream_check_feed(&check, (struct span){text + at, size - at < step ? size - at : step});
    stream_check_end(&check);
    stream_check_fini(&check);
    return check;
}

static void good_stream(void **state)
{
    static const char text[] = ": c\ndata: {\"delta\":{\"content\":\"t0 xx\"}}\r\n\r\n"
                               "data:{\"delta\":{\"reasoning_content\":\"t9 \",\"content\": \"\\\"t1 \"}}\n\n"
                               "data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        struct stream_check check = check_steps(text, false, step);

        assert_true(check.done && !check.error_event);
        assert_int_equal(check.events, 3);
        assert_int_equal(check.tokens, 2);
        assert_int_equal(check.wrong, 0);
    }
}

#define SAY(k) "data: {\"content\":\"t" k " \"}\n\n"

static void loss_doubling_and_order_show(void **state)
{
    struct stream_check check;

    (void)state;
    check = check_steps(SAY("0") SAY("2") SAY("3") "data: [DONE]\n\n", false, 9);
    assert_true(check.wrong == 1 && check.tokens == 2);
    check = check_steps(SAY("0") SAY("0") SAY("1") "data: [DONE]\n\n", false, 9);
    assert_true(check.wrong == 1 && check.tokens == 2);
    check = check_steps(SAY("1") SAY("0") "data: [DONE]\n\n", false, 9);
    assert_int_equal(check.wrong, 2);
    check = check_steps(SAY("0") "data: [DONE]\n\n" SAY("1"), false, 9);
    assert_false(check.done);
    check = check_steps(SAY("0") "data: {\"error\":{}}\n\n", false, 9);
    assert_true(check.error_event && !check.done);
    check = check_steps(SAY("0") "data: [DONE]", false, 9);
    assert_false(check.done); /* a line that never ended */
}

static void plain_body(void **state)
{
    static const char good[] =
        "{\"choices\":[{\"message\":{\"content\":\"t0 t1 xx t2 \"},\"finish_reason\":\"stop\"}]}\n";
    struct stream_check check = check_steps(good, true, 5);

    (void)state;
    assert_true(check.done);
    assert_int_equal(check.tokens, 3);
    check = check_steps("{\"choices\":[{\"message\":{\"content\":\"t0 t1 ", true, 5);
    assert_false(check.done);
    check = check_steps("{\"error\":{\"message\":\"x\"}}", true, 5);
    assert_true(check.error_event);
}

/* ---- histograms ---- */

static void histogram_is_close(void **state)
{
    static struct histogram histogram;

    (void)state;
    assert_int_equal(histogram_permille_us(&histogram, 500), 0);
    for (int64_t i = 1; i <= 100000; i++)
        histogram_add(&histogram, i);
    assert_in_range(histogram_permille_us(&histogram, 500), 50000, 50000 + 50000 / 64 + 1);
    assert_in_range(histogram_permille_us(&histogram, 990), 99000, 100000);
    assert_int_equal(histogram_permille_us(&histogram, 1000), 100000);
    assert_int_equal(histogram.max_us, 100000);
    assert_int_equal(histogram_mean_us(&histogram), 50000);
    histogram_add(&histogram, INT64_MAX / 2);
    histogram_add(&histogram, -5);
    assert_int_equal(histogram.count, 100002);
}

static void small_values_are_exact(void **state)
{
    static struct histogram histogram;

    (void)state;
    for (int i = 0; i < 3; i++)
        histogram_add(&histogram, 7);
    assert_int_equal(histogram_permille_us(&histogram, 500), 7);
    assert_int_equal(histogram_permille_us(&histogram, 999), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(responses_in_any_steps),
                                       cmocka_unit_test(bad_responses),
                                       cmocka_unit_test(until_close),
                                       cmocka_unit_test(good_stream),
                                       cmocka_unit_test(loss_doubling_and_order_show),
                                       cmocka_unit_test(plain_body),
                                       cmocka_unit_test(histogram_is_close),
                                       cmocka_unit_test(small_values_are_exact)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
