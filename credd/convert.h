/* SPDX-License-Identifier: MIT */
/* convert - seals or unseals every credential file of a directory, for `codebuddy2api-credd seal` and
 * `unseal`. Each file is replaced whole or not at all, and only if it is still what was read: credd may be
 * running, if it has the key. Blocks. */
#ifndef CREDD_CONVERT_H
#define CREDD_CONVERT_H

#include "credd/seal.h"

/* `word` is "seal" or "unseal". Logs each file and a sum. 0; ERR_UNSUPPORTED (another word), ERR_CONFIG (no
 * key), ERR_IO (some file could not be converted: it is as it was). */
int convert_directory(const char *word, const char *directory, const struct seal *seal);

#endif
