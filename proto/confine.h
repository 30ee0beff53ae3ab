/* SPDX-License-Identifier: MIT */
/* confine - leaves a process only what its role needs, before it reads a byte from outside: no descriptors
 * but those it was given on purpose, no dumps, no privileges by exec, no dangerous system calls (seccomp),
 * and of disk and TCP ports what stands in the role's row (Landlock). One table, in confine.c. SECURITY.md
 * says what that is worth against whom.
 *
 * Each step works without the others, and unprivileged; a kernel that lacks one costs a line at INFO. Refused
 * is an error to the caller, never a death: a library that tries something new after an update carries on.
 *
 * Order in a main: confine_begin first of all; service_confine after the service (its log is open then), and
 * before the first thread: Landlock holds for the thread that asks, and for those it makes later. */
#ifndef PROTO_CONFINE_H
#define PROTO_CONFINE_H

#include "proto/confine_calls.h"
#include "proto/confine_disk.h"
#include "proto/settings.h"

#include <limits.h>

/* No core file, no debugger of the same user, and /proc/PID/environ for nobody but root: this memory holds
 * passwords, keys or tokens. With CODEBUDDY_CONFINE=0, too. */
void confine_forbid_dumps(void);
/* That, and closes what was inherited by accident: all but standard descriptors, announced listening sockets
 * (listen.h), and what lies up to SUPERVISOR_FD (service.h). */
void confine_begin(void);

/* What a role needs under these settings. Pure but for looking where links lead. `needs` holds paths of its
 * own, so it must stay where it is. */
struct confine_needs {
    struct confine_calls calls;
    struct confine_disk disk;
    const char *owned[2]; /* directories that it writes to; made if missing */
    size_t owned_count;
    char data[PATH_MAX], link_keys[PATH_MAX], sockets[PATH_MAX], ca_directory[PATH_MAX], resolver[PATH_MAX];
};
/* What whoever started it gave it, or it needs for itself: listening sockets; a supervisor to talk to, rather
 * than a health file in the run directory. */
enum confine_given { CONFINE_HAS_SOCKETS = 1, CONFINE_HAS_SUPERVISOR = 2 };
void confine_needs_of(struct confine_needs *needs, const char *role, const struct settings *settings,
                      unsigned given);

/* For those that ask nobody for the password: wipes it from `settings` and from the environment. */
void confine_forget_password(struct settings *settings);

/* Confines this process, and logs what could not be done. False if the disk is not: there is no Landlock, the
 * setting is off, or a directory of its own is not there and cannot be made yet (so that it can be later). */
bool confine_apply(const struct confine_needs *needs, const struct settings *settings);

#endif
