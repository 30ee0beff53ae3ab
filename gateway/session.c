/* SPDX-License-Identifier: MIT */
#include "gateway/session.h"

#include <sodium.h>

enum { UNTIL_BYTES = 8, SIGNED_BYTES = UNTIL_BYTES + SESSION_RANDOM_BYTES };

struct token {
    unsigned char text[SIGNED_BYTES]; /* until (s since 1970, big-endian), random */
    unsigned char mac[crypto_auth_BYTES];
};
_Static_assert(SESSION_KEY_BYTES == crypto_auth_KEYBYTES, "what crypto_auth takes");
_Static_assert(sizeof(struct token) == 56, "75 characters of base64url");

bool session_derive_key(unsigned char key[SESSION_KEY_BYTES], struct span hex, struct span password)
{
    unsigned char base[SESSION_KEY_BYTES];
    size_t length = 0;
    bool is_key = hex.length > 0 &&
                  sodium_hex2bin(base, sizeof base, hex.data, hex.length, NULL, &length, NULL) == 0 &&
                  length == sizeof base;
    if (is_key)
        crypto_generichash(key, SESSION_KEY_BYTES, (const unsigned char *)password.data, password.length,
                           base, sizeof base);
    sodium_memzero(base, sizeof base);
    return is_key;
}

void session_make(char text[SESSION_TOKEN_BYTES], const unsigned char key[SESSION_KEY_BYTES],
                  const unsigned char random[SESSION_RANDOM_BYTES], int64_t wall_ms)
{
    struct token token;
    int64_t until_s = wall_ms / 1000 + SESSION_LIFE_S;
    for (int i = 0; i < UNTIL_BYTES; i++)
        token.text[i] = (unsigned char)(until_s >> (8 * (UNTIL_BYTES - 1 - i)));
    memcpy(token.text + UNTIL_BYTES, random, SESSION_RANDOM_BYTES);
    crypto_auth(token.mac, token.text, sizeof token.text, key);
    sodium_bin2base64(text, SESSION_TOKEN_BYTES, (const unsigned char *)&token, sizeof token,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int64_t session_until_s(struct span text, const unsigned char key[SESSION_KEY_BYTES], int64_t wall_ms)
{
    struct token token;
    size_t length = 0;
    int64_t until_s = 0;
    if (text.length != SESSION_TOKEN_BYTES - 1 ||
        sodium_base642bin((unsigned char *)&token, sizeof token, text.data, text.length, NULL, &length, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        length != sizeof token || crypto_auth_verify(token.mac, token.text, sizeof token.text, key) != 0)
        return 0;
    for (int i = 0; i < UNTIL_BYTES; i++)
        until_s = until_s << 8 | token.text[i];
    return wall_ms / 1000 < until_s ? until_s : 0;
}

struct span session_find_cookie(struct span cookies)
{
    struct span name = SPAN(SESSION_COOKIE "=");
    while (cookies.length > 0) {
        const char *end = memchr(cookies.data, ';', cookies.length);
        size_t length = end ? (size_t)(end - cookies.data) : cookies.length;
        struct span pair = span_of(cookies.data, length);
        while (pair.length > 0 && pair.data[0] == ' ')
            pair = span_of(pair.data + 1, pair.length - 1);
        if (span_starts_with(pair, name))
            return span_of(pair.data + name.length, pair.length - name.length);
        length += end ? 1 : 0;
        cookies = span_of(cookies.data + length, cookies.length - length);
    }
    return span_of(NULL, 0);
}
