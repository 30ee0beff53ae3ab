/* SPDX-License-Identifier: MIT */
#include "proto/health.h"
#include "proto/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static enum health_verdict judge(const char *text, int64_t now_ms, const char *says)
{
    struct span said;
    enum health_verdict verdict = health_judge(span_str(text), now_ms, &said);
    if (!span_equals(said, span_str(says)))
        fail_msg("'%s' says '%.*s'", text, (int)said.length, said.data);
    return verdict;
}

static void test_what_a_line_means(void **state)
{
    (void)state;
    assert_int_equal(judge("ready 5000 \n", 5000, "ready"), HEALTH_WELL);
    assert_int_equal(judge("ready 5000           \n", 15000, "ready"), HEALTH_WELL);
    assert_int_equal(judge("ready 5000 \n", 15001, ""), HEALTH_HUNG);
    assert_int_equal(judge("draining 5000 \n", 5000, "draining"), HEALTH_UNWELL);
    assert_int_equal(judge("ready 5000 no link to credd  \n", 5001, "no link to credd"), HEALTH_UNWELL);
    assert_int_equal(judge("ready 5001 \n", 5000, ""), HEALTH_ABSENT);
}

static void test_what_is_no_line(void **state)
{
    (void)state;
    static const char *const texts[] = {"",       "\n",      " ",        "ready",
                                        "ready ", "ready x", "ready -1", "ready 99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(judge(texts[i], 5000, ""), HEALTH_ABSENT);
}

struct place {
    char dir[64];
    char run_dir[96];
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    snprintf(place->dir, sizeof place->dir, "/tmp/health-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->run_dir, sizeof place->run_dir, "CODEBUDDY_RUN_DIR=%s", place->dir);
    putenv(place->run_dir);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/credd-0.health", place->dir);
    unlink(path);
    rmdir(place->dir);
    unsetenv("CODEBUDDY_RUN_DIR");
    free(place);
    return 0;
}

static int check(const char *flag)
{
    char program[] = "credd", word[16];
    char *argv[] = {program, word, NULL};
    int exit_code = -1;
    snprintf(word, sizeof word, "%s", flag);
    assert_true(health_asked(2, argv, "credd", &exit_code));
    return exit_code;
}

static void test_the_file_of_a_process(void **state)
{
    const struct place *place = *state;
    assert_int_equal(check("--alive"), 1);
    int fd = health_open(place->dir, "credd-0");
    assert_true(fd >= 0);
    assert_int_equal(check("--alive"), 1); /* it has not said anything yet */
    health_write(fd, "ready", NULL, clock_now_ms());
    assert_int_equal(check("--alive"), 0);
    assert_int_equal(check("--health"), 0);
    health_write(fd, "ready", "no link to credd", clock_now_ms());
    assert_int_equal(check("--alive"), 0);
    assert_int_equal(check("--health"), 1);
    health_write(fd, "draining", NULL, clock_now_ms()); /* shorter than the line before */
    assert_int_equal(check("--health"), 1);
    health_write(fd, "ready", NULL, clock_now_ms() - HEALTH_SILENCE_MS - 1);
    assert_int_equal(check("--alive"), 1);
    close(fd);
    fd = health_open(place->dir, "credd-0"); /* the next process: nothing old is believed */
    assert_int_equal(check("--alive"), 1);
    close(fd);
}

static void test_without_a_run_directory(void **state)
{
    (void)state;
    int fd = health_open("/nonexistent", "credd-0");
    assert_int_equal(fd, -1);
    health_write(fd, "ready", NULL, 1);
}

static void test_other_arguments(void **state)
{
    char program[] = "credd", instance[] = "--instance", zero[] = "0", health[] = "--health";
    char *with_instance[] = {program, instance, zero, NULL};
    char *with_more[] = {program, health, zero, NULL};
    int exit_code = -1;
    (void)state;
    assert_false(health_asked(1, with_instance, "credd", &exit_code));
    assert_false(health_asked(3, with_instance, "credd", &exit_code));
    assert_false(health_asked(3, with_more, "credd", &exit_code));
    assert_int_equal(exit_code, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_line_means),
        cmocka_unit_test(test_what_is_no_line),
        cmocka_unit_test_setup_teardown(test_the_file_of_a_process, place_make, place_remove),
        cmocka_unit_test(test_without_a_run_directory),
        cmocka_unit_test(test_other_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
