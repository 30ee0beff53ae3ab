/* SPDX-License-Identifier: MIT */
/* confine_calls - takes system calls away from this process (seccomp), for good: all its threads, those to
 * come, and whatever it starts. What is refused fails with EPERM; nothing is killed. See confine.h. */
#ifndef PROTO_CONFINE_CALLS_H
#define PROTO_CONFINE_CALLS_H

#include <stdbool.h>

struct confine_calls {
    bool programs; /* may start processes (the supervisor) */
    bool internet; /* may make internet sockets; listening ones that it was given need none */
};

/* 0, or a negative errno where the kernel does not do it: then nothing has changed. */
int confine_calls_apply(const struct confine_calls *may);
/* Calls that are in the table and that this build's libseccomp does not know: 0 with Debian's. */
int confine_calls_unknown(void);

#endif
