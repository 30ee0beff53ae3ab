/* SPDX-License-Identifier: MIT */
/* rundir - the directories the tree lives in, and the locks that make it the only tree there.
 *
 * RUN/supervisor.lock is held by the supervisor alone: a second one refuses. RUN/tree.lock is one open file
 * that every child inherits, so it stays locked until the last process of a tree is gone: a supervisor that
 * follows one that was killed waits for the children left over, which drain (they saw their pipe close),
 * before it takes their sockets. Blocks on the file system and on that wait. */
#ifndef SUPERVISOR_RUNDIR_H
#define SUPERVISOR_RUNDIR_H

#include <stdbool.h>
#include <stdint.h>

struct rundir;

/* Makes `path` (0700) if it is missing, verifies it (a real directory, ours, closed to others, short enough
 * for socket names) and takes both locks; waits up to `wait_s` seconds for the processes of a former tree.
 * Failures are logged. 0 and `rundir` is owned; ERR_CONFIG: the directory will not do; ERR_EXISTS: another
 * supervisor has it; ERR_TIMEOUT; ERR_IO; ERR_NOMEM. */
int rundir_acquire(const char *path, int64_t wait_s, struct rundir **rundir);
/* Gives the locks back. NULL-safe. */
void rundir_release(struct rundir **rundir);
/* Waits until the processes of a tree whose supervisor is gone have ended, however long that takes (each has
 * its own limit). True if there were any. */
bool rundir_wait_for_orphans(const char *path);
/* The descriptor of tree.lock, for children to inherit. Borrowed. */
int rundir_tree_fd(const struct rundir *rundir);

/* Makes a directory with its parents (0700) if it is missing. Failures are logged. 0, ERR_CONFIG (it is
 * something else), ERR_IO. */
int rundir_make(const char *setting, const char *path);

#endif
