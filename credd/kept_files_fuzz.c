/* SPDX-License-Identifier: MIT */
/* Any bytes as the files that credd keeps for itself, the first byte choosing which: 'c'
 * credentials_state.json, 'k' keys.json, 'p' key_paces.json, 's' settings.json, 'b' credential_sites.json,
 * 'x' a sealed credential file. Each is read as at a start: taken or refused, and what was taken can be
 * written and read again. */
#include "credd/durable_file.h"
#include "credd/keys.h"
#include "credd/run_settings.h"
#include "credd/seal.h"
#include "credd/site_bonds.h"
#include "credd/state_text.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static char directory[] = "/tmp/kept_files_fuzz.XXXXXX";
static struct sites *sites;
static struct vault *vault;
static struct seal *seal;
static struct settings settings;

static void put(const char *name, struct span text)
{
    const struct durable_write write = {
        .directory = directory, .name = name, .content = text, .mode = DURABLE_PUT};
    assert(durable_file_write(&write) == 0);
}

static void clean_up(void)
{
    static const char *const names[] = {"a.json", "b.json", "key", KEYS_FILE, RUN_SETTINGS_FILE};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static void begin(void)
{
    char path[128], password[] = "CODEBUDDY_PASSWORD=p";
    char *const environment[] = {password, NULL};
    const char *problem;
    assert(sodium_init() >= 0 && mkdtemp(directory));
    atexit(clean_up);
    log_init("fuzz", (enum log_level)(LOG_LEVEL_ERROR + 1));
    put("a.json", SPAN("{\"bearer_token\":\"a\"}"));
    put("b.json", SPAN("{\"bearer_token\":\"b\"}"));
    put("key", SPAN("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    snprintf(path, sizeof path, "%s/key", directory);
    seal = seal_load(path);
    sites = sites_new();
    assert(seal && sites && settings_load(&settings, environment, "/nonexistent") == 0);
    assert(sites_add(sites, SPAN("custom"), SPAN("{}"), &problem) == 0);
    assert(sites_set_endpoint(sites, "https://fuzz.example", &problem) == 0);
    vault = vault_open(&(struct vault_parts){directory, sites, NULL, NULL});
    assert(vault && vault_count(vault) == 2);
}

static void read_state(struct span text)
{
    static const unsigned char seed[16];
    const struct rotation_rules rules = {.rotation_count = 1, .max_in_flight = 1, .exhausted_ms = 1};
    const struct moment moment = {.now_ms = 1000000, .wall_ms = 1790000000000};
    struct buffer written = {0};
    struct rotation *rotation = rotation_new(&rules, seed);
    struct rotation_fact facts[2] = {{0}};
    for (size_t i = 0; i < 2; i++)
        facts[i] = (struct rotation_fact){.id = i + 1,
                                          .number = vault_at(vault, i)->number,
                                          .generation = vault_at(vault, i)->token_generation,
                                          .subject = vault_at(vault, i)};
    assert(rotation && rotation_sync(rotation, facts, 2) == 0);
    if (state_text_apply(text, vault, rotation, &moment) == 0) {
        assert(state_text_append(&written, vault, rotation, &moment) == 0);
        assert(state_text_apply(buffer_span(&written), vault, rotation, &moment) == 0);
    }
    state_text_migrate(text, vault, rotation);
    buffer_fini(&written);
    rotation_free(&rotation);
}

static void read_keys(struct span text)
{
    int error;
    put(KEYS_FILE, text);
    struct keys *keys = keys_open(directory, &error);
    assert((keys != NULL) == (error == 0));
    if (keys) {
        json_decref(keys_list(keys, 0));
        json_decref(keys_state(keys));
    }
    keys_close(&keys);
}

static void read_paces(struct span text)
{
    static const char one[] =
        "{\"version\":1,\"keys\":[{\"id\":\"key_0011223344556677\",\"name\":\"n\",\"rpm\":5,"
        "\"sha256\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}]}";
    const struct moment moment = {.now_ms = 1000000, .wall_ms = 1790000000000};
    int error;
    put(KEYS_FILE, span_of(one, sizeof one - 1));
    struct keys *keys = keys_open(directory, &error);
    assert(keys);
    keys_restore_paces(keys, text, &moment);
    keys_close(&keys);
}

static void read_settings(struct span text)
{
    int error = 0;
    struct live *live = live_new(&settings);
    assert(live);
    put(RUN_SETTINGS_FILE, text);
    struct run_settings *run_settings = run_settings_open(directory, live, &error);
    assert((run_settings != NULL) == (error == 0));
    if (run_settings) {
        json_decref(run_settings_describe(run_settings));
        json_decref(run_settings_values(run_settings));
    }
    run_settings_close(&run_settings);
    live_free(&live);
    log_init("fuzz", (enum log_level)(LOG_LEVEL_ERROR + 1)); /* a log level may have been set */
}

static void read_sealed(struct span text)
{
    struct buffer plain = {0}, again = {0}, sealed = {0};
    const char *problem = NULL;
    if (seal_unwrap(seal, text, &plain, &problem) == 0) {
        assert(seal_wrap(seal, buffer_span(&plain), &sealed) == 0);
        if (!seal_is_sealed(buffer_span(&plain))) {
            assert(seal_unwrap(seal, buffer_span(&sealed), &again, &problem) == 0);
            assert(span_equals(buffer_span(&plain), buffer_span(&again)));
        }
    }
    buffer_fini_secret(&plain);
    buffer_fini_secret(&again);
    buffer_fini_secret(&sealed);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct span text = span_of((const char *)data + 1, size > 0 ? size - 1 : 0);
    if (!vault)
        begin();
    if (size == 0)
        return 0;
    if (data[0] == 'c')
        read_state(text);
    else if (data[0] == 'k')
        read_keys(text);
    else if (data[0] == 'p')
        read_paces(text);
    else if (data[0] == 's')
        read_settings(text);
    else if (data[0] == 'b')
        json_decref(site_bonds_parse(text));
    else if (data[0] == 'x')
        read_sealed(text);
    return 0;
}
