/* SPDX-License-Identifier: MIT */
#include "proto/link_keys.h"
#include "proto/error.h"

#include <czmq.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const roles[] = {"gateway", "upstream-worker", "credd", "statsd"};
enum { ROLES = sizeof roles / sizeof *roles };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/link_keys_test.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char path[128];
    (void)state;
    for (size_t i = 0; i < ROLES; i++) {
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static void make_set(void)
{
    const char *path;
    assert_int_equal(link_keys_make_set(dir, &path), 0);
}

static struct link_keys *load(const char *role)
{
    struct link_keys *keys = link_keys_load(dir, role);
    assert_non_null(keys);
    return keys;
}

static void server_keys_are_those_of_the_servers(void **state)
{
    (void)state;
    make_set();
    struct link_keys *worker = load("upstream-worker");
    for (size_t i = 0; i < ROLES; i++) {
        struct link_keys *server = load(roles[i]);
        const char *key = link_keys_server(worker, roles[i]);
        if (strcmp(roles[i], "upstream-worker") == 0)
            assert_null(key);
        else
            assert_string_equal(key, zcert_public_txt(link_keys_own(server)));
        link_keys_free(&server);
    }
    link_keys_free(&worker);
}

static void allow_list_tells_the_role_of_a_key(void **state)
{
    (void)state;
    make_set();
    struct link_keys *credd = load("credd"), *gateway = load("gateway"), *worker = load("upstream-worker");
    zcertstore_t *at_credd = link_keys_allowed(credd), *at_gateway = link_keys_allowed(gateway);
    zcert_t *found = zcertstore_lookup(at_credd, zcert_public_txt(link_keys_own(gateway)));
    assert_non_null(found);
    assert_string_equal(zcert_meta(found, LINK_KEYS_ROLE), "gateway");
    found = zcertstore_lookup(at_gateway, zcert_public_txt(link_keys_own(worker)));
    assert_string_equal(zcert_meta(found, LINK_KEYS_ROLE), "upstream-worker");
    assert_null(zcertstore_lookup(at_gateway, zcert_public_txt(link_keys_own(credd))));
    assert_null(zcertstore_lookup(at_credd, zcert_public_txt(link_keys_own(credd))));
    zcertstore_destroy(&at_credd);
    zcertstore_destroy(&at_gateway);
    link_keys_free(&credd);
    link_keys_free(&gateway);
    link_keys_free(&worker);
}

static void files_are_private_and_never_overwritten(void **state)
{
    char path_of_credd[128];
    const char *path;
    struct stat before, after;
    (void)state;
    make_set();
    snprintf(path_of_credd, sizeof path_of_credd, "%s/credd.keys", dir);
    assert_int_equal(stat(path_of_credd, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);

    snprintf(path_of_credd, sizeof path_of_credd, "%s/gateway.keys", dir);
    assert_int_equal(unlink(path_of_credd), 0); /* even if only some are there, none is made */
    assert_int_equal(link_keys_make_set(dir, &path), ERR_EXISTS);
    assert_non_null(strstr(path, "upstream-worker.keys"));
    assert_int_not_equal(access(path_of_credd, F_OK), 0);
    snprintf(path_of_credd, sizeof path_of_credd, "%s/credd.keys", dir);
    assert_int_equal(stat(path_of_credd, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void write_file(const char *role, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.keys", dir, role);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void bad_files_are_refused(void **state)
{
#define KEY  "\"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\""
#define PAIR "curve\n    public-key = " KEY "\n    secret-key = " KEY "\n"
    static const char *const texts[] = {
        "",
        "role = \"credd\"\n",
        PAIR,
        "role = \"gateway\"\n" PAIR,
        "role = \"credd\"\ncurve\n    public-key = \"short\"\n    secret-key = " KEY "\n",
        "role = \"credd\"\ncurve\n    public-key = " KEY "\n",
        "role = \"credd\"\n" PAIR "allow\n    gateway = \"x\"\n",
        "role = \"credd\"\n" PAIR "servers\n    statsd = \"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\"\n",
        "role = \"credd\"\n" PAIR "servers\n    statsd = " KEY " # \n",
        "role = \"credd\"\n" PAIR "servers\n    statsd = \"open\n",
        "role credd\n" PAIR,
        "\x01\x02 not a key file \xff",
    };
    (void)state;
    assert_null(link_keys_load(dir, "credd"));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file("credd", texts[i]);
        assert_null(link_keys_load(dir, "credd"));
    }
    write_file("credd", "role = \"credd\"\n" PAIR); /* the shortest that is good */
    struct link_keys *keys = load("credd");
    assert_null(link_keys_server(keys, "statsd"));
    link_keys_free(&keys);
}

static size_t count_files(void)
{
    size_t count = 0;
    for (size_t i = 0; i < ROLES; i++) {
        char path[128];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        count += lstat(path, &status) == 0;
    }
    return count;
}

static void a_set_that_cannot_be_whole_leaves_nothing(void **state)
{
    const char *failed;
    char last[128];
    struct rlimit before;
    (void)state;
    snprintf(last, sizeof last, "%s/%s.keys", dir, roles[ROLES - 1]);
    assert_int_equal(symlink("/nonexistent/elsewhere", last), 0); /* not seen before it is to be made */
    assert_int_equal(link_keys_make_set(dir, &failed), ERR_EXISTS);
    assert_string_equal(failed, last);
    assert_int_equal(count_files(), 1);
    unlink(last);

    getrlimit(RLIMIT_FSIZE, &before);
    const struct rlimit tiny = {.rlim_cur = 100, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0); /* as a full disk: a part is taken */
    errno = 0;
    int error = link_keys_make_set(dir, &failed), problem = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, ERR_IO);
    assert_int_equal(problem, ENOSPC);
    assert_int_equal(count_files(), 0);
    make_set();
    assert_int_equal(count_files(), ROLES);
    assert_int_equal(link_keys_make_set("/dev/null/keys", &failed), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(server_keys_are_those_of_the_servers, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(allow_list_tells_the_role_of_a_key, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(files_are_private_and_never_overwritten, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(bad_files_are_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_set_that_cannot_be_whole_leaves_nothing, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
