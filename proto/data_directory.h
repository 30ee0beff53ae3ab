/* SPDX-License-Identifier: MIT */
/* data_directory - where a process keeps what is to outlive it: DATA_DIR/ROLE, 0700. Each has one of its own,
 * so that it can be confined to it (confine.h): statsd, which reads what strangers send, cannot open the key
 * of admin sessions, nor credd the ledger.
 *
 * Versions before kept all of it in DATA_DIR itself. What is found there is moved at the start, before the
 * process confines itself: file by file, by rename, the ledger's database last, so that a start that was
 * killed is finished by the next. */
#ifndef PROTO_DATA_DIRECTORY_H
#define PROTO_DATA_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>

/* False if that is too long for a path; `path` is "" then. */
bool data_directory_of(char path[PATH_MAX], const char *data_dir, const char *role);
/* Makes it and, if missing, DATA_DIR. 0 if it is there afterwards, else ERR_IO with errno. */
int data_directory_make(const char *path);

/* Moves what `role` once kept in DATA_DIR itself into its own directory (`path`; made only if there is
 * something to move). A file whose name is taken there is left where it is, with a WARNING. Blocks. 0;
 * ERR_BUSY (a statsd of an earlier version has the ledger open), ERR_CONFIG (a name too long, or another file
 * system: a person must move it), ERR_IO (all logged): then nobody may go on as if there were nothing. */
int data_directory_adopt(char path[PATH_MAX], const char *data_dir, const char *role);

#endif
