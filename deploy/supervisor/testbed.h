/* SPDX-License-Identifier: MIT */
/* testbed - for whole_test.c: one supervisor with its directory, environment and log, and what a test does
 * with it. Whatever goes wrong in here fails the test. What is waited for is a line of the log, which the
 * supervisor and its children share. */
#ifndef SUPERVISOR_TESTBED_H
#define SUPERVISOR_TESTBED_H

#include "proto/bytes.h"

#include <jansson.h>
#include <sys/types.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TESTBED_PATIENCE_MS = 20000, TESTBED_DIRECTORY_BYTES = 64, TESTBED_VARIABLES_MAX = 24 };

struct testbed {
    char directory[TESTBED_DIRECTORY_BYTES]; /* working directory: run/, state/, bin/, the fakes' modes */
    char *environment[TESTBED_VARIABLES_MAX + 1]; /* owned NAME=VALUE */
    int variables_count;
    pid_t pid; /* 0: not running */
    int log_fd, ready_fd;
    int first_fd;    /* of testbed.c */
    bool is_first;   /* the next supervisor is the first process (PID 1) of a namespace of its own */
    pid_t first_pid; /* of that one, as seen from here; `pid` is then a process that waits for it */
    int terminal_fd; /* the master of a terminal that the next supervisor gets; -1: none */
    int http_port, ops_port;
    struct buffer log; /* all that it and its children wrote */
    size_t cursor;     /* where the next expect() looks from */
};

/* cmocka's set-up and tear-down: `*state` becomes a struct testbed. */
int testbed_set_up(void **state);
int testbed_tear_down(void **state);

/* A file in the directory; named as a role, it holds the mode of that role's next fakes (fake_child.c). */
void testbed_write_file(const struct testbed *bed, const char *name, const char *text);
void testbed_set_variable(struct testbed *bed, const char *name, const char *value);
void testbed_unset_variable(struct testbed *bed, const char *name);
void testbed_replace_variable(struct testbed *bed, const char *name, const char *value);

/* False if the system does not let us make a PID namespace. */
bool testbed_can_be_first(void);
void testbed_start(struct testbed *bed, const char *program);
/* Waits for what the supervisor writes to SUPERVISOR_READY_FD. */
void testbed_wait_ready(struct testbed *bed);
/* Both, and moves the cursor behind the line `ready`. */
void testbed_start_ready(struct testbed *bed, const char *program);
/* Signals the supervisor, sees it end with 0, and reads its log to the end: nobody of the tree is left then.
 */
void testbed_stop(struct testbed *bed, int signal_number);
/* Reads the log until all who write there are gone. */
void testbed_drain_log(struct testbed *bed);
/* True while a process is blocked in flock(2) on that file of the directory (proc(5), locks). */
bool testbed_someone_waits_for(const struct testbed *bed, const char *name);
/* The exit status, or -signal. */
int testbed_wait_exit(pid_t pid);

/* Waits for a line with all these words after the last one that was waited for. The span is valid until the
 * next wait. */
#define expect(bed, ...) testbed_expect_words(bed, (const char *const[]){__VA_ARGS__, NULL})
struct span testbed_expect_words(struct testbed *bed, const char *const *words);
/* The same, anywhere in the log: for what happens in no fixed order. */
#define expect_anywhere(bed, ...)                                                                            \
    do {                                                                                                     \
        size_t kept_cursor = (bed)->cursor;                                                                  \
        (bed)->cursor = 0;                                                                                   \
        expect(bed, __VA_ARGS__);                                                                            \
        (bed)->cursor = kept_cursor;                                                                         \
    } while (0)
/* The number behind `key` in a line. */
int64_t testbed_number_in(struct span line, const char *key);

/* Runs the shipped program with these words in the bed's directory and environment: its exit status must be
 * as said, and its output must have `text`. */
#define expect_run(bed, exit_status, text, ...)                                                              \
    testbed_expect_run(bed, exit_status, text, (const char *const[]){SUPERVISOR_REAL, __VA_ARGS__, NULL})
void testbed_expect_run(struct testbed *bed, int exit_status, const char *text, const char *const *words);
/* The process of that name in `status --json`; owned. NULL if there is none. */
json_t *testbed_status_of(struct testbed *bed, const char *name);
int64_t testbed_status_number(struct testbed *bed, const char *name, const char *key);
void testbed_assert_status_text(struct testbed *bed, const char *name, const char *key, const char *text);

#endif
