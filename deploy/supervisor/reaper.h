/* SPDX-License-Identifier: MIT */
/* reaper - as a container's first process we inherit whatever loses its parent (what `docker exec` left, a
 * debugger's children), and must wait for it, or it stays a zombie. libuv waits for the processes that it
 * started, and for no other; this waits for the others, and for none of those. One loop; nothing blocks. */
#ifndef SUPERVISOR_REAPER_H
#define SUPERVISOR_REAPER_H

#include <stdbool.h>
#include <uv.h>

struct reaper;

/* `is_ours(context, pid)`: a process that libuv started and has not yet told the end of. Returns owned, NULL
 * when out of memory (logged). */
struct reaper *reaper_new(uv_loop_t *loop, bool (*is_ours)(void *context, int pid), void *context);
/* The loop must turn once more. NULL-safe. */
void reaper_free(struct reaper **reaper);

#endif
