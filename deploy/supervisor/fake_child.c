/* SPDX-License-Identifier: MIT */
/* fake_child - stands in for every kind of process in whole_test.c. Its first word comes from the file
 * $FAKE_DIR/ROLE (none: normal), read at each start, so that a test changes what the next start does:
 *
 *   normal    ready, alive every 50 ms, drains on SIGTERM
 *   crash     exits 1 at once                     config    exits 78 at once
 *   never     lives, but is never ready           mute      ready, then never another line
 *   deaf      mute, and ignores SIGABRT           stubborn  alive, but ignores SIGTERM
 *   chatty    normal, but says nonsense first     linger    normal; orphaned, it waits for $FAKE_DIR/fifo
 *   kernel    normal, but in the kernel's hands (state D) from its first line until $FAKE_DIR/fifo is opened
 *   forks     normal, but first leaves behind three processes without a parent, which end at once
 *
 * What happens to it goes to standard error, a line each: `fake EVENT ROLE-INSTANCE …`. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t terminated;
static char name[64];

static void on_terminate(int number)
{
    (void)number;
    terminated = 1;
}

static void say(const char *event, const char *detail)
{
    char line[512];
    int length = snprintf(line, sizeof(line), "fake %s %s%s%s\n", event, name, *detail ? " " : "", detail);

    if (write(STDERR_FILENO, line, (size_t)length) != length)
        _exit(99);
}

static bool tell(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static void read_mode(const char *role, char *mode, int size)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_DIR"), role);
    snprintf(mode, (size_t)size, "normal");
    file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(mode, size, file))
        mode[0] = '\0';
    mode[strcspn(mode, "\n")] = '\0';
    fclose(file);
}

static const char *fd_kind(int fd)
{
    int listening = 0, type = 0;
    socklen_t length = sizeof(listening);
    struct stat status;

    if (fstat(fd, &status) < 0)
        return NULL;
    if (S_ISREG(status.st_mode))
        return "file";
    if (!S_ISSOCK(status.st_mode))
        return "other";
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length);
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    return listening ? "listener" : "socket";
}

/* What the supervisor handed down: 3=listener … LISTEN_FDS names SUPERVISOR_FD, session, nofile. */
static void say_inheritance(void)
{
    char detail[400] = "";
    const char *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");

    for (int fd = 3; fd < 256; fd++)
        if (fd_kind(fd))
            snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail), "%d=%s ", fd, fd_kind(fd));
    snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail),
             "listen=%s:%s supervisor=%s session=%s", fds ? fds : "-", names ? names : "-",
             getenv("SUPERVISOR_FD"), getsid(0) == getpid() ? "own" : "shared");
    say("starts", detail);
}

static void wait_for_fifo(void)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/fifo", getenv("FAKE_DIR"));
    do
        fd = open(path, O_RDONLY | O_CLOEXEC); /* until the test opens it too */
    while (fd < 0 && errno == EINTR);
}

/* Whoever waits for a child as vfork(2) does is in state D. */
static void wait_in_kernel(void)
{
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0) {
        wait_for_fifo();
        _exit(0);
    }
}

/* Grandchildren whose parent is gone before they are. */
static void leave_orphans(void)
{
    for (int i = 0; i < 3; i++) {
        int gate[2];
        char byte;
        pid_t pid;

        if (pipe(gate) < 0 || (pid = fork()) < 0)
            _exit(99);
        if (pid == 0 && fork() == 0) {
            close(gate[1]);
            _exit(read(gate[0], &byte, 1) != 0); /* until its grandparent has seen its parent's end */
        }
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
        close(gate[0]);
        close(gate[1]);
    }
}

/* Lives until SIGTERM or the supervisor's end. */
static void live(int fd, bool beats, bool lingers)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (!terminated) {
        poll(&poll_fd, 1, beats ? 50 : -1);
        if (poll_fd.revents) {
            say("orphaned", "");
            if (lingers)
                wait_for_fifo();
            break;
        }
        if (beats && !terminated)
            tell(fd, "alive lag_ms=0 streams=3\n");
    }
    if (terminated)
        say("terminated", "");
    tell(fd, "draining\n");
    say("exits", "");
}

int main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};
    struct sigaction terminate = {.sa_handler = on_terminate};
    const char *role = strrchr(argv[0], '/') + strlen("/codebuddy2api-");
    char mode[32];
    const char *supervisor_fd = getenv("SUPERVISOR_FD");
    int fd;

    if (argc != 3 || strcmp(argv[1], "--instance") != 0 || !supervisor_fd || !getenv("FAKE_DIR"))
        return 98;
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(120); /* whatever becomes of the test, nothing is left behind */
    snprintf(name, sizeof(name), "%s-%s", role, argv[2]);
    fd = (int)strtol(supervisor_fd, NULL, 10);
    read_mode(role, mode, sizeof(mode));
    say_inheritance();
    if (strcmp(mode, "crash") == 0)
        return 1;
    if (strcmp(mode, "config") == 0)
        return 78;
    if (strcmp(mode, "forks") == 0)
        leave_orphans();
    if (strcmp(mode, "deaf") == 0)
        signal(SIGABRT, SIG_IGN);
    if (strcmp(mode, "stubborn") == 0)
        signal(SIGTERM, SIG_IGN);
    else
        sigaction(SIGTERM, &terminate, NULL);
    if (strcmp(mode, "chatty") == 0)
        tell(fd, "hello\n\nalive x\nalive =\001\377\nre");
    if (strcmp(mode, "never") != 0 && !tell(fd, strcmp(mode, "chatty") == 0 ? "\nready\n" : "ready\n"))
        return 97;
    if (strcmp(mode, "kernel") == 0)
        wait_in_kernel();
    live(fd, strcmp(mode, "mute") != 0 && strcmp(mode, "deaf") != 0 && strcmp(mode, "never") != 0,
         strcmp(mode, "linger") == 0);
    return 0;
}
