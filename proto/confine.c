/* SPDX-License-Identifier: MIT */
#include "proto/confine.h"
#include "proto/data_directory.h"
#include "proto/listen.h"
#include "proto/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- descriptors and dumps ---- */

static void close_inherited(void)
{
    uint64_t supervisor_fd = 0;
    const char *text = getenv("SUPERVISOR_FD");
    unsigned last = (unsigned)(STDERR_FILENO + listen_inherited_count());
    if (text && span_to_u64(span_str(text), &supervisor_fd) && supervisor_fd > last &&
        supervisor_fd < INT32_MAX)
        last = (unsigned)supervisor_fd;
    if (close_range(last + 1, ~0U, 0) == 0)
        return;
    for (int fd = (int)last + 1; fd < 1024; fd++) /* a kernel before 5.9 */
        close(fd);
}

void confine_forbid_dumps(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    prctl(PR_SET_DUMPABLE, 0);
}

void confine_begin(void)
{
    close_inherited();
    confine_forbid_dumps();
}

void confine_forget_password(struct settings *settings)
{
    char *value = getenv("CODEBUDDY_PASSWORD");
    if (value) {
        sodium_memzero(value, strlen(value)); /* where /proc/PID/environ reads */
        unsetenv("CODEBUDDY_PASSWORD");
    }
    secret_fini(&settings->password);
}

/* ---- the table ---- */

enum need {
    NEED_PROGRAMS = 1 << 0,    /* starts the others */
    NEED_UPSTREAM = 1 << 1,    /* talks to the internet */
    NEED_CREDENTIALS = 1 << 2, /* their directory */
    NEED_DATA = 1 << 3,        /* its own part of the data directory */
    NEED_FRONT = 1 << 4,       /* serves the API: page, certificate */
    NEED_OPS = 1 << 5          /* serves /metrics */
};

/* `bind`, `endpoints`: its links, by their place in settings. */
static const struct role {
    const char *name;
    unsigned needs;
    size_t bind, endpoints[2];
} roles[] = {
    {"gateway",
     NEED_FRONT,
     offsetof(struct settings, gateway_bind),
     {offsetof(struct settings, credd_endpoint), offsetof(struct settings, statsd_endpoint)}},
    {"upstream-worker", NEED_UPSTREAM, 0, {0, 0}}, /* connects anywhere */
    {"credd", NEED_UPSTREAM | NEED_CREDENTIALS | NEED_DATA, offsetof(struct settings, credd_bind), {0, 0}},
    {"statsd",
     NEED_DATA | NEED_OPS,
     offsetof(struct settings, statsd_bind),
     {offsetof(struct settings, credd_endpoint), 0}},
    {"supervisor", NEED_PROGRAMS, 0, {0, 0}},
};

/* Every process: libraries, and what the C library, OpenSSL and our own memory figures look at. Nothing here
 * is ours, and nothing is secret. */
static const char *const always_read[] = {"/usr",
                                          "/lib",
                                          "/lib64",
                                          "/nix/store",
                                          "/gnu/store",
                                          "/proc",
                                          "/etc/ssl/openssl.cnf",
                                          "/dev/urandom",
                                          "/sys/devices/system/cpu"};
/* To resolve names and to check certificates. All of /etc, since the files in it are replaced while we run
 * (resolv.conf by DHCP), and a rule holds for the file that it was made for. */
static const char *const internet_reads[] = {"/etc", "/var/lib/ca-certificates"};

#define COUNT(array) (sizeof(array) / sizeof *(array))
enum { DNS_PORT = 53 };

static const struct role *find_role(const char *name)
{
    for (size_t i = 0; i < COUNT(roles); i++)
        if (strcmp(roles[i].name, name) == 0)
            return &roles[i];
    abort(); /* a role without a row */
}

static void add_path(struct confine_needs *needs, const char *path, enum confine_access access)
{
    if (!*path)
        return;
    assert(needs->disk.path_count < CONFINE_PATHS_MAX);
    needs->disk.paths[needs->disk.path_count].path = path;
    needs->disk.paths[needs->disk.path_count++].access = access;
}

static void add_owned(struct confine_needs *needs, const char *directory)
{
    assert(needs->owned_count < COUNT(needs->owned));
    needs->owned[needs->owned_count++] = directory;
    add_path(needs, directory, CONFINE_WRITE);
}

static void add_port(uint16_t *ports, size_t *count, int64_t port)
{
    if (*count < CONFINE_PORTS_MAX && port >= 0 && port <= UINT16_MAX)
        ports[(*count)++] = (uint16_t)port;
}

/* The directory that `path` is in; "" if there is none, or no room for it. */
static void directory_of(char directory[PATH_MAX], struct span path)
{
    const char *slash = path.length ? memrchr(path.data, '/', path.length) : NULL;
    size_t length = slash ? (size_t)(slash - path.data) : 0;
    directory[0] = '\0';
    if (path.length == 0 || length >= PATH_MAX)
        return;
    if (slash && length == 0)
        snprintf(directory, PATH_MAX, "/");
    else
        snprintf(directory, PATH_MAX, "%.*s", slash ? (int)length : 1, slash ? path.data : ".");
}

/* 0, "any free one", for `tcp://host:*` too. */
static int64_t port_of(struct span endpoint)
{
    const char *colon = memrchr(endpoint.data, ':', endpoint.length);
    uint64_t port = 0;
    struct span text = span_of(colon + 1, (size_t)(endpoint.data + endpoint.length - colon - 1));
    return span_to_u64(text, &port) && port <= UINT16_MAX ? (int64_t)port : 0;
}

static bool is_tcp(struct span endpoint)
{
    return span_starts_with(endpoint, SPAN("tcp://"));
}

static void note_abstract(struct confine_needs *needs, struct span endpoint)
{
    if (span_starts_with(endpoint, SPAN("ipc://@")))
        needs->disk.abstract_sockets = true;
}

static void add_connection(void *context, struct span endpoint)
{
    struct confine_needs *needs = context;
    note_abstract(needs, endpoint);
    if (!is_tcp(endpoint))
        return;
    needs->calls.internet = true;
    add_port(needs->disk.connects, &needs->disk.connect_count, port_of(endpoint));
}

static void add_bind(struct confine_needs *needs, struct span endpoint)
{
    note_abstract(needs, endpoint);
    if (is_tcp(endpoint)) {
        needs->calls.internet = true;
        add_port(needs->disk.binds, &needs->disk.bind_count, port_of(endpoint));
    } else if (endpoint.length > strlen("ipc://")) {
        size_t scheme = strlen("ipc://");
        directory_of(needs->sockets, span_of(endpoint.data + scheme, endpoint.length - scheme));
        add_path(needs, needs->sockets, CONFINE_SOCKET);
    }
}

static const char *text_at(const struct settings *settings, size_t offset)
{
    return *(char *const *)(const void *)((const char *)settings + offset);
}

static bool keys_path(char path[PATH_MAX], const char *directory, const char *role)
{
    return snprintf(path, PATH_MAX, "%s/%s.keys", directory, role) < PATH_MAX;
}

/* Its own file; or the directory if that holds no other's, where they may be replaced (a Kubernetes secret).
 */
static void add_link_keys(struct confine_needs *needs, const struct role *role, const char *directory)
{
    bool has_others = false;
    for (size_t i = 0; i < COUNT(roles); i++)
        if (&roles[i] != role && keys_path(needs->link_keys, directory, roles[i].name))
            has_others = has_others || access(needs->link_keys, F_OK) == 0;
    if (!has_others)
        add_path(needs, directory, CONFINE_READ);
    else if (keys_path(needs->link_keys, directory, role->name))
        add_path(needs, needs->link_keys, CONFINE_READ);
}

static void add_links(struct confine_needs *needs, const struct role *role, const struct settings *settings)
{
    if (role->bind && *text_at(settings, role->bind))
        add_bind(needs, span_str(text_at(settings, role->bind)));
    else if (role->bind) /* a gateway makes its address of its instance's number */
        add_path(needs, settings->run_dir, CONFINE_SOCKET);
    for (size_t i = 0; i < COUNT(role->endpoints); i++)
        if (role->endpoints[i])
            settings_each_in_list(text_at(settings, role->endpoints[i]), add_connection, needs);
    if (*settings->link_keys_dir)
        add_link_keys(needs, role, settings->link_keys_dir);
}

/* resolv.conf often leads to a directory where its manager writes it anew. */
static void add_resolver(struct confine_needs *needs)
{
    char target[PATH_MAX];
    if (!realpath("/etc/resolv.conf", target) || strncmp(target, "/etc/", 5) == 0)
        return;
    directory_of(needs->resolver, span_str(target));
    add_path(needs, needs->resolver, CONFINE_READ);
}

static void add_internet(struct confine_needs *needs)
{
    for (size_t i = 0; i < COUNT(internet_reads); i++)
        add_path(needs, internet_reads[i], CONFINE_READ);
    add_resolver(needs);
    add_port(needs->disk.connects, &needs->disk.connect_count, DNS_PORT);
}

static void add_upstream(struct confine_needs *needs, const struct settings *settings)
{
    needs->calls.internet = needs->disk.connects_anywhere = true;
    directory_of(needs->ca_directory, span_str(settings->ca_file)); /* libcurl reads it again each day */
    add_path(needs, needs->ca_directory, CONFINE_READ);
}

static void add_listener(struct confine_needs *needs, int64_t port)
{
    needs->calls.internet = true;
    add_port(needs->disk.binds, &needs->disk.bind_count, port);
}

void confine_needs_of(struct confine_needs *needs, const char *role_name, const struct settings *settings,
                      unsigned given)
{
    const struct role *role = find_role(role_name);
    memset(needs, 0, sizeof *needs);
    for (size_t i = 0; i < COUNT(always_read); i++)
        add_path(needs, always_read[i], CONFINE_READ);
    add_path(needs, "/dev/null", CONFINE_WRITE);
#ifdef CB_COVERAGE_DIR /* where a build with --coverage counts at exit */
    add_path(needs, CB_COVERAGE_DIR, CONFINE_WRITE);
#endif
#ifdef CB_PROGRAMS_DIR /* a sanitizer names functions, and thread.suppressions go by these names */
    add_path(needs, CB_PROGRAMS_DIR, CONFINE_READ);
#endif
    add_links(needs, role, settings);
    needs->calls.programs = role->needs & NEED_PROGRAMS;
    if (role->needs & NEED_UPSTREAM)
        add_upstream(needs, settings);
    if (role->needs & NEED_CREDENTIALS)
        add_owned(needs, settings->creds_dir);
    if ((role->needs & NEED_DATA) && data_directory_of(needs->data, settings->data_dir, role_name))
        add_owned(needs, needs->data);
    if (role->needs & NEED_FRONT) {
        add_path(needs, settings->web_dir, CONFINE_READ);
        add_path(needs, settings->tls_cert_file, CONFINE_READ);
        add_path(needs, settings->tls_key_file, CONFINE_READ);
    }
    if (!(given & CONFINE_HAS_SUPERVISOR))
        add_path(needs, settings->run_dir, CONFINE_WRITE); /* health.h */
    if (!(given & CONFINE_HAS_SOCKETS) && (role->needs & (NEED_FRONT | NEED_OPS)))
        add_listener(needs, role->needs & NEED_FRONT ? settings->port : settings->ops_port);
    if (role->needs & NEED_PROGRAMS)
        needs->calls.internet = true; /* its listening sockets; and a filter is inherited */
    else if (needs->calls.internet)
        add_internet(needs);
}

/* ---- doing it ---- */

static bool owns_are_there(const struct confine_needs *needs)
{
    for (size_t i = 0; i < needs->owned_count; i++) {
        if (data_directory_make(needs->owned[i]) < 0) { /* its owner would, and says why it cannot */
            log_warning(NULL, "disk_not_confined", LOG_STR("directory", needs->owned[i]),
                        LOG_STR("problem", "is not there, and cannot be made yet"));
            return false;
        }
    }
    return true;
}

static const char *without_landlock(int reason)
{
    switch (reason) {
    case ENOSYS:
        return "this kernel has no Landlock (Linux 5.13)";
    case EOPNOTSUPP:
        return "Landlock is not switched on (the kernel's lsm=)";
    case EPERM:
        return "a container engine or service manager forbids Landlock";
    default:
        return strerror(reason);
    }
}

/* The supervisor's view of the disk is not narrowed: its children would inherit that, and an update may put
 * its programs into a new directory. */
static bool confine_disk_of(const struct confine_needs *needs)
{
    if (needs->calls.programs || !owns_are_there(needs))
        return false;
    int error = confine_disk_apply(&needs->disk);
    if (error < 0) /* file systems are then protected by users and modes alone */
        log_info(NULL, "disk_not_confined", LOG_STR("problem", without_landlock(-error)),
                 LOG_STR("open", "files, TCP ports, signals"));
    return error == 0;
}

bool confine_apply(const struct confine_needs *needs, const struct settings *settings)
{
    if (!settings->confine) {
        log_warning(NULL, "not_confined", LOG_STR("reason", "CODEBUDDY_CONFINE is off"));
        return false;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_info(NULL, "privileges_unchanged", LOG_STR("problem", strerror(errno)));
    bool is_narrow = confine_disk_of(needs);
    int error = confine_calls_apply(&needs->calls);
    if (error < 0)
        log_info(NULL, "calls_not_confined", LOG_STR("problem", strerror(-error)));
    log_debug(NULL, "confined", LOG_INT("landlock", is_narrow ? confine_disk_version() : 0),
              LOG_INT("seccomp", error == 0), LOG_INT("internet", needs->calls.internet));
    return is_narrow;
}
