/* SPDX-License-Identifier: MIT */
#include "gateway/system_testbed.h"

#include <stdio.h>
#include <unistd.h>

struct harness shared;

int shared_set_up(void **state)
{
    static const char *const variables[] = {"MAX_BODY_BYTES=40000000",
                                            "MAX_HEADER_BYTES=8192",
                                            "HEADER_TIMEOUT_S=1",
                                            "BODY_TIMEOUT_S=1",
                                            "CORS_ORIGINS=https://page.example",
                                            NULL};
    (void)state;
    harness_start(&shared, variables);
    harness_add_worker(&shared, 0);
    return 0;
}

int shared_tear_down(void **state)
{
    (void)state;
    harness_stop(&shared);
    return 0;
}

void client_ask_and_read(struct harness *harness, const char *id, const char *script, struct answer *answer)
{
    int fd = client_connect(harness);
    client_ask(fd, id, script);
    client_read(fd, answer, false);
    close(fd);
}

void answer_check_error(const struct answer *answer, int status, const char *code)
{
    char wanted[128];
    snprintf(wanted, sizeof wanted, "\"code\":\"%s\"}}", code);
    if (answer->status != status || !answer->is_whole || !strstr(answer->body.data, wanted))
        fail_msg("wanted %d %s, got %s%s", status, code, answer->head,
                 answer->body.data ? answer->body.data : "");
    assert_non_null(strstr(answer->body.data, "{\"error\":{\"message\":\""));
    assert_string_equal(answer_header(answer, "Content-Type"), "application/json");
    assert_non_null(answer_header(answer, "X-Request-ID"));
}

uint64_t buffer_checksum(const struct buffer *buffer)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < buffer->length; i++)
        sum = sum * 31 + (unsigned char)buffer->data[i];
    return sum;
}
