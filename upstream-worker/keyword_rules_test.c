/* SPDX-License-Identifier: MIT */
#include "upstream-worker/keyword_rules.h"

#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(const struct keyword_rules *rules, const char *before, int result, const char *after)
{
    struct buffer text = {0}, spare = {0};
    assert_int_equal(buffer_append_span(&text, span_str(before)), 0);
    assert_int_equal(keyword_rules_apply(rules, &text, &spare), result);
    if (result >= 0)
        assert_true(span_equals(buffer_span(&text), span_str(after)));
    buffer_fini(&text);
    buffer_fini(&spare);
}

static void replaces_in_order(void **state)
{
    static const struct keyword_rule list[] = {{{"cat", 3}, {"dog", 3}},
                                               {{"dogdog", 6}, {"pack", 4}},
                                               {{"x", 1}, {"", 0}},
                                               {{"aa", 2}, {"a", 1}},
                                               {{"", 0}, {"never", 5}}};
    struct keyword_rules rules = {list, 5, 100};
    (void)state;
    expect(&rules, "", 0, "");
    expect(&rules, "nothing", 0, "nothing");
    expect(&rules, "a cat", 1, "a dog");
    expect(&rules, "catdog cat", 1, "pack dog");
    expect(&rules, "xxx", 1, "");
    expect(&rules, "aaaaa", 1, "aaa"); /* left to right, not again over the result */
    expect(&rules, "ca", 0, "ca");
}

static void is_bounded(void **state)
{
    static const struct keyword_rule list[] = {{{"a", 1}, {"aaaaaaaaaa", 10}}};
    struct keyword_rules rules = {list, 1, 100};
    (void)state;
    expect(&rules, "aaaaaaaaaa", 1,
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           "aaa");
    expect(&rules, "aaaaaaaaaab", ERR_TOO_LARGE, "");
    expect(&rules, "aaaaaaaaaaa", ERR_TOO_LARGE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(replaces_in_order), cmocka_unit_test(is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
