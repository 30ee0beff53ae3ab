/* SPDX-License-Identifier: MIT */
#include "proto/link_keys.h"
#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/log.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { Z85_KEY_LENGTH = 40, KEY_BYTES = 32, PATH_BYTES = 4096, FILE_BYTES = 65536 };

/* Who connects to whom (ARCHITECTURE.md, "Links and observation"). */
static const struct {
    const char *client, *server;
} connections[] = {
    {"upstream-worker", "gateway"},
    {"upstream-worker", "credd"},
    {"upstream-worker", "statsd"},
    {"gateway", "credd"},
    {"gateway", "statsd"},
    {"credd", "statsd"},
    {"statsd", "credd"},
};
static const char *const roles[] = {"gateway", "upstream-worker", "credd", "statsd"};

enum {
    CONNECTION_COUNT = sizeof connections / sizeof *connections,
    ROLE_COUNT = sizeof roles / sizeof *roles
};

struct link_keys {
    zconfig_t *file; /* holds the texts that the rest points into */
    zcert_t *own;
};

static bool is_key(const char *text)
{
    uint8_t bytes[KEY_BYTES];
    bool good = text && strlen(text) == Z85_KEY_LENGTH && zmq_z85_decode(bytes, text);
    sodium_memzero(bytes, sizeof bytes);
    return good;
}

/* ---- reading ---- */

/* Every child of `section` names a role and holds a public key. */
static bool section_is_good(zconfig_t *file, const char *section)
{
    zconfig_t *entry = zconfig_locate(file, section);
    for (entry = entry ? zconfig_child(entry) : NULL; entry; entry = zconfig_next(entry))
        if (!is_key(zconfig_value(entry)))
            return false;
    return true;
}

static const char *find_problem(zconfig_t *file, const char *role)
{
    if (!file)
        return "cannot be read or understood";
    if (strcmp(zconfig_get(file, "/role", ""), role) != 0)
        return "is not of this role";
    if (!is_key(zconfig_get(file, "/curve/public-key", NULL)) ||
        !is_key(zconfig_get(file, "/curve/secret-key", NULL)))
        return "has no key pair";
    if (!section_is_good(file, "/servers"))
        return "has a bad key under servers";
    return section_is_good(file, "/allow") ? NULL : "has a bad key under allow";
}

/* NULL when out of memory. The texts were checked. */
static zcert_t *read_pair(zconfig_t *file)
{
    uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
    zmq_z85_decode(public_key, zconfig_get(file, "/curve/public-key", ""));
    zmq_z85_decode(secret_key, zconfig_get(file, "/curve/secret-key", ""));
    zcert_t *pair = zcert_new_from(public_key, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    return pair;
}

/* A file of our own is closed to all others. One that somebody else owns reaches us through our group: that
 * is how Kubernetes hands a Secret to a process that is not root. */
static void warn_if_open(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & (status.st_uid == geteuid() ? 077 : 027)))
        log_warning(NULL, "link_keys_open", LOG_STR("path", path),
                    LOG_STR("problem", "others on this host can read it: chmod 600"));
}

/* The whole file as text that ends in NUL, to be wiped. False: it cannot be read, or is no such file. */
static bool read_text(const char *path, char text[FILE_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, FILE_BYTES) : -1;
    if (fd >= 0)
        close(fd);
    if (length < 0 || length == FILE_BYTES)
        return false;
    text[length] = '\0';
    return true;
}

/* `    name`, `    name = "value"`, a comment or nothing. */
static bool is_plain_line(const char *line, size_t length)
{
    size_t at = strspn(line, " ");
    if (at >= length || line[at] == '#')
        return true;
    at += strspn(line + at, "abcdefghijklmnopqrstuvwxyz-");
    if (at == length)
        return true;
    if (strncmp(line + at, " = \"", 4) != 0)
        return false;
    at += 4;
    at += strcspn(line + at, "\"\n");
    return line[at] == '"' && at + 1 == length;
}

/* czmq prints a line that it does not understand, and that may be a key: it gets none of those to see. */
static bool is_plain(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (!is_plain_line(text, length))
            return false;
        text += length + (text[length] == '\n');
    }
    return true;
}

static zconfig_t *parse(const char *path)
{
    char text[FILE_BYTES];
    zconfig_t *file = read_text(path, text) && is_plain(text) ? zconfig_str_load(text) : NULL;
    sodium_memzero(text, sizeof text);
    return file;
}

struct link_keys *link_keys_load(const char *dir, const char *role)
{
    char path[PATH_BYTES];
    struct link_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return NULL;
    snprintf(path, sizeof path, "%s/%s.keys", dir, role);
    keys->file = parse(path);
    const char *problem = find_problem(keys->file, role);
    if (!problem) {
        warn_if_open(path);
        keys->own = read_pair(keys->file);
        problem = keys->own ? NULL : "has no key pair";
    }
    if (problem) {
        log_error(NULL, "bad_link_keys", LOG_STR("path", path), LOG_STR("problem", problem));
        link_keys_free(&keys);
    }
    return keys;
}

void link_keys_free(struct link_keys **keys_pointer)
{
    struct link_keys *keys = *keys_pointer;
    *keys_pointer = NULL;
    if (!keys)
        return;
    zcert_destroy(&keys->own);
    zconfig_destroy(&keys->file);
    free(keys);
}

zcert_t *link_keys_own(const struct link_keys *keys)
{
    return keys->own;
}

const char *link_keys_server(const struct link_keys *keys, const char *role)
{
    zconfig_t *servers = zconfig_locate(keys->file, "/servers");
    zconfig_t *entry = servers ? zconfig_locate(servers, role) : NULL;
    return entry ? zconfig_value(entry) : NULL;
}

static bool allow(zcertstore_t *store, zconfig_t *entry)
{
    uint8_t public_key[KEY_BYTES], no_secret[KEY_BYTES] = {0};
    zmq_z85_decode(public_key, zconfig_value(entry)); /* was checked on loading */
    zcert_t *certificate = zcert_new_from(public_key, no_secret);
    if (!certificate)
        return false;
    zcert_set_meta(certificate, LINK_KEYS_ROLE, "%s", zconfig_name(entry));
    zcertstore_insert(store, &certificate);
    return true;
}

zcertstore_t *link_keys_allowed(const struct link_keys *keys)
{
    zcertstore_t *store = zcertstore_new(NULL);
    zconfig_t *list = zconfig_locate(keys->file, "/allow");
    for (zconfig_t *entry = list ? zconfig_child(list) : NULL; entry && store; entry = zconfig_next(entry))
        if (!allow(store, entry))
            zcertstore_destroy(&store);
    return store;
}

/* ---- making ---- */

struct key_pair {
    char public_key[Z85_KEY_LENGTH + 1], secret_key[Z85_KEY_LENGTH + 1];
};

static const char *public_key_of(const struct key_pair *pairs, const char *role)
{
    size_t i = 0;
    while (strcmp(roles[i], role) != 0)
        i++;
    return pairs[i].public_key;
}

static int append_file(struct buffer *out, const struct key_pair *pairs, size_t role)
{
    int error =
        buffer_printf(out,
                      "#   Link keys of %s, made by `codebuddy2api keygen`.\n"
                      "#   Secret: who reads this file can pass for %s on the links.\n"
                      "role = \"%s\"\n"
                      "curve\n"
                      "    public-key = \"%s\"\n"
                      "    secret-key = \"%s\"\n"
                      "servers\n",
                      roles[role], roles[role], roles[role], pairs[role].public_key, pairs[role].secret_key);
    for (size_t i = 0; error == 0 && i < CONNECTION_COUNT; i++)
        if (strcmp(connections[i].client, roles[role]) == 0)
            error = buffer_printf(out, "    %s = \"%s\"\n", connections[i].server,
                                  public_key_of(pairs, connections[i].server));
    if (error == 0)
        error = buffer_printf(out, "allow\n");
    for (size_t i = 0; error == 0 && i < CONNECTION_COUNT; i++)
        if (strcmp(connections[i].server, roles[role]) == 0)
            error = buffer_printf(out, "    %s = \"%s\"\n", connections[i].client,
                                  public_key_of(pairs, connections[i].client));
    return error;
}

/* Writes a file that must not exist. 0; ERR_EXISTS, ERR_IO with errno. */
static int write_new(const char *path, struct span text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : ERR_IO;
    ssize_t length = write(fd, text.data, text.length);
    bool good = length == (ssize_t)text.length && fsync(fd) == 0;
    int saved = length >= 0 && length < (ssize_t)text.length ? ENOSPC : errno; /* a full disk takes a part */
    close(fd);
    if (!good)
        unlink(path);
    errno = saved;
    return good ? 0 : ERR_IO;
}

static int sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_IO;
    if (fd >= 0)
        close(fd);
    return error;
}

/* Of a set that could not be made whole. Keeps errno. */
static void drop_made(const char *dir, size_t count)
{
    char path[PATH_BYTES];
    int saved = errno;
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        unlink(path);
    }
    errno = saved;
}

int link_keys_make_set(const char *dir, const char **path_pointer)
{
    static char path[PATH_BYTES];
    struct key_pair pairs[ROLE_COUNT];
    int error = 0;

    size_t made_count = 0;

    *path_pointer = dir;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return ERR_IO;
    *path_pointer = path;
    for (size_t i = 0; error == 0 && i < ROLE_COUNT; i++) {
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        error = access(path, F_OK) == 0 ? ERR_EXISTS : 0; /* before anything is made: all or none */
    }
    for (size_t i = 0; error == 0 && i < ROLE_COUNT; i++)
        error = zmq_curve_keypair(pairs[i].public_key, pairs[i].secret_key) == 0 ? 0 : ERR_IO;
    for (size_t i = 0; error == 0 && i < ROLE_COUNT; i++) {
        struct buffer text;
        buffer_init(&text);
        snprintf(path, sizeof path, "%s/%s.keys", dir, roles[i]);
        error = buffer_reserve(&text, FILE_BYTES); /* at once: no copy of the secret is left behind */
        if (error == 0)
            error = append_file(&text, pairs, i);
        if (error == 0)
            error = write_new(path, buffer_span(&text));
        made_count += error == 0;
        if (text.data)
            sodium_memzero(text.data, text.capacity);
        buffer_fini(&text);
    }
    if (error < 0)
        drop_made(dir, made_count);
    sodium_memzero(pairs, sizeof pairs);
    return error == 0 ? sync_directory(dir) : error;
}
