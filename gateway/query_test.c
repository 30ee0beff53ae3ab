/* SPDX-License-Identifier: MIT */
#include "gateway/query.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char KNOWN[] = "from to by";

static void expect(const char *query, const char *json)
{
    struct query_problem problem;
    json_t *got = json_object();
    assert_int_equal(query_read(span_str(query), KNOWN, got, &problem), 0);
    char *text = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, json);
    free(text);
    json_decref(got);
}

static void refuse(struct span query, const char *name)
{
    struct query_problem problem;
    json_t *got = json_object();
    assert_int_equal(query_read(query, KNOWN, got, &problem), ERR_INVALID);
    assert_string_equal(problem.name, name);
    assert_non_null(problem.message);
    json_decref(got);
}

static void test_what_is_well_formed(void **state)
{
    (void)state;
    expect("", "{}");
    expect("from=1&to=2", "{\"from\":\"1\",\"to\":\"2\"}");
    expect("&from=1&&", "{\"from\":\"1\"}");
    expect("from", "{\"from\":\"\"}");
    expect("from=", "{\"from\":\"\"}");
    expect("b%79=a+b%2Bc%26d=e", "{\"by\":\"a b+c&d=e\"}");
    expect("by=%E4%B8%AD", "{\"by\":\"\xE4\xB8\xAD\"}");
}

static void test_what_is_not(void **state)
{
    (void)state;
    refuse(SPAN("x=1"), "x");
    refuse(SPAN("fro=1"), "fro");
    refuse(SPAN("from to=1"), "from to");
    refuse(SPAN("=1"), "");
    refuse(SPAN("from=1&from=1"), "from");
    refuse(SPAN("from=%"), "from");
    refuse(SPAN("from=%4"), "from");
    refuse(SPAN("from=%zz"), "from");
    refuse(SPAN("from=%00"), "from");
    refuse(SPAN("from=%FF"), "from");
    refuse(SPAN("%FF=1"), "");
    char query[8 + 3 * QUERY_VALUE_MAX_BYTES];
    for (size_t length = QUERY_VALUE_MAX_BYTES + 1; length <= 3 * QUERY_VALUE_MAX_BYTES; length++) {
        memset(query, 'a', sizeof query);
        for (size_t i = 0; i < 5; i++)
            query[i] = "from="[i];
        refuse(span_of(query, 5 + length), "from");
    }
    memset(query, 'n', sizeof query);
    refuse(span_of(query, sizeof query), "");
}

static void test_the_longest_fits(void **state)
{
    (void)state;
    char query[5 + 3 * QUERY_VALUE_MAX_BYTES + 1] = "from=";
    struct query_problem problem;
    json_t *got = json_object();
    for (size_t i = 0; i < QUERY_VALUE_MAX_BYTES; i++)
        for (size_t j = 0; j < 3; j++)
            query[5 + 3 * i + j] = "%61"[j];
    assert_int_equal(query_read(span_of(query, sizeof query - 1), KNOWN, got, &problem), 0);
    assert_int_equal(json_string_length(json_object_get(got, "from")), QUERY_VALUE_MAX_BYTES);
    json_decref(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_well_formed),
        cmocka_unit_test(test_what_is_not),
        cmocka_unit_test(test_the_longest_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
