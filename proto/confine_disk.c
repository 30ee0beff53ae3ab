/* SPDX-License-Identifier: MIT */
#include "proto/confine_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What Debian 12's header, of Linux 6.1, does not know yet. The kernel takes the struct for as long as the
 * one that it knows, if the rest is zero. */
struct ruleset {
    uint64_t files, net, scopes;
};
struct net_rule {
    uint64_t access, port;
};
enum { RULE_NET_PORT = 2 };
enum { NET_BIND = 1, NET_CONNECT = 2 };
enum { SCOPE_ABSTRACT_SOCKETS = 1, SCOPE_SIGNALS = 2 };
#define FILE_TRUNCATE   (1ULL << 14) /* version 3 */
#define FILE_IOCTL_DEV  (1ULL << 15) /* version 5 */
#define FILE_RIGHTS_MAX (FILE_IOCTL_DEV * 2 - 1)

enum { VERSION_REFER = 2, VERSION_TRUNCATE, VERSION_NET, VERSION_IOCTL, VERSION_SCOPES };

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_RIGHTS                                                                                         \
    (READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |             \
     FILE_TRUNCATE)
#define SOCKET_RIGHTS (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)
/* What can be granted on a file that is not a directory. */
#define FILE_ONLY_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FILE_TRUNCATE)

/* Negative errno without: ENOSYS before 5.13, EOPNOTSUPP where it is not switched on, EPERM by an engine's
 * filter. */
static int find_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? -errno : (int)version;
}

int confine_disk_version(void)
{
    int version = find_version();
    return version < 0 ? 0 : version;
}

static uint64_t file_rights_of(int version)
{
    uint64_t rights = FILE_RIGHTS_MAX;
    if (version < VERSION_IOCTL)
        rights &= ~FILE_IOCTL_DEV;
    if (version < VERSION_TRUNCATE)
        rights &= ~FILE_TRUNCATE;
    if (version < VERSION_REFER)
        rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    return rights;
}

static uint64_t rights_for(enum confine_access access)
{
    switch (access) {
    case CONFINE_READ:
        return READ_RIGHTS;
    case CONFINE_WRITE:
        return WRITE_RIGHTS;
    case CONFINE_SOCKET:
        return SOCKET_RIGHTS;
    }
    return 0;
}

static int grant_path(int ruleset_fd, const char *path, uint64_t rights)
{
    struct stat status;
    int fd = open(path, O_PATH | O_CLOEXEC), error = 0;
    if (fd < 0)
        return 0;
    if (fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode))
        rights &= FILE_ONLY_RIGHTS;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    if (rights && syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        error = -errno;
    close(fd);
    return error;
}

static int grant_ports(int ruleset_fd, uint64_t access, const uint16_t *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct net_rule rule = {access, ports[i]};
        if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_NET_PORT, &rule, 0) < 0)
            return -errno;
    }
    return 0;
}

static int grant_all(int ruleset_fd, const struct confine_disk *may, const struct ruleset *handled)
{
    int error = 0;
    for (size_t i = 0; i < may->path_count && error == 0; i++)
        error = grant_path(ruleset_fd, may->paths[i].path, rights_for(may->paths[i].access) & handled->files);
    if (error == 0 && (handled->net & NET_CONNECT))
        error = grant_ports(ruleset_fd, NET_CONNECT, may->connects, may->connect_count);
    if (error == 0 && (handled->net & NET_BIND))
        error = grant_ports(ruleset_fd, NET_BIND, may->binds, may->bind_count);
    return error;
}

int confine_disk_apply(const struct confine_disk *may)
{
    int version = find_version();
    struct ruleset handled = {.files = file_rights_of(version)};
    if (version < 0)
        return version;
    if (version >= VERSION_NET)
        handled.net = may->connects_anywhere ? NET_BIND : NET_BIND | NET_CONNECT;
    if (version >= VERSION_SCOPES)
        handled.scopes = may->abstract_sockets ? SCOPE_SIGNALS : SCOPE_SIGNALS | SCOPE_ABSTRACT_SOCKETS;
    size_t size = version >= VERSION_SCOPES ? sizeof handled : version >= VERSION_NET ? 16 : 8;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
    if (fd < 0)
        return -errno;
    int error = grant_all(fd, may, &handled);
    if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        error = -errno;
    if (error == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        error = -errno;
    close(fd);
    return error;
}
