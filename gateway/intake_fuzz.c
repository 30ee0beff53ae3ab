/* SPDX-License-Identifier: MIT */
/* However the bytes of a request are cut, intake says the same of them, and reads nothing but them. The first
 * byte is where to cut. */
#include "gateway/intake.h"

#include <assert.h>
#include <stdlib.h>

static const struct intake_limits limits = {.max_header_bytes = 4096, .max_body_bytes = 4096};

/* Feeds data[..cut], then the rest; each in memory of its own size. */
static enum intake_step feed(struct intake *intake, const uint8_t *data, size_t size, size_t cut)
{
    struct head head;
    const size_t ends[2] = {cut, size};
    enum intake_step step = INTAKE_MORE;
    size_t fed = 0;
    for (int i = 0; i < 2 && step != INTAKE_COMPLETE && step != INTAKE_REFUSED; i++) {
        if (ends[i] == fed)
            continue;
        char *copy = malloc(ends[i]);
        assert(copy);
        memcpy(copy, data, ends[i]);
        step = intake_feed(intake, &limits, span_of(copy, ends[i]), ends[i] - fed, &head);
        fed = ends[i];
        free(copy);
    }
    return step;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct intake whole = {0}, halves = {0};
    size_t cut = data[0] * (size - 1) / 255;
    enum intake_step first = feed(&whole, data + 1, size - 1, 0);
    enum intake_step second = feed(&halves, data + 1, size - 1, cut);
    /* HEAD_DONE and MORE are the same, said at another time. */
    first = first == INTAKE_HEAD_DONE ? INTAKE_MORE : first;
    second = second == INTAKE_HEAD_DONE ? INTAKE_MORE : second;
    assert(first == second);
    if (first == INTAKE_COMPLETE) {
        assert(whole.head_bytes == halves.head_bytes);
        assert(whole.body_bytes == halves.body_bytes);
    }
    return 0;
}
