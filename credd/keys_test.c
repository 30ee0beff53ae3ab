/* SPDX-License-Identifier: MIT */
#include "credd/keys.h"
#include "credd/durable_file.h"
#include "proto/error.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t WALL_MS = 1790000000000;

struct world {
    char directory[64], path[96];
    struct keys *keys;
    unsigned char next_random;
    struct moment moment;
    const char *message;
    uint32_t retry_after_s;
};

static void reopen(struct world *world)
{
    int error;
    keys_close(&world->keys);
    world->keys = keys_open(world->directory, &error);
    assert_non_null(world->keys);
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->directory, sizeof world->directory, "/tmp/keys_test.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    snprintf(world->path, sizeof world->path, "%s/keys.json", world->directory);
    world->moment = (struct moment){.now_ms = 100500, .wall_ms = WALL_MS};
    reopen(world);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    keys_close(&world->keys);
    unlink(world->path);
    rmdir(world->directory);
    free(world);
    return 0;
}

/* What office does with a plan. */
static int settle(struct world *world, int error, const struct buffer *document)
{
    if (error < 0)
        return error;
    const struct durable_write write = {.directory = world->directory,
                                        .name = KEYS_FILE,
                                        .content = buffer_span(document),
                                        .mode = DURABLE_PUT};
    error = durable_file_write(&write);
    int settled = keys_settle(world->keys, error == 0);
    return error ? error : settled;
}

static int revoke_key(struct world *world, struct span id)
{
    struct buffer document = {0};
    int error = settle(world, keys_plan_revoke(world->keys, id, &document), &document);
    buffer_fini(&document);
    return error;
}

static int save_uses(struct world *world)
{
    struct buffer document = {0};
    int error = settle(world, keys_plan_uses(world->keys, &document), &document);
    buffer_fini(&document);
    return error;
}

static json_t *make_of(struct world *world, const json_t *wish, const unsigned char *random,
                       char text[KEY_TEXT_BYTES], struct field_problem *problem, int *error)
{
    struct buffer document = {0};
    json_t *made =
        keys_plan_create(world->keys, wish, random, world->moment.wall_ms, text, problem, error, &document);
    if (made && (*error = settle(world, 0, &document)) < 0) {
        json_decref(made);
        made = NULL;
    }
    buffer_fini(&document);
    return made;
}

static json_t *create(struct world *world, const char *rules, char text[KEY_TEXT_BYTES],
                      struct field_problem *problem, int *error)
{
    unsigned char random[KEYS_RANDOM_BYTES];
    json_t *wish = json_loads(rules, 0, NULL);
    assert_non_null(wish);
    memset(random, ++world->next_random, sizeof random);
    json_t *made = make_of(world, wish, random, text, problem, error);
    json_decref(wish);
    return made;
}

/* The id of a new key. */
static void make(struct world *world, const char *rules, char id[KEY_ID_BYTES])
{
    char text[KEY_TEXT_BYTES];
    struct field_problem problem;
    int error;
    json_t *made = create(world, rules, text, &problem, &error);
    assert_non_null(made);
    snprintf(id, KEY_ID_BYTES, "%s", json_string_value(json_object_get(made, "id")));
    json_decref(made);
}

static enum failure begin(struct world *world, const char *id, const char *model, struct key **key)
{
    const struct msg_lease lease = {.key_id = span_str(id), .model = span_str(model)};
    return keys_begin(world->keys, &lease, &world->moment, key, &world->message, &world->retry_after_s);
}

static void test_key_is_shown_once_and_kept_as_hash(void **state)
{
    struct world *world = *state;
    char text[KEY_TEXT_BYTES], expected[65], content[2048] = "";
    unsigned char hash[32];
    struct field_problem problem;
    struct stat status;
    int error;
    json_t *made =
        create(world, "{\"name\":\"ci\",\"models\":[\"a\",\"b\"],\"rpm\":5}", text, &problem, &error);
    assert_non_null(made);
    assert_int_equal(strlen(text), 46);
    assert_int_equal(strncmp(text, "cb-AQEBAQ", 9), 0);
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(expected, sizeof expected, hash, sizeof hash);
    json_t *state_list = keys_state(world->keys);
    assert_string_equal(json_string_value(json_object_get(json_array_get(state_list, 0), "sha256")),
                        expected);
    json_decref(state_list);
    int fd = open(world->path, O_RDONLY);
    assert_true(read(fd, content, sizeof content - 1) > 0);
    close(fd);
    assert_null(strstr(content, text + 3)); /* the key itself is nowhere */
    assert_non_null(strstr(content, expected));
    assert_int_equal(stat(world->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    json_t *before = keys_list(world->keys, WALL_MS);
    reopen(world);
    json_t *after = keys_list(world->keys, WALL_MS);
    assert_true(json_equal(before, after));
    assert_true(json_equal(json_array_get(after, 0), made));
    assert_null(json_object_get(made, "sha256"));
    assert_int_equal(json_integer_value(json_object_get(made, "created_at")), WALL_MS / 1000);
    json_decref(before);
    json_decref(after);
    json_decref(made);
}

static void test_what_is_refused_names_the_field(void **state)
{
    static const struct {
        const char *rules, *field;
    } bad[] = {
        {"{}", "name"},
        {"[]", "name"},
        {"{\"name\":\"\"}", "name"},
        {"{\"name\":7}", "name"},
        {"{\"name\":\"a\\nb\"}", "name"},
        {"{\"name\":\"12345678901234567890123456789012345678901234567890123456789012345\"}", "name"},
        {"{\"name\":\"a\",\"models\":[]}", "models"},
        {"{\"name\":\"a\",\"models\":\"m\"}", "models"},
        {"{\"name\":\"a\",\"models\":[\"\"]}", "models"},
        {"{\"name\":\"a\",\"models\":[1]}", "models"},
        {"{\"name\":\"a\",\"rpm\":0}", "rpm"},
        {"{\"name\":\"a\",\"rpm\":1.5}", "rpm"},
        {"{\"name\":\"a\",\"rpm\":1000001}", "rpm"},
        {"{\"name\":\"a\",\"max_in_flight\":-1}", "max_in_flight"},
        {"{\"name\":\"a\",\"max_in_flight\":\"9\"}", "max_in_flight"},
        {"{\"name\":\"a\",\"expires_at\":\"tomorrow\"}", "expires_at"},
        {"{\"name\":\"a\",\"expires_at\":1790000000}", "expires_at"}, /* now: it would be dead */
        {"{\"name\":\"a\",\"sha256\":\"x\"}", "sha256"},
        {"{\"name\":\"a\",\"id\":\"key_1\"}", "id"},
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[KEY_TEXT_BYTES];
        struct field_problem problem = {.text = NULL};
        int error = 0;
        assert_null(create(world, bad[i].rules, text, &problem, &error));
        assert_int_equal(error, ERR_INVALID);
        assert_string_equal(problem.field, bad[i].field);
        assert_non_null(problem.text);
    }
    assert_int_equal(keys_count(world->keys), 0);
    assert_int_not_equal(access(world->path, F_OK), 0);
}

static void test_limits(void **state)
{
    struct world *world = *state;
    struct key *first, *second, *none;
    char id[KEY_ID_BYTES];
    make(world, "{\"name\":\"n\",\"models\":[\"m\"],\"rpm\":3,\"max_in_flight\":2}", id);
    assert_int_equal(begin(world, id, "other", &none), FAILURE_MODEL_NOT_FOUND);
    assert_null(none);
    assert_int_equal(begin(world, id, "m", &first), FAILURE_NONE);
    assert_int_equal(begin(world, id, "m", &second), FAILURE_NONE);
    assert_int_equal(begin(world, id, "m", &none), FAILURE_RATE_LIMITED); /* two are in flight */
    assert_int_equal(world->retry_after_s, 1);
    keys_end(world->keys, first);
    world->moment.now_ms += 20000;
    assert_int_equal(begin(world, id, "m", &first), FAILURE_NONE);
    keys_end(world->keys, second);
    assert_int_equal(begin(world, id, "m", &none), FAILURE_RATE_LIMITED); /* three in a minute */
    assert_int_equal(world->retry_after_s, 40);
    const struct msg_lease again = {
        .key_id = span_str(id), .model = SPAN("m"), .exclude = SPAN("0011223344556677")};
    assert_int_equal(
        keys_begin(world->keys, &again, &world->moment, &second, &world->message, &world->retry_after_s),
        FAILURE_NONE); /* the same request, with another credential */
    keys_end(world->keys, second);
    world->moment.now_ms += 39400; /* 59.4 s later, in another second */
    assert_int_equal(begin(world, id, "m", &none), FAILURE_RATE_LIMITED);
    world->moment.now_ms += 1000;
    assert_int_equal(begin(world, id, "m", &second), FAILURE_NONE);
    keys_end(world->keys, second);
    assert_int_equal(begin(world, id, "m", &second), FAILURE_NONE);
    keys_end(world->keys, second);
    assert_int_equal(begin(world, id, "m", &none), FAILURE_RATE_LIMITED); /* one of 20 s ago, two of now */
    assert_int_equal(world->retry_after_s, 20);
    keys_end(world->keys, first);
}

/* As after a kill of credd: what was written is all that is known. */
static void test_requests_per_minute_outlive_the_process(void **state)
{
    struct world *world = *state;
    struct buffer document = {0}, again = {0};
    struct key *key;
    char limited[KEY_ID_BYTES], free_one[KEY_ID_BYTES], idle[KEY_ID_BYTES];
    make(world, "{\"name\":\"limited\",\"rpm\":2}", limited);
    make(world, "{\"name\":\"free\"}", free_one);
    make(world, "{\"name\":\"idle\",\"rpm\":2}", idle);
    assert_int_equal(begin(world, free_one, "m", &key), FAILURE_NONE);
    keys_end(world->keys, key);
    assert_int_equal(keys_plan_paces(world->keys, &world->moment, &document), ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin(world, limited, "m", &key), FAILURE_NONE);
        keys_end(world->keys, key);
    }
    assert_int_equal(keys_plan_paces(world->keys, &world->moment, &document), 0);
    assert_non_null(memmem(document.data, document.length, limited, strlen(limited)));
    assert_null(memmem(document.data, document.length, free_one, strlen(free_one)));
    assert_null(memmem(document.data, document.length, idle, strlen(idle)));
    assert_int_equal(keys_plan_paces(world->keys, &world->moment, &again), ERR_NOT_FOUND);
    keys_settle_paces(world->keys, false); /* the disk was full */
    assert_int_equal(keys_plan_paces(world->keys, &world->moment, &again), 0);
    keys_settle_paces(world->keys, true);
    assert_int_equal(keys_plan_paces(world->keys, &world->moment, &again), ERR_NOT_FOUND);
    reopen(world);
    world->moment = (struct moment){.now_ms = 5000, .wall_ms = world->moment.wall_ms + 20000};
    assert_int_equal(keys_restore_paces(world->keys, buffer_span(&document), &world->moment), 0);
    assert_int_equal(begin(world, limited, "m", &key), FAILURE_RATE_LIMITED);
    assert_int_equal(world->retry_after_s, 40);
    assert_int_equal(begin(world, free_one, "m", &key), FAILURE_NONE);
    keys_end(world->keys, key);
    assert_int_equal(keys_restore_paces(world->keys, SPAN("{\"version\":2,\"keys\":{}}"), &world->moment),
                     ERR_INVALID);
    assert_int_equal(keys_restore_paces(world->keys, SPAN(""), &world->moment), ERR_INVALID);
    assert_int_equal(
        keys_restore_paces(world->keys, SPAN("{\"version\":1,\"keys\":{\"key_gone\":[]}}"), &world->moment),
        0);
    buffer_fini(&document);
    buffer_fini(&again);
}

static void test_expiry_revocation_and_the_password(void **state)
{
    struct world *world = *state;
    struct key *key, *other;
    char id[KEY_ID_BYTES];
    make(world, "{\"name\":\"n\",\"expires_at\":1790000010}", id);
    assert_int_equal(begin(world, id, "m", &key), FAILURE_NONE);
    world->moment.wall_ms += 10000;
    assert_int_equal(begin(world, id, "m", &other), FAILURE_INVALID_API_KEY);
    world->moment.wall_ms -= 10000;
    assert_int_equal(revoke_key(world, SPAN("key_0000000000000000")), ERR_NOT_FOUND);
    assert_int_equal(revoke_key(world, span_str(id)), 0); /* while in use */
    assert_int_equal(keys_count(world->keys), 0);
    assert_int_equal(begin(world, id, "m", &other), FAILURE_INVALID_API_KEY);
    keys_end(world->keys, key);
    assert_int_equal(revoke_key(world, span_str(id)), ERR_NOT_FOUND);
    assert_int_equal(begin(world, "password", "m", &key), FAILURE_NONE);
    assert_null(key);
    reopen(world);
    assert_int_equal(keys_count(world->keys), 0);
}

/* After a restart: what runs is counted again, over the limit too, and ends as always. */
static void test_running_requests_are_learned_again(void **state)
{
    struct world *world = *state;
    char id[KEY_ID_BYTES];
    make(world, "{\"name\":\"n\",\"max_in_flight\":2}", id);
    reopen(world);
    struct key *first = keys_adopt(world->keys, key_number(span_str(id)));
    struct key *second = keys_adopt(world->keys, key_number(span_str(id)));
    struct key *third = keys_adopt(world->keys, key_number(span_str(id)));
    assert_true(first && second && third);
    assert_null(keys_adopt(world->keys, 0));
    assert_null(keys_adopt(world->keys, key_number(SPAN("key_ffffffffffffffff"))));
    struct key *key;
    const struct msg_lease lease = {.key_id = span_str(id), .model = SPAN("m")};
    assert_int_equal(
        keys_begin(world->keys, &lease, &world->moment, &key, &world->message, &world->retry_after_s),
        FAILURE_RATE_LIMITED);
    keys_end(world->keys, third);
    keys_end(world->keys, second);
    assert_int_equal(
        keys_begin(world->keys, &lease, &world->moment, &key, &world->message, &world->retry_after_s),
        FAILURE_NONE);
    keys_end(world->keys, first);
    keys_end(world->keys, key);
}

static void test_last_use_is_kept(void **state)
{
    struct world *world = *state;
    struct key *key;
    char id[KEY_ID_BYTES];
    make(world, "{\"name\":\"n\"}", id);
    assert_int_equal(begin(world, id, "m", &key), FAILURE_NONE);
    keys_end(world->keys, key);
    assert_int_equal(save_uses(world), 0);
    reopen(world);
    json_t *list = keys_list(world->keys, WALL_MS);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "last_used_at")),
                     WALL_MS / 1000);
    json_decref(list);
    unlink(world->path);
    assert_int_equal(save_uses(world), ERR_NOT_FOUND); /* no news: nothing is written */
    assert_int_not_equal(access(world->path, F_OK), 0);
}

static void test_there_are_at_most_a_thousand(void **state)
{
    struct world *world = *state;
    char text[KEY_TEXT_BYTES];
    unsigned char random[KEYS_RANDOM_BYTES] = {0};
    struct field_problem problem;
    int error;
    for (int i = 0; i <= KEYS_MAX; i++) {
        json_t *wish = json_pack("{s:s}", "name", "n");
        memcpy(random, &i, sizeof i);
        memcpy(random + 32, &i, sizeof i);
        json_t *made = make_of(world, wish, random, text, &problem, &error);
        json_decref(wish);
        assert_true((made != NULL) == (i < KEYS_MAX));
        json_decref(made);
    }
    assert_int_equal(error, ERR_TOO_LARGE);
    json_t *all = keys_state(world->keys);
    char *dumped = json_dumps(all, JSON_COMPACT);
    assert_true(strlen(dumped) < 200000); /* far from STATE's bound */
    free(dumped);
    json_decref(all);
}

static void test_broken_file_is_left_alone(void **state)
{
    static const char *const broken[] = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"keys\":[]}",
        "{\"version\":1,\"keys\":{}}",
        "{\"version\":1,\"keys\":[{\"id\":\"key_0123456789abcdef\",\"sha256\":\"short\",\"name\":\"n\"}]}",
        "{\"version\":1,\"keys\":[{\"id\":\"../../etc/passwd\",\"name\":\"n\"}]}",
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int error = 0, fd = open(world->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, broken[i], strlen(broken[i])), strlen(broken[i]));
        close(fd);
        assert_null(keys_open(world->directory, &error));
        assert_int_equal(error, ERR_CONFIG);
        struct stat status;
        assert_int_equal(stat(world->path, &status), 0);
        assert_int_equal(status.st_size, strlen(broken[i]));
    }
}

static void test_a_key_that_cannot_be_kept_is_not_made(void **state)
{
    struct world *world = *state;
    char text[KEY_TEXT_BYTES], id[KEY_ID_BYTES];
    struct field_problem problem;
    int error;
    make(world, "{\"name\":\"n\"}", id);
    unlink(world->path);
    assert_int_equal(mkdir(world->path, 0700), 0); /* nothing can be renamed onto it, by root neither */
    assert_null(create(world, "{\"name\":\"n2\"}", text, &problem, &error));
    assert_int_equal(error, ERR_IO);
    assert_int_equal(revoke_key(world, span_str(id)), ERR_IO);
    assert_int_equal(keys_count(world->keys), 1);
    assert_int_equal(rmdir(world->path), 0);
    assert_int_equal(revoke_key(world, span_str(id)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
        T(test_key_is_shown_once_and_kept_as_hash),
        T(test_what_is_refused_names_the_field),
        T(test_limits),
        T(test_requests_per_minute_outlive_the_process),
        T(test_expiry_revocation_and_the_password),
        T(test_running_requests_are_learned_again),
        T(test_last_use_is_kept),
        T(test_there_are_at_most_a_thousand),
        T(test_broken_file_is_left_alone),
        T(test_a_key_that_cannot_be_kept_is_not_made),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
