/* SPDX-License-Identifier: MIT */
/* vault - the credentials directory: what files there are, which of them are credentials, and their secrets.
 *
 * Every regular *.json file directly in the directory is a credential, but manager_state.json (the
 * reference's own state) and names that begin with a dot (files being written). A file that cannot be used
 * stays in the list with the problem said; nothing here ever writes to a credential file. Scanning reads only
 * what changed since the last scan. It blocks on the file system for that long: a local directory, a few ms
 * at worst.
 *
 * A credential's address holds as long as its file is there. Its content may change at each vault_scan. */
#ifndef CREDD_VAULT_H
#define CREDD_VAULT_H

#include "credd/credential_file.h"
#include "credd/credential_id.h"
#include "credd/durable_file.h"
#include "credd/seal.h"
#include "credd/site.h"
#include "credd/site_bonds.h"

#include <dirent.h>
#include <sys/types.h>

enum { VAULT_MAX_CREDENTIALS = 4096 /* more files are left aside, with a log line */ };

struct vault;

/* Read by all, written by the vault only. */
struct credential {
    char id[CREDENTIAL_ID_BYTES];
    uint32_t number; /* the id's upper 32 bits, or if another has that number the next; never 0 */
    char *filename;
    /* It names no site, and its token belongs to another than CODEBUDDY_API_ENDPOINT's (site_bonds.h): that
     * is its problem. */
    bool is_elsewhere;
    char problem[CREDENTIAL_PROBLEM_BYTES]; /* empty: usable. Then all below is set: */
    struct credential_file file;
    const struct site *site;
    struct buffer headers;     /* GRANT's header lines */
    uint64_t token_generation; /* changes when the token does; never 0 */
    /* Of token and site; kept while the file is broken. What tells, after a restart, whether it is still the
     * token that earned a state. */
    unsigned char token_digest[DURABLE_DIGEST_BYTES];
    /* Of the file as read; what a writer gives DURABLE_UPDATE. All zero if it was not taken. */
    unsigned char file_digest[DURABLE_DIGEST_BYTES];
};

/* What a vault is opened with. */
struct vault_parts {
    const char *directory;
    const struct sites *sites;
    const struct seal *seal;  /* NULL: sealed files cannot be used */
    struct site_bonds *bonds; /* NULL: what names no site goes to the default one, whatever was before */
};
/* Creates the directory (0700) if it is missing, and scans it. Borrows the parts. Returns owned, NULL on
 * failure (logged). */
struct vault *vault_open(const struct vault_parts *parts);
void vault_close(struct vault **vault); /* wipes secrets */

/* Looks at the directory again. Returns true if any credential came, changed or went: then addresses of those
 * that went are already invalid, and the caller syncs what it keeps before anything else. Logs what it found.
 * A directory that cannot be read leaves things as they are; one that vanished is made anew, empty. */
bool vault_scan(struct vault *vault);

/* A person says that the credential's file, which is_elsewhere, belongs to the default site from now on:
 * durable when it returns 0; the next scan takes it. ERR_NOT_FOUND, ERR_IO, ERR_NOMEM. */
int vault_rebind(struct vault *vault, uint32_t number);

const char *vault_directory(const struct vault *vault);
const struct seal *vault_seal(const struct vault *vault); /* what files are to be written with; may be NULL */
/* Whether a file of that name is taken for a credential; for scandir. */
int vault_is_candidate(const struct dirent *entry);
/* The device and inode of the directory as last seen; they change when it is replaced. */
void vault_identity(const struct vault *vault, dev_t *device, ino_t *inode);
size_t vault_count(const struct vault *vault);
/* The i-th by file name (byte order), i below vault_count. */
const struct credential *vault_at(const struct vault *vault, size_t i);

/* By number; NULL if there is none. */
const struct credential *vault_find(const struct vault *vault, uint32_t number);

#endif
