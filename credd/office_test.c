/* SPDX-License-Identifier: MIT */
/* The office, asked for more than a disk can take at once; on a loop of its own, without a daemon. */
#include "credd/changes.h"
#include "credd/office.h"
#include "proto/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 100 };

static struct {
    char directory[64];
    uv_loop_t loop;
    struct settings settings;
    struct live *live;
    struct calls *calls;
    struct office *office;
    int made, refused, others;
    uint32_t retry_after_s;
    struct call *held;
} world;

static void take_reply(void *owner, void *peer, uint64_t request, const struct msg_reply *reply)
{
    (void)owner;
    (void)peer;
    (void)request;
    world.made += reply->status == 201;
    world.refused += reply->status == 503;
    world.others += reply->status != 201 && reply->status != 503;
    if (reply->status != 503)
        return;
    world.retry_after_s = reply->retry_after_s;
    assert_non_null(memmem(reply->body.data, reply->body.length, "\"overloaded\"", strlen("\"overloaded\"")));
}

static void changed(void *context)
{
    (void)context;
}

/* A question that is not answered while others come. */
static void hold(void *owner, struct call *call, const json_t *arguments)
{
    (void)owner;
    (void)arguments;
    world.held = call;
}

static void ask(const char *method, const char *arguments)
{
    char body[128];
    snprintf(body, sizeof body, "{\"actor\":\"tester\",\"arguments\":%s}", arguments);
    const struct msg_call call = {span_str(method), span_str(body)};
    calls_take(world.calls, &world, 1, &call);
}

static int world_open(void **state)
{
    static const struct call_method methods[] = {{"hold", hold, ""}, {NULL, NULL, NULL}};
    char password[] = "CODEBUDDY_PASSWORD=p";
    char *const environment[] = {password, NULL};
    int error;
    (void)state;
    memset(&world, 0, sizeof world);
    snprintf(world.directory, sizeof world.directory, "/tmp/office_test.XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(settings_load(&world.settings, environment, "/nonexistent"), 0);
    world.live = live_new(&world.settings);
    world.calls = calls_new(take_reply, NULL);
    world.office = office_open(world.directory, world.live, &error);
    assert_non_null(world.office);
    assert_int_equal(office_serve(world.office, &world.loop, world.calls, changed, NULL), 0);
    assert_int_equal(calls_add(world.calls, methods, NULL), 0);
    return 0;
}

static int world_close(void **state)
{
    static const char *const files[] = {KEYS_FILE, KEY_PACES_FILE, "session.key"};
    char path[128];
    (void)state;
    office_close(&world.office);
    calls_free(&world.calls);
    live_free(&world.live);
    settings_fini(&world.settings);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", world.directory, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(world.directory), 0);
    return 0;
}

static void test_changes_that_wait_for_the_disk_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        ask("keys.create", "{\"name\":\"n\"}");
    assert_int_equal(world.refused, MANY - CHANGES_MAX); /* at once */
    assert_int_equal(world.retry_after_s, 1);
    assert_int_equal(world.made, 0);
    office_save(world.office); /* lets them go first */
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.made, CHANGES_MAX);
    assert_int_equal(keys_count(office_keys(world.office)), CHANGES_MAX);
    assert_false(office_is_busy(world.office));
    ask("keys.create", "{\"name\":\"there is room again\"}");
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.made, CHANGES_MAX + 1);
    assert_int_equal(world.refused + world.others, MANY - CHANGES_MAX);
}

static void test_open_questions_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < CALLS_MAX_OPEN; i++)
        ask("hold", "{}");
    assert_int_equal(world.refused, 0);
    ask("keys.list", "{}");
    assert_int_equal(world.refused, 1);
    assert_int_equal(world.retry_after_s, 1);
    call_reply(world.held, 201, json_object());
    ask("keys.list", "{}");
    assert_int_equal(world.refused, 1);
    assert_int_equal(world.others, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes_that_wait_for_the_disk_are_bounded, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(test_open_questions_are_bounded, world_open, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
