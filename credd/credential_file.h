/* SPDX-License-Identifier: MIT */
/* credential_file - reads one credential file (upstream.md, section 8). Pure; never blocks, never logs.
 *
 * Understands the reference implementation's files, the variants seen elsewhere and the desktop client's
 * {auth, account} form. Where two fields say the same, the first that is there wins, in the order of the
 * table in credential_file.c. What becomes a header or decides where a token goes is checked strictly: a bad
 * value refuses the file. What is only shown to people (name, email, scope…) is dropped when it is odd.
 * The token's own claims (JWT) are hints for what the file does not say; nothing is verified by them. */
#ifndef CREDD_CREDENTIAL_FILE_H
#define CREDD_CREDENTIAL_FILE_H

#include "proto/bytes.h"
#include "proto/secret.h"

enum {
    CREDENTIAL_FILE_MAX_BYTES = 256 << 10, /* the reference's files with full_response are about 10 KiB */
    CREDENTIAL_TOKEN_MAX_BYTES = 16384,    /* what GRANT carries */
    CREDENTIAL_PROBLEM_BYTES = 256         /* room for any problem text, NUL included */
};

/* Absent texts are NULL, absent times 0. */
struct credential_file {
    struct secret token;         /* never empty after a successful parse; visible ASCII */
    struct secret refresh_token; /* may be empty; visible ASCII */
    /* Safe as header values, at most 256 bytes: */
    char *user_id;
    char *account_uid;
    char *enterprise_id;
    char *tenant_id;
    char *domain; /* letters, digits and .-_:[] only */
    /* What ties the credential to a site; see site.h. At most 512 bytes: */
    char *site;
    char *api_endpoint;
    /* For people, at most 512 bytes, no control characters: */
    char *email;
    char *name;
    char *token_type;
    char *scope;
    int64_t created_wall_ms;
    int64_t expires_wall_ms; /* 0: unknown, which is usable */
    int64_t refresh_expires_wall_ms;
};

/* Fills `file` from the text of a credential file (borrowed; may begin with a UTF-8 byte order mark). 0;
 * ERR_TOO_LARGE, ERR_INVALID, ERR_NOMEM with `problem` saying what is wrong by the name of the field, never
 * with a value. Pair with credential_file_fini, on failure too. */
int credential_file_parse(struct credential_file *file, struct span text,
                          char problem[CREDENTIAL_PROBLEM_BYTES]);
void credential_file_fini(struct credential_file *file); /* wipes the tokens; leaves all zero */

#endif
