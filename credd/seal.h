/* SPDX-License-Identifier: MIT */
/* seal - credential files encrypted at rest (libsodium's secretbox), with a key that an operator keeps
 * elsewhere: CODEBUDDY_SECRET_KEY_FILE, 32 bytes as 64 hex digits. Pure, but for reading the key.
 *
 * A sealed file is {"sealed":1,"nonce":HEX,"box":HEX}: the whole text of a plain one inside, authenticated.
 * It keeps its name, so ids and states stay. Plain files are read with a key too. */
#ifndef CREDD_SEAL_H
#define CREDD_SEAL_H

#include "proto/bytes.h"

struct seal;

/* Reads the key. Returns owned, NULL on failure (logged). Blocks. */
struct seal *seal_load(const char *path);
void seal_free(struct seal **seal); /* wipes it; NULL-safe */

bool seal_is_sealed(struct span text);
/* Appends the text sealed, or as it is without a key (`seal` NULL). 0 or ERR_NOMEM. */
int seal_wrap(const struct seal *seal, struct span text, struct buffer *sealed);
/* Appends what is inside, or the text itself if it is not sealed; `text` has room in one block, so that no
 * growing leaves a copy behind. `seal` may be NULL. 0; ERR_DENIED (no key, or another's), ERR_INVALID, both
 * with `problem` (static); ERR_NOMEM. */
int seal_unwrap(const struct seal *seal, struct span text, struct buffer *plain, const char **problem);

#endif
