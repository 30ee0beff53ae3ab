/* SPDX-License-Identifier: MIT */
#include "proto/data_directory.h"
#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char root[64], data[80], own[PATH_MAX];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    log_init("test", LOG_LEVEL_ERROR);
    snprintf(place->root, sizeof place->root, "/tmp/data_directory.XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->data, sizeof place->data, "%s/data", place->root);
    assert_int_equal(mkdir(place->data, 0700), 0);
    *state = place;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *place = *state;
    nftw(place->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return 0;
}

/* Each file holds what the test calls it. */
static void put(const struct place *place, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", place->data, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static bool holds(const struct place *place, const char *name, const char *text)
{
    char path[160], found[64] = "";
    snprintf(path, sizeof path, "%s/%s", place->data, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, found, sizeof found - 1);
    if (fd >= 0)
        close(fd);
    return length >= 0 && strcmp(found, text) == 0;
}

static bool has(const struct place *place, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", place->data, name);
    return access(path, F_OK) == 0;
}

static int adopt(struct place *place, const char *role)
{
    return data_directory_adopt(place->own, place->data, role);
}

static void test_nothing_to_move(void **state)
{
    struct place *place = *state;
    char expected[128];
    snprintf(expected, sizeof expected, "%s/statsd", place->data);
    put(place, "usage.lock", "");
    put(place, "notes.txt", "mine");
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_string_equal(place->own, expected);
    assert_false(has(place, "statsd"));
    assert_true(has(place, "notes.txt"));
    rmdir(place->data);
    assert_int_equal(data_directory_adopt(place->own, "/nowhere/data", "credd"), 0);
    assert_string_equal(place->own, "/nowhere/data/credd");
}

static void test_ledger(void **state)
{
    struct place *place = *state;
    put(place, "usage.db", "db");
    put(place, "usage.db-wal", "wal");
    put(place, "usage.db-shm", "shm");
    put(place, "usage.db.corrupt-20260101T000000Z-0", "bad");
    put(place, "usage.lock", "");
    put(place, "session.key", "key");
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_true(holds(place, "statsd/usage.db", "db") && holds(place, "statsd/usage.db-wal", "wal"));
    assert_true(holds(place, "statsd/usage.db-shm", "shm"));
    assert_true(holds(place, "statsd/usage.db.corrupt-20260101T000000Z-0", "bad"));
    assert_false(has(place, "usage.db") || has(place, "usage.db-wal") || has(place, "usage.lock"));
    assert_true(holds(place, "session.key", "key"));
    struct stat status;
    assert_int_equal(stat(place->own, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_true(holds(place, "statsd/usage.db", "db"));
}

static void test_credd(void **state)
{
    struct place *place = *state;
    static const char *const names[] = {"credentials_state.json",
                                        "credentials_state.json.bad",
                                        "credential_sites.json",
                                        "key_paces.json",
                                        "keys.json",
                                        "session.key",
                                        "settings.json",
                                        ".credd-0123.tmp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(place, names[i], names[i]);
    put(place, "usage.db", "db");
    assert_int_equal(adopt(place, "credd"), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char moved[64];
        snprintf(moved, sizeof moved, "credd/%s", names[i]);
        assert_true(holds(place, moved, names[i]));
        assert_false(has(place, names[i]));
    }
    assert_true(holds(place, "usage.db", "db"));
}

/* The database goes last, so a -wal is never left behind by one that is in use. */
static void test_killed_between(void **state)
{
    struct place *place = *state;
    assert_int_equal(data_directory_make("/proc/nothing/there"), ERR_IO);
    put(place, "usage.db", "db");
    put(place, "usage.db-shm", "shm");
    put(place, "usage.lock", "");
    assert_true(data_directory_of(place->own, place->data, "statsd"));
    assert_int_equal(data_directory_make(place->own), 0);
    put(place, "statsd/usage.db-wal", "wal");
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_true(holds(place, "statsd/usage.db", "db") && holds(place, "statsd/usage.db-wal", "wal"));
}

static void test_two_ledgers(void **state)
{
    struct place *place = *state;
    put(place, "usage.db", "former");
    put(place, "usage.db-wal", "former");
    data_directory_of(place->own, place->data, "statsd");
    assert_int_equal(data_directory_make(place->own), 0);
    put(place, "statsd/usage.db", "present");
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_true(holds(place, "usage.db", "former") && holds(place, "usage.db-wal", "former"));
    assert_true(holds(place, "statsd/usage.db", "present"));
    assert_false(has(place, "statsd/usage.db-wal"));
}

static void test_two_key_files(void **state)
{
    struct place *place = *state;
    put(place, "keys.json", "former");
    put(place, "settings.json", "former");
    data_directory_of(place->own, place->data, "credd");
    assert_int_equal(data_directory_make(place->own), 0);
    put(place, "credd/keys.json", "present");
    assert_int_equal(adopt(place, "credd"), 0);
    assert_true(holds(place, "credd/keys.json", "present") && holds(place, "keys.json", "former"));
    assert_true(holds(place, "credd/settings.json", "former"));
}

static void test_in_use(void **state)
{
    struct place *place = *state;
    char lock[96];
    put(place, "usage.db", "db");
    put(place, "usage.lock", "");
    snprintf(lock, sizeof lock, "%s/usage.lock", place->data);
    int fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(adopt(place, "statsd"), ERR_BUSY);
    assert_true(has(place, "usage.db"));
    close(fd);
    assert_int_equal(adopt(place, "statsd"), 0);
    assert_true(has(place, "statsd/usage.db"));
}

static void test_no_place(void **state)
{
    struct place *place = *state;
    char longest[PATH_MAX];
    put(place, "keys.json", "keys");
    put(place, "credd", "a file where the directory should be");
    assert_int_equal(adopt(place, "credd"), ERR_IO);
    assert_true(holds(place, "keys.json", "keys"));
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(data_directory_adopt(place->own, longest, "credd"), ERR_CONFIG);
    assert_string_equal(place->own, "");
}

static void test_makes_both(void **state)
{
    struct place *place = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/new/statsd", place->root);
    assert_int_equal(data_directory_make(path), 0);
    assert_int_equal(data_directory_make(path), 0);
    snprintf(path, sizeof path, "%s/two/new/statsd", place->root);
    assert_int_equal(data_directory_make(path), ERR_IO);
    assert_int_equal(errno, ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        T(test_nothing_to_move), T(test_ledger),      T(test_credd),
        T(test_killed_between),  T(test_two_ledgers), T(test_two_key_files),
        T(test_in_use),          T(test_no_place),    T(test_makes_both),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
