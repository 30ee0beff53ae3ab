/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/testbed.h"

#include "proto/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 256 };

void testbed_write_file(const struct testbed *bed, const char *name, const char *text)
{
    char path[PATH_BYTES + 64];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", bed->directory, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

void testbed_set_variable(struct testbed *bed, const char *name, const char *value)
{
    assert_true(bed->variables_count < TESTBED_VARIABLES_MAX);
    assert_true(asprintf(&bed->environment[bed->variables_count], "%s=%s", name, value) > 0);
    bed->variables_count++;
}

void testbed_unset_variable(struct testbed *bed, const char *name)
{
    size_t length = strlen(name);

    for (int i = 0; i < bed->variables_count; i++) {
        if (strncmp(bed->environment[i], name, length) != 0 || bed->environment[i][length] != '=')
            continue;
        free(bed->environment[i]);
        bed->environment[i] = bed->environment[--bed->variables_count];
        bed->environment[bed->variables_count] = NULL;
        return;
    }
}

void testbed_replace_variable(struct testbed *bed, const char *name, const char *value)
{
    testbed_unset_variable(bed, name);
    testbed_set_variable(bed, name, value);
}

static void make_fakes(const struct testbed *bed)
{
    static const char *const roles[] = {"statsd", "credd", "gateway", "upstream-worker"};
    char path[PATH_BYTES + 64];

    snprintf(path, sizeof(path), "%s/bin", bed->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/bin/codebuddy2api-%s", bed->directory, roles[i]);
        assert_int_equal(symlink(FAKE_CHILD, path), 0);
    }
}

int testbed_set_up(void **state)
{
    struct testbed *bed = calloc(1, sizeof(*bed));
    char path[PATH_BYTES + 16];

    assert_non_null(bed);
    bed->log_fd = bed->ready_fd = bed->terminal_fd = bed->first_fd = -1;
    snprintf(bed->directory, sizeof(bed->directory), "/tmp/supervisor-test-XXXXXX");
    assert_non_null(mkdtemp(bed->directory));
    make_fakes(bed);
    snprintf(path, sizeof(path), "%s/bin", bed->directory);
    testbed_set_variable(bed, "SUPERVISOR_BIN_DIR", path);
    testbed_set_variable(bed, "FAKE_DIR", bed->directory);
    testbed_set_variable(bed, "CODEBUDDY_PASSWORD", "not-to-be-seen");
    testbed_set_variable(bed, "CODEBUDDY_RUN_DIR", "run");
    testbed_set_variable(bed, "CODEBUDDY_DATA_DIR", "state/data");
    testbed_set_variable(bed, "CODEBUDDY_PORT", "0");
    testbed_set_variable(bed, "CODEBUDDY_OPS_PORT", "0");
    testbed_set_variable(bed, "CODEBUDDY_WORKERS", "2");
    testbed_set_variable(bed, "CODEBUDDY_DRAIN_S", "1");
    *state = bed;
    return 0;
}

/* In the child: a session of its own on the bed's terminal. */
static void take_terminal(const struct testbed *bed)
{
    int fd;

    if (bed->terminal_fd < 0)
        return;
    setsid();
    fd = open(ptsname(bed->terminal_fd), O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0)
        _exit(95);
}

/* A namespace of processes, for which one who is not root needs one of users as well. */
static bool make_namespace(void)
{
    char text[64];
    uid_t uid = geteuid();

    if (unshare(CLONE_NEWPID) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
        return false;
    int length = snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, (size_t)length) == length;
    close(fd);
    return is_written;
}

bool testbed_can_be_first(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(make_namespace() ? 0 : 1);
    return testbed_wait_exit(pid) == 0;
}

/* In the child: goes on in the first process of a new namespace, and waits for that one in this. */
static void become_first(int pid_fd)
{
    pid_t pid;
    int status;

    if (!make_namespace())
        _exit(93);
    pid = fork();
    if (pid == 0)
        return;
    if (pid < 0 || write(pid_fd, &pid, sizeof(pid)) != sizeof(pid) || waitpid(pid, &status, 0) != pid)
        _exit(92);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 91);
}

/* Runs `program` in the bed's directory and environment; its output goes to `output_fd`. */
static pid_t launch(struct testbed *bed, const char *program, const char *const *arguments, int output_fd)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    take_terminal(bed);
    if (bed->first_fd >= 0)
        become_first(bed->first_fd);
    if (chdir(bed->directory) < 0 || dup2(output_fd, STDOUT_FILENO) < 0 || dup2(output_fd, STDERR_FILENO) < 0)
        _exit(97);
    execve(program, (char *const *)(uintptr_t)arguments, bed->environment);
    _exit(96);
}

void testbed_start(struct testbed *bed, const char *program)
{
    const char *arguments[] = {program, NULL};
    int log_pipe[2], ready_pipe[2];
    int first_pipe[2];
    char number[16];

    assert_int_equal(pipe2(first_pipe, O_CLOEXEC), 0);
    bed->first_fd = bed->is_first ? first_pipe[1] : -1;
    assert_int_equal(pipe2(log_pipe, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready_pipe, O_CLOEXEC), 0);
    fcntl(ready_pipe[1], F_SETFD, 0);
    snprintf(number, sizeof(number), "%d", ready_pipe[1]);
    testbed_set_variable(bed, "SUPERVISOR_READY_FD", number);
    if (bed->log_fd >= 0)
        close(bed->log_fd);
    if (bed->ready_fd >= 0)
        close(bed->ready_fd);
    bed->pid = launch(bed, program, arguments, log_pipe[1]);
    testbed_unset_variable(bed, "SUPERVISOR_READY_FD");
    if (bed->is_first)
        assert_int_equal(read(first_pipe[0], &bed->first_pid, sizeof(pid_t)), sizeof(pid_t));
    bed->first_fd = -1;
    close(first_pipe[0]);
    close(first_pipe[1]);
    bed->log_fd = log_pipe[0];
    bed->ready_fd = ready_pipe[0];
    close(log_pipe[1]);
    close(ready_pipe[1]);
}

/* ---- waiting for lines ---- */

static bool read_more(struct testbed *bed, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = bed->log_fd, .events = POLLIN};
    int64_t left_ms = deadline_ms - clock_now_ms();
    char part[4096];
    ssize_t length;

    if (left_ms <= 0 || poll(&poll_fd, 1, (int)left_ms) <= 0)
        return false;
    length = read(bed->log_fd, part, sizeof(part));
    return length > 0 && buffer_append(&bed->log, part, (size_t)length) == 0;
}

static bool line_has(struct span line, const char *const *words)
{
    for (; *words; words++)
        if (!memmem(line.data, line.length, *words, strlen(*words)))
            return false;
    return true;
}

/* The first line from the cursor on that has all words; moves the cursor behind it. */
static bool find_line(struct testbed *bed, const char *const *words, struct span *found)
{
    const char *newline;

    for (size_t at = bed->cursor; at < bed->log.length; at = (size_t)(newline - bed->log.data) + 1) {
        newline = memchr(bed->log.data + at, '\n', bed->log.length - at);
        if (!newline)
            return false;
        *found = span_of(bed->log.data + at, (size_t)(newline - bed->log.data) - at);
        if (!line_has(*found, words))
            continue;
        bed->cursor = (size_t)(newline - bed->log.data) + 1;
        return true;
    }
    return false;
}

struct span testbed_expect_words(struct testbed *bed, const char *const *words)
{
    int64_t deadline_ms = clock_now_ms() + TESTBED_PATIENCE_MS;
    struct span line;

    while (!find_line(bed, words, &line)) {
        if (read_more(bed, deadline_ms))
            continue;
        print_error("never saw a line with:");
        for (; *words; words++)
            print_error(" '%s'", *words);
        print_error("\nin (from the cursor on):\n%.*s\n", (int)(bed->log.length - bed->cursor),
                    bed->log.data + bed->cursor);
        fail();
    }
    return line;
}

int64_t testbed_number_in(struct span line, const char *key)
{
    char text[512];
    const char *at;

    snprintf(text, sizeof(text), "%.*s", (int)line.length, line.data);
    at = strstr(text, key);
    assert_non_null(at);
    return strtoll(at + strlen(key), NULL, 10);
}

void testbed_wait_ready(struct testbed *bed)
{
    struct pollfd poll_fd = {.fd = bed->ready_fd, .events = POLLIN};
    char line[64] = "";

    assert_int_equal(poll(&poll_fd, 1, TESTBED_PATIENCE_MS), 1);
    assert_true(read(bed->ready_fd, line, sizeof(line) - 1) > 0);
    assert_memory_equal(line, "ready ", strlen("ready "));
    bed->http_port = (int)testbed_number_in(span_str(line), "http=");
    bed->ops_port = (int)testbed_number_in(span_str(line), "ops=");
}

void testbed_start_ready(struct testbed *bed, const char *program)
{
    testbed_start(bed, program);
    testbed_wait_ready(bed);
    expect(bed, "INFO supervisor", " ready api=");
}

bool testbed_someone_waits_for(const struct testbed *bed, const char *name)
{
    char path[PATH_BYTES + 64], line[256], inode[32];
    struct stat status;
    bool found = false;
    FILE *locks = fopen("/proc/locks", "re");

    snprintf(path, sizeof(path), "%s/%s", bed->directory, name);
    if (stat(path, &status) < 0 || !locks)
        _exit(94); /* called by a child of the test */
    snprintf(inode, sizeof(inode), ":%ju ", (uintmax_t)status.st_ino);
    while (!found && fgets(line, sizeof(line), locks))
        found = strstr(line, "-> ") && strstr(line, inode);
    fclose(locks);
    return found;
}

int testbed_wait_exit(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void testbed_drain_log(struct testbed *bed)
{
    while (read_more(bed, clock_now_ms() + TESTBED_PATIENCE_MS))
        ;
}

void testbed_stop(struct testbed *bed, int signal_number)
{
    kill(bed->is_first ? bed->first_pid : bed->pid, signal_number);
    assert_int_equal(testbed_wait_exit(bed->pid), 0);
    bed->pid = 0;
    testbed_drain_log(bed);
    assert_null(memmem(bed->log.data, bed->log.length, "not-to-be-seen", strlen("not-to-be-seen")));
}

int testbed_tear_down(void **state)
{
    struct testbed *bed = *state;
    const char *arguments[] = {"rm", "-rf", bed->directory, NULL};

    if (bed->pid > 0) { /* a test failed: its children see the pipe close */
        if (bed->first_pid > 0)
            kill(bed->first_pid, SIGKILL);
        kill(bed->pid, SIGKILL);
        testbed_wait_exit(bed->pid);
    }
    close(bed->log_fd);
    close(bed->ready_fd);
    close(bed->terminal_fd);
    bed->terminal_fd = -1;
    testbed_wait_exit(launch(bed, "/bin/rm", arguments, STDERR_FILENO));
    buffer_fini(&bed->log);
    while (bed->variables_count > 0)
        free(bed->environment[--bed->variables_count]);
    free(bed);
    return 0;
}

/* ---- the command line ---- */

/* Returns the exit status; the output, NUL-terminated, is the caller's. */
static int run_words(struct testbed *bed, struct buffer *output, const char *const *words)
{
    int output_pipe[2];
    char part[4096];
    ssize_t length;
    pid_t pid;

    assert_int_equal(pipe2(output_pipe, O_CLOEXEC), 0);
    pid = launch(bed, words[0], words, output_pipe[1]);
    close(output_pipe[1]);
    buffer_init(output);
    while ((length = read(output_pipe[0], part, sizeof(part))) > 0)
        assert_int_equal(buffer_append(output, part, (size_t)length), 0);
    close(output_pipe[0]);
    assert_int_equal(buffer_append_char(output, '\0'), 0);
    return testbed_wait_exit(pid);
}

void testbed_expect_run(struct testbed *bed, int exit_status, const char *text, const char *const *words)
{
    struct buffer output;
    int status = run_words(bed, &output, words);

    if (status != exit_status || !strstr(output.data, text))
        print_error("exit %d, output: %s\n", status, output.data);
    assert_int_equal(status, exit_status);
    assert_non_null(strstr(output.data, text));
    buffer_fini(&output);
}

json_t *testbed_status_of(struct testbed *bed, const char *name)
{
    const char *const words[] = {SUPERVISOR_REAL, "status", "--json", NULL};
    struct buffer output;
    json_t *status, *process, *found = NULL;
    size_t i;

    run_words(bed, &output, words);
    status = json_loads(output.data, 0, NULL);
    json_array_foreach (json_object_get(status, "processes"), i, process) {
        if (strcmp(json_string_value(json_object_get(process, "name")), name) == 0)
            found = json_incref(process);
    }
    json_decref(status);
    buffer_fini(&output);
    return found;
}

int64_t testbed_status_number(struct testbed *bed, const char *name, const char *key)
{
    json_t *process = testbed_status_of(bed, name);
    int64_t value = json_integer_value(json_object_get(process, key));

    assert_non_null(process);
    json_decref(process);
    return value;
}

void testbed_assert_status_text(struct testbed *bed, const char *name, const char *key, const char *text)
{
    json_t *process = testbed_status_of(bed, name);

    assert_non_null(process);
    assert_string_equal(json_string_value(json_object_get(process, key)), text);
    json_decref(process);
}
