/* SPDX-License-Identifier: MIT */
/* process_usage - what this process uses of the machine, and may use. Reads /proc/self; takes microseconds.
 */
#ifndef PROTO_PROCESS_USAGE_H
#define PROTO_PROCESS_USAGE_H

#include <stdint.h>

struct process_usage {
    int64_t resident_bytes;
    int64_t cpu_us;   /* user and system, all threads, since the start */
    int64_t open_fds; /* -1: unknown */
    int64_t max_fds;  /* the soft limit; -1: none, or unknown */
};

/* A value that cannot be read is 0 (descriptors: -1). Counting descriptors walks them on kernels before 6.2,
 * which with 20,000 connections takes milliseconds: there it is done only if `count_fds`. */
void process_usage_read(struct process_usage *usage, int count_fds);

/* As many open descriptors as the hard limit allows, a million at most: engines often start with 1,024, and a
 * stream takes one. Best effort: what comes of it is max_fds above. */
void process_usage_allow_descriptors(void);

#endif
