/* SPDX-License-Identifier: MIT */
/* credential_new - makes credential files: their names and their text. Pure.
 *
 * A file is put together as a JSON object in the reference implementation's form (upstream.md, 8), and its
 * text is checked by reading it as any credential file is read, before it is written. */
#ifndef CREDD_CREDENTIAL_NEW_H
#define CREDD_CREDENTIAL_NEW_H

#include "credd/site.h"

#include <jansson.h>

enum {
    CREDENTIAL_NAME_BYTES = 128, /* room for a file name, NUL included */
    /* Of a file that is made here: sealed it grows by a third, and over CREDENTIAL_FILE_MAX_BYTES it would be
     * left alone when it is read. */
    CREDENTIAL_TEXT_MAX_BYTES = 128 << 10,
    CREDENTIAL_NAME_TRIES = 1000 /* names tried before there is none free: user.json, user-2.json, … */
};

/* Reduces `wanted` to a file name of [A-Za-z0-9._-] that ends in .json: other characters become `_`, dots
 * and dashes in front go, and it is cut to fit. What leaves nothing, or manager_state.json, is
 * credential.json. */
void credential_name_reduce(struct span wanted, char name[CREDENTIAL_NAME_BYTES]);
/* The n-th name to try, n from 1: `name`, then with -2, -3, … before .json. */
void credential_name_number(const char *name, unsigned n, char numbered[CREDENTIAL_NAME_BYTES]);

/* Appends the object as text, in one block of memory (it holds tokens: buffer_fini_secret). 0 or ERR_NOMEM.
 */
int credential_text_append(const json_t *file, struct buffer *text);
/* Whether a file with this text could serve. 0; ERR_INVALID with `problem`, which begins with the name of the
 * field at fault; ERR_NOMEM. */
int credential_text_check(struct span text, const struct sites *sites,
                          char problem[CREDENTIAL_PROBLEM_BYTES]);

/* Puts what the upstream answered to a login or refresh (upstream.md, 7: `data`) into the object of a file:
 * tokens, times, and what else it says of the account. What it does not say stays as it was. In a desktop
 * client's file the tokens stay where they were. `full_response` is dropped. 0; ERR_INVALID if there is no
 * token; ERR_NOMEM. */
int credential_object_take(json_t *file, const json_t *data, int64_t wall_ms);
/* Ties a new file to the site that its `site` names, or to the default one: writes that site's name, and for
 * `custom` also where it points as `api_endpoint`. So the token never goes elsewhere when
 * CODEBUDDY_API_ENDPOINT changes. 0; ERR_INVALID with `problem`, as above; ERR_NOMEM. */
int credential_object_tie(json_t *file, const struct sites *sites, char problem[CREDENTIAL_PROBLEM_BYTES]);
/* Adds user_info from the token's claims, as hints for people. A token of another kind has none. Then `name`
 * is what to call the file: the user's e-mail address, name or number; else as it was. 0 or ERR_NOMEM. */
int credential_object_describe(json_t *file, struct buffer *name);

/* Whether a file says itself, by any of the names that are read, where its token may go. */
bool credential_object_names_site(const json_t *file);
/* Lets a file that names no site name this one: the token in it is known to be that site's. NULL: leaves
 * it as it is. 0 or ERR_NOMEM. */
int credential_object_name_site(json_t *file, const struct site *site);

#endif
