/* SPDX-License-Identifier: MIT */
/* site_bonds - where the token of a credential file that names no site may go: to the site that it was first
 * taken for. Such a file belongs to CODEBUDDY_API_ENDPOINT (upstream.md, 1); when that points elsewhere one
 * day, its token must not follow, until a person says so. Kept by the credential's id in
 * credential_sites.json of the data directory, {"version":1,"credentials":{ID:SITE}}; a SITE is what
 * site_bond says of it. A bond is durable before its credential is lent. Owned by main; blocks for an fsync
 * when a file that names no site is new. */
#ifndef CREDD_SITE_BONDS_H
#define CREDD_SITE_BONDS_H

#include "proto/bytes.h"

#include <jansson.h>

#define SITE_BONDS_FILE "credential_sites.json"

struct site_bonds;

/* Reads what `directory` (borrowed) keeps; a missing file is empty. Returns owned; NULL on failure (logged):
 * `*error` is ERR_CONFIG when the file cannot be understood. */
struct site_bonds *site_bonds_open(const char *directory, int *error);
void site_bonds_close(struct site_bonds **bonds); /* NULL-safe */
/* What the credential is bound to; NULL: nothing yet. Valid until the next change. */
const char *site_bonds_find(const struct site_bonds *bonds, const char *id);
/* Binds it, in memory. 0 or ERR_NOMEM. */
int site_bonds_set(struct site_bonds *bonds, const char *id, const char *site);
/* Forgets those of which `is_there` says no, when there are more than any directory has files. */
void site_bonds_trim(struct site_bonds *bonds, bool (*is_there)(const void *context, const char *id),
                     const void *context);
/* Writes what is not written yet. Blocks. 0 or a negative error (logged; the next call tries again). */
int site_bonds_commit(struct site_bonds *bonds);
/* The file's text as an object of bonds, for fuzzing and reading. Returns owned, NULL: it is none. */
json_t *site_bonds_parse(struct span text);

#endif
