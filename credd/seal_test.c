/* SPDX-License-Identifier: MIT */
#include "credd/seal.h"
#include "credd/convert.h"
#include "credd/durable_file.h"
#include "credd/vault.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PLAIN "{\"bearer_token\":\"secret-token\"}"

struct place {
    char directory[64], creds[96];
    struct seal *a, *b;
    struct sites *sites;
};

static void put(const char *directory, const char *name, const char *text)
{
    const struct durable_write write = {.directory = directory, .name = name, .content = span_str(text)};
    assert_int_equal(durable_file_write(&write), 0);
}

static struct seal *load(const struct place *place, const char *key)
{
    char path[128];
    put(place->directory, "key", key);
    snprintf(path, sizeof path, "%s/key", place->directory);
    return seal_load(path);
}

static int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    snprintf(place->directory, sizeof place->directory, "/tmp/seal_test.XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->creds, sizeof place->creds, "%s/creds", place->directory);
    assert_int_equal(durable_directory_prepare(place->creds), 0);
    place->a = load(place, KEY_A "\n");
    place->b = load(place, KEY_B);
    assert_true(place->a && place->b);
    place->sites = sites_load("deploy/sites", "https://copilot.tencent.com");
    *state = place;
    return 0;
}

static int place_close(void **state)
{
    struct place *place = *state;
    static const char *const names[] = {"a.json", "b.json", "manager_state.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        durable_file_remove(place->creds, names[i]);
    durable_file_remove(place->directory, "key");
    rmdir(place->creds);
    rmdir(place->directory);
    seal_free(&place->a);
    seal_free(&place->b);
    sites_free(&place->sites);
    free(place);
    return 0;
}

static void test_keys(void **state)
{
    struct place *place = *state;
    static const char *const bad[] = {"",
                                      "00",
                                      (KEY_A "00"),
                                      (KEY_A "x"),
                                      "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                                      ("  " KEY_A)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(load(place, bad[i]));
    assert_null(seal_load("/nonexistent"));
}

static void test_round_trip(void **state)
{
    struct place *place = *state;
    struct buffer sealed = {0}, again = {0}, plain = {0};
    const char *problem = NULL;
    assert_int_equal(seal_wrap(place->a, SPAN(PLAIN), &sealed), 0);
    assert_true(seal_is_sealed(buffer_span(&sealed)));
    assert_null(memmem(sealed.data, sealed.length, "secret", 6));
    assert_int_equal(seal_wrap(place->a, SPAN(PLAIN), &again), 0);
    assert_false(span_equals(buffer_span(&sealed), buffer_span(&again))); /* a nonce of its own */
    assert_int_equal(seal_unwrap(place->a, buffer_span(&sealed), &plain, &problem), 0);
    assert_true(span_equals(buffer_span(&plain), SPAN(PLAIN)));
    buffer_clear(&plain);
    assert_int_equal(seal_unwrap(place->b, buffer_span(&sealed), &plain, &problem), ERR_DENIED);
    assert_int_equal(seal_unwrap(NULL, buffer_span(&sealed), &plain, &problem), ERR_DENIED);
    assert_int_equal(plain.length, 0);
    assert_int_equal(seal_unwrap(place->a, SPAN(PLAIN), &plain, &problem), 0); /* plain ones still load */
    assert_true(span_equals(buffer_span(&plain), SPAN(PLAIN)));
    for (size_t i = 0; i < sealed.length - 1; i++) { /* any changed or missing byte is noticed */
        struct buffer out = {0};
        char kept = sealed.data[i];
        sealed.data[i] = kept == 'f' ? '0' : 'f';
        bool is_sealed = seal_is_sealed(buffer_span(&sealed));
        assert_true(!is_sealed || seal_unwrap(place->a, buffer_span(&sealed), &out, &problem) < 0);
        sealed.data[i] = kept;
        struct span cut = span_of(sealed.data, i);
        assert_true(!seal_is_sealed(cut) || seal_unwrap(place->a, cut, &out, &problem) < 0);
        buffer_fini(&out);
    }
    buffer_fini(&sealed);
    buffer_fini(&again);
    buffer_fini(&plain);
}

/* How many of the directory's credentials a vault with this key can use. */
static size_t usable(const struct place *place, const struct seal *seal)
{
    size_t count = 0;
    struct vault *vault = vault_open(&(struct vault_parts){place->creds, place->sites, seal, NULL});
    for (size_t i = 0; i < vault_count(vault); i++)
        count += vault_at(vault, i)->problem[0] == '\0';
    vault_close(&vault);
    return count;
}

static void test_convert_both_ways(void **state)
{
    struct place *place = *state;
    struct buffer text = {0};
    put(place->creds, "a.json", PLAIN);
    put(place->creds, "b.json", PLAIN);
    put(place->creds, "manager_state.json", "{}");
    assert_int_equal(convert_directory("seal", place->creds, NULL), ERR_CONFIG);
    assert_int_equal(convert_directory("shred", place->creds, place->a), ERR_UNSUPPORTED);
    assert_int_equal(convert_directory("seal", place->creds, place->a), 0);
    assert_int_equal(durable_file_read(place->creds, "a.json", 10000, &text), 0);
    assert_true(seal_is_sealed(buffer_span(&text)));
    buffer_clear(&text);
    assert_int_equal(durable_file_read(place->creds, "manager_state.json", 10000, &text), 0);
    assert_true(span_equals(buffer_span(&text), SPAN("{}")));
    assert_int_equal(usable(place, place->a), 2);
    assert_int_equal(usable(place, place->b), 0);
    assert_int_equal(usable(place, NULL), 0);
    assert_int_equal(convert_directory("seal", place->creds, place->a), 0); /* again: nothing to do */
    assert_int_equal(convert_directory("unseal", place->creds, place->b), ERR_IO);
    assert_int_equal(usable(place, place->a), 2); /* and nothing was harmed */
    assert_int_equal(convert_directory("unseal", place->creds, place->a), 0);
    buffer_clear(&text);
    assert_int_equal(durable_file_read(place->creds, "a.json", 10000, &text), 0);
    assert_true(span_equals(buffer_span(&text), SPAN(PLAIN)));
    put(place->creds, "b.json", "{\"something\":\"else\"}");
    assert_int_equal(convert_directory("seal", place->creds, place->a), ERR_IO); /* foreign: left alone */
    buffer_clear(&text);
    assert_int_equal(durable_file_read(place->creds, "b.json", 10000, &text), 0);
    assert_true(span_equals(buffer_span(&text), SPAN("{\"something\":\"else\"}")));
    buffer_fini(&text);
    assert_int_equal(convert_directory("seal", "/nonexistent", place->a), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)
        T(test_keys),
        T(test_round_trip),
        T(test_convert_both_ways),
#undef T
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
