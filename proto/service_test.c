/* SPDX-License-Identifier: MIT */
#include "proto/service.h"
#include "proto/error.h"
#include "proto/listen.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct settings settings;
    struct service *service;
    int supervisor; /* our end of SUPERVISOR_FD */
    struct turn_hook *hook;
    char order[64];
    int looks, drains, turns;
    uv_poll_t poll; /* of `supervisor` */
};

static int world_start(void **state)
{
    char *const environment[] = {(char[]){"CODEBUDDY_PASSWORD=p"}, (char[]){"CODEBUDDY_LOG_LEVEL=ERROR"},
                                 (char[]){"CODEBUDDY_DRAIN_S=0"}, NULL};
    struct world *world = calloc(1, sizeof *world);
    char number[16];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(number, sizeof number, "%d", pair[1]);
    setenv("SUPERVISOR_FD", number, 1);
    assert_int_equal(settings_load(&world->settings, environment, "/nonexistent/.env"), 0);
    world->service = service_new("credd", 3, &world->settings);
    assert_non_null(world->service);
    assert_null(getenv("SUPERVISOR_FD")); /* not for grandchildren */
    world->supervisor = pair[0];
    *state = world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *world = *state;
    service_remove_hook(world->service, &world->hook);
    service_free(&world->service);
    assert_null(world->service);
    settings_fini(&world->settings);
    if (world->supervisor >= 0)
        close(world->supervisor);
    free(world);
    return 0;
}

static void note(struct world *world, char c)
{
    size_t length = strlen(world->order);
    if (length + 1 < sizeof world->order)
        world->order[length] = c;
}

static void deferred_second(void *context)
{
    note(context, 'b');
}

static void deferred_first(void *context)
{
    struct world *world = context;
    note(world, 'a');
    service_defer(world->service, deferred_second, world);
}

static bool hook_work(void *context)
{
    struct world *world = context;
    note(world, 'h');
    return ++world->turns < 3; /* no sleep until the third turn */
}

static void test_the_end_of_a_turn(void **state)
{
    struct world *world = *state;
    world->hook = service_at_turn_end(world->service, hook_work, world);
    service_defer(world->service, deferred_first, world);
    uv_run(service_loop(world->service), UV_RUN_NOWAIT);
    assert_string_equal(world->order,
                        "hahbh"); /* hooks see what deferred work queued, within the same turn */
    assert_string_equal(service_name(world->service), "credd-3");
}

static void drain_begins(void *context)
{
    struct world *world = context;
    world->drains++;
    service_release(world->service);
}

static void test_a_drain_ends_when_nothing_holds_it(void **state)
{
    struct world *world = *state;
    char said[256] = "";
    service_on_drain(world->service, drain_begins, world);
    service_hold(world->service);
    service_ready(world->service);
    service_drain(world->service);
    service_drain(world->service); /* idempotent */
    assert_int_equal(service_run(world->service), EXIT_OK);
    assert_int_equal(world->drains, 1);
    assert_true(recv(world->supervisor, said, sizeof said - 1, MSG_DONTWAIT) > 0);
    assert_string_equal(said, "ready\ndraining\n");
}

static void drain_noted(void *context)
{
    ((struct world *)context)->drains++;
}

static void test_a_held_drain_is_cut_at_its_limit(void **state)
{
    struct world *world = *state; /* CODEBUDDY_DRAIN_S=0 */
    service_on_drain(world->service, drain_noted, world);
    service_hold(world->service);
    service_drain(world->service);
    assert_int_equal(service_run(world->service), EXIT_OK);
    assert_int_equal(world->drains, 1);
}

static void test_the_supervisors_end_drains(void **state)
{
    struct world *world = *state;
    service_on_drain(world->service, drain_noted, world);
    close(world->supervisor);
    world->supervisor = -1;
    assert_int_equal(service_run(world->service), EXIT_OK);
    assert_int_equal(world->drains, 1);
}

static bool needed_thrice(void *context)
{
    struct world *world = context;
    assert_int_equal(world->drains, 0);
    return ++world->looks < 4;
}

static void test_an_orphan_goes_on_while_it_is_needed(void **state)
{
    struct world *world = *state;
    service_on_drain(world->service, drain_noted, world);
    service_on_orphaned(world->service, needed_thrice, world);
    close(world->supervisor);
    world->supervisor = -1;
    assert_int_equal(service_run(world->service), EXIT_OK);
    assert_int_equal(world->looks, 4);
    assert_int_equal(world->drains, 1);
}

static void test_sigterm_drains(void **state)
{
    struct world *world = *state;
    service_on_drain(world->service, drain_noted, world);
    kill(getpid(), SIGTERM);
    assert_int_equal(service_run(world->service), EXIT_OK);
    assert_int_equal(world->drains, 1);
}

static int64_t forty_two(void *context)
{
    (void)context;
    return 42;
}

static void stop_loop(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    uv_poll_stop(poll);
    uv_stop(poll->loop);
}

static void test_the_heartbeat_carries_gauges(void **state)
{
    struct world *world = *state;
    char said[256] = "";
    service_report_gauge(world->service, "streams", forty_two, NULL);
    service_ready(world->service);
    assert_int_equal(recv(world->supervisor, said, sizeof said - 1, 0), 6);
    assert_string_equal(said, "ready\n");
    uv_poll_init(service_loop(world->service), &world->poll, world->supervisor);
    uv_poll_start(&world->poll, UV_READABLE, stop_loop);
    uv_run(service_loop(world->service), UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&world->poll, NULL);
    assert_true(recv(world->supervisor, said, sizeof said - 1, MSG_DONTWAIT) > 0);
    assert_memory_equal(said, "alive lag_ms=", 13);
    assert_non_null(strstr(said, " streams=42\n"));
}

static void test_sockets_are_inherited_by_name(void **state)
{
    struct listen_set set;
    (void)state;
    int fd = listen_open("127.0.0.1", 0);
    assert_true(fd >= 0);
    assert_in_range(listen_port(fd), 1, 65535);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "http:ops", 1);
    setenv("LISTEN_PID", "1", 1); /* for somebody else */
    listen_set_inherit(&set);
    assert_int_equal(set.count, 0);
    unsetenv("LISTEN_PID");
    int kept[2] = {fcntl(3, F_DUPFD_CLOEXEC, 10),
                   fcntl(4, F_DUPFD_CLOEXEC, 10)}; /* what the process has there */
    dup2(fd, 3);
    dup2(fd, 4);
    listen_set_inherit(&set);
    assert_int_equal(listen_set_take(&set, "ops"), 4);
    assert_int_equal(listen_set_take(&set, "ops"), -1); /* taken */
    assert_int_equal(listen_set_take(&set, "none"), -1);
    assert_null(getenv("LISTEN_FDS"));
    assert_true(fcntl(4, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(4, F_GETFL) & O_NONBLOCK);
    listen_set_close(&set);
    assert_int_equal(fcntl(3, F_GETFD), -1); /* what nobody took is closed */
    for (int i = 0; i < 2; i++)
        if (kept[i] >= 0) {
            dup2(kept[i], 3 + i);
            close(kept[i]);
        }
    close(fd);
    assert_int_equal(listen_open("no such host.invalid", 1), -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        T(test_the_end_of_a_turn),
        T(test_a_drain_ends_when_nothing_holds_it),
        T(test_a_held_drain_is_cut_at_its_limit),
        T(test_the_supervisors_end_drains),
        T(test_an_orphan_goes_on_while_it_is_needed),
        T(test_sigterm_drains),
        T(test_the_heartbeat_carries_gauges),
        cmocka_unit_test(test_sockets_are_inherited_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
