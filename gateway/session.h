/* SPDX-License-Identifier: MIT */
/* session - an admin's login as a token that any gateway can check: until when, a random number, and a MAC of
 * both. The MAC's key is made of credd's session key and the password, so that a new password ends all
 * sessions. Nothing is stored: a token is good until its time is over. Pure: time and randomness are passed
 * in. */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "proto/secret.h"

enum {
    SESSION_LIFE_S = 12 * 3600,
    SESSION_KEY_BYTES = 32,
    SESSION_RANDOM_BYTES = 16,
    SESSION_TOKEN_BYTES = 76 /* 75 base64url characters and NUL */
};

#define SESSION_COOKIE "codebuddy_session"

/* Makes the MAC's key. `hex`: STATE's session_key. False if it is none. */
bool session_derive_key(unsigned char key[SESSION_KEY_BYTES], struct span hex, struct span password);
void session_make(char token[SESSION_TOKEN_BYTES], const unsigned char key[SESSION_KEY_BYTES],
                  const unsigned char random[SESSION_RANDOM_BYTES], int64_t wall_ms);
/* Until when the token is good, in s since 1970; 0 if it was not made with this key or its time is over. */
int64_t session_until_s(struct span token, const unsigned char key[SESSION_KEY_BYTES], int64_t wall_ms);
/* The token in a Cookie header's value; empty if there is none. Borrows. */
struct span session_find_cookie(struct span cookies);

#endif
