/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/upstream/scenario.h"

static bool parse(const char *text, struct scenario *scenario)
{
    char *why = NULL;
    bool good = scenario_parse(span_of(text), scenario, &why);

    assert_true(good == (why == NULL));
    free(why);
    return good;
}

static void every_preset_parses(void **state)
{
    unsigned count = 0;

    (void)state;
    for (const char *name; (name = scenario_preset_name(count)); count++) {
        struct buffer text = {0};
        struct scenario scenario;

        buffer_printf(&text, "s:%s", name);
        buffer_append(&text, "", 1);
        assert_true(parse(text.data, &scenario));
        assert_true(scenario.status >= 200);
        buffer_fini(&text);
    }
    assert_true(count > 80);
}

static void keys_override_the_preset(void **state)
{
    struct scenario scenario;

    (void)state;
    assert_true(parse("s:slow?n=3&gap_ms=7&credit=1.5&msg=a%20b%26c&sep=crlf2&utf8=1&cut=utf8", &scenario));
    assert_int_equal(scenario.n, 3);
    assert_int_equal(scenario.gap_ms, 7);
    assert_int_equal(scenario.size, 16);
    assert_string_equal(scenario.credit, "1.5");
    assert_string_equal(scenario.msg, "a b&c");
    assert_int_equal(scenario.sep, SEP_CRLF2);
    assert_int_equal(scenario.cut, CUT_UTF8);
    assert_true(scenario.utf8 && scenario.done && scenario.space);
}

static void total_sets_the_count(void **state)
{
    struct scenario scenario;

    (void)state;
    assert_true(parse("s:chunks?total=10000&size=1000", &scenario));
    assert_int_equal(scenario.n, 10);
    assert_true(parse("s:chunks?total=1025", &scenario));
    assert_int_equal(scenario.n, 2);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "s:",
        "s:nope",
        "chunks",
        "s:chunks?n",
        "s:chunks?n=-1",
        "s:chunks?n=x",
        "s:chunks?nope=1",
        "s:chunks?utf8=2",
        "s:chunks?sep=cr",
        "s:chunks?msg=%0",
        "s:chunks?credit=1e5",
        "s:chunks?credit=01",
        "s:chunks?at=2",
        "s:chunks?end=eof&at=header",
        "s:chunks?status=100",
        "s:401-html?end=reset",
        "s:chunks?n=2000000&size=1000000",
        "s:chunks?end=endless&transfer=length",
        "s:chunks?n=",
    };
    struct buffer text = {0};
    struct scenario scenario;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parse(bad[i], &scenario));
    buffer_append_text(&text, "s:chunks?msg=");
    buffer_append_fill(&text, 'm', SCENARIO_TEXT_MAX_BYTES);
    buffer_append(&text, "", 1);
    assert_false(parse(text.data, &scenario));
    buffer_fini(&text);
}

static void recovered_does_not_fail(void **state)
{
    struct scenario scenario;

    (void)state;
    assert_true(parse("s:503?fail_times=2&n=7", &scenario));
    assert_int_equal(scenario.fail_times, 2);
    scenario_recover(&scenario);
    assert_int_equal(scenario.status, 200);
    assert_int_equal(scenario.body, BODY_STREAM);
    assert_int_equal(scenario.retry_after_s, RETRY_NONE);
    assert_int_equal(scenario.n, 7);
    assert_true(parse("s:reset-header", &scenario));
    scenario_recover(&scenario);
    assert_int_equal(scenario.end, END_DONE);
    assert_int_equal(scenario.at, AT_END);
}

static void the_readme_holds_the_table(void **state)
{
    struct buffer table = {0}, readme = {0};
    FILE *file = fopen("tests/upstream/README.md", "rb");

    (void)state;
    assert_non_null(file);
    buffer_reserve(&readme, 1 << 20);
    readme.size = fread(readme.data, 1, 1 << 20, file);
    fclose(file);
    scenario_print_table(&table);
    assert_non_null(memmem(readme.data, readme.size, table.data, table.size));
    buffer_fini(&table);
    buffer_fini(&readme);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_preset_parses),     cmocka_unit_test(keys_override_the_preset),
        cmocka_unit_test(total_sets_the_count),    cmocka_unit_test(refuses),
        cmocka_unit_test(recovered_does_not_fail), cmocka_unit_test(the_readme_holds_the_table)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
