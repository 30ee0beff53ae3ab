/* SPDX-License-Identifier: MIT */
#include "proto/live.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct world {
    struct settings start;
    struct live *live;
    struct live_problem problem;
};

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    char password[] = "CODEBUDDY_PASSWORD=p", count[] = "CODEBUDDY_ROTATION_COUNT=7";
    char *const environment[] = {password, count, NULL};
    assert_int_equal(settings_load(&world->start, environment, "/nonexistent/.env"), 0);
    world->live = live_new(&world->start);
    assert_non_null(world->live);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    live_free(&world->live);
    settings_fini(&world->start);
    free(world);
    return 0;
}

static int set(struct world *world, const char *text)
{
    json_t *values = json_loads(text, 0, NULL);
    assert_non_null(values);
    int error = live_set(world->live, values, &world->problem);
    json_decref(values);
    return error;
}

static void test_run_time_beats_the_environment_until_it_is_unset(void **state)
{
    struct world *world = *state;
    const struct settings *now = live_settings(world->live);
    const char *data_dir = now->data_dir; /* not live: others may keep it */
    assert_int_equal(now->rotation_count, 7);
    assert_int_equal(now->sources[SETTING_AT_rotation_count], SETTING_FROM_ENVIRONMENT);
    assert_int_equal(set(world, "{\"CODEBUDDY_ROTATION_COUNT\":\"9\",\"CODEBUDDY_MODELS\":\"a,b\"}"), 0);
    assert_ptr_equal(live_settings(world->live), now);
    assert_ptr_equal(now->data_dir, data_dir);
    assert_int_equal(now->rotation_count, 9);
    assert_string_equal(now->models, "a,b");
    assert_int_equal(now->sources[SETTING_AT_rotation_count], SETTING_FROM_RUN_TIME);
    assert_int_equal(set(world, "{\"CODEBUDDY_MODELS\":\"c\"}"), 0);
    assert_int_equal(now->rotation_count, 7);
    assert_int_equal(now->sources[SETTING_AT_rotation_count], SETTING_FROM_ENVIRONMENT);
    assert_string_equal(now->models, "c");
    assert_int_equal(set(world, "{}"), 0);
    assert_string_equal(now->models, world->start.models);
    assert_int_equal(now->sources[SETTING_AT_models], SETTING_FROM_DEFAULT);
}

static void test_what_is_refused_changes_nothing(void **state)
{
    static const struct {
        const char *values, *name;
    } bad[] = {
        {"{\"CODEBUDDY_MODELS\":\"x\",\"CODEBUDDY_PORT\":\"1\"}", "CODEBUDDY_PORT"},
        {"{\"CODEBUDDY_MODELS\":\"x\",\"CODEBUDDY_PASSWORD\":\"q\"}", "CODEBUDDY_PASSWORD"},
        {"{\"CODEBUDDY_PASSWORD_FILE\":\"/etc/hostname\"}", "CODEBUDDY_PASSWORD_FILE"},
        {"{\"CODEBUDDY_API_ENDPOINT\":\"https://evil.example\"}", "CODEBUDDY_API_ENDPOINT"},
        {"{\"MODELS\":\"x\"}", "MODELS"},
        {"{\"CODEBUDDY_NO_SUCH\":\"x\"}", "CODEBUDDY_NO_SUCH"},
        {"{\"CODEBUDDY_MODELS\":5}", "CODEBUDDY_MODELS"},
        {"{\"CODEBUDDY_MODELS\":\"x\\ny\"}", "CODEBUDDY_MODELS"},
        {"{\"CODEBUDDY_MAX_STREAMS\":\"0\"}", "CODEBUDDY_MAX_STREAMS"},
        {"{\"CODEBUDDY_MAX_STREAMS\":\"many\"}", "CODEBUDDY_MAX_STREAMS"},
        {"{\"CODEBUDDY_LOG_LEVEL\":\"LOUD\"}", "CODEBUDDY_LOG_LEVEL"},
        {"{\"CODEBUDDY_MODELS\":\" , \"}", ""},
        {"{\"CODEBUDDY_REPLACEMENTS\":\"[1]\"}", ""},
    };
    struct world *world = *state;
    assert_int_equal(set(world, "{\"CODEBUDDY_KEEPALIVE_S\":\"3\"}"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        world->problem.text = NULL;
        assert_int_equal(set(world, bad[i].values), ERR_INVALID);
        assert_string_equal(world->problem.name, bad[i].name);
        assert_non_null(world->problem.text);
        assert_int_equal(live_settings(world->live)->keepalive_s, 3);
        assert_string_equal(live_settings(world->live)->models, world->start.models);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_run_time_beats_the_environment_until_it_is_unset),
        T(test_what_is_refused_changes_nothing),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
