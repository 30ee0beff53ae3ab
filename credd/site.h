/* SPDX-License-Identifier: MIT */
/* site - where a credential's token may go: the profiles of settings.sites_dir, and the rule that picks one.
 *
 * A profile is a JSON file (deploy/sites/README.md has its fields): base URL, X-Domain rule, headers. An
 * upstream that changes is an edit there, not a release. The safety rule (upstream.md, 1): a token is only
 * ever sent to the endpoint of its own site. So a credential that names a site or an endpoint must name a
 * known one, and one that names none belongs to CODEBUDDY_API_ENDPOINT. What comes out of a credential file
 * never becomes an address: it only chooses among the operator's.
 *
 * Loaded once at start, then constant. Loading blocks on reading files. */
#ifndef CREDD_SITE_H
#define CREDD_SITE_H

#include "credd/credential_file.h"

enum {
    SITE_BASE_URL_MAX_BYTES = 512, /* these two are GRANT's bounds */
    SITE_HEADERS_MAX_BYTES = 8192,
    SITE_FILE_MAX_BYTES = 64 << 10
};

struct site;
struct sites;

/* Reads every *.json of `directory`. The profile whose base URL has the origin of `api_endpoint` is the
 * default site; if there is none, it is the profile `custom`, whose base URL is then `api_endpoint`. Returns
 * owned, NULL on failure (logged with the file and the field at fault). */
struct sites *sites_load(const char *directory, const char *api_endpoint);
void sites_free(struct sites **sites);
/* As sites_load for one profile's text, for tests: adds it. `name` is the file name without .json. 0;
 * ERR_CONFIG with `problem` (static text); ERR_NOMEM. */
int sites_add(struct sites *sites, struct span name, struct span text, const char **problem);
struct sites *sites_new(void); /* empty; NULL when out of memory */
/* Fixes the default site (the last step of sites_load). 0, ERR_CONFIG with `problem`, ERR_NOMEM. */
int sites_set_endpoint(struct sites *sites, const char *api_endpoint, const char **problem);

const struct site *sites_default(const struct sites *sites);
const char *site_name(const struct site *site);
/* Whether it is `custom`, whose name alone does not say where it points. */
bool site_is_custom(const struct site *site);
/* What tells it from others for good: its name, and of `custom` where it points. */
const char *site_bond(const struct site *site);
const char *site_base_url(const struct site *site); /* no trailing slash */
/* By how much dates of this site that come without a zone are ahead of UTC, seconds. */
int64_t site_clock_ahead_s(const struct site *site);
uint32_t site_number(const struct site *site); /* small, different for each, for comparing */

/* Whether the file says itself to what site it belongs. */
bool site_is_named(const struct credential_file *file);
/* The site that the credential belongs to; NULL with `problem` (static text) if its file names one that is
 * not known here, or two that differ. */
const struct site *sites_resolve(const struct sites *sites, const struct credential_file *file,
                                 const char **problem);
/* Appends GRANT's header lines for a request with this credential: `Name: value`, LF between, none at the
 * end. The profile's, then X-Domain, X-User-Id, X-Enterprise-Id and X-Tenant-Id unless the profile has
 * them. Never Authorization, nor the ids of a conversation or request. 0, ERR_TOO_LARGE,
 * ERR_NOMEM. */
int site_append_headers(const struct site *site, const struct credential_file *file, struct buffer *lines);

#endif
