/* SPDX-License-Identifier: MIT */
/* process - what holds for the supervisor as a process, and is handed down to its children. */
#ifndef SUPERVISOR_PROCESS_H
#define SUPERVISOR_PROCESS_H

#include <stdbool.h>

/* Before anything is made or started: files are private (umask), no stray descriptor reaches a child,
 * children may open as many descriptors as the system allows, SIGPIPE is ignored. */
void process_prepare(void);
bool process_has_terminal(void);
/* Whether SIGHUP from a terminal that closes must stop us: there is one, and nobody said nohup. Ask before a
 * handler of SIGHUP is set. */
bool process_stops_on_hangup(void);

#endif
