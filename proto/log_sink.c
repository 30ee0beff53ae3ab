/* SPDX-License-Identifier: MIT */
#include "proto/log_sink.h"
#include "proto/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GATHER_BYTES = 8 << 10, /* two pieces: more does not make a write(2) cheaper */
    GATHER_MS = 50,         /* nobody who follows a log sees a difference */
    FINISH_MS = 1000
};

enum sink_kind { SINK_PLAIN, SINK_OWN, SINK_SOCKET, SINK_ASKED /* with poll(2) before each write */ };

static struct {
    int fd;
    enum sink_kind kind;
    bool is_open, is_buffered;
    bool is_mid_line; /* the last byte written did not end a line */
    bool is_torn;     /* and the rest of that line is lost */
    char pending[LOG_SINK_BYTES];
    size_t start, end; /* of what waits */
    int64_t waits_since_ms;
    uint64_t lost_count;
} sink = {.fd = STDERR_FILENO, .kind = SINK_ASKED};
/* Taken by what log_sink.h names, and by nothing else. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void guard_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        int null_fd = open("/dev/null", O_RDWR); /* the lowest free one: this */
        if (null_fd > STDERR_FILENO)
            close(null_fd);
    }
}

static void open_sink(void)
{
    struct stat status;
    if (sink.is_open)
        return;
    sink.is_open = true;
    guard_standard_descriptors();
    if (fstat(STDERR_FILENO, &status) < 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        sink.kind = SINK_SOCKET;
    } else if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            sink.fd = fd;
            sink.kind = SINK_OWN;
        }
    } else {
        sink.kind = SINK_PLAIN;
    }
}

void log_sink_open(void)
{
    pthread_mutex_lock(&lock);
    open_sink();
    pthread_mutex_unlock(&lock);
}

static bool is_writable(int wait_ms)
{
    struct pollfd poll_fd = {.fd = sink.fd, .events = POLLOUT};
    return poll(&poll_fd, 1, wait_ms) == 1;
}

static ssize_t write_some(const char *data, size_t length)
{
    ssize_t count;
    do {
        if (sink.kind == SINK_SOCKET) {
            count = send(sink.fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (sink.kind == SINK_ASKED && !is_writable(0)) {
            errno = EAGAIN;
            count = -1;
        } else {
            count = write(sink.fd, data, length);
        }
    } while (count < 0 && errno == EINTR);
    return count;
}

/* Whole lines that are not torn on their way: as many as fit into PIPE_BUF, or one that is longer. */
static size_t piece_length(void)
{
    const char *start = sink.pending + sink.start;
    size_t length = sink.end - sink.start;
    if (sink.kind == SINK_PLAIN || length <= PIPE_BUF)
        return length;
    const char *newline = memrchr(start, '\n', PIPE_BUF);
    if (!newline)
        newline = memchr(start, '\n', length);
    return newline ? (size_t)(newline - start) + 1 : length;
}

static uint64_t count_lines(void)
{
    uint64_t count = 0;
    for (size_t i = sink.start; i < sink.end; i++)
        if (sink.pending[i] == '\n')
            count++;
    return count;
}

static void drop_pending(void)
{
    sink.is_torn = sink.is_mid_line;
    sink.lost_count += count_lines();
    sink.start = sink.end = 0;
}

static void flush(void)
{
    if (sink.is_torn && sink.start < sink.end && write_some("\n", 1) == 1)
        sink.is_torn = sink.is_mid_line = false;
    while (sink.start < sink.end) {
        ssize_t count = write_some(sink.pending + sink.start, piece_length());
        if (count > 0) {
            sink.start += (size_t)count;
            sink.is_mid_line = sink.pending[sink.start - 1] != '\n';
        } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return; /* the reader is slow: later */
        } else {
            drop_pending(); /* closed, full, broken: there is nowhere to complain */
            return;
        }
    }
    sink.start = sink.end = 0;
}

void log_sink_set_buffered(bool is_buffered)
{
    pthread_mutex_lock(&lock);
    sink.is_buffered = is_buffered;
    if (!is_buffered)
        flush();
    pthread_mutex_unlock(&lock);
}

static bool make_room(size_t length)
{
    if (sink.end + length <= LOG_SINK_BYTES)
        return true;
    flush();
    if (sink.start > 0) {
        memmove(sink.pending, sink.pending + sink.start, sink.end - sink.start);
        sink.end -= sink.start;
        sink.start = 0;
    }
    return sink.end + length <= LOG_SINK_BYTES;
}

static void put(struct span line, bool at_once)
{
    if (!make_room(line.length)) {
        sink.lost_count++;
        return;
    }
    if (sink.start == sink.end)
        sink.waits_since_ms = sink.is_buffered ? clock_now_ms() : 0;
    memcpy(sink.pending + sink.end, line.data, line.length);
    sink.end += line.length;
    if (at_once || !sink.is_buffered)
        flush();
}

void log_sink_put(struct span line, bool at_once)
{
    pthread_mutex_lock(&lock);
    put(line, at_once);
    pthread_mutex_unlock(&lock);
}

static int64_t flush_due(int64_t now_ms)
{
    size_t length = sink.end - sink.start;
    if (length == 0)
        return -1;
    int64_t left_ms = sink.waits_since_ms + GATHER_MS - now_ms;
    if (length >= GATHER_BYTES || left_ms <= 0) {
        flush();
        if (sink.start == sink.end)
            return -1;
        sink.waits_since_ms = now_ms;
        return GATHER_MS;
    }
    return left_ms;
}

int64_t log_sink_flush_due(int64_t now_ms)
{
    pthread_mutex_lock(&lock);
    int64_t wait_ms = flush_due(now_ms);
    pthread_mutex_unlock(&lock);
    return wait_ms;
}

uint64_t log_sink_take_lost(void)
{
    pthread_mutex_lock(&lock);
    bool is_behind = LOG_SINK_BYTES - sink.end < LOG_SINK_BYTES / 2;
    uint64_t count = is_behind ? 0 : sink.lost_count;
    sink.lost_count -= count;
    pthread_mutex_unlock(&lock);
    return count;
}

void log_sink_finish(void)
{
    int64_t end_ms = clock_now_ms() + FINISH_MS;
    pthread_mutex_lock(&lock);
    flush();
    for (int64_t left_ms = FINISH_MS; sink.start < sink.end && left_ms > 0; left_ms = end_ms - clock_now_ms())
        if (is_writable((int)left_ms))
            flush();
    pthread_mutex_unlock(&lock);
}
