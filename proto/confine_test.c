/* SPDX-License-Identifier: MIT */
/* What a confined process is refused, asked in a child of the test for each role: what was taken stays taken.
 */
#include "proto/confine.h"
#include "proto/error.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 }; /* the sanitizers' own needs are left to the process: confine_calls.c */
#else
enum { IS_SANITIZED = 0 };
#endif

enum { ALL_GIVEN = CONFINE_HAS_SOCKETS | CONFINE_HAS_SUPERVISOR };

struct place {
    char root[64], data[96], creds[96], run[96], foreign[96], foreign_file[128];
    char session_key[128], ledger[128]; /* credd's, and statsd's */
    struct settings settings;
};

static char *variable(const char *name, const char *value)
{
    char *text = NULL;
    assert_true(asprintf(&text, "CODEBUDDY_%s=%s", name, value) > 0);
    return text;
}

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* What both keep beside one another. */
static void make_data(const struct place *place)
{
    char path[128];
    assert_int_equal(mkdir(place->data, 0700), 0);
    snprintf(path, sizeof path, "%s/credd", place->data);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/statsd", place->data);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file(place->session_key);
    make_file(place->ledger);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    snprintf(place->root, sizeof place->root, "/tmp/confine.XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->data, sizeof place->data, "%s/data", place->root);
    snprintf(place->creds, sizeof place->creds, "%s/creds", place->root);
    snprintf(place->run, sizeof place->run, "%s/run", place->root);
    snprintf(place->foreign, sizeof place->foreign, "%s/foreign", place->root);
    snprintf(place->foreign_file, sizeof place->foreign_file, "%s/secret", place->foreign);
    snprintf(place->session_key, sizeof place->session_key, "%s/credd/session.key", place->data);
    snprintf(place->ledger, sizeof place->ledger, "%s/statsd/usage.db", place->data);
    assert_int_equal(mkdir(place->run, 0700) | mkdir(place->foreign, 0700), 0);
    make_file(place->foreign_file);
    char *environment[] = {variable("PASSWORD", "p"), variable("DATA_DIR", place->data),
                           variable("CREDS_DIR", place->creds), variable("RUN_DIR", place->run), NULL};
    assert_int_equal(settings_load(&place->settings, environment, "/nowhere/.env"), 0);
    for (char **one = environment; *one; one++)
        free(*one);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    char path[160];
    const char *const left[] = {"data/statsd/usage.db",
                                "data/statsd/made",
                                "data/statsd",
                                "data/credd/session.key",
                                "data/credd/made",
                                "data/credd",
                                "data/made",
                                "data",
                                "run/own.sock",
                                "run",
                                "foreign/secret",
                                "foreign",
                                "creds",
                                ""};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "%s/%s", place->root, left[i]);
        remove(path);
    }
    settings_fini(&place->settings);
    free(place);
    return 0;
}

/* ---- asked in the child ---- */

static bool refused(long result)
{
    return result < 0 && (errno == EPERM || errno == EACCES);
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool refused_to_open(const char *path)
{
    return !can_open(path, O_RDONLY) && errno == EACCES && !can_open(path, O_WRONLY) && errno == EACCES &&
           unlink(path) < 0 && errno == EACCES;
}

static bool can_make_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int bind_socket(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/own.sock", directory);
    int result = bind(fd, (struct sockaddr *)&address, sizeof address), reason = errno;
    close(fd);
    errno = reason;
    return result;
}

static void *do_nothing(void *argument)
{
    return argument;
}

static bool threads_still_start(void)
{
    pthread_t thread;
    void *result = NULL;
    int here;
    return pthread_create(&thread, NULL, do_nothing, &here) == 0 && pthread_join(thread, &result) == 0 &&
           result == &here;
}

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "line %d: " #condition ": %s\n", __LINE__, strerror(errno));                     \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void must_be_refused_calls(bool programs)
{
    char program[] = "/bin/true", *arguments[] = {program, NULL};
    char memory[4096];
    MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    MUST(prctl(PR_GET_SECCOMP) == 2);
    MUST(refused(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)));
    MUST(refused(syscall(SYS_bpf, 0, NULL, 0)));
    MUST(refused(syscall(SYS_io_uring_setup, 1, memory)));
    MUST(refused(syscall(SYS_unshare, CLONE_NEWUSER)));
    MUST(refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
    MUST(refused(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL)));
    MUST(refused(syscall(SYS_setuid, getuid())));
    MUST(refused(ioctl(STDIN_FILENO, TIOCSTI, "x")));
    MUST(refused(syscall(SYS_ioctl, STDIN_FILENO, TIOCSTI | 1UL << 32, "x")));
    MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
         MAP_FAILED);
    void *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(data != MAP_FAILED);
    MUST(refused(mprotect(data, 4096, PROT_READ | PROT_EXEC)));
    MUST(mprotect(data, 4096, PROT_READ) == 0);
    MUST(!can_make_socket(AF_PACKET) && !can_make_socket(AF_VSOCK) && !can_make_socket(AF_ALG));
    MUST(refused(syscall(SYS_socket, AF_PACKET | 1UL << 32, SOCK_DGRAM, 0)));
    MUST(can_make_socket(AF_UNIX));
    MUST(threads_still_start());
    if (!IS_SANITIZED)
        MUST(refused(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)));
    if (programs) {
        pid_t pid = fork();
        if (pid == 0) {
            execv(program, arguments);
            _exit(9);
        }
        int status;
        MUST(waitpid(pid, &status, 0) == pid && status == 0);
    } else if (!IS_SANITIZED) {
        MUST(refused(execv(program, arguments)));
        MUST(refused(fork()));
    }
}

/* `role`: whose own part of the data directory it may write to, or NULL. */
static void must_have_narrow_disk(const struct place *place, const char *role, bool makes_sockets)
{
    char path[128];
    MUST(!can_open(place->foreign_file, O_RDONLY) && errno == EACCES);
    MUST(!can_open(place->foreign_file, O_WRONLY) && errno == EACCES);
    MUST(!can_open("/tmp", O_RDONLY | O_DIRECTORY) && errno == EACCES);
    MUST(unlink(place->foreign_file) < 0 && errno == EACCES);
    MUST(can_open("/dev/null", O_RDWR) && can_open("/proc/self/statm", O_RDONLY));
    MUST(!can_open("/proc/1/environ", O_RDONLY));
    snprintf(path, sizeof path, "%s/made", place->data);
    MUST(!can_open(path, O_RDWR | O_CREAT) && !can_open(place->data, O_RDONLY | O_DIRECTORY));
    if (role) {
        snprintf(path, sizeof path, "%s/%s/made", place->data, role);
        MUST(can_open(path, O_RDWR | O_CREAT));
    }
    MUST((bind_socket(place->run) == 0) == makes_sockets);
    MUST(refused(bind_socket(place->foreign)));
    MUST(confine_disk_version() < 6 || refused(kill(getppid(), 0)));
}

static bool can_bind(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    int reason = errno;
    if (fd >= 0)
        close(fd);
    errno = reason;
    return bound;
}

static bool connect_is_refused(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = connect(fd, (struct sockaddr *)&address, sizeof address), reason = errno;
    close(fd);
    return result < 0 && (reason == EACCES || reason == EPERM);
}

/* ---- the tests: `ask` runs in a confined child ---- */

static void in_child(struct place *place, const char *role, unsigned given,
                     void (*ask)(const struct place *place))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct confine_needs needs;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        confine_needs_of(&needs, role, &place->settings, given);
        MUST(confine_apply(&needs, &place->settings) ==
             (!needs.calls.programs && confine_disk_version() > 0));
        ask(place);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool has_landlock(int version)
{
    return confine_disk_version() >= version;
}

static void ask_gateway(const struct place *place)
{
    must_be_refused_calls(false);
    if (has_landlock(1))
        must_have_narrow_disk(place, NULL, true);
    MUST(!has_landlock(1) || !can_open("/etc/passwd", O_RDONLY)); /* it resolves nothing */
    MUST(!can_make_socket(AF_INET) && !can_make_socket(AF_INET6) && !can_make_socket(AF_NETLINK));
}

static void test_gateway(void **state)
{
    in_child(*state, "gateway", ALL_GIVEN, ask_gateway);
}

static void ask_worker(const struct place *place)
{
    must_be_refused_calls(false);
    if (has_landlock(1))
        must_have_narrow_disk(place, NULL, false);
    MUST(can_open("/etc/passwd", O_RDONLY));
    MUST(can_make_socket(AF_INET) && can_make_socket(AF_INET6));
    MUST(!connect_is_refused(9));
    MUST(!has_landlock(4) || (!can_bind(0) && errno == EACCES));
}

static void test_worker(void **state)
{
    in_child(*state, "upstream-worker", CONFINE_HAS_SUPERVISOR, ask_worker);
}

static void ask_credd(const struct place *place)
{
    char path[128];
    snprintf(path, sizeof path, "%s/made", place->creds);
    must_be_refused_calls(false);
    if (has_landlock(1))
        must_have_narrow_disk(place, "credd", true);
    MUST(can_open(path, O_RDWR | O_CREAT) && unlink(path) == 0);
    MUST(can_open(place->session_key, O_RDWR));
    MUST(!has_landlock(1) || refused_to_open(place->ledger));
    MUST(can_make_socket(AF_INET));
}

static void test_credd(void **state)
{
    make_data(*state);
    in_child(*state, "credd", CONFINE_HAS_SUPERVISOR, ask_credd);
}

static void ask_statsd(const struct place *place)
{
    char path[128];
    snprintf(path, sizeof path, "%s/made", place->creds);
    must_be_refused_calls(false);
    if (has_landlock(1))
        must_have_narrow_disk(place, "statsd", true);
    MUST(!has_landlock(1) || !can_open(path, O_RDWR | O_CREAT));
    MUST(can_open(place->ledger, O_RDWR));
    MUST(!has_landlock(1) || refused_to_open(place->session_key));
    MUST(!can_make_socket(AF_INET));
}

static void test_statsd(void **state)
{
    struct place *place = *state;
    assert_int_equal(mkdir(place->creds, 0700), 0);
    make_data(place);
    in_child(place, "statsd", ALL_GIVEN, ask_statsd);
}

static void ask_over_tcp(const struct place *place)
{
    char health[128];
    snprintf(health, sizeof health, "%s/gateway-0.health", place->run);
    MUST(can_open(health, O_WRONLY | O_CREAT) && unlink(health) == 0);
    MUST(!can_open(place->foreign_file, O_RDONLY) || !has_landlock(1));
    MUST(!has_landlock(4) || connect_is_refused(9));
    MUST(!connect_is_refused(7001) && !connect_is_refused(7002));
    MUST(!has_landlock(4) || (!can_bind(7001) && errno == EACCES));
    MUST(can_bind(0)); /* its port is 0: any free one */
    MUST(can_open("/etc/passwd", O_RDONLY));
}

/* Alone in a container: it listens for itself, and its links are at these ports and no other. */
static void test_gateway_over_tcp(void **state)
{
    struct place *place = *state;
    const char *reason;
    assert_int_equal(settings_set(&place->settings, SPAN("CODEBUDDY_PORT"), SPAN("0"), &reason), 0);
    assert_int_equal(
        settings_set(&place->settings, SPAN("CODEBUDDY_CREDD_ENDPOINT"), SPAN("tcp://credd:7001"), &reason),
        0);
    assert_int_equal(
        settings_set(&place->settings, SPAN("CODEBUDDY_STATSD_ENDPOINT"), SPAN("tcp://[::1]:7002"), &reason),
        0);
    in_child(place, "gateway", 0, ask_over_tcp);
}

static void ask_supervisor(const struct place *place)
{
    must_be_refused_calls(true);
    MUST(can_open(place->foreign_file, O_RDONLY));
    static struct confine_needs needs; /* as its children do */
    confine_needs_of(&needs, "gateway", &place->settings, ALL_GIVEN);
    confine_apply(&needs, &place->settings);
    ask_gateway(place);
}

static void test_supervisor_and_child(void **state)
{
    in_child(*state, "supervisor", ALL_GIVEN, ask_supervisor);
}

static void test_off(void **state)
{
    struct place *place = *state;
    const char *reason;
    assert_int_equal(settings_set(&place->settings, SPAN("CODEBUDDY_CONFINE"), SPAN("0"), &reason), 0);
    struct confine_needs *needs = calloc(1, sizeof *needs);
    assert_non_null(needs);
    confine_needs_of(needs, "gateway", &place->settings, ALL_GIVEN);
    assert_false(confine_apply(needs, &place->settings));
    assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    free(needs);
}

/* As a kernel before 5.13 answers, or one whose Landlock is not switched on. */
static void take_landlock_away(int reason)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    MUST(filter &&
         seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)reason), SYS_landlock_create_ruleset, 0) == 0);
    MUST(seccomp_load(filter) == 0);
    seccomp_release(filter);
}

static void ask_without_landlock(struct place *place, int reason)
{
    static struct confine_needs needs;
    take_landlock_away(reason);
    MUST(confine_disk_version() == 0);
    confine_needs_of(&needs, "statsd", &place->settings, ALL_GIVEN);
    MUST(confine_disk_apply(&needs.disk) == -reason);
    MUST(!confine_apply(&needs, &place->settings));
    must_be_refused_calls(false);
    MUST(can_open(place->ledger, O_RDWR) && can_open(place->foreign_file, O_RDONLY));
}

static void test_without_landlock(void **state)
{
    struct place *place = *state;
    static const int reasons[] = {ENOSYS, EOPNOTSUPP, EPERM};
    make_data(place);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            ask_without_landlock(place, reasons[i]);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_descriptors_and_dumps(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit cores;
        for (int fd = 3; fd < 12; fd++)
            MUST(dup2(STDERR_FILENO, fd) == fd);
        setenv("LISTEN_FDS", "2", 1);
        setenv("SUPERVISOR_FD", "6", 1);
        confine_begin();
        MUST(is_open(2) && is_open(3) && is_open(4) && is_open(5) && is_open(6));
        MUST(!is_open(7) && !is_open(11));
        unsetenv("SUPERVISOR_FD");
        confine_begin();
        MUST(is_open(2) && is_open(4) && !is_open(5) && !is_open(6));
        setenv("LISTEN_PID", "1", 1); /* for somebody else */
        confine_begin();
        MUST(is_open(2) && !is_open(3));
        MUST(prctl(PR_GET_DUMPABLE) == 0);
        MUST(getrlimit(RLIMIT_CORE, &cores) == 0 && cores.rlim_cur == 0 && cores.rlim_max == 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_forgets_the_password(void **state)
{
    struct place *place = *state;
    char text[] = "CODEBUDDY_PASSWORD=hidden";
    assert_int_equal(putenv(text), 0);
    confine_forget_password(&place->settings);
    assert_null(getenv("CODEBUDDY_PASSWORD"));
    assert_null(memmem(text, sizeof text, "hidden", 6));
    assert_true(secret_is_empty(&place->settings.password));
}

static void test_all_calls_have_numbers(void **state)
{
    (void)state;
    assert_int_equal(confine_calls_unknown(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gateway, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_statsd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gateway_over_tcp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_supervisor_and_child, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_landlock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_off, set_up, tear_down),
        cmocka_unit_test(test_descriptors_and_dumps),
        cmocka_unit_test_setup_teardown(test_forgets_the_password, set_up, tear_down),
        cmocka_unit_test(test_all_calls_have_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
