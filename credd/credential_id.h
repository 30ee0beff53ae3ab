/* SPDX-License-Identifier: MIT */
/* credential_id - what others call a credential: 16 hex digits, from a hash of its file's name. Stable,
 * opaque, the same everywhere and in every version, for ids are in ledgers. Pure. */
#ifndef CREDD_CREDENTIAL_ID_H
#define CREDD_CREDENTIAL_ID_H

#include "proto/bytes.h"

enum { CREDENTIAL_ID_BYTES = 17 /* 16 hex digits and NUL */ };

/* The id of a file name; `number` is its upper 32 bits. */
void credential_id_of(const char *filename, char id[CREDENTIAL_ID_BYTES], uint32_t *number);
/* The number that an id stands for; 0 if it is not one. */
uint64_t credential_id_value(struct span id);
/* The numbers of a comma separated list of ids; what is no id is passed over. Returns how many, at most
 * `max`. */
size_t credential_ids_parse(struct span list, uint64_t *values, size_t max);

#endif
