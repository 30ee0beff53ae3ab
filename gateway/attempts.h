/* SPDX-License-Identifier: MIT */
/* attempts - counts wrong passwords by address, so that guessing is slow (http-api.md, 1). Pure: time and the
 * hash key are passed in; bounded: one fixed table.
 *
 * An address is an IPv4 address or an IPv6 /64. Its minute begins with its first wrong proof; at ten within
 * it the address is shut out, for wrong and right proofs alike, until the minute is over. When a place in the
 * table is wanted by more addresses than fit, the one with the fewest wrong proofs gives way: filling the
 * table does not free a persistent guesser. */
#ifndef GATEWAY_ATTEMPTS_H
#define GATEWAY_ATTEMPTS_H

#include <stdint.h>
#include <sys/socket.h>

enum { ATTEMPTS_WINDOW_MS = 60000, ATTEMPTS_MAX = 10 };

struct attempts;

/* `key` (16 bytes, random): so that nobody can aim for another's place. Returns owned, NULL when out of
 * memory.
 */
struct attempts *attempts_new(const unsigned char key[16]);
void attempts_free(struct attempts **attempts);
/* Milliseconds that `address` is still shut out, 0 if it is not. */
int64_t attempts_blocked_ms(const struct attempts *attempts, const struct sockaddr *address, int64_t now_ms);
void attempts_add_wrong(struct attempts *attempts, const struct sockaddr *address, int64_t now_ms);

#endif
