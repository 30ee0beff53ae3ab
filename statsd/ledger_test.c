/* SPDX-License-Identifier: MIT */
#include "statsd/ledger.h"
#include "proto/error.h"
#include "proto/outcome.h"
#include "statsd/ledger_schema.h"
#include "statsd/totals_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const int64_t NOW_WALL_MS = 1763900000000;

struct fixture {
    char root[64], directory[128], path[160];
    struct ledger *ledger;
    struct totals *totals;
    struct counter_rows counters;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/cb-ledger-XXXXXX");
    if (!mkdtemp(f->root)) {
        free(f);
        return -1;
    }
    snprintf(f->directory, sizeof f->directory, "%s/data", f->root);
    snprintf(f->path, sizeof f->path, "%s/usage.db", f->directory);
    f->ledger = ledger_new(f->directory);
    f->totals = totals_new(NULL);
    counter_rows_init(&f->counters);
    *state = f;
    return 0;
}

static void remove_files(const char *directory)
{
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(directory);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ledger_free(&f->ledger);
    totals_free(&f->totals);
    counter_rows_fini(&f->counters);
    remove_files(f->directory);
    remove_files(f->root);
    free(f);
    return 0;
}

static int open_ledger(struct fixture *f)
{
    totals_clear(f->totals);
    counter_rows_fini(&f->counters);
    return ledger_open(f->ledger, NOW_WALL_MS, NULL, f->totals, &f->counters);
}

/* Closes as a killed process would leave it, as far as a file can tell, and opens again. */
static void reopen(struct fixture *f)
{
    ledger_close(f->ledger);
    assert_int_equal(open_ledger(f), 0);
}

static void append_event_of(struct buffer *train, unsigned number, const char *id)
{
    struct msg_event event = {.request_id = span_str(id),
                              .started_wall_ms = NOW_WALL_MS + number,
                              .duration_ms = 1000,
                              .key_id = SPAN("password"),
                              .credential_id = SPAN("c1"),
                              .model = SPAN("gpt-5"),
                              .status = 200,
                              .stream = 1,
                              .prompt_tokens = number,
                              .credit_micro = 7};
    assert_int_equal(message_encode(train, MESSAGE_EVENT, number, &event), 0);
}

static void append_event(struct buffer *train, unsigned number)
{
    char id[32];
    snprintf(id, sizeof id, "req-%08u", number);
    append_event_of(train, number, id);
}

/* Commits events first … last, merging the sums as the writer does. */
static int commit(struct fixture *f, unsigned first, unsigned last)
{
    struct buffer train = {0};
    struct counter_rows none;
    counter_rows_init(&none);
    struct totals *delta = totals_new(f->totals);
    for (unsigned i = first; i <= last; i++)
        append_event(&train, i);
    int error = ledger_commit(f->ledger, buffer_span(&train), &none, delta);
    if (error == 0)
        assert_int_equal(totals_merge(f->totals, delta), 0);
    totals_free(&delta);
    buffer_fini(&train);
    return error;
}

static void test_modes_and_totals_over_a_restart(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(totals_sum(f->totals, TOTAL_SINCE), NOW_WALL_MS);
    assert_int_equal(commit(f, 1, 1000), 0);
    assert_int_equal(stat(f->directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
    reopen(f);
    assert_int_equal(ledger_count_events(f->ledger), 1000);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 1000);
    assert_int_equal(totals_get(f->totals, TOTAL_TOKENS, SPAN("prompt")), 1000 * 1001 / 2);
    assert_int_equal(totals_sum(f->totals, TOTAL_CREDIT), 7000);
    assert_int_equal(totals_get(f->totals, TOTAL_MODEL, SPAN("gpt-5")), 1000);
}

static void test_repeats_count_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(commit(f, 1, 100), 0);
    assert_int_equal(commit(f, 50, 150), 0);
    assert_int_equal(commit(f, 150, 150), 0);
    assert_int_equal(ledger_count_events(f->ledger), 150);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 150);
    reopen(f);
    assert_int_equal(commit(f, 1, 150), 0);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 150);
}

/* A client may send the same X-Request-ID with every request: that hides none of them. */
static void test_an_id_used_again_counts_again(void **state)
{
    struct fixture *f = *state;
    struct buffer train = {0};
    struct counter_rows none;
    counter_rows_init(&none);
    assert_int_equal(open_ledger(f), 0);
    struct totals *delta = totals_new(f->totals);
    for (unsigned i = 0; i < 6; i++)
        append_event_of(&train, i % 3, "always-the-same");
    assert_int_equal(ledger_commit(f->ledger, buffer_span(&train), &none, delta), 0);
    assert_int_equal(ledger_count_events(f->ledger), 3);
    assert_int_equal(totals_sum(delta, TOTAL_REQUESTS), 3);
    totals_free(&delta);
    buffer_fini(&train);
}

static void test_full_disk_writes_nothing_and_recovers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(commit(f, 1, 100), 0);
    ledger_limit_pages(f->ledger, 1); /* SQLite takes the present size instead */
    assert_int_equal(commit(f, 101, 20000), ERR_IO);
    assert_non_null(strstr(ledger_problem(f->ledger), "full"));
    assert_int_equal(ledger_count_events(f->ledger), 100);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 100);
    ledger_limit_pages(f->ledger, 1000000);
    assert_int_equal(commit(f, 101, 20000), 0);
    assert_int_equal(ledger_count_events(f->ledger), 20000);
    reopen(f);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 20000);
}

static void test_read_only_is_trouble_not_corruption(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    ledger_close(f->ledger);
    unlink(f->path);
    assert_int_equal(mkdir(f->path, 0700), 0); /* works for root too, unlike a mode */
    assert_int_equal(open_ledger(f), ERR_IO);
    assert_int_equal(ledger_set_aside_count(f->ledger), 0);
    assert_int_equal(rmdir(f->path), 0);
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(commit(f, 1, 1), 0);
}

static void overwrite(const char *path, off_t offset, const char *text, size_t count)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pwrite(fd, text, strlen(text), offset + (off_t)(i * strlen(text))), strlen(text));
    close(fd);
}

static unsigned count_set_aside_files(struct fixture *f)
{
    unsigned count = 0;
    DIR *dir = opendir(f->directory);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += strncmp(entry->d_name, "usage.db.corrupt-", 17) == 0 && !strstr(entry->d_name, "-wal") &&
                 !strstr(entry->d_name, "-shm");
    closedir(dir);
    return count;
}

static void test_corrupt_at_the_start_is_set_aside(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->directory, 0700), 0);
    overwrite(f->path, 0, "this is no database, but somebody may want it. ", 500);
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(count_set_aside_files(f), 1);
    assert_int_equal(ledger_set_aside_count(f->ledger), 1);
    assert_int_equal(commit(f, 1, 10), 0);
    assert_int_equal(ledger_count_events(f->ledger), 10);
}

static void test_corrupt_while_running_goes_on_with_the_sums(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(commit(f, 1, 20000), 0);
    reopen(f); /* everything is in the database now, nothing in its WAL or the cache */
    overwrite(f->path, 4096, "garbage!", 600000 / 8);
    int error = 0;
    for (unsigned i = 0; i < 20 && error == 0; i++)
        error = commit(f, 20001, 21000);
    assert_int_equal(error, ERR_INVALID);
    assert_false(ledger_is_open(f->ledger));
    assert_int_equal(count_set_aside_files(f), 1);
    struct totals *loaded = totals_new(NULL);
    assert_int_equal(ledger_open(f->ledger, NOW_WALL_MS + 5, f->totals, loaded, &f->counters), 0);
    assert_int_equal(totals_sum(loaded, TOTAL_REQUESTS), totals_sum(f->totals, TOTAL_REQUESTS));
    assert_int_equal(totals_sum(loaded, TOTAL_SINCE), NOW_WALL_MS);
    assert_int_equal(commit(f, 20001, 21000), 0);
    assert_int_equal(ledger_count_events(f->ledger), 1000);
    totals_free(&loaded);
    reopen(f);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 21000);
}

static void test_old_versions_migrate_with_their_sums(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = NULL;
    assert_int_equal(mkdir(f->directory, 0700), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(ledger_schema_configure(db), SQLITE_OK);
    assert_int_equal(ledger_schema_migrate(db, 1, NOW_WALL_MS), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO events VALUES(1,'old-1',1000,700,0,'k','c','m',200,0,'',0,1,0,"
                                  "11,22,0,0,5),(2,'old-2',900,700,0,'k','c','m',502,3,'',0,1,0,1,2,0,0,5)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(open_ledger(f), 0);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), 2);
    assert_int_equal(totals_sum(f->totals, TOTAL_ERRORS), 1);
    assert_int_equal(totals_get(f->totals, TOTAL_TOKENS, SPAN("prompt")), 12);
    assert_int_equal(totals_sum(f->totals, TOTAL_SINCE), 900);
    assert_int_equal(commit(f, 1, 5), 0);
    assert_int_equal(ledger_count_events(f->ledger), 7);
}

static void test_newer_version_is_left_alone(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = NULL;
    assert_int_equal(mkdir(f->directory, 0700), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(open_ledger(f), ERR_VERSION);
    assert_int_equal(count_set_aside_files(f), 0);
}

static void test_one_process_at_a_time(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    struct ledger *second = ledger_new(f->directory);
    struct totals *totals = totals_new(NULL);
    struct counter_rows counters;
    counter_rows_init(&counters);
    assert_int_equal(ledger_open(second, NOW_WALL_MS, NULL, totals, &counters), ERR_BUSY);
    ledger_close(f->ledger);
    assert_int_equal(ledger_open(second, NOW_WALL_MS, NULL, totals, &counters), 0);
    ledger_free(&second);
    totals_free(&totals);
    counter_rows_fini(&counters);
}

static void test_counters_are_kept(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_ledger(f), 0);
    struct counter_rows rows;
    counter_rows_init(&rows);
    struct counter_row row = {
        .kind = COUNTER_TOTAL, .role = "gateway", .process = "", .name = "a_total", .value_micro = 5};
    assert_int_equal(counter_rows_add(&rows, &row), 0);
    row.kind = COUNTER_SOURCE;
    row.process = "gateway-0@h:1";
    assert_int_equal(counter_rows_add(&rows, &row), 0);
    struct totals *delta = totals_new(f->totals);
    assert_int_equal(ledger_commit(f->ledger, SPAN(""), &rows, delta), 0);
    rows.first->value_micro = 9;
    rows.first->next->gone = true;
    assert_int_equal(ledger_commit(f->ledger, SPAN(""), &rows, delta), 0);
    counter_rows_fini(&rows);
    totals_free(&delta);
    reopen(f);
    assert_int_equal(f->counters.count, 1);
    assert_int_equal(f->counters.first->value_micro, 9);
    assert_string_equal(f->counters.first->name, "a_total");
}

/* A process that is killed at any moment: what was acknowledged (written to the pipe) is there, nothing is
 * there twice, and the sums are those of the events. */
static void test_killed_at_random(void **state)
{
    struct fixture *f = *state;
    unsigned acknowledged = 0, seed = 42;
    for (int round = 0; round < 8; round++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        if (child == 0) {
            unsigned next = acknowledged > 50 ? acknowledged - 50 : 1; /* some come again */
            if (open_ledger(f) < 0)
                _exit(1);
            for (;; next += 20) {
                if (commit(f, next, next + 19) < 0)
                    _exit(1);
                unsigned last = next + 19;
                if (write(pipe_fds[1], &last, sizeof last) != sizeof last)
                    _exit(0);
            }
        }
        close(pipe_fds[1]);
        seed = seed * 1103515245u + 12345u;
        unsigned reads = 5 + (seed >> 16) % 60, last; /* commits to let pass, not a time */
        while (reads-- > 0 && read(pipe_fds[0], &last, sizeof last) == sizeof last)
            acknowledged = last;
        kill(child, SIGKILL);
        while (read(pipe_fds[0], &last, sizeof last) == sizeof last)
            acknowledged = last;
        waitpid(child, NULL, 0);
        close(pipe_fds[0]);
    }
    assert_int_equal(open_ledger(f), 0);
    int64_t count = ledger_count_events(f->ledger);
    assert_true(count >= acknowledged); /* perhaps one batch more, killed before its acknowledgement */
    assert_true(count <= acknowledged + 20);
    assert_int_equal(totals_sum(f->totals, TOTAL_REQUESTS), count);
    assert_int_equal(totals_get(f->totals, TOTAL_TOKENS, SPAN("prompt")), count * (count + 1) / 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_modes_and_totals_over_a_restart),
        TEST(test_repeats_count_once),
        TEST(test_an_id_used_again_counts_again),
        TEST(test_full_disk_writes_nothing_and_recovers),
        TEST(test_read_only_is_trouble_not_corruption),
        TEST(test_corrupt_at_the_start_is_set_aside),
        TEST(test_corrupt_while_running_goes_on_with_the_sums),
        TEST(test_old_versions_migrate_with_their_sums),
        TEST(test_newer_version_is_left_alone),
        TEST(test_one_process_at_a_time),
        TEST(test_counters_are_kept),
        TEST(test_killed_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
