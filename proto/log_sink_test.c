/* SPDX-License-Identifier: MIT */
/* Standard error of every kind, each in a process of its own: nothing blocks it and nothing kills it. */
#include "proto/log.h"
#include "proto/log_sink.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FINE = 7, PATIENCE_S = 20 };

/* Runs `body` with `fd` as its standard error (-1: closed). It must come to its end, and soon. */
static void in_child(int fd, void (*body)(void))
{
    pid_t pid = fork();
    int status = 0;
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_S);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        if (fd < 0)
            close(STDERR_FILENO);
        else
            dup2(fd, STDERR_FILENO);
        log_init("test", LOG_LEVEL_INFO);
        body();
        _exit(FINE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FINE);
}

static void read_all(int fd, struct buffer *text)
{
    ssize_t count;
    do {
        assert_int_equal(buffer_reserve(text, 65536), 0);
        count = read(fd, text->data + text->length, 65536 - 1);
        text->length += count > 0 ? (size_t)count : 0;
    } while (count > 0);
    text->data[text->length] = '\0';
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

static void say_three(void)
{
    for (int i = 0; i < 3; i++)
        log_info(NULL, "hello", LOG_INT("i", i));
    log_sink_finish();
}

static void say_much(void) /* more than any pipe and our own memory hold */
{
    static char text[1000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 2000; i++)
        log_info(NULL, "much", LOG_INT("i", i), LOG_SPAN("text", span_of(text, sizeof text)));
}

static void test_a_closed_one_is_nobodys(void **state)
{
    (void)state;
    in_child(-1, say_three);
}

static void open_a_file(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    if (fd <= STDERR_FILENO)
        _exit(1);
    say_three();
    if (lseek(fd, 0, SEEK_END) != 0)
        _exit(2);
}

/* A file that is opened later must not get the log into it. */
static void test_a_closed_one_is_not_opened_again(void **state)
{
    (void)state;
    in_child(-1, open_a_file);
}

static void test_a_full_device(void **state)
{
    int fd = open("/dev/full", O_WRONLY);
    (void)state;
    in_child(fd, say_much);
    close(fd);
}

static void test_a_reader_that_left(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    in_child(ends[1], say_much);
    close(ends[1]);
}

static void say_much_and_finish(void)
{
    say_much();
    log_sink_finish(); /* gives up after a second */
}

static void assert_nonblocking(int fd, bool is_expected)
{
    assert_int_equal((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, is_expected);
}

/* What is read afterwards are whole lines, without a gap up to where they were lost. */
static void check_reader_that_stands_still(int reader, int writer)
{
    struct buffer text = {0};
    in_child(writer, say_much_and_finish);
    assert_nonblocking(writer, false); /* others write there too */
    close(writer);
    read_all(reader, &text);
    size_t length = strcspn(text.data, "\n");
    assert_in_range(length, 1000, 1100);
    for (size_t i = 0, at = 0; at + length < text.length && i < 10; i++, at += length + 1) {
        char expected[32];
        snprintf(expected, sizeof expected, " much i=%zu text=xxx", i);
        assert_non_null(strstr(text.data + at, expected));
    }
    buffer_fini(&text);
    close(reader);
}

static void test_a_pipe_that_nobody_reads(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    check_reader_that_stands_still(ends[0], ends[1]);
}

static void test_a_socket_that_nobody_reads(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_reader_that_stands_still(ends[0], ends[1]);
}

static int slow_reader = -1;

static bool has_said_loss;

static void read_it_empty(void)
{
    static char scratch[1 << 16];
    ssize_t count;
    while ((count = read(slow_reader, scratch, sizeof scratch - 1)) > 0) {
        scratch[count] = '\0';
        has_said_loss = has_said_loss || strstr(scratch, " log_lines_lost count=");
    }
}

/* Fills the pipe, then reads it empty itself: the pipe, then what waited, a pipe's fill at each line. */
static void lose_some(void)
{
    say_much();
    for (int i = 0; i < 100; i++) {
        read_it_empty();
        log_info(NULL, "again");
    }
    read_it_empty();
}

static void say_what_was_lost(void)
{
    char text[4096];
    lose_some();
    log_error(NULL, "end");
    ssize_t length = read(slow_reader, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = '\0';
    if (!strstr(text, " end\n") || !has_said_loss || log_sink_take_lost() != 0)
        _exit(1);
}

static void test_after_a_loss_all_is_well_again(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    slow_reader = ends[0];
    in_child(ends[1], say_what_was_lost);
    close(ends[0]);
    close(ends[1]);
}

static int file_fd = -1;

/* A file that is full for a while: half a line may be there, the next line is a line again. */
static void fill_a_file(void)
{
    struct rlimit limit = {.rlim_cur = 2500, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 50; i++)
        log_info(NULL, "filling", LOG_STR("text", "................................................"));
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    log_info(NULL, "room_again");
    log_sink_finish();
}

static void test_a_full_disk(void **state)
{
    struct buffer text = {0};
    (void)state;
    file_fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND, 0600);
    assert_true(file_fd >= 0);
    in_child(file_fd, fill_a_file);
    assert_int_equal(lseek(file_fd, 0, SEEK_SET), 0);
    read_all(file_fd, &text);
    assert_non_null(strstr(text.data, " log_lines_lost count="));
    const char *again = strstr(text.data, " room_again\n");
    assert_non_null(again);
    size_t filled = count_of(text.data, " filling "), ends = count_of(text.data, "....\n");
    assert_in_range(filled, 5, 40);
    assert_in_range(ends, filled - 1, filled);
    buffer_fini(&text);
    close(file_fd);
}

static void gather(void)
{
    log_sink_set_buffered(true);
    for (int i = 0; i < 10; i++)
        log_info(NULL, "gathered", LOG_INT("i", i));
    if (lseek(file_fd, 0, SEEK_END) != 0)
        _exit(1);                            /* written before its time */
    int64_t wait_ms = log_sink_flush_due(0); /* long ago: as if no time had passed */
    if (wait_ms <= 0 || lseek(file_fd, 0, SEEK_END) != 0)
        _exit(2);
    if (log_sink_flush_due(INT64_MAX / 2) != -1 || lseek(file_fd, 0, SEEK_END) == 0)
        _exit(3);
    off_t before = lseek(file_fd, 0, SEEK_END);
    log_info(NULL, "gathered", LOG_INT("i", 10));
    if (lseek(file_fd, 0, SEEK_END) != before)
        _exit(4);
    log_error(NULL, "urgent"); /* takes the others along */
    log_info(NULL, "gathered", LOG_INT("i", 11));
    log_sink_set_buffered(false);
}

static void test_lines_are_gathered_in_order(void **state)
{
    struct buffer text = {0};
    (void)state;
    file_fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND, 0600);
    in_child(file_fd, gather);
    lseek(file_fd, 0, SEEK_SET);
    read_all(file_fd, &text);
    assert_int_equal(count_of(text.data, " gathered i="), 12);
    assert_true(strstr(text.data, "i=10") < strstr(text.data, "urgent"));
    assert_true(strstr(text.data, "i=11") > strstr(text.data, "urgent"));
    buffer_fini(&text);
    close(file_fd);
}

enum { SAYING_THREADS = 4, LINES_OF_A_THREAD = 500 };

static void *say_lines(void *number)
{
    static const char text[] = "................................................";
    for (int i = 0; i < LINES_OF_A_THREAD; i++)
        log_info(NULL, "said", LOG_INT("thread", *(int *)number), LOG_INT("i", i), LOG_STR("text", text));
    return NULL;
}

/* As a daemon does: its loop writes at the end of turns, and changes the level, while a pool logs. */
static void say_by_threads(void)
{
    pthread_t threads[SAYING_THREADS];
    int numbers[SAYING_THREADS];
    log_sink_set_buffered(true);
    for (int i = 0; i < SAYING_THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, say_lines, &numbers[i]) != 0)
            _exit(1);
    }
    for (int i = 0; i < LINES_OF_A_THREAD; i++) {
        log_sink_flush_due(INT64_MAX / 2);
        log_set_level(i % 2 == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    }
    for (int i = 0; i < SAYING_THREADS; i++)
        pthread_join(threads[i], NULL);
    log_sink_set_buffered(false);
}

static void test_threads_do_not_mix_lines(void **state)
{
    struct buffer text = {0};
    char line[64];
    (void)state;
    file_fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND, 0600);
    assert_true(file_fd >= 0);
    in_child(file_fd, say_by_threads);
    lseek(file_fd, 0, SEEK_SET);
    read_all(file_fd, &text);
    assert_int_equal(count_of(text.data, "\n"), SAYING_THREADS * LINES_OF_A_THREAD);
    assert_int_equal(count_of(text.data, "....\n"), SAYING_THREADS * LINES_OF_A_THREAD);
    for (int i = 0; i < SAYING_THREADS * LINES_OF_A_THREAD; i++) {
        snprintf(line, sizeof line, " req=- said thread=%d i=%d text=....", i / LINES_OF_A_THREAD,
                 i % LINES_OF_A_THREAD);
        assert_int_equal(count_of(text.data, line), 1);
    }
    buffer_fini(&text);
    close(file_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_closed_one_is_nobodys),
        cmocka_unit_test(test_a_closed_one_is_not_opened_again),
        cmocka_unit_test(test_a_full_device),
        cmocka_unit_test(test_a_reader_that_left),
        cmocka_unit_test(test_a_pipe_that_nobody_reads),
        cmocka_unit_test(test_a_socket_that_nobody_reads),
        cmocka_unit_test(test_after_a_loss_all_is_well_again),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_lines_are_gathered_in_order),
        cmocka_unit_test(test_threads_do_not_mix_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
