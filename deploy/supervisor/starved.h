/* SPDX-License-Identifier: MIT */
/* starved - tells a process that hangs from one that the machine gives nothing: it wants to run and gets no
 * CPU (crowded out, held by a quota), or it waits in the kernel for a disk or for memory. To abort that one
 * helps nobody, and the next one would starve, too. By proc(5), for the process's main thread, whose loop it
 * is that has to speak.
 *
 * The file is opened once, when the process has just been started, and read from then on: one that forbids
 * dumps is nobody's to look up any more where /proc is mounted with hidepid (ProtectProc= of our unit), but a
 * file that is open stays readable, and never turns into another process's. */
#ifndef SUPERVISOR_STARVED_H
#define SUPERVISOR_STARVED_H

#include <stdbool.h>
#include <stdint.h>

struct starved_sample {
    char state;     /* 'R' runnable, 'D' in the kernel's hands, 'S' asleep, 'T' stopped … 0: unknown */
    int64_t cpu_ms; /* used so far */
    int64_t resident_bytes; /* of the whole process */
};

/* A descriptor for starved_sample_read, the caller's to close; -1 if the process is not to be seen. */
int starved_open(int pid);
/* All 0 if the process is gone or `fd` is -1. Blocks for a read of /proc. */
void starved_sample_read(int fd, struct starved_sample *sample);
/* `text`: what a stat file of proc(5) says. Pure. */
void starved_sample_parse(const char *text, int64_t ticks_per_s, struct starved_sample *sample);
/* Whether one who was silent for `silent_ms`, from `then` to `now`, was starved: runnable with less than half
 * of a CPU (who hangs in a loop takes all that it gets), or in the kernel's hands. Pure. */
bool starved_judge(const struct starved_sample *then, const struct starved_sample *now, int64_t silent_ms);

#endif
