/* SPDX-License-Identifier: MIT */
/* assets - the admin page's files, read once at start and served from memory. Which files there are says the
 * directory's manifest.json (gateway/web/build.mjs writes it); nothing else of the directory, and no path
 * that a client names, is ever opened. Owned by the gateway; does not block after assets_load. */
#ifndef GATEWAY_ASSETS_H
#define GATEWAY_ASSETS_H

#include "proto/bytes.h"

enum { ASSETS_MAX_FILES = 128, ASSETS_MAX_BYTES = 8 << 20 /* of all representations together */ };

enum asset_encoding { ASSET_IDENTITY, ASSET_BROTLI, ASSET_GZIP, ASSET_ENCODINGS };

struct asset {
    char *name;                            /* in the manifest; unique */
    char *type;                            /* Content-Type */
    char *digest;                          /* of the content: makes the ETag */
    struct buffer bodies[ASSET_ENCODINGS]; /* empty: not in this encoding. Identity is always there */
};

struct assets;

/* Reads `directory`. Returns owned; NULL when it has no manifest, or one that is wrong, or a file of it
 * cannot be read: then `reason`, of `size` bytes, says why. */
struct assets *assets_load(const char *directory, char *reason, size_t size);
void assets_free(struct assets **assets);
size_t assets_count(const struct assets *assets);
/* The page itself: index.html. */
const struct asset *assets_page(const struct assets *assets);
/* By exact name; NULL: none. Borrows from assets. */
const struct asset *assets_find(const struct assets *assets, struct span name);

/* The smallest representation that a client with this Accept-Encoding takes (RFC 9110, 12.5.3; an empty value
 * or none: identity only). Pure. */
enum asset_encoding asset_choose(const struct asset *asset, struct span accept_encoding);
/* As Content-Encoding says it; NULL for identity. */
const char *asset_encoding_name(enum asset_encoding encoding);
/* Writes the entity tag, quotes and all. */
enum { ASSET_TAG_BYTES = 80 };
void asset_tag(const struct asset *asset, enum asset_encoding encoding, char tag[ASSET_TAG_BYTES]);
/* Whether If-None-Match names this tag (weak comparison), or is `*`. Pure. */
bool asset_tag_matches(struct span if_none_match, const char *tag);

#endif
