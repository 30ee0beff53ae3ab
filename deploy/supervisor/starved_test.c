/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/starved.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void lines_of_proc_are_read(void **state)
{
    static const char *const broken[] = {"", "1", "1 (a", "1 (a)", "1 (a) ", ") "};
    struct starved_sample sample;

    (void)state;
    starved_sample_parse("7 (a) b) R 1) D 1 1 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 9 9 3 8", 100,
                         &sample);
    assert_int_equal(sample.state, 'D'); /* the name is `a) b) R 1` */
    assert_int_equal(sample.cpu_ms, 3000);
    assert_int_equal(sample.resident_bytes, 3 * sysconf(_SC_PAGESIZE));
    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
        starved_sample_parse(broken[i], 100, &sample);
        assert_int_equal(sample.state, 0);
    }
    starved_sample_parse("1 (a) S 1 2", 100, &sample); /* cut */
    assert_int_equal(sample.state, 'S');
    assert_int_equal(sample.cpu_ms, 0);
}

static void real_processes_are_seen(void **state)
{
    struct starved_sample sample;
    siginfo_t info;
    pid_t pid;
    int fd = starved_open(getpid());

    (void)state;
    starved_sample_read(fd, &sample);
    assert_int_equal(sample.state, 'R');
    assert_true(sample.resident_bytes > 0);
    close(fd);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    fd = starved_open(pid);
    kill(pid, SIGSTOP);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
    starved_sample_read(fd, &sample);
    assert_int_equal(sample.state, 'T');
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    starved_sample_read(fd, &sample);
    assert_int_equal(sample.state, 0);
    close(fd);
    assert_int_equal(starved_open(pid), -1);
    starved_sample_read(-1, &sample);
    assert_int_equal(sample.state, 0);
}

static void who_is_starved(void **state)
{
    static const struct {
        char now;
        int64_t cpu_ms;
        bool starved;
    } rows[] = {
        {'R', 0, true},     /* wants to run and does not */
        {'R', 4999, true},  /* in a crowd */
        {'R', 5000, false}, /* runs, and says nothing: it hangs in a loop */
        {'R', 10000, false}, {'D', 0, true},  {'D', 9000, true},
        {'S', 0, false}, /* waits for what never comes */
        {'T', 0, false},     {'Z', 0, false}, {0, 0, false},
    };
    const struct starved_sample then = {.state = 'S', .cpu_ms = 700};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct starved_sample now = {.state = rows[i].now, .cpu_ms = then.cpu_ms + rows[i].cpu_ms};
        assert_int_equal(starved_judge(&then, &now, 10000), rows[i].starved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_proc_are_read),
        cmocka_unit_test(real_processes_are_seen),
        cmocka_unit_test(who_is_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
