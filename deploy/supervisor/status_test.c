/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void durations_read_well(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0 ms"},           {999, "999 ms"},       {1000, "1 s"},          {59999, "59 s"},
        {60000, "1 min 0 s"},  {184000, "3 min 4 s"}, {3600000, "1 h 0 min"}, {7980000, "2 h 13 min"},
        {86400000, "1 d 0 h"}, {442800000, "5 d 3 h"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[32];

        status_format_duration(cases[i].ms, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static char *print(const char *json)
{
    char *text = NULL;
    size_t size;
    json_t *status = json_loads(json, 0, NULL);
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    status_print(out, status);
    fclose(out);
    json_decref(status);
    return text;
}

static void the_table_lines_up(void **state)
{
    char *text =
        print("{\"version\":\"1.2\",\"state\":\"degraded\",\"pid\":7,\"up_ms\":61000,\"api\":\"http://h:1\","
              "\"ops\":\"http://h:2\",\"processes\":["
              "{\"name\":\"statsd-0\",\"state\":\"ready\",\"pid\":8,\"in_state_ms\":60000,\"restarts\":0,"
              "\"last_exit\":null,\"retry_in_ms\":0,\"rss_bytes\":12345678,\"numbers\":{\"streams\":3,\"lag_"
              "ms\":0}},"
              "{\"name\":\"upstream-worker-0\",\"state\":\"backing "
              "off\",\"pid\":0,\"in_state_ms\":5,\"restarts\":12,"
              "\"last_exit\":\"SIGKILL\",\"retry_in_ms\":1500,\"numbers\":{}}]}");

    (void)state;
    assert_string_equal(
        text,
        "codebuddy2api 1.2: degraded, pid 7, up 1 min 1 s\n"
        "API http://h:1, metrics http://h:2/metrics\n"
        "\n"
        "NAME               STATE                   PID  SINCE      RESTARTS  LAST EXIT  MEMORY   NUMBERS\n"
        "statsd-0           ready                   8    1 min 0 s  0         -          12.3 MB  "
        "streams=3 lag_ms=0\n"
        "upstream-worker-0  backing off (1 s left)  -    5 ms       12        SIGKILL    -\n");
    free(text);
}

static void missing_members_do_no_harm(void **state)
{
    char *text = print("{\"processes\":[{},7]}");

    (void)state;
    assert_non_null(strstr(text, "NAME"));
    free(text);
    text = print("[]");
    assert_non_null(strstr(text, "NAME"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_read_well),
        cmocka_unit_test(the_table_lines_up),
        cmocka_unit_test(missing_members_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
