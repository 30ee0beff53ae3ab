/* SPDX-License-Identifier: MIT */
/* The real daemon, killed with -9 in the middle of every kind of change, again and again: what was answered
 * is there, what was not is there whole or not at all, and it always starts again. */
#include "credd/testbed.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LIVES = 48,
    STRIKE_MAX_US = 12000 /* a change takes a disk's write and two syncs: below and above that */
};

enum strike { ADD, DELETE, SET, CREATE_KEY, REFRESH, DISABLE, STRIKE_COUNT };

static const json_t *find(const json_t *list, const char *member, const char *value)
{
    size_t i;
    const json_t *row;
    json_array_foreach (list, i, row) {
        const char *text = json_string_value(json_object_get(row, member));
        if (text && strcmp(text, value) == 0)
            return row;
    }
    return NULL;
}

static const json_t *list_credentials(struct client *client)
{
    return json_object_get(call(client, "credentials.list", "{}", 200), "credentials");
}

/* The arguments that name a credential by its file. */
static void name_credential(struct client *client, const char *filename, char arguments[64])
{
    const json_t *row = find(list_credentials(client), "filename", filename);
    assert_non_null(row);
    snprintf(arguments, 64, "{\"id\":\"%s\"}", json_string_value(json_object_get(row, "id")));
}

static void add(struct client *client, const char *stem, int life, bool is_awaited)
{
    char arguments[128];
    snprintf(arguments, sizeof arguments, "{\"filename\":\"%s%d\",\"bearer_token\":\"token-%s-of-life-%d\"}",
             stem, life, stem, life);
    if (is_awaited)
        call(client, "credentials.add", arguments, 201);
    else
        ask_call(client, "credentials.add", arguments);
}

static void set(struct client *client, int value, bool is_awaited)
{
    char arguments[96];
    snprintf(arguments, sizeof arguments, "{\"settings\":{\"CODEBUDDY_ROTATION_COUNT\":%d}}", value);
    if (is_awaited)
        call(client, "settings.set", arguments, 200);
    else
        ask_call(client, "settings.set", arguments);
}

static void create_key(struct client *client, const char *stem, int life, bool is_awaited)
{
    char arguments[64];
    snprintf(arguments, sizeof arguments, "{\"name\":\"%s%d\"}", stem, life);
    if (is_awaited)
        call(client, "keys.create", arguments, 201);
    else
        ask_call(client, "keys.create", arguments);
}

/* Begins the change that is not going to be answered, or just so. */
static void begin(struct client *client, enum strike strike, int life)
{
    char file[32], arguments[64];
    snprintf(file, sizeof file, "k%d.json", life);
    switch (strike) {
    case ADD:
        add(client, "u", life, false);
        break;
    case SET:
        set(client, 1000 + life, false);
        break;
    case CREATE_KEY:
        create_key(client, "u", life, false);
        break;
    case REFRESH:
        name_credential(client, "refreshable.json", arguments);
        ask_call(client, "credentials.refresh", arguments);
        break;
    case DELETE:
    case DISABLE:
    case STRIKE_COUNT:
        name_credential(client, file, arguments);
        ask_call(client, strike == DELETE ? "credentials.delete" : "credentials.disable", arguments);
        break;
    }
}

static void turn_for_us(struct client *client, int64_t wait_us)
{
    int64_t until_us = clock_now_us() + wait_us;
    while (clock_now_us() < until_us)
        uv_run(service_loop(client->service), UV_RUN_NOWAIT);
}

/* Every file is whole, whatever it was in the middle of. */
static void check_credentials(struct client *client, enum strike strike, int life)
{
    const json_t *list = list_credentials(client), *row;
    char file[32];
    size_t i;
    json_array_foreach (list, i, row) {
        if (!json_is_true(json_object_get(row, "has_token")))
            fail_msg("life %d: %s is broken: %s", life, json_string_value(json_object_get(row, "filename")),
                     json_string_value(json_object_get(row, "state_reason")));
    }
    row = find(list, "filename", "refreshable.json");
    assert_true(row && json_is_true(json_object_get(row, "has_refresh_token")));
    snprintf(file, sizeof file, "k%d.json", life);
    row = find(list, "filename", file);
    if (!row)
        assert_int_equal(strike, DELETE);
    else if (strike != DISABLE)
        assert_string_equal(json_string_value(json_object_get(row, "state")), "ready");
}

static void check_settings(struct client *client, enum strike strike, int life)
{
    const json_t *settings = json_object_get(call(client, "settings.get", "{}", 200), "settings");
    const json_t *row = json_object_get(settings, "CODEBUDDY_ROTATION_COUNT");
    int64_t value = json_integer_value(json_object_get(row, "value"));
    if (value != 1 + life && (strike != SET || value != 1000 + life))
        fail_msg("life %d: the setting is %" PRId64, life, value);
}

static void check_keys(struct client *client, int life)
{
    const json_t *keys = json_object_get(call(client, "keys.list", "{}", 200), "keys");
    for (int i = 0; i <= life; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        assert_non_null(find(keys, "name", name));
    }
}

static void test_killed_in_the_middle_of_every_change(void **state)
{
    struct world *world = *state;
    struct client *client = &world->client;
    uint32_t random = 20251123; /* xorshift: the same moments, as far as the machine allows */
    int unanswered = 0;
    start_upstream(world);
    put_file(world, "refreshable.json", "{\"bearer_token\":\"token-to-refresh\",\"refresh_token\":\"R\"}");
    start_credd(world);
    client_open(world, "gateway");
    for (int life = 0; life < LIVES; life++) {
        enum strike strike = (enum strike)(life % STRIKE_COUNT);
        add(client, "k", life, true);
        set(client, 1 + life, true);
        create_key(client, "k", life, true);
        int before = client->answers + (strike == DELETE || strike == REFRESH || strike == DISABLE);
        begin(client, strike, life);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        turn_for_us(client, random % STRIKE_MAX_US);
        unanswered += client->answers == before;
        assert_int_equal(end_credd(world, SIGKILL), 1000 + SIGKILL);
        TURN_UNTIL(client, !client->credd);
        start_credd(world);
        TURN_UNTIL(client, client->credd);
        check_credentials(client, strike, life);
        check_settings(client, strike, life);
        check_keys(client, life);
    }
    print_message("%d of %d were killed before they answered\n", unanswered, LIVES);
    assert_true(unanswered > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_in_the_middle_of_every_change, world_open, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
