/* SPDX-License-Identifier: MIT */
#include "proto/confine_calls.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <seccomp.h>

/* LeakSanitizer looks at the process from a clone of it, with ptrace. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif
#else
enum { IS_SANITIZED = 0 };
#endif

/* What none of our processes has any business with. A list of what is refused, not of what is allowed: C
 * library, ZeroMQ and OpenSSL may begin to use a new harmless call with any update, and a server that stops
 * working that night is no safer. Calls that only root may make are here because some run us as root. */
static const char *const refused[] = {
    /* other processes' memory */
    "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    /* large and young parts of the kernel, where holes are found */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl", "personality", "modify_ldt", "uselib", "lookup_dcookie", "vmsplice",
    "msgget", "semget", "shmget", "mq_open",
    /* the view of the disk */
    "mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at",
    "mknod", "mknodat", "quotactl", "fanotify_init", "swapon", "swapoff",
    /* the machine */
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "syslog",
    "acct", "iopl", "ioperm", "vhangup", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "sethostname", "setdomainname",
    /* another identity */
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
    "capset"};
static const char *const refused_to_services[] = {"execve", "execveat", "fork", "vfork"};
static const char *const refused_unsanitized[] = {"ptrace"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int refuse_all(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR) /* an older library does not know the newest */
            error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    }
    return error;
}

int confine_calls_unknown(void)
{
    int unknown = 0;
    for (size_t i = 0; i < COUNT(refused); i++)
        unknown += seccomp_syscall_resolve_name(refused[i]) == __NR_SCMP_ERROR;
    return unknown;
}

static int refuse_socket(scmp_filter_ctx filter, struct scmp_arg_cmp family)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, family);
}

/* Families below AF_NETLINK are few. The last rule also takes numbers of which the kernel would only look at
 * the lower half. */
static int refuse_sockets(scmp_filter_ctx filter, bool internet)
{
    int error = refuse_socket(filter, SCMP_A0_64(SCMP_CMP_GT, AF_NETLINK, 0));
    for (unsigned family = 0; family <= AF_NETLINK && error == 0; family++) {
        bool is_internet = family == AF_INET || family == AF_INET6 || family == AF_NETLINK; /* getaddrinfo */
        if (family != AF_UNIX && !(is_internet && internet))
            error = refuse_socket(filter, SCMP_A0_64(SCMP_CMP_EQ, family, 0));
    }
    return error;
}

/* No memory that was written becomes code; libraries are mapped as they are. */
static int refuse_new_code(scmp_filter_ctx filter)
{
    const scmp_datum_t both = PROT_WRITE | PROT_EXEC;
    int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
                                 SCMP_A2_64(SCMP_CMP_MASKED_EQ, both, both));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                                 SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pkey_mprotect), 1,
                                 SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    return error;
}

/* Keystrokes for whoever owns the terminal that the log goes to. The kernel looks at 32 bits. */
static int refuse_typing(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                            SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
}

/* Threads yes, processes no. What clone3 makes stands in memory, where a filter cannot look: glibc takes
 * ENOSYS for an old kernel, and uses clone. */
static int refuse_processes(scmp_filter_ctx filter)
{
    int error = refuse_all(filter, refused_to_services, COUNT(refused_to_services));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return error;
}

static int refuse(scmp_filter_ctx filter, const struct confine_calls *may)
{
    int error = refuse_all(filter, refused, COUNT(refused));
    if (error == 0 && !IS_SANITIZED)
        error = refuse_all(filter, refused_unsanitized, COUNT(refused_unsanitized));
    if (error == 0)
        error = refuse_sockets(filter, may->internet);
    if (error == 0)
        error = refuse_new_code(filter);
    if (error == 0)
        error = refuse_typing(filter);
    if (error == 0 && !may->programs && !IS_SANITIZED)
        error = refuse_processes(filter);
    return error;
}

int confine_calls_apply(const struct confine_calls *may)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;
    /* Other calling conventions (32 bit, x32) would go past the list. */
    int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    if (error == 0) /* threads that libraries have made already */
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (error ==
        0) /* a tree: six comparisons for a call with arguments to look at. The rest the kernel caches */
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (error == 0)
        error = refuse(filter, may);
    if (error == 0)
        error = seccomp_load(filter); /* sets no_new_privs too */
    seccomp_release(filter);
    return error;
}
