/* SPDX-License-Identifier: MIT */
/* What the watchdog hears when the loop turns and all the same something is wrong; and how that is found. */
#include "deploy/supervisor/notify.h"
#include "deploy/supervisor/tree.h"

#include "proto/bytes.h"

#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool healthy;
static unsigned asked_count;

static bool is_healthy(void *context)
{
    uv_loop_t *loop = context;

    if (++asked_count % 3 == 0)
        uv_stop(loop);
    return healthy;
}

/* Binds an abstract address of the kernel's choice and says it as NOTIFY_SOCKET does. */
static int open_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    char name[sizeof(address.sun_path) + 1] = "@";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    memcpy(name + 1, address.sun_path + 1, length - offsetof(struct sockaddr_un, sun_path) - 1);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static unsigned count_received(int fd, const char *text)
{
    char message[256];
    unsigned count = 0;
    ssize_t length;

    while ((length = recv(fd, message, sizeof(message), 0)) >= 0) {
        assert_true(span_equals(span_of(message, (size_t)length), span_str(text)));
        count++;
    }
    return count;
}

static void no_heartbeat_for_one_who_is_not_well(void **state)
{
    uv_loop_t loop;
    const struct notify_options options = {is_healthy, &loop};
    int fd = open_manager();

    (void)state;
    setenv("WATCHDOG_USEC", "30000", 1);
    unsetenv("WATCHDOG_PID");
    uv_loop_init(&loop);
    struct notify *notify = notify_open(&loop, &options);
    healthy = true;
    uv_run(&loop, UV_RUN_DEFAULT); /* until it was asked three times */
    assert_int_equal(count_received(fd, "WATCHDOG=1"), 3);
    healthy = false;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(count_received(fd, "WATCHDOG=1"), 0);
    notify_close(&notify);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(fd);
}

static void a_status_is_said_when_it_changes(void **state)
{
    uv_loop_t loop;
    const struct notify_options options = {is_healthy, &loop};
    char text[2048];
    int fd = open_manager();

    (void)state;
    unsetenv("WATCHDOG_USEC");
    uv_loop_init(&loop);
    struct notify *notify = notify_open(&loop, &options);
    notify_status(notify, "one");
    notify_status(notify, "one");
    assert_int_equal(count_received(fd, "STATUS=one"), 1);
    notify_status(notify, "two");
    assert_int_equal(count_received(fd, "STATUS=two"), 1);
    memset(text, 'x', sizeof(text) - 1); /* cut, not torn */
    text[sizeof(text) - 1] = '\0';
    notify_status(notify, text);
    notify_status(notify, text);
    assert_true(recv(fd, text, sizeof(text), 0) > 256);
    assert_true(recv(fd, text, sizeof(text), 0) < 0);
    notify_close(&notify);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(fd);
}

static void do_nothing(void *context)
{
    (void)context;
}

static void do_nothing_either(void *context, bool whole)
{
    (void)context, (void)whole;
}

/* Programs that are not there: all back off for 100 ms, and the loop that should start them again stands. */
static void a_deadline_that_is_forgotten_is_seen(void **state)
{
    uv_loop_t loop;
    const char *const variables[] = {NULL};
    const struct tree_options options = {.directory = "/nonexistent",
                                         .gateways_count = 1,
                                         .workers_count = 1,
                                         .http_fd = -1,
                                         .ops_fd = -1,
                                         .lock_fd = -1,
                                         .variables = variables,
                                         .limits = supervise_limits_default,
                                         .on_change = do_nothing,
                                         .on_ready = do_nothing,
                                         .on_reloaded = do_nothing_either,
                                         .on_gone = do_nothing};

    (void)state;
    uv_loop_init(&loop);
    struct tree *tree = tree_new(&loop, &options);
    tree_start(tree);
    assert_true(tree_is_tended(tree, 60000));
    poll(NULL, 0,
         (int)supervise_limits_default.backoff_first_ms + 20); /* the passing of time is what is tested */
    assert_false(tree_is_tended(tree, 10));
    assert_true(tree_is_tended(tree, 3600000));
    tree_stop(tree, true);
    tree_free(&tree);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_heartbeat_for_one_who_is_not_well),
        cmocka_unit_test(a_status_is_said_when_it_changes),
        cmocka_unit_test(a_deadline_that_is_forgotten_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
