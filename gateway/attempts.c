/* SPDX-License-Identifier: MIT */
#include "gateway/attempts.h"

#include <netinet/in.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1024, WAYS = 4, NAME_BYTES = 9 /* family, then 4 or 8 bytes of address */ };

struct attempt {
    unsigned char name[NAME_BYTES];
    int count; /* 0: a free place */
    int64_t since_ms;
};

struct attempts {
    unsigned char key[crypto_shorthash_KEYBYTES];
    struct attempt table[SETS][WAYS];
};

struct attempts *attempts_new(const unsigned char key[16])
{
    struct attempts *attempts = calloc(1, sizeof *attempts);
    if (attempts)
        memcpy(attempts->key, key, sizeof attempts->key);
    return attempts;
}

void attempts_free(struct attempts **attempts)
{
    free(*attempts);
    *attempts = NULL;
}

/* Mapped IPv4 addresses count as the IPv4 address they stand for. */
static void name_address(const struct sockaddr *address, unsigned char name[NAME_BYTES])
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    memset(name, 0, NAME_BYTES);
    name[0] = 4;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        memcpy(name + 1, &v4.sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
        if (!is_mapped)
            name[0] = 6;
        memcpy(name + 1, v6.sin6_addr.s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 8);
    }
}

static const struct attempt *find_set(const struct attempts *attempts, const unsigned char name[NAME_BYTES])
{
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, name, NAME_BYTES, attempts->key);
    return attempts->table[(hash[0] | hash[1] << 8) % SETS];
}

static bool is_current(const struct attempt *attempt, int64_t now_ms)
{
    return attempt->count > 0 && now_ms - attempt->since_ms < ATTEMPTS_WINDOW_MS;
}

int64_t attempts_blocked_ms(const struct attempts *attempts, const struct sockaddr *address, int64_t now_ms)
{
    unsigned char name[NAME_BYTES];
    name_address(address, name);
    const struct attempt *set = find_set(attempts, name);
    for (int i = 0; i < WAYS; i++)
        if (is_current(&set[i], now_ms) && memcmp(set[i].name, name, NAME_BYTES) == 0)
            return set[i].count < ATTEMPTS_MAX ? 0 : set[i].since_ms + ATTEMPTS_WINDOW_MS - now_ms;
    return 0;
}

void attempts_add_wrong(struct attempts *attempts, const struct sockaddr *address, int64_t now_ms)
{
    unsigned char name[NAME_BYTES];
    name_address(address, name);
    size_t offset = (size_t)(find_set(attempts, name) - attempts->table[0]);
    struct attempt *set = attempts->table[0] + offset, *place = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (is_current(&set[i], now_ms) && memcmp(set[i].name, name, NAME_BYTES) == 0) {
            set[i].count++;
            return;
        }
        int count = is_current(&set[i], now_ms) ? set[i].count : 0;
        int least = is_current(place, now_ms) ? place->count : 0;
        if (count < least)
            place = &set[i];
    }
    memcpy(place->name, name, NAME_BYTES);
    place->count = 1;
    place->since_ms = now_ms;
}
