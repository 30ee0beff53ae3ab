/* SPDX-License-Identifier: MIT */
#include "credd/vault.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RACY_MS = 2000, /* a file changed this shortly before it was read may change again unseen: same size, same
                       clock tick. Its next scan reads it once more (git calls this racily clean). */
};

struct entry {
    struct credential credential; /* first: vault_at hands out its address */
    struct stat seen;
    bool is_racy;
    bool is_unbound; /* its bond is not written yet */
};

struct vault {
    char *directory;
    const struct sites *sites;
    const struct seal *seal;
    struct site_bonds *bonds;
    struct entry **entries; /* by file name */
    size_t count;
    uint64_t generations;
    dev_t device;
    ino_t inode;
    bool was_unreadable, was_overfull;
};

static void credential_clear(struct credential *credential)
{
    credential_file_fini(&credential->file);
    buffer_fini(&credential->headers);
    credential->site = NULL;
}

static void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    credential_clear(&entry->credential);
    free(entry->credential.filename);
    free(entry);
}

static struct entry *entry_new(const char *filename)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->credential.filename = strdup(filename);
    if (!entry->credential.filename) {
        free(entry);
        return NULL;
    }
    credential_id_of(filename, entry->credential.id, &entry->credential.number);
    return entry;
}

static void set_problem(struct credential *credential, const char *problem)
{
    snprintf(credential->problem, sizeof credential->problem, "%s", problem);
}

/* Reads the whole file. 0 or a negative error with `problem`. The buffer holds secrets. */
static int read_file(int fd, const struct stat *status, struct buffer *text, const char **problem)
{
    size_t size = (size_t)status->st_size;
    *problem = "larger than 256 KiB";
    if (status->st_size > CREDENTIAL_FILE_MAX_BYTES)
        return ERR_TOO_LARGE;
    *problem = error_text(ERR_NOMEM);
    if (buffer_reserve(text, size + 1) < 0) /* at once, so that no growing leaves a copy behind */
        return ERR_NOMEM;
    while (text->length < size + 1) {
        ssize_t length = read(fd, text->data + text->length, size + 1 - text->length);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            *problem = "cannot be read";
            return ERR_IO;
        }
        if (length == 0)
            break;
        text->length += (size_t)length;
    }
    return 0;
}

/* Opens a file for reading without following a link or waiting on a pipe. -1 with `problem`. */
static int open_regular(int directory_fd, const char *filename, struct stat *status, const char **problem)
{
    int fd = openat(directory_fd, filename, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    *problem = errno == ELOOP ? "is a symbolic link" : "cannot be opened";
    if (fd >= 0 && fstat(fd, status) == 0 && S_ISREG(status->st_mode))
        return fd;
    if (fd >= 0) {
        *problem = "is not a regular file";
        close(fd);
    }
    return -1;
}

static void warn_open_mode(const struct entry *entry, const struct stat *status)
{
    if ((status->st_mode & 0077) != 0)
        log_warning(NULL, "credential_file_readable", LOG_STR("file", entry->credential.filename),
                    LOG_STR("do", "others can open it: chmod 600"));
}

/* A new generation begins with a new token, or with another site for it. Other edits, and a file that was
 * broken for a moment, keep the state that the token has earned (cooling, needs_login, …). */
static void note_token(struct vault *vault, struct entry *entry)
{
    unsigned char digest[DURABLE_DIGEST_BYTES];
    struct credential *credential = &entry->credential;
    const char *site = site_name(credential->site);
    crypto_generichash(digest, sizeof digest, (const unsigned char *)credential->file.token.data,
                       credential->file.token.length, (const unsigned char *)site,
                       strnlen(site, crypto_generichash_KEYBYTES_MAX));
    if (credential->token_generation == 0 || memcmp(digest, credential->token_digest, sizeof digest) != 0)
        credential->token_generation = ++vault->generations;
    memcpy(credential->token_digest, digest, sizeof digest);
}

/* Fills `file` from a text that may be sealed; credential_file_parse's errors. */
static int parse_content(const struct vault *vault, struct credential_file *file, struct span text,
                         char words[CREDENTIAL_PROBLEM_BYTES])
{
    struct buffer plain = {0};
    const char *problem = error_text(ERR_NOMEM);
    int error = seal_unwrap(vault->seal, text, &plain, &problem);
    if (error < 0)
        snprintf(words, CREDENTIAL_PROBLEM_BYTES, "%s", problem);
    else
        error = credential_file_parse(file, buffer_span(&plain), words);
    buffer_fini_secret(&plain);
    return error;
}

/* Whether the token may go to the site that was found; else the problem is said. */
static bool bond_allows(struct vault *vault, struct entry *entry)
{
    struct credential *credential = &entry->credential;
    const char *site = site_bond(credential->site);
    if (!vault->bonds || site_is_named(&credential->file))
        return true;
    const char *bound = site_bonds_find(vault->bonds, credential->id);
    if (!bound) {
        entry->is_unbound = true; /* take_names writes it, before anybody sees the credential */
        return site_bonds_set(vault->bonds, credential->id, site) == 0;
    }
    credential->is_elsewhere = strcmp(bound, site) != 0;
    if (credential->is_elsewhere)
        snprintf(credential->problem, sizeof credential->problem,
                 "names no site and belongs to %.80s, not where CODEBUDDY_API_ENDPOINT points now: "
                 "name its site in the file, or enable it here",
                 bound);
    return !credential->is_elsewhere;
}

/* Puts what `text` says into the credential, or the problem with it. 0 or ERR_NOMEM (the problem, too). */
static int take_content(struct vault *vault, struct entry *entry, struct span text)
{
    struct credential *credential = &entry->credential;
    const char *problem = NULL;
    char words[CREDENTIAL_PROBLEM_BYTES];
    credential_clear(credential);
    credential->is_elsewhere = false;
    int error = parse_content(vault, &credential->file, text, words);
    if (error < 0) {
        problem = words;
    } else if ((credential->site = sites_resolve(vault->sites, &credential->file, &problem))) {
        error = site_append_headers(credential->site, &credential->file, &credential->headers);
        if (error < 0)
            problem = error == ERR_NOMEM ? error_text(error) : "gives more header text than fits";
    }
    set_problem(credential, problem ? problem : "");
    if (problem || !bond_allows(vault, entry))
        credential_clear(credential);
    else
        note_token(vault, entry);
    return error == ERR_NOMEM ? error : 0;
}

/* Notes what was read, so that the next scan can tell whether to read again. */
static void note_seen(struct entry *entry, const struct stat *status, const unsigned char *digest)
{
    int64_t modified_wall_ms = status->st_mtim.tv_sec * 1000 + status->st_mtim.tv_nsec / 1000000;
    memcpy(entry->credential.file_digest, digest, DURABLE_DIGEST_BYTES);
    entry->seen = *status;
    entry->is_racy = clock_wall_ms() - modified_wall_ms < RACY_MS;
}

/* Reads the file. Returns true if the credential changed. */
static bool entry_load(struct vault *vault, int directory_fd, struct entry *entry)
{
    struct stat status = {0};
    struct buffer text = {0};
    unsigned char digest[DURABLE_DIGEST_BYTES] = {0};
    const char *problem = NULL;
    bool changed = false;
    int fd = open_regular(directory_fd, entry->credential.filename, &status, &problem);
    int error = fd < 0 ? ERR_IO : read_file(fd, &status, &text, &problem);
    if (fd >= 0)
        close(fd);
    if (error == 0 && status.st_mode != entry->seen.st_mode)
        warn_open_mode(entry, &status);
    if (error < 0) {
        changed = strcmp(entry->credential.problem, problem) != 0;
        credential_clear(&entry->credential);
        set_problem(&entry->credential, problem);
    } else {
        durable_digest(buffer_span(&text), digest);
        changed = memcmp(digest, entry->credential.file_digest, sizeof digest) != 0;
        error = changed ? take_content(vault, entry, buffer_span(&text)) : 0;
    }
    if (error == 0 || error == ERR_TOO_LARGE)
        note_seen(entry, &status, digest);
    else /* no answer to rely on: read it again at the next scan */
        note_seen(entry, &(struct stat){0}, (const unsigned char[DURABLE_DIGEST_BYTES]){0});
    buffer_fini_secret(&text);
    return changed;
}

static void log_loaded(const struct credential *credential)
{
    if (credential->problem[0])
        log_warning(NULL, "credential_bad", LOG_STR("file", credential->filename),
                    LOG_STR("credential", credential->id), LOG_STR("problem", credential->problem));
    else
        log_info(NULL, "credential_loaded", LOG_STR("file", credential->filename),
                 LOG_STR("credential", credential->id), LOG_STR("site", site_name(credential->site)));
}

static bool is_unchanged(const struct entry *entry, const struct stat *now)
{
    const struct stat *seen = &entry->seen;
    return !entry->is_racy && seen->st_ino == now->st_ino && seen->st_dev == now->st_dev &&
           seen->st_size == now->st_size && seen->st_mode == now->st_mode &&
           seen->st_mtim.tv_sec == now->st_mtim.tv_sec && seen->st_mtim.tv_nsec == now->st_mtim.tv_nsec &&
           seen->st_ctim.tv_sec == now->st_ctim.tv_sec && seen->st_ctim.tv_nsec == now->st_ctim.tv_nsec;
}

static bool entry_refresh(struct vault *vault, int directory_fd, struct entry *entry, bool is_new)
{
    struct stat now;
    if (!is_new && fstatat(directory_fd, entry->credential.filename, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_unchanged(entry, &now))
        return false;
    bool changed = entry_load(vault, directory_fd, entry) || is_new;
    if (changed)
        log_loaded(&entry->credential);
    return changed;
}

int vault_is_candidate(const struct dirent *entry)
{
    const char *name = entry->d_name;
    size_t length = strlen(name);
    return name[0] != '.' && length > strlen(".json") &&
           strcmp(name + length - strlen(".json"), ".json") == 0 && strcmp(name, "manager_state.json") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* bytes, not the locale's order */
}

static bool number_is_taken(struct entry *const *entries, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i]->credential.number == number)
            return true;
    return false;
}

static void entry_forget(struct entry *entry)
{
    log_info(NULL, "credential_removed", LOG_STR("file", entry->credential.filename),
             LOG_STR("credential", entry->credential.id));
    entry_free(entry);
}

/* Merges the sorted names into the sorted entries: those in both are refreshed, the others come or go. */
static bool merge(struct vault *vault, int directory_fd, struct dirent **names, size_t name_count,
                  struct entry **merged, size_t *merged_count)
{
    bool changed = false;
    size_t old = 0, count = 0;
    for (size_t i = 0; i < name_count; i++) {
        const char *name = names[i]->d_name;
        int order = 1;
        while (old < vault->count && (order = strcmp(vault->entries[old]->credential.filename, name)) < 0) {
            entry_forget(vault->entries[old++]);
            changed = true;
        }
        bool is_new = old == vault->count || order > 0;
        struct entry *entry = is_new ? entry_new(name) : vault->entries[old++];
        if (!entry)
            continue; /* out of memory: the next scan finds it */
        /* The number is half of a lease's number: two files whose hashes begin alike must not share it. */
        while (is_new &&
               (entry->credential.number == 0 || number_is_taken(merged, count, entry->credential.number) ||
                (old < vault->count &&
                 number_is_taken(vault->entries + old, vault->count - old, entry->credential.number))))
            entry->credential.number++;
        changed |= entry_refresh(vault, directory_fd, entry, is_new);
        merged[count++] = entry;
    }
    for (; old < vault->count; old++, changed = true)
        entry_forget(vault->entries[old]);
    *merged_count = count;
    return changed;
}

static bool is_there(const void *context, const char *id)
{
    const struct vault *vault = context;
    for (size_t i = 0; i < vault->count; i++)
        if (strcmp(vault->entries[i]->credential.id, id) == 0)
            return true;
    return false;
}

/* Writes new bonds; those of which that fails are not lent, but looked at again. */
static void keep_bonds(struct vault *vault)
{
    if (!vault->bonds)
        return;
    site_bonds_trim(vault->bonds, is_there, vault);
    int error = site_bonds_commit(vault->bonds);
    for (size_t i = 0; i < vault->count; i++) {
        struct entry *entry = vault->entries[i];
        if (entry->is_unbound && error < 0) {
            credential_clear(&entry->credential);
            set_problem(&entry->credential, "its site cannot be noted in CODEBUDDY_DATA_DIR");
            note_seen(entry, &(struct stat){0}, (const unsigned char[DURABLE_DIGEST_BYTES]){0});
        }
        entry->is_unbound = entry->is_unbound && error < 0;
    }
}

static bool take_names(struct vault *vault, int directory_fd, struct dirent **names, size_t count)
{
    if (count > VAULT_MAX_CREDENTIALS && !vault->was_overfull)
        log_error(NULL, "credentials_too_many", LOG_INT("files", count),
                  LOG_INT("limit", VAULT_MAX_CREDENTIALS));
    vault->was_overfull = count > VAULT_MAX_CREDENTIALS;
    if (vault->was_overfull)
        count = VAULT_MAX_CREDENTIALS;
    struct entry **merged = calloc(count + 1, sizeof(struct entry *));
    if (!merged)
        return false;
    bool changed = merge(vault, directory_fd, names, count, merged, &vault->count);
    free(vault->entries);
    vault->entries = merged;
    keep_bonds(vault);
    return changed;
}

/* The directory, made if it is missing. -1 with errno. */
static int open_directory(struct vault *vault)
{
    struct stat status;
    if (mkdir(vault->directory, 0700) == 0)
        log_info(NULL, "credentials_directory_created", LOG_STR("directory", vault->directory));
    int fd = open(vault->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return fd;
    if ((status.st_mode & 0077) != 0 && (status.st_ino != vault->inode || status.st_dev != vault->device))
        log_warning(NULL, "credentials_directory_open", LOG_STR("directory", vault->directory),
                    LOG_STR("do", "others can look into it: chmod 700"));
    vault->device = status.st_dev;
    vault->inode = status.st_ino;
    return fd;
}

static void free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

bool vault_scan(struct vault *vault)
{
    struct dirent **names = NULL;
    bool changed = false;
    int directory_fd = open_directory(vault);
    int count = directory_fd < 0 ? -1 : scandirat(directory_fd, ".", &names, vault_is_candidate, by_name);
    if (count < 0 && !vault->was_unreadable)
        log_error(NULL, "credentials_unreadable", LOG_STR("directory", vault->directory),
                  LOG_STR("error", strerror(errno)));
    vault->was_unreadable = count < 0;
    if (count >= 0)
        changed = take_names(vault, directory_fd, names, (size_t)count);
    free_names(names, count);
    if (directory_fd >= 0)
        close(directory_fd);
    return changed;
}

struct vault *vault_open(const struct vault_parts *parts)
{
    struct vault *vault = calloc(1, sizeof *vault);
    if (vault) {
        vault->sites = parts->sites;
        vault->seal = parts->seal;
        vault->bonds = parts->bonds;
        vault->directory = strdup(parts->directory);
    }
    if (!vault || !vault->directory) {
        log_error(NULL, "vault_failed", LOG_STR("error", error_text(ERR_NOMEM)));
        vault_close(&vault);
        return NULL;
    }
    vault_scan(vault);
    if (vault->was_unreadable)
        vault_close(&vault);
    return vault;
}

void vault_close(struct vault **vault)
{
    if (!*vault)
        return;
    for (size_t i = 0; i < (*vault)->count; i++)
        entry_free((*vault)->entries[i]);
    free((*vault)->entries);
    free((*vault)->directory);
    free(*vault);
    *vault = NULL;
}

int vault_rebind(struct vault *vault, uint32_t number)
{
    for (size_t i = 0; i < vault->count; i++) {
        struct entry *entry = vault->entries[i];
        if (entry->credential.number != number || !entry->credential.is_elsewhere)
            continue;
        int error =
            site_bonds_set(vault->bonds, entry->credential.id, site_bond(sites_default(vault->sites)));
        error = error ? error : site_bonds_commit(vault->bonds);
        if (error == 0) /* read it again */
            note_seen(entry, &(struct stat){0}, (const unsigned char[DURABLE_DIGEST_BYTES]){0});
        return error;
    }
    return ERR_NOT_FOUND;
}

const struct seal *vault_seal(const struct vault *vault)
{
    return vault->seal;
}

const char *vault_directory(const struct vault *vault)
{
    return vault->directory;
}

void vault_identity(const struct vault *vault, dev_t *device, ino_t *inode)
{
    *device = vault->device;
    *inode = vault->inode;
}

size_t vault_count(const struct vault *vault)
{
    return vault->count;
}

const struct credential *vault_at(const struct vault *vault, size_t i)
{
    return &vault->entries[i]->credential;
}

const struct credential *vault_find(const struct vault *vault, uint32_t number)
{
    for (size_t i = 0; i < vault->count; i++)
        if (vault->entries[i]->credential.number == number)
            return &vault->entries[i]->credential;
    return NULL;
}
