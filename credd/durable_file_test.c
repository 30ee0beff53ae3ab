/* SPDX-License-Identifier: MIT */
#include "credd/durable_file.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

static int directory_open(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/durable_test.XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int directory_close(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/f", directory);
    unlink(path);
    return durable_directory_prepare(directory) < 0 || rmdir(directory) < 0 ? -1 : 0; /* nothing is left */
}

static int put(enum durable_mode mode, const char *text, const char *was)
{
    struct durable_write write = {
        .directory = directory, .name = "f", .content = span_str(text), .mode = mode};
    durable_digest(span_str(was), write.read_digest);
    return durable_file_write(&write);
}

static void assert_content(const char *expected)
{
    struct buffer content = {0};
    assert_int_equal(durable_file_read(directory, "f", 1 << 20, &content), 0);
    assert_true(span_equals(buffer_span(&content), span_str(expected)));
    buffer_fini(&content);
}

static void test_modes(void **state)
{
    struct stat status;
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/f", directory);
    assert_int_equal(put(DURABLE_UPDATE, "x", ""), ERR_NOT_FOUND); /* what was deleted stays so */
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(put(DURABLE_CREATE, "one", ""), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(put(DURABLE_CREATE, "two", ""), ERR_EXISTS);
    assert_content("one");
    assert_int_equal(put(DURABLE_UPDATE, "two", "not one"), ERR_BUSY);
    assert_content("one");
    assert_int_equal(put(DURABLE_UPDATE, "two", "one"), 0);
    assert_content("two");
    assert_int_equal(put(DURABLE_PUT, "three", ""), 0);
    assert_content("three");
    assert_int_equal(durable_file_remove(directory, "f"), 0);
    assert_int_equal(durable_file_remove(directory, "f"), ERR_NOT_FOUND);
}

static void test_a_link_is_not_followed(void **state)
{
    char path[96], target[96];
    struct buffer content = {0};
    (void)state;
    snprintf(path, sizeof path, "%s/f", directory);
    snprintf(target, sizeof target, "%s/target", directory);
    int fd = open(target, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(durable_file_read(directory, "f", 100, &content), ERR_IO);
    assert_int_equal(put(DURABLE_UPDATE, "x", "mine"), ERR_BUSY);
    assert_int_equal(put(DURABLE_CREATE, "x", ""), ERR_EXISTS);
    buffer_fini(&content);
    assert_int_equal(durable_file_read(directory, "target", 100, &content), 0);
    assert_true(span_equals(buffer_span(&content), SPAN("mine")));
    buffer_fini(&content);
    unlink(target);
}

static void test_bounds(void **state)
{
    struct buffer content = {0};
    struct durable_write write = {.directory = "/nonexistent", .name = "f", .content = SPAN("x")};
    (void)state;
    assert_int_equal(durable_file_write(&write), ERR_IO);
    assert_int_equal(put(DURABLE_PUT, "0123456789", ""), 0);
    assert_int_equal(durable_file_read(directory, "f", 9, &content), ERR_TOO_LARGE);
    assert_int_equal(durable_file_read(directory, "g", 9, &content), ERR_NOT_FOUND);
    assert_int_equal(durable_file_read("/nonexistent", "f", 9, &content), ERR_NOT_FOUND);
    assert_int_equal(content.length, 0);
}

/* ---- off the loop ---- */

static void take_error(void *context, int error)
{
    *(int *)context = error;
}

static void test_jobs(void **state)
{
    uv_loop_t loop;
    int created = 1, again = 1, forgotten = 1;
    struct durable_write write = {
        .directory = directory, .name = "f", .content = SPAN("one"), .mode = DURABLE_CREATE};
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_non_null(durable_job_start(&loop, &write, take_error, &created));
    assert_int_equal(created, 1); /* not in the call */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(created, 0);
    assert_non_null(durable_job_start(&loop, &write, take_error, &again));
    write = (struct durable_write){.directory = directory, .name = "f", .content = SPAN("two")};
    struct durable_job *job = durable_job_start(&loop, &write, take_error, &forgotten);
    durable_job_forget(&job);
    assert_null(job);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(again, ERR_EXISTS);
    assert_int_equal(forgotten, 1);
    assert_content("two"); /* the write itself went on */
    write.content = SPAN("three");
    job = durable_job_start(&loop, &write, take_error, &forgotten);
    assert_int_equal(durable_job_finish(&job), 0);
    assert_content("three");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(forgotten, 1);
    uv_loop_close(&loop);
}

static void test_removal_off_the_loop(void **state)
{
    uv_loop_t loop;
    int first = 1, second = 1;
    const struct durable_write removal = {.directory = directory, .name = "f", .mode = DURABLE_REMOVE};
    (void)state;
    assert_int_equal(put(DURABLE_CREATE, "one", ""), 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_non_null(durable_job_start(&loop, &removal, take_error, &first));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_non_null(durable_job_start(&loop, &removal, take_error, &second));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(first, 0);
    assert_int_equal(second, ERR_NOT_FOUND);
    uv_loop_close(&loop);
}

/* ---- kill -9 ---- */

static int write_byte(int fd)
{
    return write(fd, "x", 1) == 1 ? 0 : -1;
}

enum { KILLS = 1000, SIZE = 20000 };

static char next_letter(char letter)
{
    return letter >= 'a' && letter < 'z' ? (char)(letter + 1) : 'a';
}

/* Each version is SIZE times one letter: a mixture or a short file would show. Says so once the first is
 * there. */
static void write_for_ever(enum durable_mode mode, int tell_fd)
{
    static char text[SIZE + 1];
    struct buffer was = {0};
    bool has_told = false;
    if (durable_file_read(directory, "f", 1 << 20, &was) < 0)
        _exit(3);
    char letter =
        next_letter(was.data[0]); /* never the one that is there: each life leaves another version */
    for (;;) {
        struct durable_write write = {.directory = directory, .name = "f", .mode = mode};
        durable_digest(buffer_span(&was), write.read_digest);
        memset(text, letter, SIZE);
        write.content = span_of(text, SIZE);
        if (durable_file_write(&write) < 0)
            _exit(4);
        if (!has_told && write_byte(tell_fd) < 0)
            _exit(6);
        has_told = true;
        buffer_clear(&was);
        if (buffer_append(&was, text, SIZE) < 0)
            _exit(5);
        letter = next_letter(letter);
    }
}

static void assert_whole(size_t *versions_seen)
{
    static char last;
    struct buffer content = {0};
    assert_int_equal(durable_file_read(directory, "f", 1 << 20, &content), 0);
    assert_int_equal(content.length, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(content.data[i], content.data[0]);
    *versions_seen += content.data[0] != last;
    last = content.data[0];
    buffer_fini(&content);
}

/* One life of a writer: killed at some moment of its second write or a later one. */
static void live_and_die(enum durable_mode mode)
{
    int status, ends[2];
    char told;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_for_ever(mode, ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &told, 1), 1);
    usleep(randombytes_uniform(2000)); /* the moment of death is the point, not a wait for something */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(ends[0]);
}

static void kill_a_thousand_times(enum durable_mode mode)
{
    static char text[SIZE + 1];
    size_t versions_seen = 0;
    memset(text, '-', SIZE);
    assert_int_equal(put(DURABLE_PUT, text, ""), 0);
    for (int i = 0; i < KILLS; i++) {
        live_and_die(mode);
        assert_whole(&versions_seen);
        if (i % 100 == 0)
            assert_int_equal(durable_directory_prepare(directory), 0);
    }
    print_message("%zu of %d kills left another version\n", versions_seen, KILLS);
    assert_true(versions_seen > KILLS / 20);
}

/* Credential files are written so. */
static void test_killed_a_thousand_times_in_updates(void **state)
{
    (void)state;
    kill_a_thousand_times(DURABLE_UPDATE);
}

/* keys.json, settings.json and credentials_state.json are. */
static void test_killed_a_thousand_times_in_puts(void **state)
{
    (void)state;
    kill_a_thousand_times(DURABLE_PUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, directory_open, directory_close)
        T(test_modes),
        T(test_a_link_is_not_followed),
        T(test_bounds),
        T(test_jobs),
        T(test_removal_off_the_loop),
        T(test_killed_a_thousand_times_in_updates),
        T(test_killed_a_thousand_times_in_puts),
#undef T
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
