/* SPDX-License-Identifier: MIT */
/* What the command line takes, and its tables. The rest: tests/e2e/admin.test.mjs. */
#include "deploy/admin/actions.h"
#include "deploy/admin/table.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int parse(struct arguments *arguments, const char *line)
{
    static char copy[256];
    char *argv[16] = {NULL};
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = copy; *at;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at)
            *at++ = '\0';
    }
    return arguments_parse(arguments, argc, argv);
}

static void test_arguments(void **state)
{
    static const char *const bad[] = {
        "c",
        "c keys",
        "c keys burn",
        "c keys create",
        "c keys create a b",
        "c keys create a --rpm",
        "c keys create a --token x",
        "c settings set A",
        "c credentials list --rpm 1",
        "c credentials add",
    };
    struct arguments arguments;
    (void)state;
    assert_int_equal(parse(&arguments, "c keys create ci --rpm 5 --json --models a,b"), 0);
    assert_int_equal(arguments.count, 1);
    assert_string_equal(arguments.values[0], "ci");
    assert_int_equal(arguments.option_count, 2);
    assert_string_equal(arguments.options[1].value, "a,b");
    assert_true(arguments.json);
    assert_int_equal(parse(&arguments, "c settings set CODEBUDDY_MODELS -"), 0);
    assert_string_equal(arguments.values[1], "-");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse(&arguments, bad[i]), ERR_INVALID);
}

static void test_table(void **state)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    json_t *rows =
        json_pack("[{s:s, s:i}, {s:s, s:n}]", "id", "a\x1b[1m", "rpm", 5, "id", "\xe6\xa8\xa1", "rpm");
    (void)state;
    assert_non_null(rows);
    table_print(out, rows, "id rpm");
    table_print_one(out, json_array_get(rows, 0), "rpm nothing");
    fclose(out);
    assert_string_equal(text, "id     rpm\na?[1m  5  \n\xe6\xa8\xa1      -  \nrpm: 5\n");
    free(text);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arguments), cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
