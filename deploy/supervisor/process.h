/* SPDX-License-Identifier: MIT */
/* process - what holds for the supervisor as a process, and is handed down to its children. */
#ifndef SUPERVISOR_PROCESS_H
#define SUPERVISOR_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

/* Before anything is made or started: files are private (umask), no stray descriptor reaches a child,
 * children may open as many descriptors as the system allows, SIGPIPE is ignored. */
void process_prepare(void);
/* Until the loop handles them: SIGTERM and SIGINT end us with status 0. As a container's first process we
 * would otherwise not hear them at all, since the kernel has no default for that one. */
void process_ends_on_signals(void);
/* Where the children's programs are: SUPERVISOR_BIN_DIR, else beside this one. 0, or ERR_IO (logged). */
int process_find_directory(char *directory, size_t size);
/* The number of a descriptor that we inherited, named by an environment variable; -1 if there is none. */
int process_inherited_fd(const char *variable);
bool process_has_terminal(void);
/* Whether SIGHUP from a terminal that closes must stop us: there is one, and nobody said nohup. Ask before a
 * handler of SIGHUP is set. */
bool process_stops_on_hangup(void);

#endif
