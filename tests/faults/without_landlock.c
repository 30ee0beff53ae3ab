/* SPDX-License-Identifier: MIT */
/* without_landlock - `without_landlock ERRNO PROGRAM…` runs it as on a kernel that has no Landlock: asked
 * for it, the kernel says ERRNO (38 ENOSYS: older than 5.13; 95 EOPNOTSUPP: not switched on; 1 EPERM: a
 * container engine's filter), to the program and whatever it starts. */
#include "proto/bytes.h"

#include <seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    uint64_t reason;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    if (argc < 3 || !span_to_u64(span_str(argv[1]), &reason) || reason == 0 || reason > 4095) {
        fprintf(stderr, "usage: without_landlock ERRNO PROGRAM [ARGUMENT]...\n");
        return 64;
    }
    if (!filter ||
        seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)reason), SYS_landlock_create_ruleset, 0) < 0 ||
        seccomp_load(filter) < 0) {
        fprintf(stderr, "without_landlock: no filter\n");
        return 71;
    }
    seccomp_release(filter);
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 71;
}
