/* SPDX-License-Identifier: MIT */
/* Under a service manager, and as a container's first process: the real program with fake children
 * (fake_child.c), a datagram socket in systemd's place, and a PID namespace of its own. */
#include "deploy/supervisor/testbed.h"

#include "proto/clock.h"
#include "proto/error.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024 };

/* ---- systemd's side of sd_notify ---- */

static int open_manager(struct testbed *bed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", bed->directory);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    testbed_set_variable(bed, "NOTIFY_SOCKET", address.sun_path);
    return fd;
}

static void receive(int fd, char *message)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    ssize_t length;

    assert_int_equal(poll(&poll_fd, 1, TESTBED_PATIENCE_MS), 1);
    length = recv(fd, message, MESSAGE_BYTES - 1, 0);
    assert_true(length > 0);
    message[length] = '\0';
}

/* The next message that is not about the watchdog and begins so; what comes before it is kept in `passed`. */
static void expect_told(int fd, const char *beginning, char *message, struct buffer *passed)
{
    int64_t deadline_ms = clock_now_ms() + TESTBED_PATIENCE_MS;

    do {
        assert_true(clock_now_ms() < deadline_ms);
        receive(fd, message);
        assert_int_equal(buffer_append(passed, message, strlen(message)), 0);
        assert_int_equal(buffer_append_char(passed, '\n'), 0);
    } while (strncmp(message, beginning, strlen(beginning)) != 0);
}

#define assert_not_passed(passed, text)                                                                      \
    assert_null(memmem((passed).data, (passed).length, text, strlen(text)))

static void a_manager_hears_how_we_do(void **state)
{
    struct testbed *bed = *state;
    int fd = open_manager(bed);
    char message[MESSAGE_BYTES];
    int64_t begun_us;
    struct buffer passed;

    buffer_init(&passed);
    testbed_write_file(bed, "credd", "never\n"); /* for two seconds, then it is started again */
    testbed_start(bed, SUPERVISOR_FAST);
    expect_told(fd, "STATUS=4 of 5 processes ready; credd-0 is starting", message, &passed);
    testbed_write_file(bed, "credd", "normal\n");
    expect_told(fd, "READY=1", message, &passed);
    assert_non_null(memmem(passed.data, passed.length, "STATUS=5 of 5 processes ready\n",
                           strlen("STATUS=5 of 5 processes ready\n")));
    testbed_wait_ready(bed);

    begun_us = clock_now_us();
    buffer_clear(&passed);
    kill(bed->pid, SIGHUP);
    expect_told(fd, "RELOADING=1\nMONOTONIC_USEC=", message, &passed);
    assert_true(testbed_number_in(span_str(message), "MONOTONIC_USEC=") >= begun_us);
    assert_not_passed(passed, "READY");
    expect_told(fd, "READY=1", message, &passed);
    expect(bed, " reloaded");

    testbed_write_file(bed, ".env", "CODEBUDDY_PORT=many\n"); /* refused: over at once */
    kill(bed->pid, SIGHUP);
    expect_told(fd, "RELOADING=1", message, &passed);
    expect_told(fd, "READY=1", message, &passed);

    buffer_clear(&passed);
    testbed_stop(bed, SIGTERM);
    expect_told(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=16000000", message, &passed); /* drain of 1 s and 15 s */
    assert_not_passed(passed, "READY");
    assert_not_passed(passed, "WATCHDOG"); /* nobody asked for it */
    buffer_fini(&passed);
    close(fd);
}

static void a_parked_process_stands_in_the_status(void **state)
{
    struct testbed *bed = *state;
    int fd = open_manager(bed);
    char message[MESSAGE_BYTES];
    struct buffer passed;

    buffer_init(&passed);
    testbed_write_file(bed, "credd", "config\n");
    testbed_start(bed, SUPERVISOR_FAST);
    expect_told(fd, "STATUS=4 of 5 processes ready; credd-0 is parked", message, &passed);
    assert_not_passed(passed, "READY=1");
    testbed_stop(bed, SIGTERM);
    buffer_fini(&passed);
    close(fd);
}

/* The watchdog hears us while the loop turns, not while it does not, and again after that. */
static void the_watchdog_hears_a_loop_that_turns(void **state)
{
    struct testbed *bed = *state;
    int fd = open_manager(bed);
    char message[MESSAGE_BYTES];
    struct buffer passed;
    siginfo_t info;

    buffer_init(&passed);
    testbed_set_variable(bed, "WATCHDOG_USEC", "300000");
    testbed_start_ready(bed, SUPERVISOR_FAST);
    for (int i = 0; i < 3; i++)
        expect_told(fd, "WATCHDOG=1", message, &passed);
    kill(bed->pid, SIGSTOP);
    assert_int_equal(waitid(P_PID, (id_t)bed->pid, &info, WSTOPPED), 0);
    while (recv(fd, message, sizeof(message), MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 400), 0);
    kill(bed->pid, SIGCONT);
    expect_told(fd, "WATCHDOG=1", message, &passed);
    testbed_stop(bed, SIGTERM);
    buffer_fini(&passed);
    close(fd);
}

static void a_watchdog_of_another_process_is_not_ours(void **state)
{
    struct testbed *bed = *state;
    int fd = open_manager(bed);
    char message[MESSAGE_BYTES];
    struct buffer passed;

    buffer_init(&passed);
    testbed_set_variable(bed, "WATCHDOG_USEC", "3000");
    testbed_set_variable(bed, "WATCHDOG_PID", "1");
    testbed_start_ready(bed, SUPERVISOR_FAST);
    testbed_stop(bed, SIGTERM);
    expect_told(fd, "STOPPING=1", message, &passed);
    assert_not_passed(passed, "WATCHDOG");
    buffer_fini(&passed);
    close(fd);
}

static void a_manager_that_is_away_is_no_trouble(void **state)
{
    static const char *const names[] = {"/nonexistent/socket", "@nobody-is-here", "vsock:2:1234", "relative",
                                        ""};
    struct testbed *bed = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        testbed_replace_variable(bed, "NOTIFY_SOCKET", names[i]);
        testbed_start_ready(bed, SUPERVISOR_FAST);
        testbed_stop(bed, SIGTERM);
    }
    expect_anywhere(bed, "WARNING", "manager_not_told", "No such file");
    expect_anywhere(bed, "WARNING", "manager_not_told", "Connection refused");
    expect_anywhere(bed, "WARNING", "manager_not_told", "NOTIFY_SOCKET cannot be used");
}

/* ---- as a container's first process ---- */

static bool skips_without_namespaces(void)
{
    if (testbed_can_be_first())
        return false;
    print_message(
        "SKIPPED: this system lets us make no PID namespace, so nothing was seen of a first process\n");
    return true;
}

static void the_first_process_reaps_orphans(void **state)
{
    struct testbed *bed = *state;

    if (skips_without_namespaces())
        skip();
    bed->is_first = true;
    testbed_set_variable(bed, "CODEBUDDY_LOG_LEVEL", "DEBUG");
    testbed_write_file(bed, "credd", "forks\n");
    testbed_start_ready(bed, SUPERVISOR_FAST);
    bed->cursor = 0;
    for (int i = 0; i < 3; i++)
        expect(bed, "DEBUG", "orphan_reaped");

    /* Its own children are libuv's to wait for, also in the midst of others. */
    testbed_write_file(bed, "gateway", "forks\n");
    expect_run(bed, 0, "reloaded", "reload");
    expect_anywhere(bed, "process_exited", "name=gateway-0");
    testbed_stop(bed, SIGTERM);
    expect(bed, "fake exits credd-0");
    expect(bed, "fake exits statsd-0");
}

static void the_first_process_hears_sigterm(void **state)
{
    struct testbed *bed = *state;

    if (skips_without_namespaces())
        skip();
    bed->is_first = true;
    testbed_start_ready(bed, SUPERVISOR_FAST);
    testbed_stop(bed, SIGTERM);
    expect(bed, " stopping by=SIGTERM");
    expect(bed, "fake exits gateway-0");
    expect(bed, "fake exits statsd-0");
    expect(bed, " stopped");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, testbed_set_up, testbed_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_manager_hears_how_we_do),
        TEST(a_parked_process_stands_in_the_status),
        TEST(the_watchdog_hears_a_loop_that_turns),
        TEST(a_watchdog_of_another_process_is_not_ours),
        TEST(a_manager_that_is_away_is_no_trouble),
        TEST(the_first_process_reaps_orphans),
        TEST(the_first_process_hears_sigterm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
