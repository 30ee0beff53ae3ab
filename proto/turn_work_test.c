/* SPDX-License-Identifier: MIT */
#include "proto/turn_work.h"
#include "proto/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Writes its letter, and does what it was told to. */
struct actor {
    struct turn_work *work;
    struct buffer *written;
    char letter;
    bool has_more;           /* a hook: what it returns */
    int again;               /* how many times it asks for another round */
    struct actor *defers;    /* once */
    struct turn_hook **ends; /* removes it */
};

static bool act(void *context)
{
    struct actor *actor = context;
    buffer_append_char(actor->written, actor->letter);
    if (actor->again > 0) {
        actor->again--;
        turn_work_again(actor->work);
    }
    if (actor->ends)
        turn_work_remove_hook(actor->ends);
    return actor->has_more;
}

static void act_once(void *context)
{
    struct actor *actor = context;
    buffer_append_char(actor->written, actor->letter);
    if (actor->defers)
        turn_work_defer(actor->work, act_once, actor->defers);
}

struct bench {
    struct turn_work work;
    struct buffer written;
    struct actor a, b, c;
};

static int set_up(void **state)
{
    static struct bench bench;
    bench = (struct bench){0};
    turn_work_init(&bench.work);
    buffer_init(&bench.written);
    bench.a = (struct actor){.work = &bench.work, .written = &bench.written, .letter = 'a'};
    bench.b = bench.c = bench.a;
    bench.b.letter = 'b';
    bench.c.letter = 'c';
    *state = &bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    buffer_fini(&bench->written);
    return 0;
}

/* A turn: what was written, and whether there is more to do. */
static void check_turn(struct bench *bench, const char *expected, bool has_more)
{
    buffer_clear(&bench->written);
    assert_int_equal(turn_work_run(&bench->work), has_more);
    buffer_append_char(&bench->written, '\0');
    assert_string_equal(bench->written.data, expected);
}

static void remove_hooks(struct bench *bench, struct turn_hook **first, struct turn_hook **second)
{
    turn_work_remove_hook(first);
    turn_work_remove_hook(second);
    turn_work_finish(&bench->work); /* frees them */
}

static void test_hooks_run_each_turn(void **state)
{
    struct bench *bench = *state;
    struct turn_hook *first = turn_work_add_hook(&bench->work, act, &bench->a);
    struct turn_hook *second = turn_work_add_hook(&bench->work, act, &bench->b);
    check_turn(bench, "ab", false);
    bench->a.has_more = true;
    check_turn(bench, "ab", true);
    bench->a.has_more = false;
    check_turn(bench, "ab", false);
    remove_hooks(bench, &first, &second);
    check_turn(bench, "", false);
}

static void test_deferred_work_runs_once_and_hooks_after_it(void **state)
{
    struct bench *bench = *state;
    struct turn_hook *hook = turn_work_add_hook(&bench->work, act, &bench->a), *none = NULL;
    turn_work_defer(&bench->work, act_once, &bench->b);
    turn_work_defer(&bench->work, act_once, &bench->c);
    check_turn(bench, "abca", false);
    check_turn(bench, "a", false);
    bench->b.defers = &bench->c; /* what it defers is for the next round */
    turn_work_defer(&bench->work, act_once, &bench->b);
    check_turn(bench, "abaca", false);
    remove_hooks(bench, &hook, &none);
}

static void test_rounds_that_are_asked_for_end(void **state)
{
    struct bench *bench = *state;
    struct turn_hook *first = turn_work_add_hook(&bench->work, act, &bench->a);
    struct turn_hook *second = turn_work_add_hook(&bench->work, act, &bench->b);
    bench->b.again = 1;
    check_turn(bench, "abab", false);
    bench->b.again = 1000; /* the loop must see to others, too */
    check_turn(bench, "ababab", true);
    bench->b.again = 0;
    check_turn(bench, "ab", false);
    remove_hooks(bench, &first, &second);
}

static void test_a_hook_may_remove_itself_and_others(void **state)
{
    struct bench *bench = *state;
    struct turn_hook *first = turn_work_add_hook(&bench->work, act, &bench->a);
    struct turn_hook *second = turn_work_add_hook(&bench->work, act, &bench->b);
    bench->a.ends = &second; /* which has not run yet, and does not any more */
    check_turn(bench, "a", false);
    assert_null(second);
    bench->a.ends = &first;
    check_turn(bench, "a", false);
    assert_null(first);
    check_turn(bench, "", false);
    turn_work_remove_hook(&first); /* none: nothing */
}

static void test_the_end_leaves_nothing_undone(void **state)
{
    struct bench *bench = *state;
    struct turn_hook *hook = turn_work_add_hook(&bench->work, act, &bench->a);
    bench->b.defers = &bench->c;
    turn_work_defer(&bench->work, act_once, &bench->b);
    turn_work_remove_hook(&hook);
    turn_work_finish(&bench->work);
    buffer_append_char(&bench->written, '\0');
    assert_string_equal(bench->written.data, "bc");
    check_turn(bench, "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hooks_run_each_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deferred_work_runs_once_and_hooks_after_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rounds_that_are_asked_for_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_hook_may_remove_itself_and_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_leaves_nothing_undone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
