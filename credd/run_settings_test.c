/* SPDX-License-Identifier: MIT */
#include "credd/run_settings.h"
#include "credd/durable_file.h"
#include "proto/error.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t WALL_MS = 1790000000000;

struct world {
    char directory[64], path[96];
    struct settings start;
    struct live *live;
    struct run_settings *settings;
    struct field_problem problem;
};

static void put_file(const struct world *world, const char *text)
{
    int fd = open(world->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* As at a start of credd. */
static int reopen(struct world *world)
{
    int error = 0;
    run_settings_close(&world->settings);
    live_free(&world->live);
    world->live = live_new(&world->start);
    world->settings = run_settings_open(world->directory, world->live, &error);
    assert_true((world->settings != NULL) == (error == 0));
    return error;
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    char password[] = "CODEBUDDY_PASSWORD=p", count[] = "CODEBUDDY_ROTATION_COUNT=7";
    char *const environment[] = {password, count, NULL};
    assert_int_equal(settings_load(&world->start, environment, "/nonexistent/.env"), 0);
    snprintf(world->directory, sizeof world->directory, "/tmp/run_settings_test.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    snprintf(world->path, sizeof world->path, "%s/settings.json", world->directory);
    assert_int_equal(reopen(world), 0);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    run_settings_close(&world->settings);
    live_free(&world->live);
    settings_fini(&world->start);
    unlink(world->path);
    rmdir(world->directory);
    free(world);
    return 0;
}

static int change(struct world *world, const char *text)
{
    json_t *changes = json_loads(text, 0, NULL);
    assert_non_null(changes);
    struct buffer document = {0};
    int error = run_settings_plan(world->settings, changes, "cli", WALL_MS, &world->problem, &document);
    if (error == 0) { /* as office does */
        const struct durable_write write = {.directory = world->directory,
                                            .name = RUN_SETTINGS_FILE,
                                            .content = buffer_span(&document),
                                            .mode = DURABLE_PUT};
        error = durable_file_write(&write);
        assert_int_equal(run_settings_settle(world->settings, error == 0), 0);
    }
    buffer_fini(&document);
    json_decref(changes);
    return error;
}

/* One member of one setting's description, as compact JSON in static memory. */
static const char *shown(const struct world *world, const char *name, const char *member)
{
    static char text[4096];
    json_t *all = run_settings_describe(world->settings);
    json_t *value = json_object_get(json_object_get(all, name), member);
    char *dumped = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    snprintf(text, sizeof text, "%s", dumped ? dumped : "none");
    free(dumped);
    json_decref(all);
    return text;
}

static void test_changes_hold_over_a_restart_and_can_be_undone(void **state)
{
    struct world *world = *state;
    struct stat status;
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "source"), "\"environment\"");
    assert_int_equal(
        change(world,
               "{\"CODEBUDDY_ROTATION_COUNT\":3,\"CODEBUDDY_MODELS\":\"a\",\"CODEBUDDY_PASSWORD\":\"\"}"),
        0);
    assert_int_equal(live_settings(world->live)->rotation_count, 3);
    assert_int_equal(reopen(world), 0);
    assert_int_equal(live_settings(world->live)->rotation_count, 3);
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "value"), "3");
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "default"), "10");
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "source"), "\"run time\"");
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "set_by"), "\"cli\"");
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "set_at"), "1790000000");
    assert_int_equal(stat(world->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    json_t *values = run_settings_values(world->settings);
    assert_int_equal(json_object_size(values), 2);
    json_decref(values);
    assert_int_equal(change(world, "{\"CODEBUDDY_ROTATION_COUNT\":null,\"CODEBUDDY_PORT\":null}"), 0);
    assert_int_equal(live_settings(world->live)->rotation_count, 7);
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "source"), "\"environment\"");
    assert_string_equal(shown(world, "CODEBUDDY_ROTATION_COUNT", "set_by"), "none");
}

static int expect(struct world *world, const char *text)
{
    json_t *expected = json_loads(text, 0, NULL);
    int error = run_settings_expect(world->settings, expected, &world->problem);
    json_decref(expected);
    return error;
}

static void test_what_is_expected_is_what_is_shown(void **state)
{
    struct world *world = *state;
    assert_int_equal(run_settings_expect(world->settings, NULL, &world->problem), 0);
    assert_int_equal(expect(world, "{}"), 0);
    assert_int_equal(expect(world, "{\"CODEBUDDY_ROTATION_COUNT\":7,\"CODEBUDDY_PASSWORD\":null,"
                                   "\"CODEBUDDY_ACCESS_LOG\":true,\"CODEBUDDY_LOG_LEVEL\":\"INFO\"}"),
                     0);
    assert_int_equal(change(world, "{\"CODEBUDDY_ROTATION_COUNT\":3}"), 0);
    assert_int_equal(expect(world, "{\"CODEBUDDY_ACCESS_LOG\":true,\"CODEBUDDY_ROTATION_COUNT\":7}"),
                     ERR_EXISTS);
    assert_string_equal(world->problem.field, "CODEBUDDY_ROTATION_COUNT");
    assert_int_equal(expect(world, "{\"CODEBUDDY_ROTATION_COUNT\":\"3\"}"), ERR_EXISTS); /* not a text */
    assert_int_equal(expect(world, "{\"CODEBUDDY_PASSWORD\":\"p\"}"), ERR_EXISTS); /* nobody may guess it */
    assert_int_equal(expect(world, "{\"CODEBUDDY_ROTATION_COUNT\":3}"), 0);
    assert_int_equal(expect(world, "{\"CODEBUDDY_NO_SUCH\":3}"), ERR_INVALID);
    assert_string_equal(world->problem.field, "CODEBUDDY_NO_SUCH");
}

static void test_lines_are_kept(void **state)
{
    struct world *world = *state;
    assert_int_equal(
        change(world, "{\"CODEBUDDY_SYSTEM_MESSAGE\":\"Be brief.\\nBe kind.\",\"CODEBUDDY_REPLACEMENTS\":"
                      "\"[\\n{\\\"from\\\":\\\"a\\\",\\\"to\\\":\\\"b\\\"}]\"}"),
        0);
    assert_int_equal(reopen(world), 0);
    assert_string_equal(live_settings(world->live)->system_message, "Be brief.\nBe kind.");
    assert_int_equal(live_settings(world->live)->replacements[1], '\n');
    assert_int_equal(change(world, "{\"CODEBUDDY_MODELS\":\"a\\nb\"}"), ERR_INVALID);
    assert_string_equal(world->problem.field, "CODEBUDDY_MODELS");
}

static void test_descriptions(void **state)
{
    struct world *world = *state;
    assert_string_equal(shown(world, "CODEBUDDY_PASSWORD", "value"), "null");
    assert_string_equal(shown(world, "CODEBUDDY_PASSWORD", "kind"), "\"secret\"");
    assert_string_equal(shown(world, "CODEBUDDY_PORT", "needs_restart"), "true");
    assert_string_equal(shown(world, "CODEBUDDY_PORT", "max"), "65535");
    assert_string_equal(shown(world, "CODEBUDDY_MODELS", "needs_restart"), "false");
    assert_string_equal(shown(world, "CODEBUDDY_SSL_VERIFY", "value"), "true");
    assert_string_equal(shown(world, "CODEBUDDY_LOG_LEVEL", "choices"),
                        "[\"DEBUG\",\"INFO\",\"WARNING\",\"ERROR\"]");
    assert_string_equal(shown(world, "CODEBUDDY_GATEWAYS", "label"),
                        "{\"en\":\"Gateways on this host.\",\"zh\":\"本机的网关进程数。\"}");
    json_t *all = run_settings_describe(world->settings);
    assert_int_equal(json_object_size(all), SETTING_COUNT);
    json_decref(all);
}

static void test_what_is_refused_changes_nothing(void **state)
{
    static const struct {
        const char *changes, *field;
    } bad[] = {
        {"{\"CODEBUDDY_MODELS\":\"b\",\"CODEBUDDY_PORT\":1}", "CODEBUDDY_PORT"},
        {"{\"CODEBUDDY_PASSWORD\":\"new\"}", "CODEBUDDY_PASSWORD"},
        {"{\"CODEBUDDY_PASSWORD_FILE\":null}", "CODEBUDDY_PASSWORD_FILE"},
        {"{\"no\":null}", "no"},
        {"{\"CODEBUDDY_MODELS\":[]}", "CODEBUDDY_MODELS"},
        {"{\"CODEBUDDY_MODELS\":1.5}", "CODEBUDDY_MODELS"},
        {"{\"CODEBUDDY_KEEPALIVE_S\":-1}", "CODEBUDDY_KEEPALIVE_S"},
        {"{\"CODEBUDDY_KEEPALIVE_S\":true}", "CODEBUDDY_KEEPALIVE_S"},
        {"{\"CODEBUDDY_MODELS\":\",\"}", ""},
    };
    struct world *world = *state;
    assert_int_equal(change(world, "{\"CODEBUDDY_MODELS\":\"a\"}"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(change(world, bad[i].changes), ERR_INVALID);
        assert_string_equal(world->problem.field, bad[i].field);
    }
    assert_string_equal(live_settings(world->live)->models, "a");
    assert_int_equal(reopen(world), 0);
    assert_string_equal(live_settings(world->live)->models, "a");
}

static void test_a_change_that_cannot_be_kept_does_not_hold(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdir(world->path, 0700), 0); /* nothing can be renamed onto it */
    assert_int_equal(change(world, "{\"CODEBUDDY_MODELS\":\"a\"}"), ERR_IO);
    assert_string_equal(live_settings(world->live)->models, world->start.models);
    assert_string_equal(shown(world, "CODEBUDDY_MODELS", "source"), "\"default\"");
    assert_int_equal(rmdir(world->path), 0);
}

static void test_broken_file_stops_the_start(void **state)
{
    static const char *const broken[] = {
        "",
        "[]",
        "{\"version\":1}",
        "{\"version\":9,\"settings\":{}}",
        "{\"version\":1,\"settings\":{\"CODEBUDDY_MODELS\":\"a\"}}",
        "{\"version\":1,\"settings\":{\"CODEBUDDY_KEEPALIVE_S\":{\"value\":\"0\"}}}",
        "{\"version\":1,\"settings\":{\"CODEBUDDY_API_ENDPOINT\":{\"value\":\"https://a\"}}}",
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        put_file(world, broken[i]);
        assert_int_equal(reopen(world), ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_changes_hold_over_a_restart_and_can_be_undone),
        T(test_what_is_expected_is_what_is_shown),
        T(test_lines_are_kept),
        T(test_descriptions),
        T(test_what_is_refused_changes_nothing),
        T(test_a_change_that_cannot_be_kept_does_not_hold),
        T(test_broken_file_stops_the_start),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
