/* SPDX-License-Identifier: MIT */
/* A real directory, changed by hand; scans are called, not waited for. */
#include "credd/vault.h"
#include "proto/error.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char root[64], directory[96];
    struct sites *sites;
    struct site_bonds *bonds;
    struct vault *vault;
};

static const char *path_of(const struct place *place, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", place->directory, name);
    return path;
}

static void put(const struct place *place, const char *name, const char *text)
{
    int fd = open(path_of(place, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void drop(const struct place *place, const char *name)
{
    assert_int_equal(unlink(path_of(place, name)), 0);
}

static int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    snprintf(place->root, sizeof place->root, "/tmp/vault_test.XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->directory, sizeof place->directory, "%s/creds", place->root);
    place->sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    assert_non_null(place->sites);
    int error;
    place->bonds = site_bonds_open(place->root, &error);
    assert_non_null(place->bonds);
    place->vault = vault_open(&(struct vault_parts){place->directory, place->sites, NULL, place->bonds});
    assert_non_null(place->vault);
    *state = place;
    return 0;
}

static int place_close(void **state)
{
    struct place *place = *state;
    static const char *const names[] = {"a.json",    "b.json", "c.json",  "link.json", "dir.json",
                                        "pipe.json", "n.txt",  ".t.json", "real",      "manager_state.json",
                                        "big.json"};
    vault_close(&place->vault);
    site_bonds_close(&place->bonds);
    sites_free(&place->sites);
    char bonds[128];
    snprintf(bonds, sizeof bonds, "%s/" SITE_BONDS_FILE, place->root);
    if (unlink(bonds) < 0 && errno == EISDIR)
        rmdir(bonds);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (unlink(path_of(place, names[i])) < 0 && errno == EISDIR)
            rmdir(path_of(place, names[i]));
    rmdir(place->directory);
    rmdir(place->root);
    free(place);
    return 0;
}

static const char *problem_of(const struct place *place, const char *name)
{
    for (size_t i = 0; i < vault_count(place->vault); i++)
        if (strcmp(vault_at(place->vault, i)->filename, name) == 0)
            return vault_at(place->vault, i)->problem;
    return "not there";
}

static void test_directory_is_made_private(void **state)
{
    struct place *place = *state;
    struct stat status;
    assert_int_equal(stat(place->directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(vault_count(place->vault), 0);
    assert_false(vault_scan(place->vault));
}

static void test_files_come_change_and_go(void **state)
{
    struct place *place = *state;
    put(place, "b.json", "{\"bearer_token\":\"t-b\"}");
    put(place, "a.json", "{\"bearer_token\":\"t-a\",\"site\":\"intl\"}");
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), 2);
    const struct credential *a = vault_at(place->vault, 0), *b = vault_at(place->vault, 1);
    assert_string_equal(a->filename, "a.json");
    assert_string_equal(site_name(a->site), "intl");
    assert_string_equal(b->file.token.data, "t-b");
    assert_string_equal(b->problem, "");
    assert_int_not_equal(a->token_generation, 0);
    assert_false(vault_scan(place->vault));

    uint64_t generation = b->token_generation;
    put(place, "b.json", "{\"bearer_token\":\"t-c\"}"); /* same size, same second */
    assert_true(vault_scan(place->vault));
    assert_ptr_equal(vault_at(place->vault, 1), b);
    assert_string_equal(b->file.token.data, "t-c");
    assert_int_not_equal(b->token_generation, generation);

    drop(place, "a.json");
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), 1);
    assert_ptr_equal(vault_at(place->vault, 0), b);
    assert_false(vault_scan(place->vault));
}

static void test_other_edits_keep_the_generation(void **state)
{
    struct place *place = *state;
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    uint64_t generation = vault_at(place->vault, 0)->token_generation;
    put(place, "a.json", "{\"bearer_token\":\"t\",\"user_id\":\"u\"}");
    assert_true(vault_scan(place->vault));
    assert_string_equal(vault_at(place->vault, 0)->file.user_id, "u");
    assert_int_equal(vault_at(place->vault, 0)->token_generation, generation);
    put(place, "a.json", "{\"bearer_tok"); /* as an editor may leave it for a moment */
    assert_true(vault_scan(place->vault));
    assert_null(vault_at(place->vault, 0)->file.token.data);
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_at(place->vault, 0)->token_generation, generation);
    put(place, "a.json", "{\"bearer_token\":\"t\",\"site\":\"intl\"}"); /* another place, another life */
    assert_true(vault_scan(place->vault));
    assert_int_not_equal(vault_at(place->vault, 0)->token_generation, generation);
}

static void test_bad_files_are_listed_and_left_alone(void **state)
{
    struct place *place = *state;
    char *large = malloc(CREDENTIAL_FILE_MAX_BYTES + 2);
    memset(large, ' ', CREDENTIAL_FILE_MAX_BYTES + 1);
    large[CREDENTIAL_FILE_MAX_BYTES + 1] = '\0';
    put(place, "big.json", large);
    free(large);
    put(place, "real", "{\"bearer_token\":\"t\"}");
    assert_int_equal(symlink("real", path_of(place, "link.json")), 0);
    assert_int_equal(mkdir(path_of(place, "dir.json"), 0700), 0);
    assert_int_equal(mkfifo(path_of(place, "pipe.json"), 0600), 0);
    put(place, "a.json", "{\"bearer_token\":\"t\",\"api_endpoint\":\"https://evil.example\"}");
    put(place, "b.json", "not json");
    put(place, "c.json", "{\"bearer_token\":\"t\"}");
    put(place, "n.txt", "{\"bearer_token\":\"t\"}");
    put(place, ".t.json", "{\"bearer_token\":\"t\"}");
    put(place, "manager_state.json", "{\"current_index\":0}");
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), 7);
    assert_non_null(strstr(problem_of(place, "big.json"), "larger"));
    assert_non_null(strstr(problem_of(place, "link.json"), "symbolic link"));
    assert_non_null(strstr(problem_of(place, "dir.json"), "not a regular file"));
    assert_non_null(strstr(problem_of(place, "pipe.json"), "not a regular file"));
    assert_non_null(strstr(problem_of(place, "a.json"), "api_endpoint"));
    assert_non_null(strstr(problem_of(place, "b.json"), "JSON"));
    assert_string_equal(problem_of(place, "c.json"), "");
    assert_false(vault_scan(place->vault)); /* said once */
    drop(place, "b.json");
    put(place, "b.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    assert_string_equal(problem_of(place, "b.json"), "");
}

static void test_ids_are_stable_and_opaque(void **state)
{
    struct place *place = *state;
    char id[CREDENTIAL_ID_BYTES];
    uint32_t number;
    credential_id_of("a.json", id, &number);
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    assert_string_equal(vault_at(place->vault, 0)->id, id);
    assert_int_equal(vault_at(place->vault, 0)->number, number);
    assert_int_equal(strlen(id), 16);
    assert_int_equal(strspn(id, "0123456789abcdef"), 16);
    assert_string_equal(id, "0eb8525f52cb3d01"); /* on every machine, in every version: ids are in ledgers */
    char other[CREDENTIAL_ID_BYTES];
    credential_id_of("b.json", other, &number);
    assert_string_not_equal(id, other);
}

static void test_directory_that_is_replaced(void **state)
{
    struct place *place = *state;
    dev_t device;
    ino_t before, after;
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    vault_identity(place->vault, &device, &before);
    char aside[128];
    snprintf(aside, sizeof aside, "%s/aside", place->root);
    assert_int_equal(rename(place->directory, aside), 0);
    assert_true(vault_scan(place->vault)); /* made anew, empty */
    assert_int_equal(vault_count(place->vault), 0);
    vault_identity(place->vault, &device, &after);
    assert_int_not_equal(before, after);
    assert_int_equal(rmdir(place->directory), 0);
    assert_int_equal(rename(aside, place->directory), 0);
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), 1);
}

/* Two names that hash to the same number cannot be found quickly; that numbers stay unique under many files
 * can be seen. */
static void test_many_files_have_their_own_numbers(void **state)
{
    struct place *place = *state;
    enum { FILES = 500 };
    char name[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "m%03d.json", i);
        put(place, name, "{\"bearer_token\":\"t\"}");
    }
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), FILES);
    for (size_t i = 0; i < FILES; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(vault_at(place->vault, i)->number, vault_at(place->vault, k)->number);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "m%03d.json", i);
        drop(place, name);
    }
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_count(place->vault), 0);
}

/* As credd starts anew, with another endpoint. */
static void start_anew(struct place *place, const char *endpoint)
{
    int error;
    vault_close(&place->vault);
    site_bonds_close(&place->bonds);
    sites_free(&place->sites);
    place->sites = sites_load("deploy/sites", endpoint);
    place->bonds = site_bonds_open(place->root, &error);
    assert_non_null(place->bonds);
    place->vault = vault_open(&(struct vault_parts){place->directory, place->sites, NULL, place->bonds});
    assert_non_null(place->vault);
}

static void test_a_file_without_a_site_stays_with_its_first(void **state)
{
    struct place *place = *state;
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    put(place, "b.json", "{\"bearer_token\":\"u\",\"site\":\"cn\"}");
    assert_true(vault_scan(place->vault));
    start_anew(place, "https://gate.example");
    assert_non_null(strstr(problem_of(place, "a.json"), "belongs to cn"));
    assert_string_equal(problem_of(place, "b.json"), "");
    assert_true(vault_at(place->vault, 0)->is_elsewhere);
    assert_true(secret_is_empty(&vault_at(place->vault, 0)->file.token));
    put(place, "a.json", "{\"bearer_token\":\"a-longer-one\"}"); /* whatever token */
    assert_true(vault_scan(place->vault));
    assert_non_null(strstr(problem_of(place, "a.json"), "belongs to cn"));
    put(place, "a.json", "{\"bearer_token\":\"a-longer-one\",\"site\":\"cn\"}"); /* it says so itself */
    assert_true(vault_scan(place->vault));
    assert_string_equal(problem_of(place, "a.json"), "");
    assert_string_equal(site_name(vault_at(place->vault, 0)->site), "cn");
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    assert_int_equal(vault_rebind(place->vault, vault_at(place->vault, 0)->number), 0); /* a person says so */
    assert_true(vault_scan(place->vault));
    assert_string_equal(problem_of(place, "a.json"), "");
    assert_int_equal(vault_rebind(place->vault, vault_at(place->vault, 0)->number), ERR_NOT_FOUND);
    start_anew(place, "https://gate.example"); /* that is kept, too */
    assert_string_equal(problem_of(place, "a.json"), "");
    start_anew(place, "https://other.example");
    assert_non_null(strstr(problem_of(place, "a.json"), "belongs to https://gate.example"));
}

/* A site that cannot be noted is no site to send a token to: it might be another one after the next start. */
static void test_what_cannot_be_noted_is_not_lent(void **state)
{
    struct place *place = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/" SITE_BONDS_FILE, place->root);
    assert_int_equal(mkdir(path, 0700), 0); /* nothing can be renamed onto it, by root neither */
    put(place, "a.json", "{\"bearer_token\":\"t\"}");
    assert_true(vault_scan(place->vault));
    assert_non_null(strstr(problem_of(place, "a.json"), "cannot be noted"));
    assert_int_equal(rmdir(path), 0);
    assert_true(vault_scan(place->vault));
    assert_string_equal(problem_of(place, "a.json"), "");
}

static void test_broken_bonds_stop_the_start(void **state)
{
    static const char *const broken[] = {"",
                                         "{",
                                         "[]",
                                         "{\"version\":2,\"credentials\":{}}",
                                         "{\"version\":1,\"credentials\":[]}",
                                         "{\"version\":1,\"credentials\":{\"0123456789abcdef\":1}}"};
    struct place *place = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/" SITE_BONDS_FILE, place->root);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int error = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, broken[i], strlen(broken[i])), strlen(broken[i]));
        close(fd);
        assert_null(site_bonds_open(place->root, &error));
        assert_int_equal(error, ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)
        T(test_directory_is_made_private),         T(test_files_come_change_and_go),
        T(test_other_edits_keep_the_generation),   T(test_bad_files_are_listed_and_left_alone),
        T(test_ids_are_stable_and_opaque),         T(test_directory_that_is_replaced),
        T(test_many_files_have_their_own_numbers), T(test_a_file_without_a_site_stays_with_its_first),
        T(test_what_cannot_be_noted_is_not_lent),  T(test_broken_bonds_stop_the_start),
#undef T
    };
    log_init("credd", LOG_LEVEL_ERROR);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
