/* SPDX-License-Identifier: MIT */
/* file_maker - writes credential files into the vault's directory, off the loop: new ones under a free name,
 * new content for one that was read, and removals; sealed if the vault has a key (seal.h). Never replaces a
 * file that it did not read. Owned by desk. */
#ifndef CREDD_FILE_MAKER_H
#define CREDD_FILE_MAKER_H

#include "credd/vault.h"

struct file_maker;
/* Borrows. Removes what killed writers left in the directory. Returns owned, NULL on failure (logged). */
struct file_maker *file_maker_new(uv_loop_t *loop, const struct vault *vault);
/* Waits for writes under way, and calls their `done`. NULL-safe. */
void file_maker_free(struct file_maker **maker);

/* Creates a file with this text under `name` (already reduced), or with `may_number` under the first of
 * name, name-2, … that is free. `done` is called once on the loop, not in here, with 0 and the file's name;
 * ERR_EXISTS; ERR_IO. 0 or ERR_NOMEM (then it is not called). */
int file_maker_create(struct file_maker *maker, struct span text, const char *name, bool may_number,
                      void (*done)(void *context, int error, const char *name), void *context);
/* Gives the file of that name new content, if it still is what `read_digest` says. `done` as above with 0;
 * ERR_NOT_FOUND: it was deleted, and stays so; ERR_BUSY: somebody else wrote it, and that stays; ERR_IO. */
int file_maker_update(struct file_maker *maker, struct span text, const char *name,
                      const unsigned char read_digest[DURABLE_DIGEST_BYTES],
                      void (*done)(void *context, int error, const char *name), void *context);

/* Removes the file of that name. `done` as above with 0; ERR_NOT_FOUND: it was gone already; ERR_IO. */
int file_maker_remove(struct file_maker *maker, const char *name,
                      void (*done)(void *context, int error, const char *name), void *context);

#endif
