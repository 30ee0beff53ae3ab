/* SPDX-License-Identifier: MIT */
/* key_number - an API key's id in 8 bytes: `key_` and 16 hex digits are the number that they write. Pure. */
#ifndef PROTO_KEY_NUMBER_H
#define PROTO_KEY_NUMBER_H

#include "proto/bytes.h"

enum { KEY_ID_BYTES = 21 /* `key_`, 16 hex digits, NUL */ };

/* 0: no such id, as that of the password. */
uint64_t key_number(struct span id);
/* The other way round. */
void key_id_write(uint64_t number, char id[KEY_ID_BYTES]);

#endif
