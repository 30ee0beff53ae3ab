/* SPDX-License-Identifier: MIT */
#include "upstream-worker/rulebook.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_copies_what_it_needs_and_lives_while_held(void **state)
{
    struct settings settings;
    const char *reason;
    char password[] = "CODEBUDDY_PASSWORD=p", models[] = "CODEBUDDY_MODELS= first , b";
    char rules[] = "CODEBUDDY_REPLACEMENTS=[{\"from\":\"a\",\"to\":\"\"}]";
    char *const environment[] = {password, models, rules, NULL};
    (void)state;
    assert_int_equal(settings_load(&settings, environment, "/nonexistent/.env"), 0);
    struct rulebook *rulebook = rulebook_new(&settings), *held = rulebook_hold(rulebook);
    assert_int_equal(settings_set(&settings, SPAN("CODEBUDDY_MODELS"), SPAN("other"), &reason), 0);
    rulebook_drop(&rulebook);
    assert_null(rulebook);
    assert_true(span_equals(held->options.default_model, SPAN("first")));
    assert_true(span_equals(held->options.system_text, SPAN("You are a helpful assistant.")));
    assert_int_equal(held->options.model_prefix.length, 0);
    assert_int_equal(held->options.rule_count, 1);
    assert_true(span_equals(held->options.rules[0].from, SPAN("a")));
    rulebook_drop(&held);
    assert_int_equal(settings_set(&settings, SPAN("CODEBUDDY_REPLACEMENTS"), SPAN("{}"), &reason), 0);
    assert_null(rulebook_new(&settings));
    settings_fini(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies_what_it_needs_and_lives_while_held)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
